"""Whether each number of the code follows one factor of the data (AMR Table 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from mixzoo import Better, Dataset, FinishedRun, HasPosterior, batches, eval_mode, rng_for
from mixzoo_metrics.factors import check_has_factors, choose_images, codes_and_factors, numbered

COUNTED = 4  # of the five factors that the authors vote on, those that their sum covers
COLLAPSED_DEVIATION = 0.05  # a number of the code below it is left out (disentanglement_lib's factor_vae.gin)
COLLAPSED_KL = 0.01  # nats; the same for posteriors, whatever their scale


@dataclass(frozen=True, kw_only=True)
class Disentanglement:
    """FactorVAE score (Kim & Mnih 2018, section 4), and the score that AMR Table 4 actually reports.

    For a vote, one factor is held at one value, `images` images with that value are drawn, and d* is the number of the
    code with the least variance among them, after dividing each number by its standard deviation over all images and
    leaving out constant ones. A classifier maps each d* to the factor that most often led to it. `factorvae` is its
    accuracy on as many other votes, in [0, 1]; a code that carries no information gets 1 / factors.

    Collapsed numbers of the code have no vote in `factorvae`, since dividing them by their deviation would amplify
    noise: those that deviate by less than 0.05, the published setting (Locatello et al. 2019), or, with a posterior,
    those whose mean KL(q(z_j|x) ‖ N(0, 1)) is below 0.01 nats.

    `authors` is what AMR's code computes from the votes, collapsed numbers included: for each of the first four factors
    the count of its most common d*, summed and divided by the number of all votes. The fifth factor's votes are not
    counted, so five factors give at most 0.80, and a number of the code that serves two factors is not penalised.
    """

    better: ClassVar[Better] = "more"

    votes: Annotated[int, Ge(10), "to fit the classifier, and as many to score it; 800 in the authors' code"] = 800
    images: Annotated[int, Ge(2), "images of one vote; 800 in the authors' code"] = 200
    pool: Annotated[int, Ge(2), "images of all splits to draw from, chosen by the run's seed"] = 50_000

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no known factors, or none that varies."""
        check_has_factors(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        chosen = choose_images(run, self.pool)
        codes, factors = codes_and_factors(run, chosen)
        varying = factors[:, [f for f in range(factors.shape[1]) if len(factors[:, f].unique()) > 1]]
        deviation = codes.std(0)

        # FactorVAE: fit the majority-vote classifier on one set of votes, and score it on another.
        kept = ~self._collapsed(run, chosen, deviation) & (deviation > 0)  # no division by 0
        learned, held_out = (
            self._votes(standardised(codes, kept), varying, rng_for(run.seed, f"disentanglement/{which}"))
            for which in ("learn", "score")
        )
        best = learned.argmax(0)  # the factor that the classifier predicts for each d*
        right = held_out[best, torch.arange(held_out.shape[1])].sum()

        # The authors' score, from the first set of votes alone, with collapsed numbers in it.
        changing = standardised(codes, deviation > 0)
        votes = self._votes(changing, varying, rng_for(run.seed, "disentanglement/learn"))
        counted = votes[:COUNTED].amax(1).sum() if varying.shape[1] > COUNTED else votes.amax(1).sum()
        return {"factorvae": (right / held_out.sum()).item(), "authors": (counted / votes.sum()).item()}

    def _collapsed(
        self, run: FinishedRun, chosen: Int[Tensor, " n"], deviation: Float[Tensor, " numbers"]
    ) -> Bool[Tensor, " numbers"]:
        """Which numbers of the code carry almost no information about the image."""
        autoencoder = run.autoencoder
        if not isinstance(autoencoder, HasPosterior):
            return deviation < COLLAPSED_DEVIATION
        kl = torch.zeros_like(deviation)
        with eval_mode(autoencoder):
            for split, here in numbered(run.data, chosen):
                for x in batches(split.images, run.device, here):
                    mean, log_variance = (part.flatten(1).cpu().double() for part in autoencoder.posterior(x))
                    kl += ((mean.square() + log_variance.exp() - log_variance - 1) / 2).sum(0)
        return kl / len(chosen) < COLLAPSED_KL

    def _votes(
        self, codes: Float[Tensor, "n numbers"], factors: Float[Tensor, "n factors"], rng: Generator
    ) -> Float[Tensor, "factors numbers"]:
        """How often each number of the code was d* for each factor; all factors have equally many votes."""
        counts = torch.zeros(factors.shape[1], codes.shape[1], dtype=torch.float64)
        for vote in range(self.votes):
            factor = vote % factors.shape[1]
            example = int(torch.randint(len(factors), (), generator=rng))
            alike = (factors[:, factor] == factors[example, factor]).nonzero().flatten()
            drawn = alike[torch.randint(len(alike), (self.images,), generator=rng)]
            counts[factor, codes[drawn].var(0).argmin()] += 1
        return counts


def standardised(codes: Float[Tensor, "n numbers"], kept: Bool[Tensor, " numbers"]) -> Float[Tensor, "n some"]:
    """The kept numbers of the code, each divided by its standard deviation; a constant 0 if none is kept."""
    return codes[:, kept] / codes[:, kept].std(0) if kept.any() else torch.zeros_like(codes[:, :1])
