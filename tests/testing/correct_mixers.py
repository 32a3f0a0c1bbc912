"""Correct mixers, each written in a different way: no check may fail on any of them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from correct_regions import Checkers, ClippedBoxes, Discs, HalfPlanes, Rings, Stripes
from planted import one_hot
from torch import nn

from mixzoo import CodeShape, LinearMixer, MaskMixer, Mixed
from mixzoo.core.labels import label_vectors


def normalised(weights):
    return weights / weights.sum(0)


def exponentials(k, batch, rng):
    """Uniform points of the simplex, [k batch]."""
    return normalised(torch.empty(k, batch).exponential_(generator=rng))


@dataclass(frozen=True)
class StacksCodes(LinearMixer):
    """Stacks the weighted codes."""

    k: Annotated[int, Ge(2), "sources of one mix"] = 2

    def draw(self, shape, rng):
        return shape.broadcast(exponentials(self.k, shape.batch, rng))

    def __call__(self, h, draw, labels=None):
        share = draw.to(h.dtype)
        weighted = torch.stack([weight * source for weight, source in zip(share, h, strict=True)])
        return Mixed(weighted.sum(0), share)


@dataclass(frozen=True)
class Einsum(StacksCodes):
    """Sums over the sources with einsum, with autocast disabled."""

    def __call__(self, h, draw, labels=None):
        share = draw.to(h.dtype)
        with torch.autocast(h.device.type, enabled=False):
            mixed = torch.einsum("kb,kb...->b...", share.flatten(1), h)
        return Mixed(mixed, share)


@dataclass(frozen=True)
class InPlace(StacksCodes):
    """Accumulates in place, in a new tensor."""

    def draw(self, shape, rng):
        weights = torch.rand(self.k, shape.batch, generator=rng)
        weights.add_(0.01).div_(weights.sum(0))
        return shape.broadcast(weights)

    def __call__(self, h, draw, labels=None):
        share = draw.to(h.dtype)
        if len(h) != self.k:
            raise ValueError(f"{len(h)} sources, and k={self.k}")
        total = share[0] * h[0]
        for i in range(1, self.k):
            total += share[i] * h[i]
        return Mixed(total, share)


@dataclass(frozen=True)
class Lists(LinearMixer):
    """Builds its draw from a list of numbers."""

    k: ClassVar[int] = 2

    def draw(self, shape, rng):
        first = [float(torch.rand((), generator=rng)) for _ in range(shape.batch)]
        return shape.broadcast(torch.tensor([first, [1 - one for one in first]]))


class Buffered(nn.Module):
    """A module without weights, with persistent and non-persistent buffers."""

    def __init__(self, k=3):
        super().__init__()
        self.k, self.needs_map = k, False
        self.register_buffer("sharpness", torch.tensor(2.0))
        self.register_buffer("order", torch.arange(k), persistent=False)

    def draw(self, shape, rng):
        return torch.randn(self.k, shape.batch, generator=rng)

    def forward(self, h, draw, labels=None):
        if len(h) != self.k:
            raise ValueError(f"{len(h)} sources, and k={self.k}")
        weights = (draw * self.sharpness.to(draw.dtype)).softmax(0)[self.order]
        share = CodeShape(h.shape[1], tuple(h.shape[2:])).broadcast(weights).to(h.dtype)
        return Mixed((share * h).sum(0), share)

    def at(self, point, shape):
        return (point.log() / self.sharpness)[:, None].expand(-1, shape.batch)


@dataclass(frozen=True)
class Buffers:
    """A recipe that builds Buffered."""

    k: Annotated[int, Ge(2), Le(8), "sources of one mix"] = 3

    def build(self, context):
        return Buffered(self.k)


@dataclass(frozen=True)
class ByName(MaskMixer):
    """A mask per feature map, built for the number of maps in the context."""

    k: ClassVar[int] = 2
    channels: int

    def draw(self, shape, rng):
        assert shape.channels == self.channels
        return shape.broadcast(one_hot(torch.randint(0, 2, (shape.batch, self.channels), generator=rng), 2))

    def at(self, point, shape):
        first = torch.arange(self.channels) < round(float(point[0]) * self.channels)
        return shape.broadcast(torch.stack([first, ~first])[:, None].expand(-1, shape.batch, -1))


@dataclass(frozen=True)
class Builds:
    """A recipe whose mixer is not a module and is built for a shape of code."""

    def build(self, context):
        return ByName(context.latent_shape[0])


@dataclass(frozen=True)
class DictDraw:
    """Gaps between sorted uniform numbers, in a random order of the sources; the draw is a dict."""

    needs_map: ClassVar[bool] = False
    k: Annotated[int, Ge(2), "sources of one mix"] = 4

    def draw(self, shape, rng):
        return {
            "order": torch.rand(self.k, shape.batch, generator=rng).argsort(0),
            "cuts": torch.rand(self.k - 1, shape.batch, dtype=torch.float64, generator=rng).sort(0).values,
        }

    def __call__(self, h, draw, labels=None):
        edges = torch.cat([torch.zeros_like(draw["cuts"][:1]), draw["cuts"], torch.ones_like(draw["cuts"][:1])])
        share = edges.diff(dim=0).gather(0, draw["order"])
        share = share.reshape(*share.shape, *[1] * (h.ndim - 2)).to(h.dtype)
        return Mixed((share * h).sum(0), share)

    def at(self, point, shape):
        cuts = point.double().cumsum(0)[:-1].clamp(0, 1)
        order = torch.arange(self.k, device=point.device)[:, None].expand(-1, shape.batch)
        return {"order": order, "cuts": cuts[:, None].expand(-1, shape.batch)}


@dataclass(frozen=True, slots=True)
class Doubles(LinearMixer):
    """Draws in float64, in a class with slots."""

    k: Annotated[int, Ge(2), "sources of one mix"] = 2
    alpha: Annotated[float, Gt(0), "concentration"] = 0.7

    def draw(self, shape, rng):
        concentration = torch.full((self.k, shape.batch), self.alpha, dtype=torch.float64)
        return shape.broadcast(normalised(torch._standard_gamma(concentration, generator=rng)))


@dataclass(frozen=True)
class ComputedK(LinearMixer):
    """k follows from another option, and a table from k."""

    others: Annotated[int, Ge(1), "sources besides the first"] = 2

    @property
    def k(self):
        return 1 + self.others

    @cached_property
    def weights(self):
        """One large weight and equal small ones."""
        return torch.tensor([2.0] + [1.0] * self.others) / (2 + self.others)

    def draw(self, shape, rng):
        order = torch.stack([torch.randperm(self.k, generator=rng) for _ in range(shape.batch)], 1)
        return shape.broadcast(self.weights[order])


@dataclass(frozen=True)
class Multinomial(MaskMixer):
    """Each feature map from a source drawn by torch.multinomial."""

    k: Annotated[int, Ge(2), Le(16), "sources of one mix"] = 3

    def draw(self, shape, rng):
        chances = torch.ones(shape.batch * shape.channels, self.k)
        picked = torch.multinomial(chances, 1, generator=rng)
        return shape.broadcast(one_hot(picked.reshape(shape.batch, shape.channels), self.k))

    def at(self, point, shape):
        place = (torch.arange(shape.channels) + 0.5) / shape.channels
        source = (place >= point.cumsum(0)[:-1, None]).sum(0)
        return shape.broadcast(one_hot(source.expand(shape.batch, -1), self.k))


@dataclass(frozen=True)
class Gumbels(LinearMixer):
    """A softmax of Gumbel noise at a temperature, from uniform numbers that are clamped away from 0."""

    k: Annotated[int, Ge(2), "sources of one mix"] = 3
    temperature: Annotated[float, Gt(0), Le(10), "near 0 the mix is one source"] = 1.0

    def draw(self, shape, rng):
        uniform = torch.rand(self.k, shape.batch, shape.channels, generator=rng).clamp(min=1e-7)
        return shape.broadcast((-(-uniform.log()).log() / self.temperature).softmax(0))


@dataclass(frozen=True)
class Rejects(LinearMixer):
    """A normal weight by rejection sampling to [0, 1]."""

    k: ClassVar[int] = 2
    spread: Annotated[float, Gt(0), Le(1), "of the weight"] = 0.3

    def draw(self, shape, rng):
        first = torch.full((shape.batch,), -1.0)
        while (out := (first < 0) | (first > 1)).any():
            first = torch.where(out, 0.5 + self.spread * torch.randn(shape.batch, generator=rng), first)
        return shape.broadcast(torch.stack([first, 1 - first]))


class Aims(nn.Module):
    """Random and learned weights; y_mix is the mean of the labels with these weights; accepts only class numbers."""

    k = 2
    skipped_checks: ClassVar[dict[str, str]] = {
        "labels_do_not_matter": "it reads them",
        "mean_share_is_one_over_k": "the labels say which source weighs more",
        "a_larger_batch_has_the_same_law": "other labels in the larger batch",
    }

    def __init__(self, classes):
        super().__init__()
        self.score = nn.Embedding(classes, 1)
        self.classes = classes

    def draw(self, shape, rng):
        return {"base": exponentials(2, shape.batch, rng), "learned": torch.ones(shape.batch)}

    def forward(self, h, draw, labels=None):
        learned = (self.score(labels)[..., 0] * draw["learned"]).exp()
        share = draw["base"].to(h.dtype) * learned.to(h.dtype)
        share = share / share.sum(0)
        aim = (share[..., None] * nn.functional.one_hot(labels, self.classes)).sum(0)
        share = share.reshape(*share.shape, *[1] * (h.ndim - 2))
        return Mixed((share * h).sum(0), share, aim)

    def at(self, point, shape):
        return {"base": point[:, None].expand(-1, shape.batch), "learned": torch.zeros(shape.batch)}


@dataclass(frozen=True)
class AimsAtClasses:
    """A recipe that builds Aims."""

    def build(self, context):
        return Aims(context.classes)


@dataclass(frozen=True)
class AimsAtVectors(StacksCodes):
    """y_mix is the mean of the labels weighted by the share, for every form of labels."""

    classes: ClassVar[int] = 10

    def __call__(self, h, draw, labels=None):
        mixed = super().__call__(h, draw)
        return mixed if labels is None else mixed._replace(labels=self.aim(draw.flatten(1), labels))

    def aim(self, weights, labels):
        return (weights[..., None] * label_vectors(labels, self.classes)).sum(0)


class Learns(nn.Module):
    """A learned sharpness for each feature map."""

    needs_map, k = False, 3

    def __init__(self, channels):
        super().__init__()
        self.sharpness = nn.Parameter(torch.linspace(0.5, 1.5, channels))

    def draw(self, shape, rng):
        return exponentials(3, shape.batch, rng)[..., None]

    def forward(self, h, draw, labels=None):
        power = nn.functional.softplus(self.sharpness)
        share = draw.to(h.dtype).clamp(min=torch.finfo(torch.float32).tiny) ** power
        share = torch.where(draw > 0, share / share.sum(0), 0.0).to(h.dtype)
        share = share.reshape(*share.shape, *[1] * (h.ndim - 3))
        return Mixed((share * h).sum(0), share)

    def at(self, point, shape):
        return point[:, None, None].expand(-1, shape.batch, 1)


@dataclass(frozen=True)
class Sharpens:
    """A recipe that builds Learns."""

    def build(self, context):
        return Learns(context.latent_shape[0])


@dataclass(frozen=True)
class Derived(LinearMixer):
    """Fields that are not options, computed on creation."""

    k: Annotated[int, Ge(2), "sources of one mix"] = 2
    noisy: Annotated[bool, "more spread"] = False
    scale: float = field(init=False, default=0.0)

    def __post_init__(self):
        object.__setattr__(self, "scale", 2.0 if self.noisy else 1.0)

    def draw(self, shape, rng):
        return shape.broadcast((self.scale * torch.randn(self.k, shape.batch, generator=rng)).softmax(0))


@dataclass(frozen=True)
class Warms(StacksCodes):
    """Weights that start near 1/k and spread as training progresses."""

    def draw(self, shape, rng):
        return self.draw_at(shape, rng, 1.0)

    def draw_at(self, shape, rng, progress):
        spread = 0.1 + 0.9 * progress
        weights = exponentials(self.k, shape.batch, rng)
        return shape.broadcast(spread * weights + (1 - spread) / self.k)


SOME = (  # of other kinds than one another
    *(Einsum(k=3), InPlace(k=3), Buffers(), DictDraw(), Discs(k=3), AimsAtClasses(), AimsAtVectors(k=3), Warms()),
)
CORRECT = (
    *(StacksCodes(), StacksCodes(k=3), Einsum(k=3), InPlace(k=3), Lists(), Buffers(), Builds(), DictDraw(), Doubles()),
    *(Doubles(k=3), ComputedK(), Multinomial(), Gumbels(), Stripes(), Stripes(way="rows"), HalfPlanes(), Discs(k=3)),
    *(ClippedBoxes(k=3), Checkers(), Rings(), Rejects(), AimsAtClasses(), AimsAtVectors(k=3), Sharpens(), Derived()),
    Warms(),
)
