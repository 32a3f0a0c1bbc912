"""What every mixer promises about a mix of given sources and draw, in any order, memory layout and precision."""

import torch
from torch import Tensor

from mixzoo.core.parts import CodeShape, Mixed
from mixzoo.core.random import rng_for
from mixzoo.testing.cases import MixerCase, map_draw
from mixzoo.testing.mixers import (
    assert_close,
    assert_valid_draw,
    bits,
    corners,
    full_share,
    other_global_seeds,
    same_draw,
    tolerance,
)
from mixzoo.testing.watching import generator_states

# --- what a mix is


def check_equal_sources_come_back(case: MixerCase) -> None:
    """Mixing k copies of a code returns that code."""
    h = case.h()[:1].expand(case.mixer.k, *case.h().shape[1:])
    assert_close(case.mix(h).h, h[0], tolerance(case, h), "a mix of k copies of a code is another code")


def check_a_batch_of_one_comes_back(case: MixerCase) -> None:
    """In a batch of one, where every partner is the example itself, the mix is the example."""
    check_equal_sources_come_back(case.but(shape=CodeShape(1, case.shape.latent)))


def check_stays_between_sources(case: MixerCase) -> None:
    """Every element of a mix lies between the smallest and the largest value of the sources at that position."""
    h = case.h()
    mixed, slack = case.mix(h).h.detach().double(), tolerance(case, h)
    below, above = h.double().amin(0) - mixed, mixed - h.double().amax(0)
    worst = float(torch.maximum(below, above).max())
    assert worst <= slack, (
        f"an element of h_mix is {worst:.3g} outside the range of its sources, at most {slack:.3g} is allowed"
    )


def check_shares_are_on_the_simplex(case: MixerCase) -> None:
    """Shares are finite, nonnegative, and sum to 1 over the k sources at every position."""
    check_on_the_simplex(case, case.mix())


def check_on_the_simplex(case: MixerCase, mixed: Mixed) -> None:
    """Raises AssertionError if a share is not finite or negative, or if the shares of a position do not sum to 1."""
    share = mixed.share.detach().double()
    assert share.isfinite().all(), "a share is not finite"
    assert float(share.min()) >= 0, f"the smallest share is {float(share.min()):.3g}, expected at least 0"
    off = float((share.sum(0) - 1).abs().max())
    slack = 2 * case.mixer.k * max(torch.finfo(case.dtype).eps, torch.finfo(torch.float32).eps)
    assert off <= slack, f"the sum of shares differs from 1 by {off:.3g}, at most {slack:.3g} is allowed"


def check_share_is_used(case: MixerCase) -> None:
    """The reported share is the one that was used: h_mix = sum_i share_i h_i."""
    h = case.h()
    mixed = case.mix(h)
    expected = (mixed.share.double() * h.double()).sum(0)
    assert_close(mixed.h, expected, tolerance(case, h), "h_mix is not the sum of share times source")


def check_corner_is_that_source(case: MixerCase) -> None:
    """At a corner of the simplex, `at` gives a mix that equals that source, bit for bit."""
    h = case.h()
    for source, corner in enumerate(corners(case.mixer.k)):
        mixed = case.mix(h, case.mixer.at(corner, case.shape)).h
        assert torch.equal(mixed, h[source]), f"the mix at corner {source} is not equal to source {source}"


def check_at_is_a_point_of_the_simplex(case: MixerCase) -> None:
    """`at(point)` gives every example those shares: exactly, or within 0.2 on average if shares vary over positions."""
    point = torch.rand(case.mixer.k, generator=rng_for(case.seed, "point")) + 0.05
    point = point / point.sum()
    draw = case.mixer.at(point, case.shape)
    assert_valid_draw(draw)
    share = full_share(case.mix(draw=draw)).double()  # [k batch *latent]
    means = share.flatten(2).mean(2) if share.ndim > 2 else share
    slack = 0.2 if varies_inside(share) else tolerance(case, torch.ones(1)) + 1e-6
    assert_close(means, point.double()[:, None].expand_as(means), slack, f"the mean share of at({point.tolist()})")


def varies_inside(share: Tensor) -> bool:
    """Whether shares [k batch *latent] vary over positions, as those of a mask, which can only approximate a point."""
    flat = share.flatten(2)
    return bool((flat != flat[:, :, :1]).any())


