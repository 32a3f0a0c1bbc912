"""What the draws of every mixer promise as a law: statistics over many draws with fixed seeds.

A statistic is a mean of independent values, one a draw, held against six standard errors (p about 2e-9), whatever the
mixer shares between positions or examples.
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
    case: MixerCase, draws: int, rng: Generator | None = None, h: Tensor | None = None, *, alike: bool = False
) -> Iterator[Float[Tensor, "k batch *latent"]]:
    """The shares of that many draws, one after another from one generator, at every latent position.

    With `alike` all examples have the code and the labels of one example alone, for a share that depends on them.
    """
    rng, h = rng or rng_for(0, "law"), case.h() if h is None else h
    labels = case.labels()
    if alike:
        one = case.but(shape=CodeShape(1, case.shape.latent))
        own = one.labels()
        h, labels = one.h().expand_as(h), None if own is None else own.expand(-1, case.shape.batch)
    with torch.no_grad():
        for _ in range(draws):
            draw = draw_for(case.mixer, case.shape, rng, case.progress)
            yield full_share(case.mixer(h, draw, labels)).float()


def shares(case: MixerCase, draws: int) -> Float[Tensor, "draws k batch units"]:
    """All of them, in memory."""
    return torch.stack(list(shares_of(case, draws))).flatten(3)


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
    for latent in [(2, 5, 3), *([] if fixed_latent(part) else [(1, 4, 12), (1, 12, 4)])]:
        case = law_case(part, batch=8, latent=latent)
        most = torch.zeros(case.mixer.k, *case.shape.latent)
        for share in shares_of(case, samples):
            most = torch.maximum(most, share.amax(1))
            if most.all():
                break
        missed = (most == 0).nonzero()
        if len(missed):
            source, *place = missed[0].tolist()
            raise AssertionError(f"source {source} never has a share at position {tuple(place)} of {case.shape.latent}")


def law_examples_are_drawn_independently(part: Any, samples: int) -> None:
    """The shares of any two examples of a batch are independent: neighbours, mirror images, halves of the batch."""
    for batch, draws in ((32, samples // 2), (7, samples // 4)):
        case = law_case(part, batch=batch)
        what = f"the shares of examples {{a}} and {{b}} of a batch of {batch}"
        check_independent((share[None] for share in shares_of(case, draws)), list(range(batch)), what)


def law_successive_draws_are_independent(part: Any, samples: int) -> None:
    """A draw tells nothing about the next ones from the same generator."""
    case, successive = law_case(part, batch=2), 3
    h, index = case.h(), range(samples // 4)
    # a generator for each few draws: one that a mixer seeded anew would give the same to all draws
    few = (torch.stack(list(shares_of(case, successive, rng_for(0, "pairs", i), h))) for i in index)
    groups = [draw for draw in range(successive) for _ in range(case.shape.batch)]
    check_independent(few, groups, "the shares of a draw and of a later one")


def law_other_seeds_give_other_draws(part: Any, samples: int) -> None:
    """Draws of two seeds differ."""
    case = law_case(part, batch=8)
    draws = [case.but(seed=seed).draw() for seed in range(6)]
    assert not any(same_draw(draws[0], other) for other in draws[1:]), "two seeds gave one draw"


def law_a_larger_batch_has_the_same_law(part: Any, samples: int) -> None:
    """The mean and the spread of a share depend neither on the size of the batch nor on the place in it."""
    one = _moments(law_case(part, batch=1), samples)[:, :, 0].double()  # [draws statistics]
    many = _moments(law_case(part, batch=7), samples).double()
    error = ((one.var(0)[:, None] + many.var(0)) / samples).sqrt() + 1e-7
    off = (one.mean(0)[:, None] - many.mean(0)) / error
    statistic, example = divmod(int(off.abs().argmax()), off.shape[1])
    name = ("mean", "mean square", "mean square over the code")[statistic]
    assert float(off.abs().max()) < LIMIT, (
        f"the {name} of a share is another for example {example} of a batch of {off.shape[1]} than for one alone, "
        f"{float(off[statistic, example]):+.1f} standard errors away"
    )


def _moments(case: MixerCase, samples: int) -> Float[Tensor, "draws statistics batch"]:
    """The mean share of the first source, and mean squares of all."""
    found, waiting = [], list[Tensor]()
    for number, share in enumerate(shares_of(case, samples, alike=True), start=1):
        waiting.append(share.flatten(2))
        if number == samples or len(waiting) * share.numel() >= NUMBERS:
            flat, waiting = torch.stack(waiting), []  # [draws k batch units]
            mean = flat.mean(3)
            found.append(torch.stack([mean[:, 0], flat.square().mean((1, 3)), mean.square().mean(1)], 1))
    return torch.cat(found)
