"""Mixers made of mixers: a choice for each example, a composition, a transition from one to another over training.

The draw of an inner mixer is stored under its name: "a" if it is one tensor, "a/choice" and so on if it is several. An
inner mixer with weights is trained as usual.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn, where

from mixzoo import (
    BuildContext,
    CodeShape,
    Draw,
    LinearMixer,
    MaskMixer,
    Mixed,
    Mixer,
    Part,
    draw_for,
    label_vectors,
    mixed_labels,
    needs_map,
)


@runtime_checkable
class HasK(Protocol):
    """A recipe that knows how many sources its mixer takes before it is built."""

    @property
    def k(self) -> int: ...


UNEVEN = {"mean_share_is_one_over_k": "its mixers take different numbers of sources, so the first have larger shares"}


@dataclass(frozen=True, kw_only=True)
class OneOf:
    """Each example mixed by one of the mixers a, b, c, d, chosen at random for each.

    h_mix = h_mix of mixer j,   j ~ Categorical(q),   q = (p, (1-p)/(n-1), …) for a given p, else (1/n, …, 1/n)

    k is the largest k of its mixers; one with fewer sources uses the first ones, and the others' share is 0. `at`, and
    so a picture at chosen weights, uses the first mixer with the largest k.
    """

    a: Annotated[Part[Mixer], "the first mixer"]
    b: Annotated[Part[Mixer], "the second"]
    c: Annotated[Part[Mixer], "the third"] | None = None
    d: Annotated[Part[Mixer], "the fourth"] | None = None
    p: Annotated[float, Ge(0), Le(1), "chance of the first; equal chances if not given"] | None = None

    @property
    def parts(self) -> dict[str, Part[Mixer]]:
        given = {"a": self.a, "b": self.b, "c": self.c, "d": self.d}
        return {name: part for name, part in given.items() if part is not None}

    @property
    def k(self) -> int:
        return max(map(_k, self.parts.values()))

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        uneven = len(set(map(_k, self.parts.values()))) > 1
        return _skipped(self.parts) | (UNEVEN if uneven else {})

    def build(self, context: BuildContext) -> "ForEachExample":
        others = len(self.parts) - 1
        p = 1 / (others + 1) if self.p is None else self.p
        chances = [p] + [(1 - p) / others] * others
        return ForEachExample(_built(self.parts, context), lambda progress: chances, self.skipped_checks, context)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Each example mixed by a or by b, which takes over during training.

    h_mix = h_mix of b with chance t, else of a;   t is 0 up to `start` of the training, 1 from `end` on, linear between

    k is the larger k of the two. A draw outside training, as for pictures, is one of the end of training; `at`, and so
    a picture at chosen weights, uses b, or a if a has more sources.
    """

    a: Annotated[Part[Mixer], "the mixer at the beginning"]
    b: Annotated[Part[Mixer], "the mixer at the end"]
    start: Annotated[float, Ge(0), Le(1), "fraction of the training at which b comes in"] = 0.0
    end: Annotated[float, Ge(0), Le(1), "fraction of the training at which a is gone"] = 1.0

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"start={self.start} must be below end={self.end}")

    @property
    def parts(self) -> dict[str, Part[Mixer]]:
        return {"b": self.b, "a": self.a}

    @property
    def k(self) -> int:
        return max(_k(self.a), _k(self.b))

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        never = {
            "every_position_can_come_from_every_source": "b mixes alone at the end, and takes fewer sources than a"
        }
        fewer = UNEVEN | never if _k(self.b) < _k(self.a) else {}
        return _skipped(self.parts) | fewer

    def build(self, context: BuildContext) -> "ForEachExample":
        def chances(progress: float) -> tuple[float, float]:
            t = min(max((progress - self.start) / (self.end - self.start), 0.0), 1.0)
            return t, 1 - t

        return ForEachExample(_built(self.parts, context), chances, self.skipped_checks, context)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The mix of a's sources mixed by b with further ones: two generations (AMR section 2.1).

    h_mix = Mix_b(Mix_a(h_1, …, h_m), h_{m+1}, …),   share_i = share_b,1 · share_a,i for i ≤ m, then share_b,2, …

    a takes m sources, so k = m + (sources of b) - 1. b gets the label of a's mix as a vector over classes.
    """

    a: Annotated[Part[Mixer], "the mixer of the first sources"]
    b: Annotated[Part[Mixer], "the mixer of that mix with the other sources"]

    @property
    def parts(self) -> dict[str, Part[Mixer]]:
        return {"a": self.a, "b": self.b}

    @property
    def k(self) -> int:
        return _k(self.a) + _k(self.b) - 1

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        own = {"mean_share_is_one_over_k": "a's sources divide one share of b's mix among them"}
        if not any(isinstance(part.recipe, LinearMixer) for part in self.parts.values()):
            own["at_is_a_point_of_the_simplex"] = (
                "the masks of a and b may coincide, so their mean shares do not multiply"
            )
        return _skipped(self.parts) | own

    def build(self, context: BuildContext) -> "Chained":
        return Chained(**_built(self.parts, context), skipped_checks=self.skipped_checks, context=context)


class ForEachExample(nn.Module):
    """Chooses a mixer for each example. All mix and the chosen mix is kept, so that shapes do not depend on the draw.

    The other mixes affect neither the result nor the gradients, even if they are NaN. y_mix is returned if one of the
    mixers aims at labels; for an example of another mixer it is the mean of the sources' labels by share.
    """

    def __init__(
        self,
        parts: Mapping[str, Mixer],
        chances: Callable[[float], Sequence[float]],  # of each mixer, at this progress of the training
        skipped_checks: Mapping[str, str],
        context: BuildContext,
    ) -> None:
        super().__init__()
        self.parts, self.chances, self.classes = dict(parts), chances, context.label_width
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
        self.k = max(part.k for part in parts.values())
        self.needs_map = any(map(needs_map, parts.values()))
        self.skipped_checks = skipped_checks

    def draw(self, shape: CodeShape, rng: Generator) -> dict[str, Tensor]:
        return self.draw_at(shape, rng, 1.0)

    def draw_at(self, shape: CodeShape, rng: Generator, progress: float) -> dict[str, Tensor]:
        ends = torch.tensor(self.chances(progress)).cumsum(0)[:-1]
        choice = (torch.rand(shape.batch, generator=rng) >= ends[:, None]).sum(0)
        draws = {name: draw_for(part, shape, rng, progress) for name, part in self.parts.items()}
        return {"choice": choice, **_packed(draws)}

    def forward(
        self, h: Float[Tensor, "k batch *latent"], draw: Mapping[str, Tensor], labels: Tensor | None = None
    ) -> Mixed:
        _check_count(h, self.k)
        masks = [draw["choice"] == i for i in range(len(self.parts))]
        mixes = [self._mix(name, mask, h, draw, labels) for name, mask in zip(self.parts, masks)]
        share = _chosen(masks, [_padded(mixed.share, self.k, h.ndim) for mixed in mixes], axis=1)
        return Mixed(_chosen(masks, [mixed.h for mixed in mixes]), share, self._labels(masks, mixes, labels))

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> dict[str, Tensor]:
        shown = next(i for i, part in enumerate(self.parts.values()) if part.k == self.k)
        corner = torch.eye(self.k, device=point.device, dtype=point.dtype)[0]  # for the mixers that are not shown
        draws = {
            name: part.at(point if i == shown else corner[: part.k], shape)
            for i, (name, part) in enumerate(self.parts.items())
        }
        return {"choice": torch.full((shape.batch,), shown, device=point.device), **_packed(draws)}

    def _mix(
        self,
        name: str,
        mask: Bool[Tensor, " batch"],
        h: Float[Tensor, "k batch *latent"],
        draw: Mapping[str, Tensor],
        labels: Tensor | None,
    ) -> Mixed:
        part = self.parts[name]
        own = h if part.k == len(h) else h[: part.k]  # slicing all of it would cost a copy in the backward pass
        if not _gradient_is_share(part):
            # `where` alone passes 0 · ∞ back to the examples that are not chosen: detach those, and remove their NaNs.
            own = where(_along(mask, own, axis=1), own, own.detach().nan_to_num(0.0, 0.0, 0.0))
        return part(own, _unpacked(draw, name), None if labels is None else labels[: part.k])

    def _labels(
        self, masks: list[Bool[Tensor, " batch"]], mixes: list[Mixed], labels: Tensor | None
    ) -> Float[Tensor, "batch classes"] | None:
        if labels is None or all(mixed.labels is None for mixed in mixes):
            return None
        y = label_vectors(labels, self.classes)
        return _chosen(masks, [mixed_labels(mixed, y[: len(mixed.share)]) for mixed in mixes])


class Chained(nn.Module):
    """Two mixers, one after the other. If either aims at labels, y_mix is b's, or follows from a's and b's shares."""

    def __init__(self, a: Mixer, b: Mixer, skipped_checks: Mapping[str, str], context: BuildContext) -> None:
        super().__init__()
        self.a, self.b, self.classes = a, b, context.label_width
        self.k = a.k + b.k - 1
        self.needs_map = needs_map(a) or needs_map(b)
        self.skipped_checks = skipped_checks

    def draw(self, shape: CodeShape, rng: Generator) -> dict[str, Tensor]:
        return self.draw_at(shape, rng, 1.0)

    def draw_at(self, shape: CodeShape, rng: Generator, progress: float) -> dict[str, Tensor]:
        a = draw_for(self.a, shape, rng, progress)
        return _packed({"a": a, "b": draw_for(self.b, shape, rng, progress)})

    def forward(
        self, h: Float[Tensor, "k batch *latent"], draw: Mapping[str, Tensor], labels: Tensor | None = None
    ) -> Mixed:
        _check_count(h, self.k)
        m = self.a.k
        first = self.a(h[:m], _unpacked(draw, "a"), None if labels is None else labels[:m])
        y = None
        if labels is not None:
            own = label_vectors(labels, self.classes)
            y = torch.cat([mixed_labels(first, own[:m])[None], own[m:]])
        second = self.b(torch.cat([first.h[None], h[m:]]), _unpacked(draw, "b"), y)
        aims = y is not None and (first.labels is not None or second.labels is not None)
        return Mixed(second.h, _product(first, second), mixed_labels(second, y) if aims and y is not None else None)

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> dict[str, Tensor]:
        """a at the first m weights, normalised (its middle if all are 0), and b at their sum and the other weights."""
        own = point[: self.a.k]
        total = own.sum()
        inner = where(total > 0, own / total, torch.full_like(own, 1 / self.a.k))
        outer = torch.cat([total[None], point[self.a.k :]])
        return _packed({"a": self.a.at(inner, shape), "b": self.b.at(outer, shape)})


