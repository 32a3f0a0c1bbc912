"""Mixers that cover only a part of the simplex, or of maps that are not square."""

from dataclasses import dataclass

import torch
from correct_regions import ClippedBoxes, Regions
from planted import Weights, one_hot, planted


def three(*checks):
    """Plant the class as a mixer of three sources."""
    return planted(ClippedBoxes, *checks)


def inside(length, batch, rng, low=0, high=None, side=None):
    """[batch length]: a random interval that begins within low .. high - 1, and is at most `side` long."""
    high = length if high is None else high
    start = torch.randint(low, max(high, low + 1), (batch, 1), generator=rng)
    long = torch.randint(1, (length if side is None else side) + 1, (batch, 1), generator=rng)
    place = torch.arange(length)
    return (start <= place) & (place < (start + long).clamp(max=max(high, low + 1)))


@dataclass(frozen=True)
class Three(Regions):
    """Boxes of three sources, each drawn by a method that a bug replaces."""

    k: int = 3

    def draw(self, shape, rng):
        self.places(shape)
        region = torch.zeros(shape.batch, *shape.latent[1:], dtype=torch.long)
        for number, box in self.boxes(shape, rng):
            region = torch.where(box, number, region)
        return self.shuffled(region, rng)

    def boxes(self, shape, rng):
        return [(number, self.box(shape, rng)) for number in range(1, self.k)]

    def box(self, shape, rng):
        rows, columns = (self.interval(axis, shape, rng) for axis in (1, 2))
        return rows[:, :, None] & columns[:, None]

    def interval(self, axis, shape, rng):
        return inside(shape.latent[axis], shape.batch, rng)


@three("sources_meet_in_one_mix")
class TheTopRankHasAll(Three):
    """The top source also fills the background, so no mix has two sources."""

    def draw(self, shape, rng):
        mask = super().draw(shape, rng)
        return mask[:, :, :, :1, :1].expand(-1, -1, -1, *shape.latent[1:])


@three("sources_meet_in_one_mix")
class OneBoxForAllSources(Three):
    """All ranks have the same box, so the top one hides the one below and no mix has three sources."""

    def boxes(self, shape, rng):
        box = self.box(shape, rng)
        return [(number, box) for number in range(1, self.k)]


@three("sources_meet_in_one_mix")
class TheFirstSourceIsInEveryMix(Three):
    """The first source and one other, so the others never occur together."""

    def draw(self, shape, rng):
        self.places(shape)
        other = torch.randint(1, 3, (shape.batch, 1, 1), generator=rng)
        chance = torch.rand(shape.batch, 1, 1, generator=rng) < 1 / 2
        box = self.box(shape, rng) ^ chance
        return one_hot(torch.where(box, other, 0), 3)[:, :, None]


@planted(Weights, "sources_meet_in_one_mix")
class TakesTheLargestWhole(Weights):
    """An argmax over sources for the whole code in place of each feature map."""

    def draw(self, shape, rng):
        return shape.broadcast(one_hot(super().draw(shape, rng).flatten(1).argmax(0), self.k).float())


@planted(Weights, "sources_meet_in_one_mix")
class MixesNeighboursAlone(Weights):
    """Of four sources the first two or the last two."""

    def __init__(self):
        super().__init__(k=4)

    def draw(self, shape, rng):
        first, last = torch.rand(2, shape.batch, generator=rng)
        pair = torch.stack([first, 1 - first, 0 * last, 0 * last])
        return shape.broadcast(torch.where(last < 0.5, pair, pair.roll(2, 0)))


@planted(Weights, "sources_meet_in_one_mix")
class SortsOutTheSmallest(Weights):
    """The smallest of three weights is set to 0, as if it were rounding."""

    def draw(self, shape, rng):
        weights = super().draw(shape, rng)
        weights = torch.where(weights == weights.amin(0), 0.0, weights)
        return weights / weights.sum(0)


@planted(Weights, "no_two_sources_are_tied")
class HalvesTheRest(Weights):
    """One weight is drawn, the others have half of the rest each."""

    def draw(self, shape, rng):
        first = 1 - torch.rand(shape.batch, generator=rng).sqrt()
        return shape.broadcast(torch.stack([first, (1 - first) / 2, (1 - first) / 2]))


@planted(Weights, "no_two_sources_are_tied")
class LeavesTheLastAtAThird(Weights):
    """Two weights vary and the third is constant."""

    def draw(self, shape, rng):
        moved = (torch.rand(shape.batch, generator=rng) * 2 - 1) / 3
        return shape.broadcast(torch.stack([1 / 3 + moved, 1 / 3 - moved, torch.full_like(moved, 1 / 3)]))


@three("maps_are_cut_everywhere")
class TakesTheWidthForTheHeight(Three):
    """Rows are divided by the width, so only the top of a tall map is cut."""

    def interval(self, axis, shape, rng):
        if axis == 2:
            return super().interval(axis, shape, rng)
        length, scale = shape.latent[1:]
        ends = torch.rand(shape.batch, 2, generator=rng).sort(1).values
        place = torch.arange(length) / scale
        return (ends[:, :1] <= place) & (place < ends[:, 1:])


@three("maps_are_cut_everywhere")
class StopsBeforeTheLastColumn(Three):
    """The largest column index, width - 1, is used as an excluded end."""

    def interval(self, axis, shape, rng):
        length = shape.latent[axis]
        return inside(length, shape.batch, rng, high=length - 1 if axis == 2 else length)


@three("maps_are_cut_everywhere")
class BeginsAtTheSecondRow(Three):
    """Rows are counted from 1."""

    def interval(self, axis, shape, rng):
        return inside(shape.latent[axis], shape.batch, rng, low=1 if axis == 1 else 0)


@three("maps_are_cut_everywhere")
class CutsASquare(Three):
    """Positions and sizes are drawn below the shorter side of the map."""

    def interval(self, axis, shape, rng):
        short = min(shape.latent[1:])
        return inside(shape.latent[axis], shape.batch, rng, high=short, side=short)


@three("maps_are_cut_everywhere")
class KeepsOffTheFrame(Three):
    """No box touches the border."""

    def interval(self, axis, shape, rng):
        length = shape.latent[axis]
        return inside(length, shape.batch, rng, low=1, high=length - 1)


@three("maps_are_cut_everywhere")
class CountsPatchesByTheHeight(Three):
    """The index of a patch is computed with the height in place of the width, and then clipped."""

    def draw(self, shape, rng):
        self.places(shape)
        _, height, width = shape.latent
        column = (torch.arange(width) * 2 // height).clamp(max=1)
        patch = (torch.arange(height) * 2 // height)[:, None] * 2 + column
        source = torch.randint(3, (shape.batch, 4), generator=rng)
        return one_hot(source[:, patch], 3)[:, :, None]
