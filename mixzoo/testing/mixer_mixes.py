"""What a mix promises: what comes of the sources and their shares, in any order, memory and precision."""

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
    """Mixing k copies of one code gives that code."""
    h = case.h()[:1].expand(case.mixer.k, *case.h().shape[1:])
    assert_close(case.mix(h).h, h[0], tolerance(case, h), "k copies of one code did not give it back")


def check_a_batch_of_one_comes_back(case: MixerCase) -> None:
    """In a batch of one, where every partner is the example itself, nothing changes."""
    check_equal_sources_come_back(case.but(shape=CodeShape(1, case.shape.latent)))


def check_stays_between_sources(case: MixerCase) -> None:
    """Every element of a mix lies between the smallest and the largest of the sources there."""
    h = case.h()
    mixed, slack = case.mix(h).h.detach().double(), tolerance(case, h)
    below, above = h.double().amin(0) - mixed, mixed - h.double().amax(0)
    worst = float(torch.maximum(below, above).max())
    assert worst <= slack, f"an element is {worst:.3g} outside of its sources, at most {slack:.3g} is allowed"


def check_shares_are_on_the_simplex(case: MixerCase) -> None:
    """Shares are finite, not negative, and sum to 1 over the k sources at every position."""
    check_on_the_simplex(case, case.mix())


def check_on_the_simplex(case: MixerCase, mixed: Mixed) -> None:
    """AssertionError if a share is not finite or negative, or if those of a position do not sum to 1."""
    share = mixed.share.detach().double()
    assert share.isfinite().all(), "a share is not finite"
    assert float(share.min()) >= 0, f"a share is {float(share.min()):.3g}"
    off = float((share.sum(0) - 1).abs().max())
    slack = 2 * case.mixer.k * max(torch.finfo(case.dtype).eps, torch.finfo(torch.float32).eps)
    assert off <= slack, f"shares sum to 1 but for {off:.3g}, at most {slack:.3g} is allowed"


def check_share_is_used(case: MixerCase) -> None:
    """The share that is reported is the one that was used: h_mix = sum_i share_i h_i."""
    h = case.h()
    mixed = case.mix(h)
    expected = (mixed.share.double() * h.double()).sum(0)
    assert_close(mixed.h, expected, tolerance(case, h), "h_mix is not the sum of share times source")


def check_corner_is_that_source(case: MixerCase) -> None:
    """`at` a corner of the simplex gives that source, bit for bit."""
    h = case.h()
    for source, corner in enumerate(corners(case.mixer.k)):
        mixed = case.mix(h, case.mixer.at(corner, case.shape)).h
        assert torch.equal(mixed, h[source]), f"corner {source} is not source {source}"


def check_at_is_a_point_of_the_simplex(case: MixerCase) -> None:
    """`at(point)` gives every example about that much of each source: exactly, or to 0.2 where places differ."""
    point = torch.rand(case.mixer.k, generator=rng_for(case.seed, "point")) + 0.05
    point = point / point.sum()
    draw = case.mixer.at(point, case.shape)
    assert_valid_draw(draw)
    share = full_share(case.mix(draw=draw)).double()  # [k batch *latent]
    means = share.flatten(2).mean(2) if share.ndim > 2 else share
    slack = 0.2 if varies_inside(share) else tolerance(case, torch.ones(1)) + 1e-6
    assert_close(means, point.double()[:, None].expand_as(means), slack, f"at {point.tolist()}, the mean share")


def varies_inside(share: Tensor) -> bool:
    """Whether places of one code have other shares, [k batch *latent]: a mask can only come near a point."""
    flat = share.flatten(2)
    return bool((flat != flat[:, :, :1]).any())


def check_at_is_the_same_each_time(case: MixerCase) -> None:
    """`at` gives one draw for one point, the same for every example, and no generator is moved."""
    k, shape = case.mixer.k, CodeShape(3, case.shape.latent)
    point = torch.arange(1.0, k + 1) / sum(range(1, k + 1))
    before = generator_states()
    first = case.mixer.at(point, shape)
    assert generator_states() == before, "`at` moved a default generator"
    with other_global_seeds():
        assert same_draw(case.mixer.at(point, shape), first), "`at` gave two draws for one point"
    alike = case.but(shape=shape).h()[:, :1].repeat(1, 3, *[1] * len(shape.latent))
    labels = torch.zeros(k, 3, dtype=torch.long)
    mixed = case.mixer(alike, first, labels).h
    assert_close(mixed, mixed[:1].expand_as(mixed), tolerance(case, alike), "equal examples at one point")


