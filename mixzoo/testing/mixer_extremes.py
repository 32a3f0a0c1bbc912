"""What every mixer promises when a random number is as small or as large as it can be."""

from collections.abc import Iterator
from typing import Any

import torch

from mixzoo.core.mixing import draw_for
from mixzoo.core.parts import Draw
from mixzoo.core.random import rng_for
from mixzoo.testing.cases import MixerCase, fixed_latent, law_case, takes_vectors
from mixzoo.testing.extreme_numbers import CALLS, Extreme, every_number, one_number
from mixzoo.testing.mixer_gradients import gradient
from mixzoo.testing.mixer_mixes import check_on_the_simplex
from mixzoo.testing.mixers import assert_valid_draw

PLACES = 6  # random calls of a draw of which one number is forced
ROUNDS = 8  # draws with every number forced


def check_draws_survive_extreme_numbers(part: Any) -> None:
    """With random numbers at the ends of their range (torch.rand at 0 or nearly 1), draw, share and mix are sound."""
    shapes: list[tuple[int, ...]] = [fixed_latent(part) or (2, 5, 3)]
    if takes_vectors(part) and not fixed_latent(part):
        shapes.append((6,))
    for latent in shapes:
        case = law_case(part, batch=4, latent=latent).but(progress=0.5)
        for what, draw in forced_draws(case):
            try:
                check_sound(case, draw)
            except AssertionError as err:
                raise AssertionError(f"{what}, {err}") from err


def check_sound(case: MixerCase, draw: Draw) -> None:
    """AssertionError if the draw, its mix, its share or its gradient is not finite, or the share is on no simplex."""
    assert_valid_draw(draw)
    mixed = case.mix(draw=draw)
    check_on_the_simplex(case, mixed)
    assert mixed.h.isfinite().all(), "the mix is not finite"
    assert gradient(case, case.h(), draw)[0].isfinite().all(), "a gradient is not finite"


def forced_draws(case: MixerCase) -> Iterator[tuple[str, Draw]]:
    """Draws with one number at an end, then with every number at one end or the other, and what was forced."""
    seen = Extreme()
    with seen:
        _draw(case)
    calls = range(0, min(len(seen.sizes), CALLS), max(1, len(seen.sizes) // PLACES))
    for call in calls:
        last = seen.sizes[call] - 1
        for index in sorted({0, last}):
            for end in ("low", "high", "middle"):
                with Extreme(one_number(call, index, end)):
                    draw = _draw(case)
                where = {"low": "as small", "high": "as large", "middle": "as near the middle of its range"}[end]
                yield f"with one number of {seen.names[call]} {where} as it can be", draw
    for number in range(ROUNDS if seen.sizes else 0):
        with Extreme(every_number(rng_for(number, "ends"))):
            draw = _draw(case)
        yield "with every random number at one end of its range or the other", draw


def _draw(case: MixerCase) -> Draw:
    with torch.no_grad():
        return draw_for(case.mixer, case.shape, rng_for(case.seed, "mix"), case.progress)
