"""Whether the shares of examples, or of successive draws, tell anything about one another.

A statistic is a mean of products of two centred numbers, one from each, over independent draws, held against six of its
standard errors. Products are divided by their own spread, so that a rare event cannot pass for a dependence.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LIMIT = 6.0  # standard errors
NUMBERS = 1 << 24  # of the shares that are held at once


def features(share: Float[Tensor, "k batch *latent"]) -> Float[Tensor, "batch features"]:
    """What a share looks like, a few numbers an example: how much of a source and where, and where sources meet.

    The latter do not depend on which source is which, so that places drawn together show though sources are not.
    """
    k, flat = len(share), share.flatten(2)
    mean = flat.mean(2)
    found = [mean[0], mean[1], mean.square().sum(0), flat[0, :, 0], flat[1, :, -1], flat.square().sum(0).mean(1)]
    if k > 2:
        found += [mean[-1], flat[-1, :, flat.shape[2] // 2]]
    for axis in range(2, share.ndim):
        length = share.shape[axis]
        if length < 2:
            continue
        edge = (share.narrow(axis, 1, length - 1) - share.narrow(axis, 0, length - 1)).abs().sum(0)
        edge = edge.movedim(axis - 1, 1).flatten(2).mean(2)  # [batch, places along the axis]
        found += [edge.mean(1), (edge * torch.linspace(-1, 1, length - 1)).mean(1)]
        along = share[0].movedim(axis - 1, 1).flatten(2).mean(2)
        found.append((along * torch.linspace(-1, 1, length)).mean(1))
    return torch.stack(found, 1)


def check_independent(
    draws: Iterable[Float[Tensor, "successive k batch *latent"]], groups: Sequence[int], what: str
) -> None:
    """AssertionError if the shares of one part tell of those of another; a part is an example of one of the draws.

    Each item is the shares of a few draws that are compared; items are independent of one another. Parts of one group
    are not compared. `what` is the message, with {a} and {b} for the two parts.
    """
    waiting: list[Tensor] = []
    seen: list[Tensor] = []
    whole: Tensor | None = None
    for one in draws:
        waiting.append(one)
        if len(waiting) * one.numel() < NUMBERS:
            continue
        whole = _drawn(waiting) if whole is None else whole
        seen.append(_features(waiting))
        waiting = []
    if waiting:
        whole = _drawn(waiting) if whole is None else whole
        seen.append(_features(waiting))
    assert whole is not None
    check_shares_independent(whole, groups, what)
    check_features_independent(torch.cat(seen), groups, what)


def _drawn(items: list[Tensor]) -> Float[Tensor, "draws parts k units"]:
    return torch.stack(items).flatten(4).transpose(2, 3).flatten(1, 2)


def _features(items: list[Tensor]) -> Float[Tensor, "draws parts features"]:
    stacked = torch.stack(items)  # [draws successive k batch *latent]
    draws, successive, _, batch = stacked.shape[:4]
    found = features(stacked.movedim(2, 0).flatten(1, 3))
    return found.reshape(draws, successive * batch, -1)


def check_features_independent(values: Float[Tensor, "draws parts features"], groups: Sequence[int], what: str) -> None:
    """AssertionError if a feature of one part goes with a feature of another; parts of one group are not compared."""
    draws, parts, count = values.shape
    centred = values.double() - values.double().mean(0)
    spread = centred.square().mean(0).sqrt()
    # a feature without a spread is none; what is left of it would be rounding
    scaled = torch.where(spread > 1e-5, centred / spread.clamp(min=1e-12), 0.0).flatten(1)
    mean = scaled.T @ scaled / draws
    error = ((scaled.square().T @ scaled.square() / draws - mean.square()).clamp(min=0) / draws).sqrt()
    off = mean / (error + 1e-7)
    apart = _apart(groups).repeat_interleave(count, 0).repeat_interleave(count, 1)
    off = torch.where(apart, off, 0.0)
    worst = int(off.abs().argmax())
    a, b = divmod(worst, parts * count)
    if float(off.abs().max()) >= LIMIT:
        raise AssertionError(_message(what, a // count, b // count, float(mean[a, b]), float(off[a, b])))


def check_shares_independent(values: Float[Tensor, "draws parts k units"], groups: Sequence[int], what: str) -> None:
    """AssertionError if the shares of two parts go together or against each other, over all sources and positions.

    Source by source, and with the sources of one part in another order, since a mirror image has no correlation source
    by source.
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
        off = torch.where(_apart(groups), off, 0.0)
        worst = int(off.abs().argmax())
        a, b = divmod(worst, len(groups))
        if float(off.abs().max()) >= LIMIT:
            raise AssertionError(_message(what, a, b, float((mean / scale)[a, b]), float(off[a, b])))


def _apart(groups: Sequence[int]) -> Bool[Tensor, "parts parts"]:
    number = torch.tensor(groups)
    return number[:, None] != number[None]


def _message(what: str, a: int, b: int, correlation: float, off: float) -> str:
    return f"{what.format(a=a, b=b)} have correlation {correlation:+.2f}, {off:+.1f} standard errors from 0"
