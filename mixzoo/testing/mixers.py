"""What every mixer promises about one mix: plain functions, one promise each.

h_mix = sum_i share_i h_i is what most promises come from; a mixer that is not linear leaves some of them out, with
reasons (`skipped_checks`). Tolerances are 2 k eps of the codes' magnitude, eps of their dtype or of the float32 that
shares are drawn in, whichever is coarser; masks are exact.
"""

import random

import torch
from torch import Tensor

from mixzoo.core.mixing import MaskMixer, draw_for
from mixzoo.core.parts import Draw, Mixed
from mixzoo.core.random import rng_for
from mixzoo.testing.cases import MixerCase, tensors_by_name
from mixzoo.testing.watching import generator_states


def tolerance(case: MixerCase, h: Tensor) -> float:
    """How far rounding may move an element of a mix."""
    if isinstance(case.mixer, MaskMixer):
        return 0.0
    eps = max(torch.finfo(case.dtype).eps, torch.finfo(torch.float32).eps)
    return 2 * case.mixer.k * eps * float(h.detach().double().abs().max())


def assert_close(a: Tensor, b: Tensor, at_most: float, what: str) -> None:
    """AssertionError where the two differ by more, or in shape, or one is not finite."""
    assert a.shape == b.shape, f"{what}: shape {list(a.shape)}, expected {list(b.shape)}"
    off = (a.detach().double() - b.detach().double()).abs()
    worst = float(off.max())
    assert worst <= at_most, f"{what}: differs by {worst:.3g}, at most {at_most:.3g} is allowed"


def same_draw(a: Draw, b: Draw) -> bool:
    """Whether two draws are the same, bit for bit."""
    mine, yours = tensors_by_name(a), tensors_by_name(b)
    return mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)


def full_share(mixed: Mixed) -> Tensor:
    """The share at every latent position, [k batch *latent]."""
    return mixed.share.expand(len(mixed.share), *mixed.h.shape)


def corners(k: int) -> Tensor:
    """The k corners of the simplex, [k k]."""
    return torch.eye(k)


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
    assert_valid_draw(case.draw())


def assert_valid_draw(draw: Draw) -> None:
    for name, tensor in tensors_by_name(draw).items():
        what = f"draw[{name!r}]" if name else "the draw"
        assert isinstance(tensor, Tensor), f"{what} is a {type(tensor).__name__}, not a tensor"
        assert tensor.device.type == "cpu", f"{what} is on {tensor.device}, draws are made on the CPU"
        assert not tensor.requires_grad, f"{what} has a gradient: parameters belong in the call"
        assert tensor.isfinite().all(), f"{what} is not finite"


def check_draw_can_be_saved(case: MixerCase) -> None:
    """A draw that was written to bytes and read back gives the same mix."""
    from safetensors.torch import load, save

    draw = case.draw()
    read = load(save({f"/{name}": t.contiguous() for name, t in tensors_by_name(draw).items()}))
    again = read["/"] if isinstance(draw, Tensor) else {name: read[f"/{name}"] for name in draw}
    assert torch.equal(case.mix(draw=again).h, case.mix(draw=draw).h), "another mix from the draw that was saved"


# --- nothing is touched, nothing is remembered


def check_leaves_sources_unchanged(case: MixerCase) -> None:
    """Mixing writes to no source, in no mode."""
    assert_not_written(case, "source")


def check_leaves_its_draw_unchanged(case: MixerCase) -> None:
    """Mixing writes neither to the draw nor to the labels."""
    assert_not_written(case, "draw")


def assert_not_written(case: MixerCase, which: str) -> None:
    h, draw, labels = case.h(), case.draw(), case.labels()
    watched = [h] if which == "source" else [*tensors_by_name(draw).values()] + ([] if labels is None else [labels])
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
    before = generator_states()
    first = case.draw()
    mixed = case.mix(draw=first).h
    moved = [name for name, state in generator_states().items() if state != before[name]]
    assert not moved, f"the default generator of {' and '.join(moved)} was moved: use generator=rng"
    with other_global_seeds():
        used = not same_draw(case.draw(), first) or not torch.equal(case.mix(draw=first).h, mixed)
    assert not used, "a default generator was used: everything random comes from rng"


class other_global_seeds:
    """Inside, the default generators are in other states, Python's too, whose use shows by nothing else.

    What checks annotations at run time moves that one, so its state says nothing. They are put back.
    """

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
        found.append((draw_for(case.mixer, case.shape, rng, case.progress), rng.get_state()))
        case.mix(codes)
    assert all(same_draw(draw, found[0][0]) for draw, _ in found), "the draw changed with the codes mixed before it"
    assert all(torch.equal(state, found[0][1]) for _, state in found), "the generator moved by another amount"


def check_generator_moves_on(case: MixerCase) -> None:
    """Each draw moves its generator on, so that the next one is another."""
    rng = rng_for(case.seed, "mix")
    states = [rng.get_state()]
    for _ in range(2):
        draw_for(case.mixer, case.shape, rng, case.progress)
        states.append(rng.get_state())
    assert not torch.equal(states[0], states[1]), "the generator is where it was before the draw"
    assert not torch.equal(states[1], states[2]), "the generator is where it was before the second draw"
