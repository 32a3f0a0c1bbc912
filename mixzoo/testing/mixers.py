"""What every mixer promises about one mix: plain functions, one promise each.

h_mix = sum_i share_i h_i is what most promises come from; a mixer that is not linear leaves some of them out, with
reasons (`checks_left_out`). Tolerances are 2 k eps of the codes' magnitude, eps of their dtype or of the float32 that
shares are drawn in, whichever is coarser; masks are exact.
"""

import random

import torch
from torch import Tensor

from mixzoo.draws import rng_for
from mixzoo.mixing import MaskMixer, drawn
from mixzoo.protocols import CodeShape, Draw, Mixed
from mixzoo.testing.cases import MixerCase, map_draw, tensors_of


def room(case: MixerCase, h: Tensor) -> float:
    """How far rounding may move an element of a mix."""
    if isinstance(case.mixer, MaskMixer):
        return 0.0
    eps = max(torch.finfo(case.dtype).eps, torch.finfo(torch.float32).eps)
    return 2 * case.mixer.k * eps * float(h.detach().double().abs().max())


def refuse_far(a: Tensor, b: Tensor, at_most: float, what: str) -> None:
    """AssertionError where the two differ by more, or in shape, or one is not finite."""
    assert a.shape == b.shape, f"{what}: shape {list(a.shape)}, expected {list(b.shape)}"
    off = (a.detach().double() - b.detach().double()).abs()
    worst = float(off.max())
    assert worst <= at_most, f"{what}: differs by {worst:.3g}, at most {at_most:.3g} is allowed"


def same_draw(a: Draw, b: Draw) -> bool:
    """Whether two draws are the same, bit for bit."""
    mine, yours = tensors_of(a), tensors_of(b)
    return mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)


def full_share(mixed: Mixed) -> Tensor:
    """The share at every latent position, [k batch *latent]."""
    return mixed.share.expand(len(mixed.share), *mixed.h.shape)


# --- shapes and types


def check_keeps_shape_and_dtype(case: MixerCase) -> None:
    """A mix has the shape, the dtype and the device of one source."""
    h = case.h()
    mixed = case.mix(h)
    assert mixed.h.shape == h.shape[1:], f"h_mix has shape {list(mixed.h.shape)}, expected {list(h.shape[1:])}"
    assert mixed.h.dtype == h.dtype, f"h_mix is {mixed.h.dtype}, the sources are {h.dtype}"
    assert mixed.h.device == h.device, f"h_mix is on {mixed.h.device}, the sources are on {h.device}"


def check_share_fits_the_codes(case: MixerCase) -> None:
    """The share is [k batch *latent], with 1 where it is the same along an axis, in the dtype of the codes."""
    h = case.h()
    share = case.mix(h).share
    fits = share.ndim == h.ndim and share.shape[:2] == h.shape[:2]
    fits = fits and all(s in (1, n) for s, n in zip(share.shape[2:], h.shape[2:]))
    assert fits, f"share has shape {list(share.shape)}, which does not fit codes {list(h.shape)}"
    assert share.dtype == h.dtype, f"share is {share.dtype}, the codes are {h.dtype}"


def check_k_is_at_least_2(case: MixerCase) -> None:
    """k is an integer of at least 2, and stays the same."""
    k = case.mixer.k
    assert isinstance(k, int), f"k={k!r} is no integer"
    assert k >= 2, f"k={k}"
    case.mix()
    assert case.mixer.k == k, f"k was {k} and is {case.mixer.k} after a mix"


def check_draw_is_tensors_on_the_cpu(case: MixerCase) -> None:
    """A draw is a tensor or a table of tensors, on the CPU, finite, with no gradient."""
    refuse_bad_draw(case.draw())


def refuse_bad_draw(draw: Draw) -> None:
    for name, tensor in tensors_of(draw).items():
        what = f"draw[{name!r}]" if name else "the draw"
        assert isinstance(tensor, Tensor), f"{what} is a {type(tensor).__name__}, not a tensor"
        assert tensor.device.type == "cpu", f"{what} is on {tensor.device}, draws are made on the CPU"
        assert not tensor.requires_grad, f"{what} has a gradient: parameters belong in the call"
        assert tensor.isfinite().all(), f"{what} is not finite"


