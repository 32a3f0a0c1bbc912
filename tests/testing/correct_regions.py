"""Correct mixers that cut a map into regions of different shapes."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from planted import one_hot

from mixzoo import MaskMixer


@lru_cache(maxsize=8)
def columns(width):
    """A table that is cached for each shape and never written to."""
    return torch.arange(width)


@dataclass(frozen=True)
class Stripes(MaskMixer):
    """Bands of equal width at a random offset, from the sources in a random order."""

    needs_map: ClassVar[bool] = True
    k: ClassVar[int] = 2
    way: Annotated[Literal["rows", "columns"], "in which the bands are counted"] = "columns"

    def draw(self, shape, rng):
        if not shape.is_map:
            raise ValueError("stripes need a map")
        length = shape.latent[2 if self.way == "columns" else 1]
        offset = torch.randint(2 * length, (shape.batch, 1), generator=rng)
        band = (columns(length) + offset) // max(1, length // 3) % 2
        return self.along(one_hot(band, 2), shape)

    def along(self, mask, shape):
        length = mask.shape[-1]
        axes = (1, 1, length) if self.way == "columns" else (1, length, 1)
        return mask.reshape(2, mask.shape[1], *axes).expand(2, shape.batch, 1, *shape.latent[1:])

    def at(self, point, shape):
        length = shape.latent[2 if self.way == "columns" else 1]
        first = columns(length) < round(float(point[0]) * length)
        return self.along(torch.stack([first, ~first])[:, None], shape)


@dataclass(frozen=True)
class Regions(MaskMixer):
    """Regions of k sources in a random order; subclasses give their shapes."""

    needs_map: ClassVar[bool] = True
    k: Annotated[int, Ge(2), Le(4), "sources of one mix"] = 2

    def places(self, shape):
        """Row and column of each position, in (0, 1), [height 1] and [1 width]."""
        if not shape.is_map:
            raise ValueError("regions need a map")
        _, height, width = shape.latent
        return (torch.arange(height) + 0.5)[:, None] / height, (torch.arange(width) + 0.5)[None] / width

    def shuffled(self, region, rng):
        """The mask [k batch 1 height width] of numbered regions, with a random source for each."""
        order = torch.rand(self.k, region.shape[0], generator=rng).argsort(0)
        return one_hot(order.T.gather(1, region.flatten(1)).reshape(region.shape), self.k)[:, :, None]

    def at(self, point, shape):
        _, height, width = shape.latent
        place = (torch.arange(height * width) + 0.5) / (height * width)
        source = (place >= point.cumsum(0)[:-1, None]).sum(0).reshape(1, 1, height, width)
        return one_hot(source, self.k).expand(-1, shape.batch, -1, -1, -1)


class HalfPlanes(Regions):
    """Parallel cuts at a random angle."""

    def draw(self, shape, rng):
        y, x = self.places(shape)
        angle = torch.rand(shape.batch, 1, 1, generator=rng) * 2 * math.pi
        depth = (x - 0.5) * angle.cos() + (y - 0.5) * angle.sin()
        cuts = (torch.rand(self.k - 1, shape.batch, 1, 1, generator=rng) - 0.5) * 1.2
        return self.shuffled((depth > cuts).sum(0), rng)


class Discs(Regions):
    """Discs around random centres, the later ones on top."""

    def draw(self, shape, rng):
        y, x = self.places(shape)
        region = torch.zeros(shape.batch, *shape.latent[1:], dtype=torch.long)
        for number in range(1, self.k):
            row, column, radius = torch.rand(3, shape.batch, 1, 1, generator=rng)
            inside = (y - row).square() + (x - column).square() < radius.square() / 2
            region = torch.where(inside, number, region)
        return self.shuffled(region, rng)


class ClippedBoxes(Regions):
    """Boxes of three sources from a random corner, clipped at the border."""

    def draw(self, shape, rng):
        _, height, width = shape.latent if shape.is_map else (0, *self.places(shape))
        region = torch.zeros(shape.batch, height, width, dtype=torch.long)
        for number in range(1, self.k):
            inside = []
            for length in (height, width):
                low = torch.randint(length, (shape.batch, 1), generator=rng)
                side = torch.randint(1, length + 1, (shape.batch, 1), generator=rng)
                place = torch.arange(length)
                inside.append((low <= place) & (place < (low + side).clamp(max=length)))
            region = torch.where(inside[0][:, :, None] & inside[1][:, None], number, region)
        return self.shuffled(region, rng)


class Checkers(Regions):
    """A checkerboard of single positions with a random first square."""

    def draw(self, shape, rng):
        self.places(shape)
        _, height, width = shape.latent
        field = (torch.arange(height)[:, None] + torch.arange(width)) % self.k
        return self.shuffled(field.expand(shape.batch, -1, -1), rng)


class Rings(Regions):
    """Concentric rings around the centre of the map, at random distances."""

    def draw(self, shape, rng):
        y, x = self.places(shape)
        distance = torch.maximum((y - 0.5).abs(), (x - 0.5).abs()) * 2
        cuts = torch.rand(self.k - 1, shape.batch, 1, 1, generator=rng)
        return self.shuffled((distance > cuts).sum(0), rng)
