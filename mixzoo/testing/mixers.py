"""What every mixer promises about one draw and one mix: plain functions, one promise each.

Most promises follow from h_mix = sum_i share_i h_i; a mixer that is not linear skips some of them, with reasons
(`skipped_checks`). The tolerance is 2 k eps times the largest absolute value of the codes, where eps is that of their
dtype or of float32, in which shares are drawn, whichever is larger; masks are exact.
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
    """The largest rounding error that is allowed in an element of a mix."""
    if isinstance(case.mixer, MaskMixer):
        return 0.0
    eps = max(torch.finfo(case.dtype).eps, torch.finfo(torch.float32).eps)
    return 2 * case.mixer.k * eps * float(h.detach().double().abs().max())


def assert_close(a: Tensor, b: Tensor, at_most: float, what: str) -> None:
    """Raises AssertionError if the shapes differ, or an element differs by more than `at_most` or is not finite."""
    assert a.shape == b.shape, f"{what}: the shape is {list(a.shape)}, expected {list(b.shape)}"
    worst = float((a.detach().double() - b.detach().double()).abs().max())
    assert worst <= at_most, f"{what}: the difference is {worst:.3g}, at most {at_most:.3g} is allowed"


def same_draw(a: Draw, b: Draw) -> bool:
    """Whether two draws are equal, bit for bit."""
    first, second = tensors_by_name(a), tensors_by_name(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def full_share(mixed: Mixed) -> Tensor:
    """The share at every latent position, [k batch *latent]."""
    return mixed.share.expand(len(mixed.share), *mixed.h.shape)


def corners(k: int) -> Tensor:
    """The k corners of the simplex, [k k]."""
    return torch.eye(k)


# --- shapes and types


def check_keeps_shape_and_dtype(case: MixerCase) -> None:
    """A mix has the shape, the dtype and the device of a source."""
    h = case.h()
    mixed = case.mix(h)
    assert mixed.h.shape == h.shape[1:], f"h_mix has shape {list(mixed.h.shape)}, expected {list(h.shape[1:])}"
    assert mixed.h.dtype == h.dtype, f"h_mix is {mixed.h.dtype}, expected {h.dtype} as the sources"
    assert mixed.h.device == h.device, f"h_mix is on {mixed.h.device}, expected {h.device} as the sources"


def check_share_fits_the_codes(case: MixerCase) -> None:
    """The share is [k batch *latent] in the dtype of the codes; a latent axis along which it is constant may be 1."""
    h = case.h()
    share = case.mix(h).share
    fits = share.ndim == h.ndim and share.shape[:2] == h.shape[:2]
    fits = fits and all(s in (1, n) for s, n in zip(share.shape[2:], h.shape[2:]))
    assert fits, f"share has shape {list(share.shape)}, expected {list(h.shape)} with 1 allowed on latent axes"
    assert share.dtype == h.dtype, f"share is {share.dtype}, expected {h.dtype} as the codes"


def check_k_is_at_least_2(case: MixerCase) -> None:
    """k is an integer of at least 2, and a mix does not change it."""
    k = case.mixer.k
    assert isinstance(k, int), f"k={k!r} must be an integer"
    assert k >= 2, f"k={k} must be at least 2"
    case.mix()
    assert case.mixer.k == k, f"k was {k} before a mix and is {case.mixer.k} after it"


def check_draw_is_tensors_on_the_cpu(case: MixerCase) -> None:
    """A draw is a tensor or a mapping of tensors, on the CPU, finite, and without a gradient."""
    assert_valid_draw(case.draw())


def assert_valid_draw(draw: Draw) -> None:
    for name, tensor in tensors_by_name(draw).items():
        what = f"draw[{name!r}]" if name else "the draw"
        assert isinstance(tensor, Tensor), f"{what} is a {type(tensor).__name__}, expected a tensor"
        assert tensor.device.type == "cpu", f"{what} is on {tensor.device}, expected a draw on the CPU"
        assert not tensor.requires_grad, f"{what} requires a gradient; use parameters in __call__, not in draw"
        assert tensor.isfinite().all(), f"{what} is not finite"


def check_draw_can_be_saved(case: MixerCase) -> None:
    """A draw that is saved and loaded gives the same mix."""
    from safetensors.torch import load, save

    draw = case.draw()
    loaded = load(save({f"/{name}": t.contiguous() for name, t in tensors_by_name(draw).items()}))
    again = loaded["/"] if isinstance(draw, Tensor) else {name: loaded[f"/{name}"] for name in draw}
    assert torch.equal(case.mix(draw=again).h, case.mix(draw=draw).h), (
        "a draw that is saved and loaded gives another mix"
    )


# --- no side effects


def check_leaves_sources_unchanged(case: MixerCase) -> None:
    """Mixing does not write to the sources in place, with or without gradients."""
    assert_not_written(case, "source")


def check_leaves_its_draw_unchanged(case: MixerCase) -> None:
    """Mixing does not write to the draw or the labels in place."""
    assert_not_written(case, "draw")


def assert_not_written(case: MixerCase, which: str) -> None:
    h, draw, labels = case.h(), case.draw(), case.labels()
    watched = [h] if which == "source" else [*tensors_by_name(draw).values()] + ([] if labels is None else [labels])
    before = [(t.clone(), t._version) for t in watched]
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            case.mixer(h, draw, labels)
        for tensor, (copy, version) in zip(watched, before):
            untouched = torch.equal(bits(tensor), bits(copy)) and tensor._version == version
            assert untouched, f"__call__ writes to the {which} in place under {mode.__name__}; make a new tensor"


def bits(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, in which -0.0 and 0.0 differ."""
    return tensor.contiguous().view(torch.uint8) if tensor.dtype != torch.bool else tensor