def check_draw_can_be_saved(case: MixerCase) -> None:
    """A draw that was written to bytes and read back gives the same mix."""
    from safetensors.torch import load, save

    draw = case.draw()
    read = load(save({f"/{name}": t.contiguous() for name, t in tensors_of(draw).items()}))
    again = read["/"] if isinstance(draw, Tensor) else {name: read[f"/{name}"] for name in draw}
    assert torch.equal(case.mix(draw=again).h, case.mix(draw=draw).h), "another mix from the draw that was saved"


# --- nothing is touched, nothing is remembered


def check_leaves_sources_unchanged(case: MixerCase) -> None:
    """Mixing writes to no source, in no mode."""
    refuse_written(case, "source")


def check_leaves_its_draw_unchanged(case: MixerCase) -> None:
    """Mixing writes neither to the draw nor to the labels."""
    refuse_written(case, "draw")


def refuse_written(case: MixerCase, which: str) -> None:
    h, draw, labels = case.h(), case.draw(), case.labels()
    watched = [h] if which == "source" else [*tensors_of(draw).values()] + ([] if labels is None else [labels])
    before = [(t.clone(), t._version) for t in watched]
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            case.mixer(h, draw, labels)
        for tensor, (bytes_before, version) in zip(watched, before):
            kept = torch.equal(bits(tensor), bits(bytes_before)) and tensor._version == version
            assert kept, f"a {which} was written to under {mode.__name__}"


def bits(tensor: Tensor) -> Tensor:
    """The bytes, so that -0.0 and 0.0 differ."""
    return tensor.contiguous().view(torch.uint8) if tensor.dtype != torch.bool else tensor


def check_result_aliases_no_source(case: MixerCase) -> None:
    """The mix has memory of its own, at the corners of the simplex too."""
    h = case.h()
    for draw in (case.draw(), *(case.mixer.at(corner, case.shape) for corner in corners(case.mixer.k))):
        mixed = case.mix(h, draw).h
        shared = mixed.untyped_storage().data_ptr() == h.untyped_storage().data_ptr()
        assert not shared, "h_mix shares memory with the sources: a later write to one changes the other"


def check_same_seed_same_draw(case: MixerCase) -> None:
    """One seed gives one draw, bit for bit, whatever was drawn before."""
    first = case.draw()
    case.but(seed=case.seed + 1).draw()
    assert same_draw(case.draw(), first), "the same seed gave another draw"


def check_same_draw_same_mix(case: MixerCase) -> None:
    """One draw gives one mix, bit for bit, whatever was mixed before."""
    draw, first = case.draw(), case.mix()
    case.mix(case.h() + 1)
    again = case.mix(draw=draw)
    assert torch.equal(again.h, first.h), "the same draw of the same sources gave another mix"
    assert torch.equal(again.share, first.share), "the same draw of the same sources gave another share"


def check_uses_only_its_generator(case: MixerCase) -> None:
    """All randomness is the generator's: the default ones of torch, numpy and Python are neither used nor moved."""
    before = global_states()
    first = case.draw()
    mixed = case.mix(draw=first).h
    moved = [name for name, state in global_states().items() if state != before[name]]
    assert not moved, f"the default generator of {' and '.join(moved)} was moved: use generator=rng"
    with other_global_seeds():
        used = not same_draw(case.draw(), first) or not torch.equal(case.mix(draw=first).h, mixed)
    assert not used, "a default generator was used: everything random comes from rng"


def global_states() -> dict[str, str]:
    """Python's own is not among them: what checks annotations at run time moves it, so only its use is looked for."""
    import numpy as np

    torch_state = torch.get_rng_state().numpy().tobytes().hex()
    return {"torch": torch_state, "numpy": repr(np.random.get_state(legacy=False))}  # noqa: NPY002