# --- masks: one source at each position


def check_mask_picks_one_source(case: MixerCase) -> None:
    """A mask is boolean, and true for exactly one of the k sources at every position."""
    draw = case.draw()
    assert isinstance(draw, Tensor), "a MaskMixer draws one tensor, the mask"
    assert draw.dtype == torch.bool, f"the mask is {draw.dtype}"
    counts = sorted(set(draw.sum(0).flatten().tolist()))
    assert counts == [1], f"a position has {counts} sources, exactly 1 is allowed"


def check_picked_values_come_through_exactly(case: MixerCase) -> None:
    """What is picked comes through bit for bit (-0.0, denormal, infinite), whatever is in the other sources."""
    h, draw = case.h(), case.draw()
    assert isinstance(draw, Tensor), "a MaskMixer draws one tensor, the mask"
    mask = draw.expand_as(h)
    tiny = torch.finfo(case.dtype).tiny / 4  # denormal
    special = torch.tensor([-0.0, tiny, float("inf"), 3.0], dtype=case.dtype)
    picked = special[torch.arange(h[0].numel()) % 4].reshape(h[0].shape)
    for poison in (float("nan"), float("inf"), float("-inf")):
        poisoned = torch.where(mask, picked, torch.full_like(h, poison))
        mixed = case.mix(poisoned, draw).h
        assert torch.equal(bits(mixed), bits(picked)), f"{poison} in a source that is not picked changed the mix"


def check_every_element_comes_from_its_own_place(case: MixerCase) -> None:
    """With every element of every source numbered, each element of the mix has the number of its own place."""
    h = case.but(dtype=torch.float64).h()
    numbers = torch.arange(h.numel(), dtype=torch.float64).reshape(h.shape)
    place = case.but(dtype=torch.float64).mix(numbers).h % h[0].numel()
    assert torch.equal(place, numbers[0]), "an element comes from another place, or is no element of a source"


# --- symmetries


def check_sources_may_change_places(case: MixerCase) -> None:
    """Sources and their shares, permuted alike, give the same mix."""
    h, draw, labels = case.h(), case.draw(), case.labels()
    places = torch.randperm(case.mixer.k, generator=rng_for(case.seed, "places"))
    labels = None if labels is None else labels[places]
    permuted = case.mixer(h[places], map_draw(lambda t: t[places], draw), labels).h
    assert_close(permuted, case.mix(h, draw).h, tolerance(case, h), "sources that changed places with their shares")


def check_examples_do_not_leak(case: MixerCase) -> None:
    """Other codes and labels for one example change the mix of no other example."""
    case = case.but(shape=CodeShape(max(case.shape.batch, 2), case.shape.latent))
    h, draw, labels = case.h(), case.draw(), case.labels()
    other_h, other_labels = h.clone(), None if labels is None else labels.clone()
    other_h[:, 0] += 100
    if other_labels is not None:
        other_labels[:, 0] = (other_labels[:, 0] + 1) % 10
    a, b = case.mixer(h, draw, labels), case.mixer(other_h, draw, other_labels)
    assert torch.equal(a.h[1:], b.h[1:]), "a change of the first example changed the mix of another"
    if a.labels is not None and b.labels is not None:
        assert torch.equal(a.labels[1:], b.labels[1:]), "a change of the first example changed the y_mix of another"


def check_batch_permutes(case: MixerCase) -> None:
    """Examples and their draws, permuted over the batch alike, give the same mixes in that order."""
    case = case.but(shape=CodeShape(max(case.shape.batch, 3), case.shape.latent))
    k, h, labels = case.mixer.k, case.h(), case.labels()
    order = torch.randperm(case.shape.batch, generator=rng_for(case.seed, "places"))
    permuted_labels = None if labels is None else labels[:, order]
    alike = case.mixer.at(torch.full((k,), 1 / k), case.shape)  # the same for every example
    draws = [(alike, alike)]
    draw = case.draw()
    if isinstance(draw, Tensor) and draw.shape[:2] == h.shape[:2]:
        draws.append((draw, draw[:, order]))
    for mine, permuted in draws:
        a = case.mixer(h, mine, labels)
        b = case.mixer(h[:, order], permuted, permuted_labels)
        assert_close(b.h, a.h[order], tolerance(case, h) * 0.5, "examples in another order")
        if a.labels is not None and b.labels is not None:
            assert_close(b.labels, a.labels[order], 1e-6, "y_mix of examples in another order")


