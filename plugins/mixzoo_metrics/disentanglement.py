"""Whether single numbers of the code follow single factors of the data (Table 4 of AMR)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Generator, Tensor

from mixzoo import DataError, Dataset, FinishedRun
from mixzoo.draws import rng_for
from mixzoo.evaluation.codes import encode

COUNTED = 4  # factors that the authors' sum goes over, of the five they vote on


@dataclass(frozen=True, kw_only=True)
class Disentanglement:
    """FactorVAE score (Kim & Mnih 2018, section 4), and the score that Table 4 of AMR really reports.

    A vote: one factor is held at one value, `images` images are drawn that have it, and d* is the number of the code
    (divided by its deviation over all images; those that never change are left out) whose variance among them is least.
    A classifier maps each d* to the factor most often behind it. `factorvae` is its accuracy on as many other votes, in
    [0, 1]; a code that says nothing has 1 / factors.

    `authors` is what their code computes from the votes: for each of the first four factors the count of its most
    common d*, summed and divided by all votes. The fifth factor's votes are never counted, so 0.80 is the most that
    five factors can give, and numbers of the code that serve two factors cost nothing.
    """

    votes: Annotated[int, Ge(10), "to learn the classifier from, and as many to score it; the authors took 800"] = 800
    images: Annotated[int, Ge(2), "of one vote; the authors took 800"] = 200
    pool: Annotated[int, Ge(2), "images of all splits to draw from, chosen by the run's seed"] = 50_000

    def refuse(self, data: Dataset) -> None:
        """DataError for data whose factors are not known, or never vary."""
        if data.train.factors is None or data.validation.factors is None or data.test.factors is None:
            raise DataError(f"{data.source}: its factors are not known, so there is no score of them")
        if (data.train.factors == data.train.factors[0]).all():
            raise DataError(f"{data.source}: no factor of it varies, so there is nothing to disentangle")

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.refuse(run.data)
        codes, factors = self._pool(run)
        varying = [f for f in range(factors.shape[1]) if len(factors[:, f].unique()) > 1]
        deviation = codes.std(0)
        active = deviation > 0
        codes = codes[:, active] / deviation[active] if active.any() else codes[:, :1]
        learned, held_out = (
            self._votes(codes, factors[:, varying], rng_for(run.seed, f"disentanglement/{which}"))
            for which in ("learn", "score")
        )
        says = learned.argmax(0)  # the factor that each d* stands for
        right = held_out[says, torch.arange(codes.shape[1])].sum()
        counted = learned[:COUNTED].amax(1).sum() if len(varying) > COUNTED else learned.amax(1).sum()
        return {"factorvae": (right / held_out.sum()).item(), "authors": (counted / learned.sum()).item()}

    def _pool(self, run: FinishedRun) -> tuple[Float[Tensor, "n numbers"], Float[Tensor, "n factors"]]:
        """Codes and factors of the images to draw from."""
        splits = [run.data.train, run.data.validation, run.data.test]
        known = [split.factors for split in splits if split.factors is not None]  # all of them
        total = sum(map(len, splits))
        chosen = torch.randperm(total, generator=rng_for(run.seed, "disentanglement/pool"))[: self.pool].sort().values
        codes, factors, start = [], [], 0
        for split, own in zip(splits, known):
            here = chosen[(chosen >= start) & (chosen < start + len(split))] - start
            if len(here):
                codes.append(encode(run.autoencoder, split.images, run.device, here).flatten(1).double())
                factors.append(own[here])
            start += len(split)
        return torch.cat(codes), torch.cat(factors)

    def _votes(
        self, codes: Float[Tensor, "n numbers"], factors: Float[Tensor, "n factors"], rng: Generator
    ) -> Float[Tensor, "factors numbers"]:
        """How often each number of the code was d* of each factor; every factor has as many votes."""
        counts = torch.zeros(factors.shape[1], codes.shape[1], dtype=torch.float64)
        for vote in range(self.votes):
            factor = vote % factors.shape[1]
            example = int(torch.randint(len(factors), (), generator=rng))
            alike = (factors[:, factor] == factors[example, factor]).nonzero().flatten()
            drawn = alike[torch.randint(len(alike), (self.images,), generator=rng)]
            counts[factor, codes[drawn].var(0).argmin()] += 1
        return counts
