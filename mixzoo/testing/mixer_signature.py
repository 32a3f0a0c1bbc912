"""Whether a part is a mixer: its members, their arguments, and what they return."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mixzoo.core.parts import CodeShape, HasDrawAt, Mixed, Mixer
from mixzoo.core.random import rng_for
from mixzoo.registry.contract import described
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.recipes import HasBuild
from mixzoo.testing.cases import CLASSES, any_mixer, fixed_latent

SIGNATURES = KINDS["mixer"].signatures
MEMBERS = ("k", "draw", "__call__", "at")


def check_is_a_mixer(part: Any) -> None:
    """A mixer has k, draw(shape, rng), at(point, shape), and __call__(h, draw, labels) -> Mixed(h, share)."""
    assert not isinstance(part, type), f"the part is the class {part.__name__}; pass an instance, {part.__name__}()"
    if isinstance(part, HasBuild):
        check_takes("build", part.build, 1)
        mixer = called("build", any_mixer, part)
    else:
        mixer = part
        missing = [name for name in MEMBERS if not hasattr(mixer, name)]
        assert not missing, f"the mixer has no {', '.join(sorted(missing))}; expected " + "; ".join(
            SIGNATURES[name] for name in missing
        )
    assert isinstance(mixer, Mixer)
    assert isinstance(mixer.k, int), f"k={mixer.k!r}; expected {SIGNATURES['k']}"

    shape = CodeShape(3, fixed_latent(part) or (2, 5, 3))
    check_takes("draw", mixer.draw, 2)
    if isinstance(mixer, HasDrawAt):
        check_takes("draw_at", mixer.draw_at, 3)
    check_takes("__call__", mixer.forward if isinstance(mixer, nn.Module) else mixer.__call__, 3)
    check_takes("at", mixer.at, 2)

    k = max(mixer.k, 1)
    h = torch.randn(k, shape.batch, *shape.latent, generator=rng_for(0, "codes"))
    labels = torch.arange(k * shape.batch).reshape(k, shape.batch) % CLASSES
    draw = called("draw", mixer.draw, shape, rng_for(0, "mix"))
    check_is_a_draw("draw", draw)
    if isinstance(mixer, HasDrawAt):
        check_is_a_draw("draw_at", called("draw_at", mixer.draw_at, shape, rng_for(0, "mix"), 0.5))
    check_is_mixed(called("__call__", mixer, h, draw, labels))
    point = torch.eye(k)[0]
    draw = called("at", mixer.at, point, shape)
    check_is_a_draw("at", draw)
    check_is_mixed(called("__call__", mixer, h, draw, labels))


def check_takes(name: str, method: Callable[..., Any], arguments: int) -> None:
    """Raises AssertionError if the method does not accept that many positional arguments."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # a callable without a signature, such as a builtin
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        own = str(signature).partition(" -> ")[0]
        raise AssertionError(f"the mixer has {name}{own}; expected {SIGNATURES[name]}") from None


def called(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns. Raises AssertionError, with the expected signature, if it raises."""
    try:
        return function(*arguments)
    except Exception as err:  # of any type, since the method is a plugin's
        reason = " ".join(str(err).split())
        raise AssertionError(f"{name} raised {type(err).__name__}: {reason}; expected {SIGNATURES[name]}") from err


def check_is_a_draw(name: str, draw: Any) -> None:
    """Raises AssertionError if a draw is neither a tensor nor a mapping of names."""
    message = f"{name} returned {described(draw)}; expected {SIGNATURES[name]}"
    assert isinstance(draw, Tensor | Mapping), message
    assert isinstance(draw, Tensor) or all(isinstance(key, str) for key in draw), message


def check_is_mixed(mixed: Any) -> None:
    """Raises AssertionError if it is not a Mixed with the tensors h and share."""
    expected = f"expected {SIGNATURES['__call__']}"
    assert isinstance(mixed, Mixed), f"__call__ returned {described(mixed)}; {expected}"
    for name, tensor in (("h", mixed.h), ("share", mixed.share)):
        assert isinstance(tensor, Tensor), f"__call__ returned Mixed with {name}={described(tensor)}; {expected}"
