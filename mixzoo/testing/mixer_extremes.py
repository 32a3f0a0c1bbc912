"""What every mixer promises if random numbers are as small or as large as they can be."""

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

FORCED_CALLS = 6  # calls of a random function per draw in which one number is replaced
ROUNDS = 8  # draws in which every number is replaced


def check_draws_survive_extreme_numbers(part: Any) -> None:
    """Draw, share and mix are valid for random numbers at the ends of their range, such as torch.rand giving 0."""
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
    """Raises AssertionError if draw, mix, share or gradient is not finite, or if the share is not on the simplex."""
    assert_valid_draw(draw)
    mixed = case.mix(draw=draw)
    check_on_the_simplex(case, mixed)
    assert mixed.h.isfinite().all(), "h_mix is NaN or infinite"
    assert gradient(case, case.h(), draw)[0].isfinite().all(), "the gradient of a source is NaN or infinite"


def forced_draws(case: MixerCase) -> Iterator[tuple[str, Draw]]:
    """Draws with one number at an end of its range, then with all numbers at an end, each with a description."""
    usual = Extreme()
    with usual:
        _draw(case)
    calls = range(0, min(len(usual.sizes), CALLS), max(1, len(usual.sizes) // FORCED_CALLS))
    for call in calls:
        last = usual.sizes[call] - 1
        for index in sorted({0, last}):
            for end in ("low", "high", "middle"):
                with Extreme(one_number(call, index, end)):
                    draw = _draw(case)
                where = {"low": "as small", "high": "as large", "middle": "as near the middle of its range"}[end]
                yield f"with one number of {usual.names[call]} {where} as it can be", draw
    for number in range(ROUNDS if usual.sizes else 0):
        with Extreme(every_number(rng_for(number, "ends"))):
            draw = _draw(case)
        yield "with every random number at an end of its range", draw


def _draw(case: MixerCase) -> Draw:
    with torch.no_grad():
        return draw_for(case.mixer, case.shape, rng_for(case.seed, "mix"), case.progress)
