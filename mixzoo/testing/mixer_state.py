"""What every mixer promises about its state: draws and calls leave it unchanged."""

from copy import deepcopy
from dataclasses import is_dataclass, replace
from typing import Any

import torch

from mixzoo.core.mixing import draw_for
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.testing.cases import MixerCase, fixed_latent, law_case, takes_vectors
from mixzoo.testing.held_state import changed, state_held
from mixzoo.testing.mixers import same_draw

MANY = 3_000  # calls of one mixer, or fewer with low effort


def law_draws_and_calls_leave_no_trace(part: Any, samples: int) -> None:
    """Draws and calls do not change the state of the mixer, nor the results of later draws and calls."""
    for latent in [(2, 2, 3), *[(4,)] * takes_vectors(part)]:
        case = law_case(part, batch=2, latent=latent)
        use(case, 0)  # a cache that is filled once for a shape is fine
        before = state_held(case.mixer)
        for seed in (1, 2, 1):
            use(case, seed)
        if what := changed(before, state_held(case.mixer)):
            raise AssertionError(
                f"draws and calls change {what}; a draw must depend on its generator alone, and a mix on its draw"
            )
    check_has_no_history(part)
    check_is_the_same_after(part, min(MANY, samples))


def use(case: MixerCase, seed: int) -> None:
    """Draw, mix and backpropagate at several values of progress, and at points of the simplex."""
    case = case.but(seed=seed)
    k, h = case.mixer.k, case.h() * (seed + 1)
    draws = [draw_for(case.mixer, case.shape, rng_for(seed, "mix", i), i / 2) for i in range(3)]
    points = (torch.eye(k)[seed % k], torch.full((k,), 1 / k))
    for draw in (*draws, *(case.mixer.at(point, case.shape) for point in points)):
        source = h.clone().requires_grad_()
        torch.autograd.grad(case.mix(source, draw).h.sum(), source, allow_unused=True)


def check_has_no_history(part: Any) -> None:
    """Raises AssertionError if a used mixer draws or mixes differently from an unused one."""
    latent = fixed_latent(part) or (2, 2, 3)
    cases = [MixerCase(fresh(part, latent), CodeShape(2, latent)) for _ in range(2)]
    for seed in (5, 6):
        use(cases[1], seed)
    fresh_one, used = (case.draw() for case in cases)
    assert same_draw(fresh_one, used), "a used mixer gives another draw than an unused one; keep no state between draws"
    a, b = (case.mix(draw=fresh_one) for case in cases)
    assert torch.equal(a.h, b.h), "a used mixer gives another mix than an unused one; keep no state between calls"


def fresh(part: Any, latent: tuple[int, ...]) -> Any:
    """An unused mixer: built again from a recipe, created again from a dataclass, otherwise a copy."""
    own = replace(part) if is_dataclass(part) and not isinstance(part, torch.nn.Module | type) else deepcopy(part)
    return law_case(own, batch=1, latent=latent).mixer


def check_is_the_same_after(part: Any, calls: int) -> None:
    """Raises AssertionError if the first draw or mix cannot be repeated after that many calls."""
    case = law_case(part, batch=1, latent=(2, 2, 3))
    case = case.but(dtype=torch.float32)
    h, labels, rng = case.h(), case.labels(), rng_for(0, "calls")
    with torch.no_grad():
        first = case.draw()
        mixed = case.mixer(h, first, labels).h
        for _ in range(calls):
            case.mixer(h, draw_for(case.mixer, case.shape, rng, case.progress), labels)
        assert same_draw(case.draw(), first), f"after {calls} draws, the same seed gives another draw"
        again = case.mixer(h, first, labels).h
    assert torch.equal(again, mixed), f"after {calls} calls, the same draw gives another mix"
