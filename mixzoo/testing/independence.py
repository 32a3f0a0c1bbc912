"""Tests that the shares of different examples, or of successive draws, are independent.

A statistic is the mean over independent draws of a product of two centred numbers, one from each, and is compared with
six standard errors. The error is estimated from the products themselves, so that a rare event does not look dependent.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LIMIT = 6.0  # standard errors
NUMBERS = 1 << 24  # shares that are kept in memory at a time


def features(share: Float[Tensor, "k batch *latent"]) -> Float[Tensor, "batch features"]:
    """A few numbers per example: how much of each source, at which positions, and where the source changes.

    The last do not depend on the order of sources, so they reveal regions that are drawn together with other sources.
    """
    k, flat = len(share), share.flatten(2)
    mean = flat.mean(2)
    columns = [mean[0], mean[1], mean.square().sum(0), flat[0, :, 0], flat[1, :, -1], flat.square().sum(0).mean(1)]
    if k > 2:
        columns += [mean[-1], flat[-1, :, flat.shape[2] // 2]]
    for axis in range(2, share.ndim):
        length = share.shape[axis]
        if length < 2:
            continue
        edge = (share.narrow(axis, 1, length - 1) - share.narrow(axis, 0, length - 1)).abs().sum(0)
        edge = edge.movedim(axis - 1, 1).flatten(2).mean(2)  # [batch, positions along the axis]
        columns += [edge.mean(1), (edge * torch.linspace(-1, 1, length - 1)).mean(1)]
        along = share[0].movedim(axis - 1, 1).flatten(2).mean(2)
        columns.append((along * torch.linspace(-1, 1, length)).mean(1))
    return torch.stack(columns, 1)


def check_independent(
    draws: Iterable[Float[Tensor, "successive k batch *latent"]], groups: Sequence[int], what: str
) -> None:
    """Raises AssertionError if two parts depend on each other; a part is an example of one of the successive draws.

    The items of `draws` are independent, and each has the shares of a few successive draws. Parts of the same group are
    not compared. `what` is the subject of the message, with {a} and {b} for the numbers of the two parts.
    """
    waiting: list[Tensor] = []
    all_features: list[Tensor] = []
    first_shares: Tensor | None = None  # as many as fit into memory, for the test of the shares themselves
    for one in draws:
        waiting.append(one)
        if len(waiting) * one.numel() < NUMBERS:
            continue
        first_shares = _by_part(waiting) if first_shares is None else first_shares
        all_features.append(_features(waiting))
        waiting = []
    if waiting:
        first_shares = _by_part(waiting) if first_shares is None else first_shares
        all_features.append(_features(waiting))
    assert first_shares is not None
    check_shares_independent(first_shares, groups, what)
    check_features_independent(torch.cat(all_features), groups, what)


def _by_part(items: list[Tensor]) -> Float[Tensor, "draws parts k units"]:
    return torch.stack(items).flatten(4).transpose(2, 3).flatten(1, 2)


def _features(items: list[Tensor]) -> Float[Tensor, "draws parts features"]:
    stacked = torch.stack(items)  # [draws successive k batch *latent]
    draws, successive, _, batch = stacked.shape[:4]
    flat = features(stacked.movedim(2, 0).flatten(1, 3))
    return flat.reshape(draws, successive * batch, -1)


def check_features_independent(values: Float[Tensor, "draws parts features"], groups: Sequence[int], what: str) -> None:
    """Raises AssertionError if features of two parts are correlated; parts of the same group are not compared."""
    draws, parts, count = values.shape
    centred = values.double() - values.double().mean(0)
    spread = centred.square().mean(0).sqrt()
    # A constant feature is left out, since what remains after centring is rounding.
    scaled = torch.where(spread > 1e-5, centred / spread.clamp(min=1e-12), 0.0).flatten(1)
    mean = scaled.T @ scaled / draws
    error = ((scaled.square().T @ scaled.square() / draws - mean.square()).clamp(min=0) / draws).sqrt()
    off = mean / (error + 1e-7)
    comparable = _different_groups(groups).repeat_interleave(count, 0).repeat_interleave(count, 1)
    off = torch.where(comparable, off, 0.0)
    worst = int(off.abs().argmax())
    a, b = divmod(worst, parts * count)
    if float(off.abs().max()) >= LIMIT:
        raise AssertionError(_message(what, a // count, b // count, float(mean[a, b]), float(off[a, b])))


def check_shares_independent(values: Float[Tensor, "draws parts k units"], groups: Sequence[int], what: str) -> None:
    """Raises AssertionError if the shares of two parts are correlated, over all sources and positions.

    The sources of one part are also compared in other orders, since a part that swaps them may show no correlation
    source by source.
    """
    draws, _, k, _ = values.shape
    centred = values - values.mean(0)
    orders = [list(range(k)), list(range(k))[::-1]] + ([[*range(1, k), 0]] if k > 2 else [])
    size = centred.square().flatten(2).sum(2).mean(0)  # [parts]
    scale = (size[:, None] * size[None]).sqrt() + 1e-12
    for order in orders:
        products = torch.bmm(centred.flatten(2), centred[:, :, order].flatten(2).transpose(1, 2)).double()
        mean = products.mean(0)
        off = mean / (products.std(0) / draws**0.5 + 1e-7)
        off = torch.where(_different_groups(groups), off, 0.0)
        worst = int(off.abs().argmax())
        a, b = divmod(worst, len(groups))
        if float(off.abs().max()) >= LIMIT:
            raise AssertionError(_message(what, a, b, float((mean / scale)[a, b]), float(off[a, b])))


def _different_groups(groups: Sequence[int]) -> Bool[Tensor, "parts parts"]:
    number = torch.tensor(groups)
    return number[:, None] != number[None]


def _message(what: str, a: int, b: int, correlation: float, off: float) -> str:
    return f"{what.format(a=a, b=b)} have correlation {correlation:+.2f}, {off:+.1f} standard errors from 0"