def _packed(draws: Mapping[str, Draw]) -> dict[str, Tensor]:
    """The draws of all inner mixers as one mapping of tensors."""
    packed: dict[str, Tensor] = {}
    for name, draw in draws.items():
        packed |= {name: draw} if isinstance(draw, Tensor) else {f"{name}/{key}": draw[key] for key in draw}
    return packed


def _unpacked(draw: Mapping[str, Tensor], name: str) -> Draw:
    """The draw of one inner mixer."""
    if name in draw:
        return draw[name]
    return {key.removeprefix(f"{name}/"): draw[key] for key in draw if key.startswith(f"{name}/")}


def _k(part: Part[Mixer]) -> int:
    return part.recipe.k if isinstance(part.recipe, HasK) else 0  # 0 if only the built mixer knows


def _built(parts: Mapping[str, Part[Mixer]], context: BuildContext) -> dict[str, Mixer]:
    return {name: part.build(context) for name, part in parts.items()}


def _skipped(parts: Mapping[str, Part[Mixer]]) -> dict[str, str]:
    """The checks that any inner mixer skips: the whole fails them too."""
    return {
        check: f"{name} skips it: {reason}"
        for name, part in parts.items()
        for check, reason in getattr(part.recipe, "skipped_checks", {}).items()
    }


