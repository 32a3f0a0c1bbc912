"""Mixers that weigh their sources: a point of the simplex per example, feature map or position.

h_mix = sum_i share_i h_i,   share_i >= 0,   sum_i share_i = 1                          (AMR eq. 4 and eq. 6)
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mixzoo import CodeShape, LinearMixer, dirichlet
from mixzoo_mixers.maps import map_size
from mixzoo_mixers.options import Concentration, K


@dataclass(frozen=True, kw_only=True)
class Mixup(LinearMixer):
    """A convex combination of two codes, one weight per example (AMR eq. 4; Verma et al. 2018).

    h_mix = α h₁ + (1 - α) h₂,   α ~ U(0, 1);   law=gaia is α ~ N(1/2, 1/4²) (Sainburg et al. 2018)
    For more sources, or other weights, use dirichlet.

    Each source has 1/2 on average with both laws. GAIA's weight is outside [0, 1] in 4.6 % of its draws and is clamped
    here, so that shares stay on the simplex: 2.3 % of the mixes are the first code, 2.3 % the second.
    """

    k: ClassVar[int] = 2
    law: Annotated[Literal["uniform", "gaia"], "law of the weight: uniform, or concentrated around 1/2"] = "uniform"

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "2 batch *ones"]:
        if self.law == "gaia":
            alpha = (0.5 + 0.25 * torch.randn(shape.batch, generator=rng)).clamp(0, 1)
        else:
            alpha = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([alpha, 1 - alpha]))


@dataclass(frozen=True, kw_only=True)
class Dirichlet(LinearMixer):
    """A convex combination of k codes, weights uniform on the simplex or near its middle or corners (AMR eq. 6).

    h_mix = Σᵢ αᵢ hᵢ,   α ~ Dirichlet(alpha, …, alpha);   alpha = 1 is uniform; with k = 2 that is mixup
    """

    k: K = 3
    alpha: Concentration = 1.0

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "k batch *ones"]:
        return shape.broadcast(dirichlet((self.k, shape.batch), self.alpha, rng))


@dataclass(frozen=True, kw_only=True)
class Channel(LinearMixer):
    """A convex combination of k codes with separate weights for each feature map (the authors' `mixup2`, any k).

    h_mix[c] = Σᵢ αᵢ[c] hᵢ[c],   α[c] ~ Dirichlet(1, …, 1) independently for each feature map c
    """

    k: K = 2

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "k batch channels *ones"]:
        return shape.broadcast(dirichlet((self.k, shape.batch, shape.channels), 1.0, rng))


@dataclass(frozen=True, kw_only=True)
class Spatial(LinearMixer):
    """A convex combination of k codes with separate weights for each position, the same in all feature maps.

    h_mix[y, x] = Σᵢ αᵢ[y, x] hᵢ[y, x],   α[y, x] ~ Dirichlet(alpha, …, alpha) independently for each position

    Each source has 1/k on average: `channel` (the authors' `mixup2`) over positions in place of feature maps.
    """

    needs_map: ClassVar[bool] = True
    k: K = 2
    alpha: Concentration = 1.0

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "k batch 1 height width"]:
        return dirichlet((self.k, shape.batch, 1, *map_size(self, shape)), self.alpha, rng)