def check_result_aliases_no_source(case: MixerCase) -> None:
    """The mix is a new tensor that does not alias a source, at the corners of the simplex too."""
    h = case.h()
    for draw in (case.draw(), *(case.mixer.at(corner, case.shape) for corner in corners(case.mixer.k))):
        mixed = case.mix(h, draw).h
        is_alias = mixed.untyped_storage().data_ptr() == h.untyped_storage().data_ptr()
        assert not is_alias, "h_mix uses the memory of the sources, so a write to one changes the other; return a copy"


def check_same_seed_same_draw(case: MixerCase) -> None:
    """The same seed gives the same draw, bit for bit, whatever was drawn before."""
    first = case.draw()
    case.but(seed=case.seed + 1).draw()
    assert same_draw(case.draw(), first), "the same seed gives another draw after a draw from another seed"


def check_same_draw_same_mix(case: MixerCase) -> None:
    """The same draw and sources give the same mix, bit for bit, whatever was mixed before."""
    draw, first = case.draw(), case.mix()
    case.mix(case.h() + 1)
    again = case.mix(draw=draw)
    assert torch.equal(again.h, first.h), "the same draw and sources give another mix the second time"
    assert torch.equal(again.share, first.share), "the same draw and sources give another share the second time"


def check_uses_only_its_generator(case: MixerCase) -> None:
    """All random numbers come from rng: the global generators of torch, numpy and Python are not used."""
    before = generator_states()
    first = case.draw()
    mixed = case.mix(draw=first).h
    moved = [name for name, state in generator_states().items() if state != before[name]]
    assert not moved, f"draw or __call__ uses the global generator of {' and '.join(moved)}; pass generator=rng"
    with other_global_seeds():
        used = not same_draw(case.draw(), first) or not torch.equal(case.mix(draw=first).h, mixed)
    assert not used, "the result depends on the state of a global generator; take all random numbers from rng"


class other_global_seeds:
    """Inside, the global generators of torch, numpy and Python have other states; they are restored afterwards.

    Python's generator needs this, because run-time type checkers use it too, so a change of its state proves nothing.
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
    """A draw, and the number of random numbers it takes, do not depend on the codes that were mixed before."""
    draws = []
    for codes in (case.h(), case.h() * 0, case.h() + 5):
        rng = rng_for(case.seed, "mix")
        draws.append((draw_for(case.mixer, case.shape, rng, case.progress), rng.get_state()))
        case.mix(codes)
    first_draw, first_state = draws[0]
    assert all(same_draw(draw, first_draw) for draw, _ in draws), "the draw depends on the codes mixed before it"
    assert all(torch.equal(state, first_state) for _, state in draws), (
        "the number of random numbers that draw takes depends on the codes mixed before it"
    )


def check_generator_moves_on(case: MixerCase) -> None:
    """Each draw takes random numbers from rng, so that the next draw differs."""
    rng = rng_for(case.seed, "mix")
    states = [rng.get_state()]
    for _ in range(2):
        draw_for(case.mixer, case.shape, rng, case.progress)
        states.append(rng.get_state())
    assert not torch.equal(states[0], states[1]), "draw leaves rng in the same state; take random numbers from rng"
    assert not torch.equal(states[1], states[2]), (
        "the second draw leaves rng in the same state; take random numbers from rng"
    )
