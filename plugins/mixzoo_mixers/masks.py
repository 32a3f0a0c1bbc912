"""Mixers that pick: each feature map comes from exactly one of the sources.

h_mix = sum_i m_i h_i,   m_i in {0, 1},   sum_i m_i = 1                                         (AMR eq. 5, any k)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from mixzoo import CodeShape, MaskMixer, dirichlet, rng_for
from mixzoo_mixers.options import FirstChance, K, PPer


@dataclass(frozen=True, kw_only=True)
class Bernoulli(MaskMixer):
    """Each feature map from one of k codes, the crossover of the paper (AMR eq. 5), for any k.

    h_mix[c] = h_i[c],   i ~ Categorical(q);   k = 2 is m h₁ + (1 - m) h₂, m ~ Bernoulli(p)

    q = (p, (1-p)/(k-1), …) for a given p; otherwise q ~ Dirichlet(1, …, 1), which for k = 2 is p ~ U(0, 1), drawn once
    for each example, batch or unit (feature map), as `p_per` says. p_per=batch is the authors' `fm2` (their "Bern" rows
    with k = 2); p_per=unit makes the picks independent and uniform (their `fm`, and k = 3 on dSprites). Their k-way
    version kept only the last source's maps; this one keeps all.
    """

    k: K = 2
    p: FirstChance | None = None
    p_per: PPer = "example"

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        """The checks that a given p, or one p for a whole batch, fails by design."""
        return skipped_with(self.p, self.k, self.p_per)

    def draw(self, shape: CodeShape, rng: Generator) -> Bool[Tensor, "k batch channels *ones"]:
        return shape.broadcast(crossover(self.k, self.p, self.p_per, (shape.batch, shape.channels), rng))

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Bool[Tensor, "k batch channels *ones"]:
        """Each source gets its share of the feature maps, in a shuffled but fixed order."""
        rank = torch.randperm(shape.channels, generator=rng_for(0, "bernoulli.at"))
        pick = ((rank + 0.5) / shape.channels).expand(shape.batch, -1)
        return shape.broadcast(picked(pick, point.cpu()[:, None, None])).to(point.device)


def skipped_with(p: float | None, k: int, p_per: str) -> Mapping[str, str]:
    """The checks that picking fails by design, given the chance p of the first source or one p for a whole batch."""
    skipped = {}
    if p is None and p_per == "batch":
        skipped["examples_are_drawn_independently"] = "p_per=batch: one p for the whole batch"
    if p is not None and abs(p - 1 / k) > 1e-6:
        skipped["mean_share_is_one_over_k"] = f"the run asks for p={p}"
    if p in (0, 1):
        skipped["every_position_can_come_from_every_source"] = f"some source is never picked with p={p}"
        skipped["sources_meet_in_one_mix"] = f"some source is never picked with p={p}"
    if p == 0 and k > 2:
        skipped["no_two_sources_are_tied"] = "the first source is never picked with p=0"
    if p == 1 or (p == 0 and k == 2):
        skipped["other_seeds_give_other_draws"] = f"nothing is random with p={p}"
    return skipped


def crossover(
    k: int, p: float | None, p_per: Literal["unit", "example", "batch"], size: tuple[int, int], rng: Generator
) -> Bool[Tensor, "k batch units"]:
    """One-hot over k: each unit (a feature map, or a patch of all maps) picks its source, i ~ Categorical(q).

    `size` is (batch, units); q is (p, (1-p)/(k-1), …), or drawn once for each unit, example or batch as `p_per` says.
    """
    batch, units = size
    pick = torch.rand(batch, units, generator=rng)
    if p is not None:
        return picked(pick, one_against_others(p, k)[:, None, None])
    own = {"unit": (batch, units), "example": (batch, 1), "batch": (1, 1)}[p_per]
    return picked(pick, dirichlet((k, *own), 1.0, rng))


def one_against_others(first: float, k: int) -> Float[Tensor, " k"]:
    """The chances of k sources: `first` for the first, and the rest divided equally among the others."""
    return torch.tensor([first] + [(1 - first) / (k - 1)] * (k - 1))


def picked(
    pick: Float[Tensor, "batch *units"], chances: Float[Tensor, "k #batch *#units"]
) -> Bool[Tensor, "k batch *units"]:
    """One-hot over k: [0, 1) is divided into intervals as long as the chances; the source whose interval has `pick`."""
    source = (pick >= chances.cumsum(0)[:-1]).sum(0)  # [batch *units]
    return one_hot(source, len(chances))


def one_hot(source: Int[Tensor, "batch *units"], k: int) -> Bool[Tensor, "k batch *units"]:
    """The mask that picks source number `source` at each place."""
    return source == torch.arange(k).reshape(k, *[1] * source.ndim)
