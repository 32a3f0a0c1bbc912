"""What every mixer promises about its options: each has an effect, and every allowed value gives a valid mix."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from mixzoo.core.errors import MixzooError, truncated_repr
from mixzoo.core.mixing import LinearMixer, draw_for
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.registry.options import Part
from mixzoo.testing.cases import MixerCase, fixed_latent, mixer_for, tensors_by_name
from mixzoo.testing.mixer_extremes import check_sound
from mixzoo.testing.option_values import other_values, variant


class Situation(NamedTuple):
    """A shape of codes, a seed and a progress at which two mixers are compared."""

    shape: CodeShape
    seed: int
    progress: float


SITUATIONS = (
    *(Situation(CodeShape(4, (2, 5, 3)), seed, progress) for seed, progress in enumerate((1.0, 0.0, 0.3, 0.7))),
    Situation(CodeShape(8, (6, 4, 12)), 4, 1.0),
    Situation(CodeShape(8, (6,)), 5, 1.0),
    *(Situation(CodeShape(16, (2, 5, 3)), seed, progress) for seed, progress in ((6, 0.2), (7, 0.5), (8, 0.9))),
    Situation(CodeShape(2, (1, 40, 72)), 9, 1.0),  # for an option that matters only on large maps
)


@dataclass(frozen=True)
class Even(LinearMixer):
    """Shares near 1/k; it replaces a mixer that is an option of another."""

    k: int = 2

    def draw(self, shape: CodeShape, rng: Generator) -> Tensor:
        return shape.broadcast((torch.randn(self.k, shape.batch, generator=rng) / 4).softmax(0))


def check_every_option_is_read(part: Any) -> None:
    """Every option has an effect: another value changes k, the draw, the mix, its gradient or `at`."""
    values = other_values(part) | _other_parts(part)
    variants = {
        name: [v for value in tried if (v := variant(part, name, value)) is not None] for name, tried in values.items()
    }
    outcomes = _Outcomes()
    for name, others in variants.items():
        # An option may have no effect for some values of another, as alpha if p is given; so it is compared for every
        # value of the others.
        bases = [part, *(v for other, own in variants.items() if other != name for v in own)]
        own, tried = getattr(part, name), [getattr(v, name) for v in others]
        choices = [own, *(value for value in tried if not _is_number(value))]
        pairs = [(a, b) for i, b in enumerate(choices) for a in choices[:i]]
        same = [pair for pair in pairs if not any(_differ(base, name, *pair, outcomes) for base in bases)]
        # All choices must differ. Of numbers, one that differs is enough, since a small eps may round away.
        numbers = [(own, value) for value in tried if _is_number(value)]
        if not any(_differ(base, name, *pair, outcomes) for pair in numbers for base in bases):
            same += numbers
        if same:
            a, b = map(truncated_repr, same[0])
            raise AssertionError(f"{name}={b} gives the same draws and mixes as {name}={a}, bit for bit; is it read?")
        for other in others:
            _check_mixes(other, name)


def _other_parts(part: Any) -> dict[str, list[Any]]:
    """For each option that is a mixer, another mixer with the same k."""
    own = {f.name: getattr(part, f.name) for f in fields(part) if f.init}
    return {
        name: [Part("mixer", "even", Even(getattr(value.recipe, "k", 2)))]
        for name, value in own.items()
        if isinstance(value, Part) and value.kind == "mixer" and not isinstance(value.recipe, Even)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differ(base: Any, name: str, a: Any, b: Any, outcomes: "_Outcomes") -> bool:
    """Whether the two values of the option give mixers with different outcomes."""
    try:
        one, other = outcomes.made(base, name, a), outcomes.made(base, name, b)
    except (ValueError, MixzooError):  # options that exclude each other
        return False
    return any(not _same(outcomes.of(one, s), outcomes.of(other, s)) for s in SITUATIONS)


class _Outcomes:
    """The outcomes of mixers in situations, each computed once."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, Situation], Any] = {}
        self.kept: list[Any] = []  # keeps objects alive, so that ids stay unique
        self.variants: dict[tuple[int, str, str], Any] = {}

    def made(self, base: Any, name: str, value: Any) -> Any:
        """The base with this value of the option, created once."""
        key = (id(base), name, repr(value))
        if key not in self.variants:
            self.kept.append(base)
            self.variants[key] = replace(base, **{name: value})
        return self.variants[key]

    def of(self, part: Any, situation: Situation) -> Any:
        key = (id(part), situation)
        if key not in self.known:
            self.kept.append(part)
            self.known[key] = outcome(part, situation)
        return self.known[key]


def outcome(part: Any, situation: Situation) -> list[Tensor] | str:
    """Everything observable of a mixer (k, draw, mix, gradients, `at`), or the type of the error that it raises."""
    try:
        return list(_observed(part, situation))
    except (ValueError, MixzooError) as err:
        return f"raises {type(err).__name__}"


def _observed(part: Any, situation: Situation) -> Iterator[Tensor]:
    shape, seed, progress = situation
    shape = CodeShape(shape.batch, fixed_latent(part) or shape.latent)
    mixer = mixer_for(part, shape.latent)
    case = MixerCase(mixer, shape, seed, torch.float32)
    yield torch.tensor(mixer.k)
    point = torch.arange(1.0, mixer.k + 1) / sum(range(1, mixer.k + 1))
    weights = [p for p in mixer.parameters() if p.requires_grad] if isinstance(mixer, nn.Module) else []
    for draw in (draw_for(mixer, shape, rng_for(seed, "mix"), progress), mixer.at(point, shape)):
        yield from tensors_by_name(draw).values()
        h = case.h().requires_grad_()
        mixed = case.mix(h, draw)
        yield from (mixed.h.detach(), mixed.share.detach())
        if mixed.labels is not None:
            yield mixed.labels.detach()
        g = torch.randn(mixed.h.shape, generator=rng_for(seed, "gradient"))
        grads = torch.autograd.grad((mixed.h * g).sum(), [h, *weights], allow_unused=True)
        yield from (torch.zeros(0) if grad is None else grad for grad in grads)


def _same(a: list[Tensor] | str, b: list[Tensor] | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str)
    return len(a) == len(b) and all(
        x.shape == y.shape and x.dtype == y.dtype and torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a, b)
    )


def _check_mixes(part: Any, name: str) -> None:
    """Raises AssertionError if this value of the option gives an invalid mix; the mixer may raise ValueError."""
    value = f"{name}={truncated_repr(getattr(part, name))}"
    shape = CodeShape(4, fixed_latent(part) or (2, 5, 3))
    try:
        case = MixerCase(mixer_for(part, shape.latent, torch.float64), shape)
        draw = case.draw()
    except (ValueError, MixzooError):
        return
    try:
        if name == "k":
            k, sources = getattr(part, name), len(case.mix(draw=draw).share)
            assert sources == case.mixer.k == k, (
                f"the share has {sources} sources and the mixer's k is {case.mixer.k}, expected {k}"
            )
        check_sound(case, draw)
    except Exception as err:
        reason = str(err) if isinstance(err, AssertionError) else f"{type(err).__name__}: {err}"
        raise AssertionError(f"with {value}, {reason}") from err
