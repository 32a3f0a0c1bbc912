"""Correct mixers (the twins), and the table of mixers that are broken in exactly one way.

A bug is a class whose docstring says what is wrong; `@planted(twin, checks...)` names the checks that must find it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import nn

from mixzoo import LinearMixer, MaskMixer, Mixed


@dataclass(frozen=True)
class Planted:
    """A bug: the part, the checks that must find it, and the part without the bug."""

    name: str
    bug: str
    make: Callable[[], Any]
    caught_by: tuple[str, ...]
    twin: type


PLANTED: list[Planted] = []


def planted(twin: type, *checks: str) -> Callable[[type], type]:
    def plant(broken: type) -> type:
        PLANTED.append(Planted(broken.__name__, broken.__doc__ or "", broken, checks, twin))
        return broken

    return plant


@dataclass(frozen=True)
class Weights(LinearMixer):
    """A uniform point of the simplex for each example."""

    k: Annotated[int, Ge(2), "sources of one mix"] = 3

    def draw(self, shape, rng):
        weights = torch.empty(self.k, shape.batch).exponential_(generator=rng)
        return shape.broadcast(weights / weights.sum(0))


def one_hot(source, k):
    """The mask [k ...] of source numbers [...]."""
    return source == torch.arange(k).reshape(k, *[1] * source.ndim)


@dataclass(frozen=True)
class Maps(MaskMixer):
    """Each feature map from one of three sources."""

    k: ClassVar[int] = 3

    def draw(self, shape, rng):
        return shape.broadcast(one_hot(torch.randint(3, (shape.batch, shape.channels), generator=rng), 3))

    def at(self, point, shape):
        place = (torch.arange(shape.channels) + 0.5) / shape.channels
        source = (place >= point.cumsum(0)[:-1, None]).sum(0)
        return shape.broadcast(one_hot(source.expand(shape.batch, -1), 3))


@dataclass(frozen=True)
class Boxes(MaskMixer):
    """A box from the first source, the rest from the second."""

    k: ClassVar[int] = 2
    needs_map: ClassVar[bool] = True
    skipped_checks: ClassVar[dict[str, str]] = {"mean_share_is_one_over_k": "a box is less than half of a map"}

    def draw(self, shape, rng):
        if not shape.is_map:
            raise ValueError("boxes need a map")
        return self.mask(self.edges(shape, rng), shape)

    def edges(self, shape, rng):
        """First and last row and column of the box, ends excluded, [batch 2] each."""
        _, height, width = shape.latent
        rows = torch.randint(height + 1, (shape.batch, 2), generator=rng).sort(1).values
        columns = torch.randint(width + 1, (shape.batch, 2), generator=rng).sort(1).values
        return rows, columns

    def mask(self, edges, shape):
        _, height, width = shape.latent
        (y, x), (rows, columns) = (torch.arange(height)[:, None], torch.arange(width)), edges
        rows, columns = rows[:, :, None, None], columns[:, :, None, None]
        inside = (rows[:, 0] <= y) & (y < rows[:, 1]) & (columns[:, 0] <= x) & (x < columns[:, 1])
        return torch.stack([inside, ~inside])[:, :, None]

    def at(self, point, shape):
        _, height, width = shape.latent
        first = torch.arange(height * width) < round(float(point[0]) * height * width)
        first = first.reshape(1, 1, height, width).expand(shape.batch, -1, -1, -1)
        return torch.stack([first, ~first])


class LabelWeights(nn.Module):
    """Random weights of two sources, multiplied by the exponential of a learned score of their labels."""

    k = 2
    skipped_checks: ClassVar[dict[str, str]] = {
        "labels_do_not_matter": "it reads them",
        "mean_share_is_one_over_k": "the labels say which source weighs more",
        "a_larger_batch_has_the_same_law": "other labels in the larger batch",
    }

    def __init__(self):
        super().__init__()
        self.score = nn.Parameter(torch.randn(10))

    def draw(self, shape, rng):
        first = torch.rand(shape.batch, generator=rng)
        return {"base": torch.stack([first, 1 - first]), "learned": torch.ones(2, shape.batch)}

    def share(self, draw, labels, dtype):
        weights = draw["base"].to(dtype) * (draw["learned"] * self.score[labels]).exp()
        return weights / weights.sum(0)

    def forward(self, h, draw, labels=None):
        share = self.share(draw, labels, h.dtype)
        aim = (share[..., None] * nn.functional.one_hot(labels, 10)).sum(0)
        share = share.reshape(*share.shape, *[1] * (h.ndim - 2))
        return Mixed((share * h).sum(0), share, aim)

    def at(self, point, shape):
        base = point[:, None].expand(-1, shape.batch)
        return {"base": base, "learned": torch.zeros(2, shape.batch)}


@dataclass(frozen=True)
class Learned:
    """A recipe that builds LabelWeights."""

    def build(self, context):
        return LabelWeights()


TWINS = (Weights, Maps, Boxes, Learned)
