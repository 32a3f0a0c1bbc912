"""Scores of disentanglement by the information between each number of the code and each factor."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from jaxtyping import Float, Int

from mixzoo import Better, Dataset, FinishedRun
from mixzoo_metrics.factors import FactorPool, check_has_factors, factor_pool, numpy_seed
from mixzoo_metrics.representations import Features

ACTIVE = 1 / 20  # of the widest range of a number of the code (the authors of InfoMEC)
NEIGHBOURS = 10  # of the estimate of mutual information (the same)


@dataclass(frozen=True, kw_only=True)
class MIG:
    """Mutual information gap (Chen et al. 2018, eq. 6).

        score = mean over factors v of  (I(h_(1); v) - I(h_(2); v)) / H(v)

    h_(1) and h_(2) are the two numbers of the code with the most information on v. This is 1 if each factor is known
    from one number of the code and no other tells anything about it, and 0 if two numbers say the same, or nothing.
    Information is that of histograms, in `bins` parts of equal width of each number's range (Locatello et al. 2019).
    A code of one number has I(h_(2); v) = 0.
    """

    better: ClassVar[Better] = "more"

    images: Annotated[int, Ge(2), "images of all splits, chosen by the run's seed"] = 10_000
    bins: Annotated[int, Ge(2), "parts of the range of a number of the code"] = 20

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no known factors, or none that varies."""
        check_has_factors(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        pool = factor_pool(run, self.images).standardised()
        binned = [_binned(column, self.bins) for column in pool.codes.T]
        gaps = []
        for factor in pool.factors.T:
            information = sorted([0.0, *(mutual_information(factor, column) for column in binned)])
            gaps.append((information[-1] - information[-2]) / mutual_information(factor, factor))
        return {"score": float(np.mean(gaps))}


def mutual_information(a: Int[np.ndarray, " n"], b: Int[np.ndarray, " n"]) -> float:
    """I(a; b) of indices from 0, in nats: what sklearn.metrics.mutual_info_score says, ten times as fast."""
    joint = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1)).reshape(a.max() + 1, -1)
    p = joint / len(a)
    apart = p.sum(1, keepdims=True) * p.sum(0)
    return float((p[p > 0] * np.log(p[p > 0] / apart[p > 0])).sum())


def _binned(column: Float[np.ndarray, " n"], bins: int) -> Int[np.ndarray, " n"]:
    """Which part of its range each value is in."""
    edges = np.linspace(column.min(), column.max(), bins + 1)
    return np.searchsorted(edges[1:-1], column, side="right").astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class InfoMEC:
    """InfoM, InfoE and InfoC (Hsu et al. 2023, "Disentanglement via latent quantization", section 4).

        N_ij = I(h_j; v_i) / H(v_i)
        modularity  = (mean over j of max_i N_ij / Σ_i N_ij  -  1/F) / (1 - 1/F),  F factors
        compactness = (mean over i of max_j N_ij / Σ_j N_ij  -  1/D) / (1 - 1/D),  D numbers of the code
        explicitness = mean over i of  1 - L_i / log V_i,  V_i the values of factor i

    L_i is the log loss of an unregularised logistic regression of v_i on the whole code, with classes weighted to count
    alike, on the images that it is fitted on, as in the authors' code: with as many numbers of the code as images it
    says little. I is the nearest-neighbour estimate (Ross 2014, 10 neighbours). Only numbers whose range is above 1/20
    of the widest count for modularity and compactness. All three are 1 for a perfect code; a code that is constant gets
    0. A number of the code, or a factor, without any information counts as spread evenly; one number is compact.
    """

    better: ClassVar[Better] = "more"

    images: Annotated[int, Ge(50), "images of all splits, chosen by the run's seed"] = 2000

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no two factors that vary."""
        check_has_factors(data, least=2)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        pool = factor_pool(run, self.images)
        ranges = np.ptp(pool.codes, axis=0)
        active = FactorPool(pool.codes[:, ranges > ACTIVE * ranges.max()], pool.factors)
        if not active.codes.shape[1]:
            return {"modularity": 0.0, "explicitness": 0.0, "compactness": 0.0}
        shares = _normalised_information(active, numpy_seed(run, "infomec"))
        return {
            "modularity": float(np.mean(_concentration(shares.T))),
            "explicitness": _explicitness(pool.standardised()),
            "compactness": float(np.mean(_concentration(shares))),
        }


def _normalised_information(pool: FactorPool, seed: int) -> Float[np.ndarray, "factors numbers"]:
    """N_ij."""
    from sklearn.feature_selection import mutual_info_classif

    codes = pool.standardised().codes
    rows = [
        mutual_info_classif(codes, v, discrete_features=False, n_neighbors=NEIGHBOURS, random_state=seed)
        / mutual_information(v, v)
        for v in pool.factors.T
    ]
    return np.stack(rows)


def _concentration(rows: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, " rows"]:
    """How much of each row's sum is its largest entry, from 0 for equal entries to 1 for a single one."""
    n, sums = rows.shape[1], rows.sum(1)
    if n == 1:
        return np.ones(len(rows))
    largest = np.where(sums > 0, rows.max(1) / np.where(sums > 0, sums, 1), 1 / n)
    concentration: Float[np.ndarray, " rows"] = (largest - 1 / n) / (1 - 1 / n)
    return concentration


def _explicitness(pool: FactorPool) -> float:
    """1 - L_i / log V_i, averaged over factors."""
    return float(np.mean([1 - _log_loss(pool.codes, v) / np.log(len(np.unique(v))) for v in pool.factors.T]))


def _log_loss(x: Features, y: Int[np.ndarray, " n"]) -> float:
    """Of the logistic regression fitted on the same images; at most 100 steps of L-BFGS, as in the authors' code."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100).fit(x, y)
    return float(log_loss(y, model.predict_proba(x), labels=model.classes_))