class other_global_seeds:
    """Inside, the default generators are in other states; they are put back."""

    def __enter__(self) -> None:
        import numpy as np

        self.saved = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        torch.default_generator.manual_seed(123)
        np.random.seed(123)  # noqa: NPY002
        random.seed(123)

    def __exit__(self, *_: object) -> None:
        import numpy as np

        torch.set_rng_state(self.saved[0])
        np.random.set_state(self.saved[1])  # noqa: NPY002
        random.setstate(self.saved[2])


def check_draw_never_sees_codes(case: MixerCase) -> None:
    """The draw, and how far it moves its generator, do not depend on what was mixed before."""
    found = []
    for codes in (case.h(), case.h() * 0, case.h() + 5):
        rng = rng_for(case.seed, "mix")
        found.append((drawn(case.mixer, case.shape, rng, case.progress), rng.get_state()))
        case.mix(codes)
    assert all(same_draw(draw, found[0][0]) for draw, _ in found), "the draw changed with the codes mixed before it"
    assert all(torch.equal(state, found[0][1]) for _, state in found), "the generator moved by another amount"


def check_generator_moves_on(case: MixerCase) -> None:
    """Each draw moves its generator on, so that the next one is another."""
    rng = rng_for(case.seed, "mix")
    states = [rng.get_state()]
    for _ in range(2):
        drawn(case.mixer, case.shape, rng, case.progress)
        states.append(rng.get_state())
    assert not torch.equal(states[0], states[1]), "the generator is where it was before the draw"
    assert not torch.equal(states[1], states[2]), "the generator is where it was before the second draw"


# --- what a mix is


def check_equal_sources_come_back(case: MixerCase) -> None:
    """Mixing k copies of one code gives that code."""
    h = case.h()[:1].expand(case.mixer.k, *case.h().shape[1:])
    refuse_far(case.mix(h).h, h[0], room(case, h), "k copies of one code did not give it back")


def check_a_batch_of_one_comes_back(case: MixerCase) -> None:
    """In a batch of one, where every partner is the example itself, nothing changes."""
    check_equal_sources_come_back(case.but(shape=CodeShape(1, case.shape.latent)))


def check_stays_between_sources(case: MixerCase) -> None:
    """Every element of a mix lies between the smallest and the largest of the sources there."""
    h = case.h()
    mixed, slack = case.mix(h).h.detach().double(), room(case, h)
    below, above = h.double().amin(0) - mixed, mixed - h.double().amax(0)
    worst = float(torch.maximum(below, above).max())
    assert worst <= slack, f"an element is {worst:.3g} outside of its sources, at most {slack:.3g} is allowed"


def check_shares_are_on_the_simplex(case: MixerCase) -> None:
    """Shares are finite, not negative, and sum to 1 over the k sources at every position."""
    share = case.mix().share.detach().double()
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
    refuse_far(mixed.h, expected, room(case, h), "h_mix is not the sum of share times source")


def check_corner_is_that_source(case: MixerCase) -> None:
    """`at` a corner of the simplex gives that source, bit for bit."""
    h = case.h()
    for source, corner in enumerate(corners(case.mixer.k)):
        mixed = case.mix(h, case.mixer.at(corner, case.shape)).h
        assert torch.equal(mixed, h[source]), f"corner {source} is not source {source}"


def corners(k: int) -> Tensor:
    """The k corners of the simplex, [k k]."""
    return torch.eye(k)


def check_at_is_a_point_of_the_simplex(case: MixerCase) -> None:
    """`at(point)` gives every example about that much of each source: exactly for weights, to 0.2 for masks."""
    point = torch.rand(case.mixer.k, generator=rng_for(case.seed, "point")) + 0.05
    point = point / point.sum()
    draw = case.mixer.at(point, case.shape)
    refuse_bad_draw(draw)
    share = full_share(case.mix(draw=draw)).double()  # [k batch *latent]
    means = share.flatten(2).mean(2) if share.ndim > 2 else share
    slack = 0.2 if draw_is_mask(case) else room(case, torch.ones(1)) + 1e-6
    refuse_far(means, point.double()[:, None].expand_as(means), slack, f"at {point.tolist()}, the mean share")