def _check_count(h: Float[Tensor, "sources batch *latent"], k: int) -> None:
    if len(h) != k:
        raise ValueError(f"a mixer of k={k} sources got {len(h)}")


def _gradient_is_share(part: Mixer) -> bool:
    """Whether the gradient of a source is its share alone, which is finite whatever the codes are."""
    call: object = type(part).__call__
    return call in (LinearMixer.__call__, MaskMixer.__call__)


def _along(mask: Bool[Tensor, " batch"], like: Tensor, axis: int) -> Bool[Tensor, "..."]:
    """The mask, reshaped to broadcast along `axis` of `like`."""
    return mask.reshape(*[1] * axis, -1, *[1] * (like.ndim - axis - 1))


def _chosen(masks: Sequence[Bool[Tensor, " batch"]], values: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The value of the chosen mixer for each example along `axis`."""
    chosen = values[0]
    for mask, value in zip(masks[1:], values[1:]):  # over the mixers, not over examples
        chosen = where(_along(mask, value, axis), value, chosen)
    return chosen


def _padded(share: Float[Tensor, "some batch *ones"], k: int, ndim: int) -> Float[Tensor, "k batch *ones2"]:
    """The share with all `ndim` axes, and 0 for the sources that the mixer does not take."""
    share = share.reshape(*share.shape, *[1] * (ndim - share.ndim))
    return torch.cat([share, share.new_zeros(k - len(share), *share.shape[1:])])


def _product(a: Mixed, b: Mixed) -> Float[Tensor, "k batch *ones"]:
    """The shares of a chain's sources: b's share of a's mix times a's shares, then b's other shares."""
    ndim = a.h.ndim + 1
    first, second = _padded(a.share, len(a.share), ndim), _padded(b.share, len(b.share), ndim)
    product = second[:1] * first
    rest = second[1:].expand(-1, *torch.broadcast_shapes(product.shape[1:], second.shape[1:]))
    return torch.cat([product, rest])
