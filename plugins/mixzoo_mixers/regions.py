"""Mixers that pick regions: each position comes from one of the sources, the same one in all feature maps.

h_mix[y, x] = sum_i m_i[y, x] h_i[y, x],   m_i[y, x] in {0, 1},   sum_i m_i[y, x] = 1
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float, Int, Real
from torch import Generator, Tensor

from mixzoo import CodeShape, MaskMixer, dirichlet, rng_for
from mixzoo_mixers.maps import map_size
from mixzoo_mixers.masks import crossover, one_hot, picked, skipped_with
from mixzoo_mixers.options import AreaConcentration, FirstChance, K, PPer


class RegionMixer(MaskMixer, ABC):
    """A mask over the positions of a map. Provides `at`, given an `order` in which the positions are filled.

    Raises ValueError if the codes are not maps [channels, height, width].
    """

    needs_map: ClassVar[bool] = True

    @abstractmethod
    def order(self, height: int, width: int) -> Real[Tensor, "height width"]:
        """A number for each position: `at` fills the map in ascending order, so that regions look like drawn ones."""

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Bool[Tensor, "k batch 1 height width"]:
        """Each source in turn gets as many positions as its share rounds to."""
        height, width = map_size(self, shape)
        pick = (ranks(self.order(height, width).reshape(1, -1)) + 0.5) / (height * width)
        mask = picked(pick, point.cpu()[:, None, None]).reshape(-1, 1, 1, height, width)
        return mask.expand(-1, shape.batch, -1, -1, -1).to(point.device)


@dataclass(frozen=True, kw_only=True)
class CutMix(RegionMixer):
    """Boxes of one code pasted into another, CutMix (Yun et al. 2019) in feature space, for any k.

    h_mix[y, x] = h_i[y, x],   i the last source to be painted whose box holds (y, x)

    a ~ Dirichlet(alpha, …, alpha). In a random order of the sources, drawn for each example, the first is the ground
    and source j paints a box over a fraction f_j = a_j / (a_1 + … + a_j) of the map: sides √f_j H and √f_j W, rounded
    up or down at random, E[area] = f_j H W exactly, from nothing to the whole map. No box is clipped. border=inside
    places it uniformly where it fits: the middle is covered more often than a corner. border=wrap lets it wrap around
    the edges: every position is covered equally often. Each source has 1/k of the map on average; E[share_i | a] = a_i
    with border=wrap, and for k = 2 with both (for more sources, boxes that stay inside overlap more than independent
    ones).
    """

    k: K = 2
    alpha: AreaConcentration = 1.0
    border: Annotated[Literal["inside", "wrap"], "boxes stay inside the map, or wrap around its edges"] = "inside"

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch 1 height width"]:
        height, width = map_size(self, shape)
        share, place = in_random_order(dirichlet((self.k, shape.batch), self.alpha, rng), rng)
        area = share / share.cumsum(0).clamp(min=torch.finfo(share.dtype).tiny)  # not 0 / 0 if no share is left: no box
        area[0] = 1
        mask = painted(boxes(area, height, width, self.border, rng))
        return by_source(mask, place)[:, :, None]

    def order(self, height: int, width: int) -> Float[Tensor, "height width"]:
        """Nested boxes that grow from the top left."""
        y, x = torch.arange(1.0, height + 1), torch.arange(1.0, width + 1)
        return torch.maximum(y[:, None] / height, x / width)


@dataclass(frozen=True, kw_only=True)
class Grid(RegionMixer):
    """The map in cells x cells patches, each from one of k codes: the crossover of AMR eq. 5 on patches.

    h_mix[patch] = h_i[patch],   i ~ Categorical(q)

    q = (p, (1-p)/(k-1), …) for a given p; otherwise q ~ Dirichlet(1, …, 1), drawn once for each example, batch or unit
    (patch), as `p_per` says, and each source has 1/k of every position on average. With p_per=unit patches are
    independent. Sides of patches differ by one position at most; a side of the map with fewer positions than `cells`
    has one patch per position.
    """

    k: K = 2
    cells: Annotated[int, Ge(1), Le(64), "patches along each side of the map"] = 2
    p: FirstChance | None = None
    p_per: PPer = "example"

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        """The checks that a given p, or one p for a whole batch, fails by design."""
        return skipped_with(self.p, self.k, self.p_per)

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch 1 height width"]:
        patch = self._patches(*map_size(self, shape))
        mask = crossover(self.k, self.p, self.p_per, (shape.batch, int(patch.max()) + 1), rng)
        return mask[:, :, patch][:, :, None]

    def order(self, height: int, width: int) -> Int[Tensor, "height width"]:
        """Patch after patch, in a shuffled but fixed order."""
        return shuffled(self._patches(height, width), "grid.at")

    def _patches(self, height: int, width: int) -> Int[Tensor, "height width"]:
        """The number of the patch that has each position."""
        rows, columns = min(self.cells, height), min(self.cells, width)
        row, column = torch.arange(height) * rows // height, torch.arange(width) * columns // width
        return row[:, None] * columns + column


def boxes(
    area: Float[Tensor, "*any"], height: int, width: int, border: Literal["inside", "wrap"], rng: Generator
) -> Bool[Tensor, "*any height width"]:
    """A random box for each `area`, the expected fraction of the map that it covers, in [0, 1]."""
    rows = _spans(area.sqrt(), height, border, rng)
    columns = _spans(area.sqrt(), width, border, rng)
    return rows[..., :, None] & columns[..., None, :]


def _spans(
    side: Float[Tensor, "*any"], length: int, border: Literal["inside", "wrap"], rng: Generator
) -> Bool[Tensor, "*any length"]:
    """Intervals of 0 .. length-1 at a random place, side * length positions long on average."""
    long = (
        (side * length + torch.rand(side.shape, generator=rng)).floor().clamp(max=length)
    )  # rounding may give length + 1
    places = length - long + 1 if border == "inside" else torch.tensor(length)
    start = (torch.rand(side.shape, generator=rng) * places).floor()
    return (torch.arange(length) - start[..., None]) % length < long[..., None]


def painted(boxes: Bool[Tensor, "k batch height width"]) -> Bool[Tensor, "k batch height width"]:
    """One-hot over k: the last box that covers each position. The first must cover the whole map."""
    number = torch.arange(len(boxes), dtype=torch.uint8)[:, None, None, None]
    return one_hot((boxes * number).amax(0).long(), len(boxes))


def in_random_order(
    share: Float[Tensor, "k batch"], rng: Generator
) -> tuple[Float[Tensor, "k batch"], Int[Tensor, "k batch"]]:
    """The shares in a random order of the sources, drawn for each example, and the place of each source in it."""
    order = torch.rand(share.shape, generator=rng).argsort(0)
    return share.gather(0, order), order.argsort(0)


def by_source(mask: Bool[Tensor, "k batch *space"], place: Int[Tensor, "k batch"]) -> Bool[Tensor, "k batch *space"]:
    """The masks by source, from masks by place."""
    return mask.gather(0, place.reshape(*place.shape, *[1] * (mask.ndim - 2)).expand_as(mask))


def ranks(values: Real[Tensor, "batch n"]) -> Int[Tensor, "batch n"]:
    """The rank of each value in its row, 0 .. n-1; ties keep their order."""
    return values.argsort(stable=True, dim=1).argsort(1)


def shuffled(patch: Int[Tensor, "height width"], purpose: str) -> Int[Tensor, "height width"]:
    """The patches renumbered in a random but fixed order."""
    return torch.randperm(int(patch.max()) + 1, generator=rng_for(0, purpose))[patch]
