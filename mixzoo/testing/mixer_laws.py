"""What the draws of every mixer promise as a law: statistics over many draws with fixed seeds.

A statistic is a mean of independent values, one a draw, held against six standard errors (p about 2e-9), whatever the
mixer shares between positions or examples.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mixzoo.draws import rng_for
from mixzoo.mixing import drawn
from mixzoo.testing.cases import MixerCase, law_case
from mixzoo.testing.mixers import full_share, same_draw

LIMIT = 6.0  # standard errors


def shares(case: MixerCase, draws: int, rng: Generator | None = None) -> Float[Tensor, "draws k batch units"]:
    """The shares of that many draws, one after another from one generator, at every latent position."""
    rng, h, found = rng or rng_for(0, "law"), case.h(), []
    with torch.no_grad():
        for _ in range(draws):
            draw = drawn(case.mixer, case.shape, rng, case.progress)
            found.append(full_share(case.mix(h, draw)).float())
    return torch.stack(found).flatten(3)


def standard_errors(values: Float[Tensor, "draws *rest"]) -> Float[Tensor, "*rest"]:
    """How many standard errors the mean of independent values is from 0; 0 where they do not vary about it."""
    error = values.double().std(0) / len(values) ** 0.5
    off: Tensor = values.double().mean(0) / (error + 1e-7)
    return off


def law_mean_share_is_one_over_k(part: Any, samples: int) -> None:
    """No source is favoured: the mean share of each is 1/k, and so the mean mix is the mean of the sources."""
    found = shares(law_case(part, batch=4), samples)
    means = found.mean((2, 3))  # [draws k]
    k = means.shape[1]
    off = standard_errors(means - 1 / k)
    worst = int(off.abs().argmax())
    assert float(off.abs().max()) < LIMIT, (
        f"the mean share of source {worst} is {float(means[:, worst].mean()):.4f} over {samples} draws, "
        f"{float(off[worst]):+.1f} standard errors from 1/{k}"
    )


def law_every_position_can_come_from_every_source(part: Any, samples: int) -> None:
    """Every latent position, corners and borders too, has a share of every source in some draw."""
    case = law_case(part, batch=8)
    most = shares(case, samples).amax((0, 2))  # [k units]
    missed = (most == 0).nonzero()
    if len(missed):
        source, unit = missed[0].tolist()
        where = torch.unravel_index(torch.tensor(unit), case.shape.latent)
        place = tuple(int(i) for i in where)
        raise AssertionError(f"source {source} never has a share at position {place} of {case.shape.latent}")


def law_examples_are_drawn_independently(part: Any, samples: int) -> None:
    """The shares of two examples of a batch are independent: no number is shared by the whole batch."""
    found = shares(law_case(part, batch=8), samples)
    refuse_dependent(found[:, :, ::2], found[:, :, 1::2], "the shares of two examples of a batch")


def law_successive_draws_are_independent(part: Any, samples: int) -> None:
    """A draw tells nothing about the next one from the same generator."""
    case, pairs = law_case(part, batch=1), []
    for index in range(samples // 2):
        rng = rng_for(0, "pairs", index)
        pairs.append(shares(case, 2, rng))
    found = torch.stack(pairs)
    refuse_dependent(found[:, 0], found[:, 1], "the shares of one draw and of the next")


def refuse_dependent(a: Tensor, b: Tensor, what: str) -> None:
    """AssertionError where two series of shares [draws k ...] go together or against each other.

    Summed over sources and positions, so that a rare source does not spoil the statistic; once source by source, once
    with the sources of one series in reverse, since a mirror image has no correlation source by source.
    """
    centred_a, centred_b = a - a.mean(0), b - b.mean(0)
    spread = float((centred_a.square().flatten(1).sum(1).mean() * centred_b.square().flatten(1).sum(1).mean()).sqrt())
    for other in (centred_b, centred_b.flip(1)):
        products = (centred_a * other).flatten(1).sum(1)
        off, correlation = float(standard_errors(products)), float(products.mean()) / (spread + 1e-12)
        assert abs(off) < LIMIT, f"{what} have correlation {correlation:+.2f}, {off:+.1f} standard errors from 0"


def law_other_seeds_give_other_draws(part: Any, samples: int) -> None:
    """Draws of two seeds differ."""
    case = law_case(part, batch=8)
    draws = [case.but(seed=seed).draw() for seed in range(6)]
    assert not any(same_draw(draws[0], other) for other in draws[1:]), "two seeds gave one draw"


def law_a_larger_batch_has_the_same_law(part: Any, samples: int) -> None:
    """The mean and the spread of a share do not depend on how many examples are in the batch."""
    one, many = (shares(law_case(part, batch=batch), samples)[:, :, 0] for batch in (1, 6))  # [draws k units]
    statistics = {
        "mean": (one[:, 0].mean(1), many[:, 0].mean(1)),
        "mean square": (one.square().mean((1, 2)), many.square().mean((1, 2))),
    }
    for name, (a, b) in statistics.items():
        error = ((a.double().var() + b.double().var()) / samples).sqrt() + 1e-7
        off = float((a.double().mean() - b.double().mean()) / error)
        assert abs(off) < LIMIT, f"the {name} of a share is another in a larger batch, {off:+.1f} standard errors away"
