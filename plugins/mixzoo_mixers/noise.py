"""Mixers whose regions come from noise: the blocks of DropBlock, and the level sets of FMix."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from mixzoo import CodeShape, dirichlet, rng_for
from mixzoo_mixers.maps import map_size
from mixzoo_mixers.masks import one_against_others, picked, skipped_with
from mixzoo_mixers.options import AreaConcentration, K
from mixzoo_mixers.regions import RegionMixer, by_source, in_random_order, ranks, shuffled


@dataclass(frozen=True, kw_only=True)
class DropBlock(RegionMixer):
    """Square blocks of the first code replaced by the others': DropBlock (Ghiasi et al. 2018) as a mixer, for any k.

    h_mix[y, x] = h_i[y, x],   i the partner whose block covers (y, x), or the first source if no block does

    The combination that AMR's discussion proposes. Expected shares are a = (1-p, p/(k-1), …) for a given p; otherwise
    a ~ Dirichlet(1, …, 1) and p = 1 - a_1. Each place has a block with chance γ = 1 - (1-p)^(1/b²), which belongs to
    partner i with chance a_i / p. Places extend b-1 beyond the edges, so that b² blocks can cover each position, also
    in the corners: P(covered) = 1 - (1-γ)^(b²) = p and E[share_i | a] = a_i exactly, everywhere. (In the original,
    blocks lie inside the map, corners are dropped less often, and γ is right to first order.) A block may be larger
    than the map; the law is the same. Each source has 1/k on average if p is not given.
    """

    k: K = 2
    block: Annotated[int, Ge(1), Le(32), "b, side of a block in positions"] = 2
    p: Annotated[float, Ge(0), Le(1), "expected part of the map replaced; if not given, drawn uniformly"] | None = None
    mask_per: Annotated[Literal["example", "channel"], "one mask for all feature maps, or one for each"] = "example"

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        """The checks that a given p fails by design."""
        return skipped_with(None if self.p is None else 1 - self.p, self.k, p_per="example")

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch #channels height width"]:
        height, width = map_size(self, shape)
        expected = self._expected(shape.batch, rng)
        others, place = in_random_order(expected[1:], rng)
        channels = shape.channels if self.mask_per == "channel" else 1
        number = self._numbers((shape.batch, channels, height, width), rng)
        mask = picked(number, torch.cat([expected[:1], others])[..., None, None, None])
        return torch.cat([mask[:1], by_source(mask[1:], place)])

    def _numbers(self, size: tuple[int, int, int, int], rng: Generator) -> Float[Tensor, "batch channels height width"]:
        """A number ~ U(0, 1) at each position, the same wherever the same block is on top.

        Each place has a uniform number, and the block of the largest one is on top. The largest of b² uniform numbers,
        to the power of b², is uniform again. So γ is the chance that one place alone exceeds a_1, the first's interval.
        """
        *lead, height, width = size
        places = torch.rand(*lead, height + self.block - 1, width + self.block - 1, dtype=torch.float64, generator=rng)
        top = places.unfold(2, self.block, 1).amax(-1).unfold(3, self.block, 1).amax(-1)
        return top ** (self.block**2)

    def order(self, height: int, width: int) -> Int[Tensor, "height width"]:
        """Block after block, in a shuffled but fixed order."""
        row, column = torch.arange(height) // self.block, torch.arange(width) // self.block
        return shuffled(row[:, None] * (int(column[-1]) + 1) + column, "dropblock.at")

    def _expected(self, batch: int, rng: Generator) -> Float[Tensor, "k batch"]:
        """a, the expected share of each source."""
        if self.p is not None:
            return one_against_others(1 - self.p, self.k)[:, None].expand(-1, batch)
        return dirichlet((self.k, batch), 1.0, rng)


@dataclass(frozen=True, kw_only=True)
class FMix(RegionMixer):
    """Regions with smooth outlines, level sets of low-frequency noise: FMix (Harris et al. 2020), for any k.

    h_mix[y, x] = h_i[y, x],   i the source whose interval of [0, 1) has the rank of noise[y, x]

    noise = F⁻¹(F(white) / max(f, 1/max(H, W))^decay), f the frequency; ranks (r + U)/(H W), one U ~ U(0, 1) per
    example; intervals of length a ~ Dirichlet(alpha, …, alpha) in a random order of the sources. Each source has
    a_i H W positions, rounded up or down at random so that E[share_i | a] = a_i exactly; 1/k on average, at every
    position. (The original rounds to the nearest integer, and mixes two.)
    """

    k: K = 2
    alpha: AreaConcentration = 1.0
    decay: Annotated[float, Ge(0), Le(100), "decay of the spectrum: 0 is white noise, larger is smoother"] = 3.0

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch 1 height width"]:
        height, width = map_size(self, shape)
        share, place = in_random_order(dirichlet((self.k, shape.batch), self.alpha, rng), rng)
        rank = ranks(self._noise(shape.batch, height, width, rng).flatten(1))
        pick = (rank + torch.rand(shape.batch, 1, generator=rng)) / (height * width)
        mask = by_source(picked(pick, share[..., None]), place)
        return mask.reshape(self.k, shape.batch, 1, height, width)

    def order(self, height: int, width: int) -> Float[Tensor, "height width"]:
        """One fixed noise."""
        return self._noise(1, height, width, rng_for(0, "fmix.at"))[0]

    def _noise(self, batch: int, height: int, width: int, rng: Generator) -> Float[Tensor, "batch height width"]:
        white = torch.randn(batch, height, width, dtype=torch.float64, generator=rng)
        lowest = 1 / max(height, width)
        frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)).double()
        weight = (lowest / frequency.clamp(min=lowest)) ** self.decay  # at most 1, so that it cannot overflow
        grey: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * weight, s=(height, width))
        return grey