def check_at_is_the_same_each_time(case: MixerCase) -> None:
    """`at` is deterministic: one point gives one draw, equal for all examples, without a global generator."""
    k, shape = case.mixer.k, CodeShape(3, case.shape.latent)
    point = torch.arange(1.0, k + 1) / sum(range(1, k + 1))
    before = generator_states()
    first = case.mixer.at(point, shape)
    assert generator_states() == before, "`at` uses a global generator; it must be deterministic"
    with other_global_seeds():
        assert same_draw(case.mixer.at(point, shape), first), "two calls of `at` with one point give different draws"
    equal_examples = case.but(shape=shape).h()[:, :1].repeat(1, 3, *[1] * len(shape.latent))
    labels = torch.zeros(k, 3, dtype=torch.long)
    mixed = case.mixer(equal_examples, first, labels).h
    assert_close(
        mixed, mixed[:1].expand_as(mixed), tolerance(case, equal_examples), "equal examples at one point of the simplex"
    )


# --- masks: one source at each position


def check_mask_picks_one_source(case: MixerCase) -> None:
    """A mask is boolean, and true for exactly one source at every position."""
    draw = case.draw()
    assert isinstance(draw, Tensor), "a MaskMixer draws one tensor, the mask"
    assert draw.dtype == torch.bool, f"the mask is {draw.dtype}, expected torch.bool"
    counts = sorted(set(draw.sum(0).flatten().tolist()))
    assert counts == [1], f"the numbers of sources at a position are {counts}, expected exactly 1 everywhere"


def check_picked_values_come_through_exactly(case: MixerCase) -> None:
    """Selected values are copied bit for bit (-0.0, denormal, infinite), even if other sources are NaN or infinite."""
    h, draw = case.h(), case.draw()
    assert isinstance(draw, Tensor), "a MaskMixer draws one tensor, the mask"
    mask = draw.expand_as(h)
    tiny = torch.finfo(case.dtype).tiny / 4  # denormal
    special = torch.tensor([-0.0, tiny, float("inf"), 3.0], dtype=case.dtype)
    picked = special[torch.arange(h[0].numel()) % 4].reshape(h[0].shape)
    for poison in (float("nan"), float("inf"), float("-inf")):
        poisoned = torch.where(mask, picked, torch.full_like(h, poison))
        mixed = case.mix(poisoned, draw).h
        assert torch.equal(bits(mixed), bits(picked)), (
            f"{poison} in a source that is not selected changes the mix; use torch.where, not a product"
        )


def check_every_element_comes_from_its_own_place(case: MixerCase) -> None:
    """Every element of the mix is copied from the same position of a source."""
    h = case.but(dtype=torch.float64).h()
    numbers = torch.arange(h.numel(), dtype=torch.float64).reshape(h.shape)
    position = case.but(dtype=torch.float64).mix(numbers).h % h[0].numel()
    assert torch.equal(position, numbers[0]), "an element of h_mix is not copied from the same position of a source"


# --- symmetries


def check_sources_may_change_places(case: MixerCase) -> None:
    """Permuting the sources together with their shares gives the same mix."""
    h, draw, labels = case.h(), case.draw(), case.labels()
    order = torch.randperm(case.mixer.k, generator=rng_for(case.seed, "places"))
    labels = None if labels is None else labels[order]
    permuted = case.mixer(h[order], map_draw(lambda t: t[order], draw), labels).h
    assert_close(
        permuted, case.mix(h, draw).h, tolerance(case, h), "after a permutation of the sources and their shares"
    )


def check_examples_do_not_leak(case: MixerCase) -> None:
    """Changing the codes and labels of one example does not change the mix of another example."""
    case = case.but(shape=CodeShape(max(case.shape.batch, 2), case.shape.latent))
    h, draw, labels = case.h(), case.draw(), case.labels()
    other_h, other_labels = h.clone(), None if labels is None else labels.clone()
    other_h[:, 0] += 100
    if other_labels is not None:
        other_labels[:, 0] = (other_labels[:, 0] + 1) % 10
    a, b = case.mixer(h, draw, labels), case.mixer(other_h, draw, other_labels)
    assert torch.equal(a.h[1:], b.h[1:]), "changing the codes of the first example changes the mix of another"
    if a.labels is not None and b.labels is not None:
        assert torch.equal(a.labels[1:], b.labels[1:]), (
            "changing the labels of the first example changes the y_mix of another"
        )