def draw_is_mask(case: MixerCase) -> bool:
    """Whether what is drawn decides, and does not weigh: a share of zeros and ones."""
    share = case.mix().share
    return bool(((share == 0) | (share == 1)).all())


def check_at_is_the_same_each_time(case: MixerCase) -> None:
    """`at` gives one draw for one point, the same for every example, and no generator is moved."""
    k, shape = case.mixer.k, CodeShape(3, case.shape.latent)
    point = torch.arange(1.0, k + 1) / sum(range(1, k + 1))
    before = global_states()
    first = case.mixer.at(point, shape)
    assert global_states() == before, "`at` moved a default generator"
    with other_global_seeds():
        assert same_draw(case.mixer.at(point, shape), first), "`at` gave two draws for one point"
    alike = case.but(shape=shape).h()[:, :1].repeat(1, 3, *[1] * len(shape.latent))
    labels = torch.zeros(k, 3, dtype=torch.long)
    mixed = case.mixer(alike, first, labels).h
    refuse_far(mixed, mixed[:1].expand_as(mixed), room(case, alike), "equal examples at one point")


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
    refuse_far(permuted, case.mix(h, draw).h, room(case, h), "sources that changed places with their shares")


def check_examples_do_not_leak(case: MixerCase) -> None:
    """Other codes and labels for one example change the mix of no other example."""
    case = case.but(shape=CodeShape(max(case.shape.batch, 2), case.shape.latent))
    h, draw, labels = case.h(), case.draw(), case.labels()
    other_h, other_labels = h.clone(), None if labels is None else labels.clone()
    other_h[:, 0] += 100
    if other_labels is not None:
        other_labels[:, 0] = (other_labels[:, 0] + 1) % 10
    a, b = case.mixer(h, draw, labels).h, case.mixer(other_h, draw, other_labels).h
    assert torch.equal(a[1:], b[1:]), "a change of the first example changed the mix of another"


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
        a = case.mixer(h, mine, labels).h[order]
        b = case.mixer(h[:, order], permuted, permuted_labels).h
        refuse_far(b, a, room(case, h) * 0.5, "examples in another order")


def check_moves_with_shift_and_scale(case: MixerCase) -> None:
    """Codes scaled and shifted alike scale and shift the mix: Mix(a h + b) = a Mix(h) + b."""
    h, draw = case.h(), case.draw()
    moved = 2 * h + 3
    expected = 2 * case.mix(h, draw).h + 3
    refuse_far(case.mix(moved, draw).h, expected, 2 * room(case, moved), "codes that were scaled and shifted")


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
    slack = room(case, h)
    refuse_far(case.mix(h, draw).h, exact, slack, f"{h.dtype} against float64")


def check_memory_order_does_not_matter(case: MixerCase) -> None:
    """Codes and draws in another memory order (channels last, strided, expanded) give the same mix."""
    h, draw = case.h(), case.draw()
    expected = case.mix(h, draw).h
    for name, order in (("reversed", reversed_memory), ("strided", strided_memory)):
        refuse_far(case.mix(order(h), draw).h, expected, room(case, h), f"codes in {name} memory")
        refuse_far(case.mix(h, map_draw(order, draw)).h, expected, room(case, h), f"a draw in {name} memory")


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
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = case.mix(h, draw).h
    assert mixed.dtype == expected.dtype, f"autocast made the mix {mixed.dtype}"
    slack = room(case.but(dtype=torch.bfloat16), h)
    refuse_far(mixed, expected, slack, "autocast")


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


def check_aimed_labels_fit_the_batch(case: MixerCase) -> None:
    """The labels that a mix aims at (y_mix) are [batch classes], finite, and follow the draw."""
    mixed = case.mix()
    assert mixed.labels is not None
    shape = list(mixed.labels.shape)
    assert len(shape) == 2, f"y_mix has shape {shape}, expected [batch classes]"
    assert shape[0] == case.shape.batch, f"y_mix has shape {shape}, for a batch of {case.shape.batch}"
    assert mixed.labels.isfinite().all(), "y_mix is not finite"