def check_moves_with_shift_and_scale(case: MixerCase) -> None:
    """Codes scaled and shifted alike scale and shift the mix: Mix(a h + b) = a Mix(h) + b."""
    h, draw = case.h(), case.draw()
    moved = 2 * h + 3
    expected = 2 * case.mix(h, draw).h + 3
    assert_close(case.mix(moved, draw).h, expected, 2 * tolerance(case, moved), "codes that were scaled and shifted")


def check_labels_do_not_matter(case: MixerCase) -> None:
    """Labels change nothing in a mixer that does not say that it reads them."""
    h, draw = case.h(), case.draw()
    with_labels = case.mixer(h, draw, case.but(with_labels=True).labels())
    without = case.mixer(h, draw, None)
    other = case.mixer(h, draw, case.but(with_labels=True, seed=case.seed + 7).labels())
    alike = torch.equal(with_labels.h, without.h) and torch.equal(with_labels.h, other.h)
    assert alike, "the mix changed with the labels"


# --- memory, precision and contexts


def check_precision_changes_only_rounding(case: MixerCase) -> None:
    """The same draw of the same codes in float64 gives the same mix, to rounding."""
    h, draw = case.h(), case.draw()
    exact = case.but(dtype=torch.float64).mix(h.double(), draw).h
    slack = tolerance(case, h)
    assert_close(case.mix(h, draw).h, exact, slack, f"{h.dtype} against float64")


def check_memory_order_does_not_matter(case: MixerCase) -> None:
    """Codes and draws in another memory order (channels last, strided, expanded) give the same mix."""
    h, draw = case.h(), case.draw()
    expected = case.mix(h, draw).h
    for name, order in (("reversed", reversed_memory), ("strided", strided_memory)):
        assert_close(case.mix(order(h), draw).h, expected, tolerance(case, h), f"codes in {name} memory")
        assert_close(case.mix(h, map_draw(order, draw)).h, expected, tolerance(case, h), f"a draw in {name} memory")


def reversed_memory(tensor: Tensor) -> Tensor:
    """The same values, the last axis outermost in memory (a map's channels innermost but for the batch)."""
    axes = list(range(tensor.ndim))[::-1]
    return tensor.permute(axes).contiguous().permute(axes)


def strided_memory(tensor: Tensor) -> Tensor:
    """The same values, every second element of a larger tensor."""
    larger = torch.stack([tensor, torch.ones_like(tensor)], dim=-1)
    return larger[..., 0]


def check_contexts_change_nothing(case: MixerCase) -> None:
    """Without gradients, in inference mode and under autocast the mix is the same; autocast may round more."""
    h, draw = case.h(), case.draw()
    expected = case.mix(h, draw).h
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            mixed = case.mix(h, draw).h
        assert torch.equal(mixed, expected), f"another mix under {mode.__name__}"
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = case.mix(h, draw).h
    except RuntimeError as err:
        # of codes in float16 the CPU's autocast stacks and joins none, whoever calls it
        if case.dtype == torch.float16 and "autocast" in str(err):
            return
        raise
    assert mixed.dtype == expected.dtype, f"autocast made the mix {mixed.dtype}"
    slack = tolerance(case.but(dtype=torch.bfloat16), h)
    assert_close(mixed, expected, slack, "autocast")


def check_refuses_a_wrong_number_of_sources(case: MixerCase) -> None:
    """Codes of k + 1 sources, and of fewer than k but more than one, are an error and not a mix."""
    h, draw, labels = case.h(), case.draw(), case.labels()
    for wrong in {case.mixer.k + 1, case.mixer.k - 1} - {1}:
        codes = h[[i % case.mixer.k for i in range(wrong)]]
        given = None if labels is None else labels[[i % case.mixer.k for i in range(wrong)]]
        try:
            case.mixer(codes, draw, given)
        except Exception:  # any error will do: the core never makes such a call
            continue
        raise AssertionError(f"a mixer of k={case.mixer.k} mixed {wrong} sources")
