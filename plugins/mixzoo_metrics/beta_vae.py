"""Whether the factor that two images share shows in where their codes differ little."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from jaxtyping import Float, Int

from mixzoo import Better, Dataset, FinishedRun
from mixzoo_metrics.factors import FactorPool, check_has_factors, factor_pool, numpy_seed


@dataclass(frozen=True, kw_only=True)
class BetaVAE:
    """BetaVAE score (Higgins et al. 2017, section 3, algorithm 1).

        z_diff = 1/L Σ_l |h_l - h'_l|,  the two images of pair l have one value of factor y, and random others

    `accuracy` is how often a linear classifier (logistic regression), fitted on z_diff of other votes, predicts y. It
    is 1 if each factor has numbers of the code of its own, and 1 / factors if the code carries nothing. Several numbers
    for one factor are not penalised.

    Numbers of the code are divided by their deviation first, so that their scale does not matter. Half as many votes as
    are fitted are scored; the settings of the comparison by Locatello et al. 2019 are votes=10000, pairs=64.
    """

    better: ClassVar[Better] = "more"

    votes: Annotated[int, Ge(10), "values of z_diff to fit the classifier; half as many are scored"] = 2000
    pairs: Annotated[int, Ge(1), "L, pairs of images of one vote"] = 64
    pool: Annotated[int, Ge(2), "images of all splits to draw from, chosen by the run's seed"] = 10_000

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no two factors that vary."""
        check_has_factors(data, least=2)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        from sklearn.linear_model import LogisticRegression

        self.check_data(run.data)
        pool = factor_pool(run, self.pool).standardised()
        rng = np.random.default_rng(numpy_seed(run, "beta_vae"))
        (x, y), (held_out_x, held_out_y) = (
            votes_on(pool, count, self.pairs, rng) for count in (self.votes, self.votes // 2)
        )
        classifier = LogisticRegression(max_iter=1000).fit(x, y)
        return {"accuracy": float(classifier.score(held_out_x, held_out_y))}


def votes_on(
    pool: FactorPool, count: int, pairs: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "votes numbers"], Int[np.ndarray, " votes"]]:
    """z_diff and the factor that the pairs share, equally often each factor."""
    images, factors = pool.factors.shape
    alike = [_groups(pool.factors[:, f]) for f in range(factors)]
    z_diff, shared = np.empty((count, pool.codes.shape[1])), np.arange(count) % factors
    for vote, factor in enumerate(shared):
        order, starts, sizes = alike[factor]
        first = rng.integers(images, size=pairs)
        value = pool.factors[first, factor]
        second = order[starts[value] + rng.integers(sizes[value])]
        z_diff[vote] = np.abs(pool.codes[first] - pool.codes[second]).mean(0)
    return z_diff, shared


def _groups(
    values: Int[np.ndarray, " n"],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " values"], Int[np.ndarray, " values"]]:
    """The images sorted by value, and where each value begins and how many images it has."""
    sizes = np.bincount(values)
    return np.argsort(values, kind="stable"), np.cumsum(sizes) - sizes, sizes
