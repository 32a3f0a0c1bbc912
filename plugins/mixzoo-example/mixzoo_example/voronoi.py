"""A mixer that cuts the map into cells with straight edges, each from one of the sources."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float, Int
from mixzoo import CodeShape, MaskMixer
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Voronoi(MaskMixer):
    """Each position of the map from the source with the nearest seed: the cells of a Voronoi diagram.

    h_mix[y, x] = h_i[y, x],   i the source of seed argmin_j ‖(y, x) - s_j‖,   s_j ~ U([0, height] x [0, width])

    Each source has `cells` seeds, so the sources are exchangeable and each has 1/k of the map on average.
    """

    needs_map: ClassVar[bool] = True

    k: Annotated[int, Ge(2), Le(64), "sources of one mix"] = 2
    cells: Annotated[int, Ge(1), Le(64), "seeds of each source: the more, the smaller the cells"] = 1

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch 1 height width"]:
        """All the randomness of one mix, from `rng` alone: true where a source is picked."""
        _, height, width = shape.latent
        down, across = torch.rand(2, self.k * self.cells, shape.batch, 1, 1, generator=rng)
        squared = (_middles(height)[:, None] - down * height) ** 2 + (_middles(width) - across * width) ** 2
        return _one_hot(squared.argmin(0) % self.k, self.k)

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Bool[Tensor, "k batch 1 height width"]:
        """The mask for a given point of the simplex, for pictures: slices of a pie with those areas."""
        _, height, width = shape.latent
        down, across = torch.meshgrid(_middles(height) - height / 2, _middles(width) - width / 2, indexing="ij")
        turn = torch.atan2(down, across).flatten()
        rank = turn.argsort(stable=True).argsort().reshape(height, width)  # of each position by angle around the middle
        cuts = point.cpu().cumsum(0)[:-1, None, None]
        source = ((rank + 0.5) / (height * width) >= cuts).sum(0)
        return _one_hot(source.expand(shape.batch, -1, -1), self.k).to(point.device)


def _middles(count: int) -> Float[Tensor, " count"]:
    """The middles of the positions of an axis."""
    return torch.arange(count) + 0.5


def _one_hot(source: Int[Tensor, "batch height width"], k: int) -> Bool[Tensor, "k batch 1 height width"]:
    return (source == torch.arange(k)[:, None, None, None])[:, :, None]
