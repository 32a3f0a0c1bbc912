"""Random numbers are overwritten with the ends of their range, and the generator advances as usual."""

import pytest
import torch

from mixzoo.testing.extreme_numbers import Extreme, every_number, one_number

pytestmark = pytest.mark.kit

STEP = 2.0**-24  # of float32
CALLS = {
    "rand": (lambda g: torch.rand(2, 3, generator=g), 0, 1 - STEP),
    "rand in float64": (lambda g: torch.rand(2, 3, dtype=torch.float64, generator=g), 0, 1 - 2.0**-53),
    "uniform_": (lambda g: torch.empty(2, 3).uniform_(-1, 1, generator=g), -1, 1 - 2 * STEP),
    "exponential_": (lambda g: torch.empty(2, 3).exponential_(2.0, generator=g), 0, 8.318),
    "randn": (lambda g: torch.randn(2, 3, generator=g), -5.768, 5.768),
    "normal_": (lambda g: torch.empty(2, 3).normal_(1, 2, generator=g), 1 - 2 * 5.768, 1 + 2 * 5.768),
    "normal": (lambda g: torch.normal(torch.ones(2, 3), 2.0, generator=g), 1 - 2 * 5.768, 1 + 2 * 5.768),
    "bernoulli": (lambda g: torch.bernoulli(torch.full((2, 3), 0.5), generator=g), 0, 1),
    "bernoulli of 0": (lambda g: torch.bernoulli(torch.zeros(2, 3), generator=g), 0, 0),
    "bernoulli_": (lambda g: torch.empty(2, 3).bernoulli_(0.5, generator=g), 0, 1),
    "randint": (lambda g: torch.randint(3, 7, (2, 3), generator=g), 3, 6),
    "random_": (lambda g: torch.empty(2, 3).random_(3, 7, generator=g), 3, 6),
    "multinomial": (lambda g: torch.multinomial(torch.tensor([[0.0, 1, 1, 0]] * 6), 1, generator=g), 1, 2),
    "geometric_": (lambda g: torch.empty(2, 3).geometric_(0.5, generator=g), 1, 24),
    "gamma": (lambda g: torch._standard_gamma(torch.ones(2, 3), generator=g), STEP, 49),
}


@pytest.mark.parametrize("name", CALLS)
def test_one_number_is_at_an_end_and_the_others_are_unchanged(name):
    draw, low, high = CALLS[name]
    usual = draw(torch.Generator().manual_seed(1))
    for end, value in (("low", low), ("high", high)):
        rng = torch.Generator().manual_seed(1)
        with Extreme(one_number(0, 4, end)):
            found = draw(rng)
        assert float(found.flatten()[4]) == pytest.approx(value, rel=1e-3)
        assert torch.equal(found.flatten()[:4], usual.flatten()[:4])
        other = torch.Generator().manual_seed(1)
        draw(other)
        assert torch.equal(rng.get_state(), other.get_state())


def test_the_largest_uniform_number_is_below_1():
    with Extreme(one_number(0, 0, "high")):
        assert float(torch.rand(1, generator=torch.Generator())) < 1


def test_every_number_is_at_or_next_to_an_end():
    with Extreme(every_number(torch.Generator().manual_seed(0))):
        found = torch.rand(100, generator=torch.Generator())
    assert set(found.tolist()) == {STEP, 1 - STEP}


def test_only_the_first_calls_are_overwritten_so_that_rejection_sampling_ends():
    with Extreme(every_number(torch.Generator().manual_seed(0))):
        rng, numbers, calls = torch.Generator(), torch.ones(1), 0
        while (numbers.abs() > 0.5).any():
            numbers, calls = torch.randn(1, generator=rng), calls + 1
    assert calls > 64
