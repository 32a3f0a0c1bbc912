"""Slerp: on the arc where there is one, finite everywhere."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixzoo import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.registry.zoo import load_zoo

SLERP = load_zoo().recipe("mixer", "slerp")
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def normal(*size, seed=0):
    return torch.randn(*size, dtype=torch.float64, generator=rng_for(seed, "slerp"))


def share_at(t, batch, latent_axes):
    return torch.tensor([1 - t, t]).reshape(2, 1, *[1] * latent_axes).expand(2, batch, *[1] * latent_axes)


def at_angle(angle, length, n=50):
    """Codes of 16 features, length 1, and others at that angle, of that length."""
    a = torch.nn.functional.normalize(normal(n, 16), dim=1)
    b = normal(n, 16, seed=1)
    b = torch.nn.functional.normalize(b - (a * b).sum(1, keepdim=True) * a, dim=1)
    return a, b, length * (math.cos(angle) * a + math.sin(angle) * b)


@pytest.mark.parametrize("angle", [1e-9, 1e-6, 1e-3, 0.5, math.pi / 2, 3.0, math.pi - 1e-3])
@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_the_mix_is_that_part_of_the_angle_along_with_a_length_in_between(angle, t):
    a, up, b = at_angle(angle, 3.0)
    share = torch.tensor([1 - t, t], dtype=torch.float64)[:, None, None].expand(2, 50, 1)
    expected = (1 - t + 3 * t) * (math.cos(t * angle) * a + math.sin(t * angle) * up)
    assert (SLERP(torch.stack([a, b]), share).h - expected).abs().max() < 1e-10
    single = SLERP(torch.stack([a, b]).float(), share.float()).h
    assert (single - expected).abs().max() < (1e-5 if angle < 3 else 3e-3)  # the nearer to opposite, the less is sure


def test_a_map_is_one_code_and_each_example_has_an_arc_of_its_own():
    h, share = normal(2, 5, 3, 2, 4), SLERP.draw(CodeShape(5, (3, 2, 4)), rng_for(0, "mix"))
    assert share.shape == (2, 5, 1, 1, 1)
    flat = SLERP(h.flatten(2), share.flatten(2)).h
    torch.testing.assert_close(SLERP(h, share).h, flat.reshape(5, 3, 2, 4), rtol=0, atol=1e-14)
    length = SLERP(h, share).h.flatten(1).norm(dim=1)
    torch.testing.assert_close(length, (share.double().flatten(1) * h.flatten(2).norm(dim=2)).sum(0))


@pytest.mark.bit_exact
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ends_are_exact(dtype):
    h = normal(2, 8, 3, 2, 4).to(dtype)
    for source in (0, 1):
        assert torch.equal(SLERP(h, share_at(float(source), 8, 3)).h, h[source])


def test_opposite_codes_and_codes_of_zeros_are_mixed_along_the_line():
    a, zero = normal(4, 6), torch.zeros(4, 6, dtype=torch.float64)
    for pair in ((a, -a), (a, -2 * a), (a, zero), (zero, a), (zero, zero)):
        h = torch.stack(pair)
        assert torch.equal(SLERP(h, share_at(0.25, 4, 1)).h, 0.75 * h[0] + 0.25 * h[1])


def test_parallel_codes_are_mixed_along_the_line():
    a = normal(4, 6)
    torch.testing.assert_close(SLERP(torch.stack([a, 3 * a]), share_at(0.25, 4, 1)).h, 1.5 * a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("first", [1, 0, 1e-10, 1e-25, 1e3])
def test_values_and_gradients_are_finite_wherever_the_codes_are(dtype, t, first):
    a = normal(3, 2, 2, 2)
    for second in (1, 2, -1, -3, 0, 1e-30, 1 + 1e-6, -1 - 1e-6):
        h = torch.stack([first * a, second * a]).to(dtype).requires_grad_()
        mixed = SLERP(h, share_at(t, 3, 3)).h
        (gradient,) = torch.autograd.grad(mixed.sum(), h)
        assert mixed.isfinite().all(), second
        assert gradient.isfinite().all(), second


def test_gradients_are_right_to_second_order():
    h, share = normal(2, 3, 4).requires_grad_(), SLERP.draw(CodeShape(3, (4,)), rng_for(0, "mix")).double()
    assert torch.autograd.gradcheck(lambda h: SLERP(h, share).h, (h,))
    assert torch.autograd.gradgradcheck(lambda h: SLERP(h, share).h, (h,))


@given(st.integers(0, 2**32), st.floats(0.01, 100))
def test_codes_of_twice_the_size_have_a_mix_of_twice_the_size(seed, scale):
    h, share = normal(2, 3, 4, seed=seed), SLERP.draw(CodeShape(3, (4,)), rng_for(seed, "mix"))
    torch.testing.assert_close(SLERP(scale * h, share).h, scale * SLERP(h, share).h)


def test_the_share_is_the_part_of_the_arc_drawn_uniformly():
    n = 100_000
    draw = SLERP.draw(CodeShape(n, (2,)), rng_for(0, "mix"))
    assert torch.equal(SLERP(torch.ones(2, n, 2), draw).share, draw)
    assert (draw[1].flatten().sort().values - (torch.arange(n) + 0.5) / n).abs().max() < 3.27 / n**0.5


def test_what_slerp_leaves_out_it_really_does_not_promise():
    """An arc of a right angle at its middle: outside the box, not the mean, and another one after a shift."""
    h = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], requires_grad=True)
    share = share_at(0.5, 1, 1)
    mixed = SLERP(h, share).h
    (gradient,) = torch.autograd.grad(mixed.sum(), h)
    assert mixed.tolist() == [pytest.approx([0.5**0.5] * 2)]
    broken = {
        "share_is_used": not torch.allclose(mixed, h.mean(0)),
        "stays_between_sources": bool((SLERP(h + torch.tensor([1.0, 0.0]), share).h > 1).any()),
        "moves_with_shift_and_scale": not torch.allclose(SLERP(h + 3, share).h, mixed + 3),
        "gradient_is_share": not torch.allclose(gradient, torch.full_like(h, 0.5)),
    }
    assert broken == dict.fromkeys(SLERP.skipped_checks, True)
