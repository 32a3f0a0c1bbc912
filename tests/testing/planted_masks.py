"""Mask mixers with a bug."""

import torch
from planted import Boxes, Maps, one_hot, planted

from mixzoo import Mixed


@planted(Maps, "equal_sources_come_back", "share_is_used")
class KeepsOnlyTheLastMaps(Maps):
    """`=` for `+=` in the loop over masks (AMR's k-way Bernoulli): all but the last source's maps are zero."""

    def __call__(self, h, draw, labels=None):
        for mask, source in zip(draw, h):
            total = torch.where(mask, source, 0)
        return Mixed(total, draw.to(h.dtype))


@planted(Maps, "picked_values_come_through_exactly")
class MultipliesByItsMask(Maps):
    """0 times infinity: a value that is not selected becomes NaN."""

    def __call__(self, h, draw, labels=None):
        return Mixed((draw.to(h.dtype) * h).sum(0), draw.to(h.dtype))


@planted(Maps, "picked_values_come_through_exactly")
class AddsUpWhatItPicked(Maps):
    """-0.0 + 0.0 is 0.0: the sign of a zero is lost."""

    def __call__(self, h, draw, labels=None):
        return Mixed(torch.where(draw, h, torch.zeros_like(h)).sum(0), draw.to(h.dtype))


@planted(Maps, "mask_picks_one_source", "shares_are_on_the_simplex")
class PicksEachSourceOnItsOwn(Maps):
    """An independent choice per source, so a feature map may have no source, or two."""

    def draw(self, shape, rng):
        return shape.broadcast(torch.rand(3, shape.batch, shape.channels, generator=rng) < 1 / 3)


@planted(Maps, "mask_picks_one_source")
class DrawsNumbersForAMask(Maps):
    """The mask is 0.0 and 1.0 instead of boolean."""

    def draw(self, shape, rng):
        return super().draw(shape, rng).float()

    def __call__(self, h, draw, labels=None):
        return super().__call__(h, draw.bool(), labels)


@planted(Maps, "every_element_comes_from_its_own_place")
class TakesTheNextFeatureMap(Maps):
    """The last source is shifted by one feature map."""

    def __call__(self, h, draw, labels=None):
        return super().__call__(torch.cat([h[:-1], h[-1:].roll(1, 2)]), draw, labels)


@planted(Maps, "every_element_comes_from_its_own_place", "examples_do_not_leak")
class TakesTheNextExamplesMap(Maps):
    """The last source is taken from the next example."""

    def __call__(self, h, draw, labels=None):
        return super().__call__(torch.cat([h[:-1], h[-1:].roll(1, 1)]), draw, labels)


@planted(Maps, "examples_are_drawn_independently")
class OneMaskForTheBatch(Maps):
    """All examples have the same mask."""

    def draw(self, shape, rng):
        return super().draw(shape, rng)[:, :1].expand(-1, shape.batch, *[-1] * len(shape.latent))


@planted(Maps, "mean_share_is_one_over_k")
class PicksTwice(Maps):
    """The first source is selected only if it is drawn twice: with probability 1/9."""

    def draw(self, shape, rng):
        a, b = torch.randint(3, (2, shape.batch, shape.channels), generator=rng)
        return shape.broadcast(one_hot(torch.where((a == 0) & (b != 0), b, a), 3))


@planted(Maps, "corner_is_that_source")
class LosesAMapToRounding(Maps):
    """`at` a corner still gives the first feature map to the first source."""

    def at(self, point, shape):
        mask = super().at(point, shape).clone()
        mask[:, :, 0] = False
        mask[0, :, 0] = True
        return mask


@planted(Boxes, "keeps_shape_and_dtype")
class SwapsHeightAndWidth(Boxes):
    """The mask is [width height]."""

    def draw(self, shape, rng):
        return super().draw(shape, rng).transpose(-1, -2)


@planted(Boxes, "every_position_can_come_from_every_source")
class CutsRowsByTheWidth(Boxes):
    """Rows are drawn below the width and columns below the height, and then clipped."""

    def edges(self, shape, rng):
        rows, columns = super().edges(shape, rng)
        _, height, width = shape.latent
        return columns.clamp(max=height), rows.clamp(max=width)


@planted(Boxes, "every_position_can_come_from_every_source")
class NeverReachesTheBorder(Boxes):
    """Off by one: the last column is never inside a box."""

    def edges(self, shape, rng):
        rows, columns = super().edges(shape, rng)
        return rows, columns.clamp(max=shape.latent[2] - 1)


@planted(Boxes, "share_is_used")
class ReportsTheAreaBeforeClipping(Boxes):
    """The share is the intended area, constant over positions, and not the mask."""

    def __call__(self, h, draw, labels=None):
        area = draw.to(h.dtype).mean((2, 3, 4), keepdim=True) * 0.9
        return super().__call__(h, draw, labels)._replace(share=area)


@planted(Boxes, "examples_are_drawn_independently")
class OneCornerForTheBatch(Boxes):
    """The boxes of a batch differ in size but start at the same row."""

    def edges(self, shape, rng):
        rows, columns = super().edges(shape, rng)
        start = rows[:1, :1]
        return torch.cat([start.expand(shape.batch, 1), torch.maximum(rows[:, 1:], start)], 1), columns


@planted(Boxes, "refuses_vectors")
class TakesVectorsInSilence(Boxes):
    """needs_map is True, but a vector is copied from the first source."""

    def draw(self, shape, rng):
        if not shape.is_map:
            first = torch.ones(1, shape.batch, 1, dtype=torch.bool)
            return torch.cat([first, ~first])
        return super().draw(shape, rng)
