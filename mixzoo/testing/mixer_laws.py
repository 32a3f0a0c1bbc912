"""What every mixer promises about the distribution of its draws: statistics over many draws with fixed seeds.

A statistic is a mean of independent values, one per draw, compared with six standard errors (p about 2e-9). It does not
matter how positions or examples of one draw depend on each other.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mixzoo.core.mixing import draw_for
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.testing.cases import MixerCase, fixed_latent, law_case
from mixzoo.testing.independence import LIMIT, NUMBERS, check_independent
from mixzoo.testing.mixers import full_share, same_draw


def shares_of(
    case: MixerCase, draws: int, rng: Generator | None = None, h: Tensor | None = None, *, equal_examples: bool = False
) -> Iterator[Float[Tensor, "k batch *latent"]]:
    """The shares at every latent position for successive draws from one generator.

    With `equal_examples`, all examples have the same code and labels, for a mixer whose share depends on them.
    """
    rng, h = rng or rng_for(0, "law"), case.h() if h is None else h
    labels = case.labels()
    if equal_examples:
        one = case.but(shape=CodeShape(1, case.shape.latent))
        own = one.labels()
        h, labels = one.h().expand_as(h), None if own is None else own.expand(-1, case.shape.batch)
    with torch.no_grad():
        for _ in range(draws):
            draw = draw_for(case.mixer, case.shape, rng, case.progress)
            yield full_share(case.mixer(h, draw, labels)).float()


def shares(case: MixerCase, draws: int) -> Float[Tensor, "draws k batch units"]:
    """The shares of that many draws in one tensor."""
    return torch.stack(list(shares_of(case, draws))).flatten(3)


def standard_errors(values: Float[Tensor, "draws *rest"]) -> Float[Tensor, "*rest"]:
    """The mean of independent values in standard errors."""
    error = values.double().std(0) / len(values) ** 0.5
    off: Tensor = values.double().mean(0) / (error + 1e-7)
    return off


def law_mean_share_is_one_over_k(part: Any, samples: int) -> None:
    """No source is favoured: the mean share of each is 1/k, so the mean mix is the mean of the sources."""
    means = shares(law_case(part, batch=4), samples).mean((2, 3))  # [draws k]
    k = means.shape[1]
    off = standard_errors(means - 1 / k)
    worst = int(off.abs().argmax())
    assert float(off.abs().max()) < LIMIT, (
        f"the mean share of source {worst} is {float(means[:, worst].mean()):.4f} over {samples} draws, "
        f"{float(off[worst]):+.1f} standard errors from 1/{k}"
    )


def law_every_position_can_come_from_every_source(part: Any, samples: int) -> None:
    """Every source has a positive share at every latent position, corners and borders too, in some draw."""
    for latent in [(2, 5, 3), *([] if fixed_latent(part) else [(1, 4, 12), (1, 12, 4)])]:
        case = law_case(part, batch=8, latent=latent)
        largest = torch.zeros(case.mixer.k, *case.shape.latent)
        for share in shares_of(case, samples):
            largest = torch.maximum(largest, share.amax(1))
            if largest.all():
                break
        missed = (largest == 0).nonzero()
        if len(missed):
            source, *position = missed[0].tolist()
            raise AssertionError(
                f"the share of source {source} is 0 in every draw at position {tuple(position)} of a code of shape "
                f"{case.shape.latent}"
            )


def law_examples_are_drawn_independently(part: Any, samples: int) -> None:
    """The shares of any two examples of a batch are independent."""
    for batch, draws in ((32, samples // 2), (7, samples // 4)):
        case = law_case(part, batch=batch)
        what = f"the shares of examples {{a}} and {{b}} of a batch of {batch}"
        check_independent((share[None] for share in shares_of(case, draws)), list(range(batch)), what)


def law_successive_draws_are_independent(part: Any, samples: int) -> None:
    """Successive draws from one generator are independent."""
    case, successive = law_case(part, batch=2), 3
    h, index = case.h(), range(samples // 4)
    # A new generator for every three draws, or a mixer that seeds it again would give equal draws everywhere.
    groups_of_draws = (torch.stack(list(shares_of(case, successive, rng_for(0, "pairs", i), h))) for i in index)
    groups = [draw for draw in range(successive) for _ in range(case.shape.batch)]
    check_independent(groups_of_draws, groups, "the shares of a draw and of a later one")


def law_other_seeds_give_other_draws(part: Any, samples: int) -> None:
    """Draws from different seeds differ."""
    case = law_case(part, batch=8)
    draws = [case.but(seed=seed).draw() for seed in range(6)]
    assert not any(same_draw(draws[0], other) for other in draws[1:]), (
        "two seeds give the same draw; take random numbers from rng"
    )


def law_a_larger_batch_has_the_same_law(part: Any, samples: int) -> None:
    """The distribution of a share depends neither on the batch size nor on the index in the batch."""
    one = _moments(law_case(part, batch=1), samples)[:, :, 0].double()  # [draws statistics]
    many = _moments(law_case(part, batch=7), samples).double()
    error = ((one.var(0)[:, None] + many.var(0)) / samples).sqrt() + 1e-7
    off = (one.mean(0)[:, None] - many.mean(0)) / error
    statistic, example = divmod(int(off.abs().argmax()), off.shape[1])
    name = ("mean", "mean square", "mean square over the code")[statistic]
    assert float(off.abs().max()) < LIMIT, (
        f"the {name} of a share differs between a batch of one and example {example} of a batch of {off.shape[1]}, by "
        f"{float(off[statistic, example]):+.1f} standard errors"
    )


def _moments(case: MixerCase, samples: int) -> Float[Tensor, "draws statistics batch"]:
    """The mean share of the first source, and mean squares over all sources."""
    moments, waiting = [], list[Tensor]()
    for number, share in enumerate(shares_of(case, samples, equal_examples=True), start=1):
        waiting.append(share.flatten(2))
        if number == samples or len(waiting) * share.numel() >= NUMBERS:
            flat, waiting = torch.stack(waiting), []  # [draws k batch units]
            mean = flat.mean(3)
            moments.append(torch.stack([mean[:, 0], flat.square().mean((1, 3)), mean.square().mean(1)], 1))
    return torch.cat(moments)