def check_batch_permutes(case: MixerCase) -> None:
    """Permuting examples and their draws over the batch permutes the mixes."""
    case = case.but(shape=CodeShape(max(case.shape.batch, 3), case.shape.latent))
    k, h, labels = case.mixer.k, case.h(), case.labels()
    order = torch.randperm(case.shape.batch, generator=rng_for(case.seed, "places"))
    permuted_labels = None if labels is None else labels[:, order]
    constant = case.mixer.at(torch.full((k,), 1 / k), case.shape)  # the same for every example
    draws = [(constant, constant)]
    draw = case.draw()
    if isinstance(draw, Tensor) and draw.shape[:2] == h.shape[:2]:
        draws.append((draw, draw[:, order]))
    for original, permuted in draws:
        a = case.mixer(h, original, labels)
        b = case.mixer(h[:, order], permuted, permuted_labels)
        assert_close(b.h, a.h[order], tolerance(case, h) * 0.5, "after a permutation of the examples")
        if a.labels is not None and b.labels is not None:
            assert_close(b.labels, a.labels[order], 1e-6, "y_mix after a permutation of the examples")


def check_moves_with_shift_and_scale(case: MixerCase) -> None:
    """Scaling and shifting all codes scales and shifts the mix: Mix(a h + b) = a Mix(h) + b."""
    h, draw = case.h(), case.draw()
    moved = 2 * h + 3
    expected = 2 * case.mix(h, draw).h + 3
    assert_close(case.mix(moved, draw).h, expected, 2 * tolerance(case, moved), "after scaling and shifting the codes")


def check_labels_do_not_matter(case: MixerCase) -> None:
    """Labels do not change the mix; a mixer that reads labels skips this check."""
    h, draw = case.h(), case.draw()
    with_labels = case.mixer(h, draw, case.but(with_labels=True).labels())
    without = case.mixer(h, draw, None)
    other = case.mixer(h, draw, case.but(with_labels=True, seed=case.seed + 7).labels())
    unchanged = torch.equal(with_labels.h, without.h) and torch.equal(with_labels.h, other.h)
    assert unchanged, "the mix depends on the labels; if it should, skip this check with that reason"


# --- memory, precision and contexts


def check_precision_changes_only_rounding(case: MixerCase) -> None:
    """The mix in float64 is the same up to rounding."""
    h, draw = case.h(), case.draw()
    exact = case.but(dtype=torch.float64).mix(h.double(), draw).h
    slack = tolerance(case, h)
    assert_close(case.mix(h, draw).h, exact, slack, f"the mix in {h.dtype} against float64")


def check_memory_order_does_not_matter(case: MixerCase) -> None:
    """Codes and draws in another memory layout (channels last, strided) give the same mix."""
    h, draw = case.h(), case.draw()
    expected = case.mix(h, draw).h
    for name, order in (("reversed", reversed_memory), ("strided", strided_memory)):
        assert_close(case.mix(order(h), draw).h, expected, tolerance(case, h), f"the mix of codes in {name} memory")
        assert_close(
            case.mix(h, map_draw(order, draw)).h, expected, tolerance(case, h), f"the mix of a draw in {name} memory"
        )


def reversed_memory(tensor: Tensor) -> Tensor:
    """The same values with the order of axes in memory reversed."""
    axes = list(range(tensor.ndim))[::-1]
    return tensor.permute(axes).contiguous().permute(axes)


def strided_memory(tensor: Tensor) -> Tensor:
    """The same values as every second element of a larger tensor."""
    larger = torch.stack([tensor, torch.ones_like(tensor)], dim=-1)
    return larger[..., 0]


def check_contexts_change_nothing(case: MixerCase) -> None:
    """no_grad and inference mode do not change the mix, and autocast only rounds it."""
    h, draw = case.h(), case.draw()
    expected = case.mix(h, draw).h
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            mixed = case.mix(h, draw).h
        assert torch.equal(mixed, expected), f"the mix is another under {mode.__name__}"
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = case.mix(h, draw).h
    except RuntimeError as err:
        # torch.stack and torch.cat of float16 tensors fail under CPU autocast; that is not the mixer's fault
        if case.dtype == torch.float16 and "autocast" in str(err):
            return
        raise
    assert mixed.dtype == expected.dtype, f"under autocast the mix is {mixed.dtype}, expected {expected.dtype}"
    slack = tolerance(case.but(dtype=torch.bfloat16), h)
    assert_close(mixed, expected, slack, "the mix under autocast")


def check_refuses_a_wrong_number_of_sources(case: MixerCase) -> None:
    """A call with a number of sources other than k raises an error."""
    h, draw, labels = case.h(), case.draw(), case.labels()
    for wrong in {case.mixer.k + 1, case.mixer.k - 1} - {1}:
        codes = h[[i % case.mixer.k for i in range(wrong)]]
        wrong_labels = None if labels is None else labels[[i % case.mixer.k for i in range(wrong)]]
        try:
            case.mixer(codes, draw, wrong_labels)
        except Exception:  # of any type, since the core never makes such a call
            continue
        raise AssertionError(f"a mixer with k={case.mixer.k} accepts {wrong} sources; raise ValueError")
