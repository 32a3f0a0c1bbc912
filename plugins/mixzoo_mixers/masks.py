"""Mixers that pick: every feature map comes whole from one of the sources.

h_mix = sum_i m_i h_i,   m_i in {0, 1},   sum_i m_i = 1                                         (AMR eq. 5, any k)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from mixzoo import CodeShape, MaskMixer
from mixzoo.draws import rng_for
from mixzoo_mixers.weights import dirichlet


@dataclass(frozen=True, kw_only=True)
class Bernoulli(MaskMixer):
    """Each feature map from one of k codes, the crossover of the paper (AMR eq. 5), for any k.

    h_mix[c] = h_i[c],   i ~ Categorical(q);   k = 2 is m h₁ + (1 - m) h₂, m ~ Bernoulli(p)

    q = (p, (1-p)/(k-1), …) for a given p; else q ~ Dirichlet(1, …, 1), which for k = 2 is p ~ U(0, 1). `share` says
    which feature maps have one q in common: share=batch is the authors' `fm2` (their "Bern" rows with k = 2),
    share=unit makes the picks independent and uniform (their `fm`, and k = 3 on dSprites). Their k-way version kept
    only the last source's maps; this one keeps all.
    """

    k: Annotated[int, Ge(2), Le(64), "sources of one mix"] = 2
    p: Annotated[float, Ge(0), Le(1), "chance of the first source; drawn uniformly when not given"] | None = None
    share: Annotated[Literal["unit", "example", "batch"], "what has one drawn p in common"] = "example"

    @property
    def checks_left_out(self) -> Mapping[str, str]:
        """What a given p, or one p for a whole batch, breaks on purpose."""
        left = {}
        if self.p is None and self.share == "batch":
            left["examples_are_drawn_independently"] = "share=batch: one p for the whole batch"
        if self.p is not None and abs(self.p - 1 / self.k) > 1e-6:
            left["mean_share_is_one_over_k"] = f"p={self.p} of the first source was asked for"
        if self.p in (0, 1):
            left["every_position_can_come_from_every_source"] = f"p={self.p} never picks some source"
        if self.p == 1 or (self.p == 0 and self.k == 2):
            left["other_seeds_give_other_draws"] = f"p={self.p} leaves nothing to chance"
        return left

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch channels *ones"]:
        pick = torch.rand(shape.batch, shape.channels, generator=rng)
        return shape.broadcast(_picked(pick, self._chances(shape, rng)))

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Bool[Tensor, "k batch channels *ones"]:
        """Each source gets its part of the feature maps, in an order that is shuffled but always the same."""
        rank = torch.randperm(shape.channels, generator=rng_for(0, "bernoulli.at"))
        pick = ((rank + 0.5) / shape.channels).expand(shape.batch, -1)
        return shape.broadcast(_picked(pick, point.cpu()[:, None, None])).to(point.device)

    def _chances(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "k #batch #channels"]:
        """q, the chance of each source at each feature map."""
        if self.p is not None:
            return torch.tensor([self.p] + [(1 - self.p) / (self.k - 1)] * (self.k - 1))[:, None, None]
        own = {"unit": (shape.batch, shape.channels), "example": (shape.batch, 1), "batch": (1, 1)}[self.share]
        return dirichlet((self.k, *own), 1.0, rng)


def _picked(
    pick: Float[Tensor, "batch channels"], chances: Float[Tensor, "k #batch #channels"]
) -> Bool[Tensor, "k batch channels"]:
    """One-hot over k: the source in whose stretch of [0, 1) `pick` falls."""
    source = (pick >= chances.cumsum(0)[:-1]).sum(0)  # [batch channels]
    return source == torch.arange(len(chances))[:, None, None]
