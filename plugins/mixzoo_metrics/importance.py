"""Scores of disentanglement by how well each factor is predicted from each number of the code."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from mixzoo import Better, Dataset, FinishedRun
from mixzoo_metrics.factors import FactorPool, check_has_factors, factor_pool, numpy_seed

FITTED = 2 / 3  # of the images; the others are scored


@dataclass(frozen=True, kw_only=True)
class DCI:
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018, section 2).

        disentanglement = Σ_i ρ_i (1 - H_F(R_ij / Σ_k R_ik)),  ρ_i = Σ_j R_ij / ΣΣ R
        completeness    = mean over j of 1 - H_D(R_ij / Σ_k R_kj)
        informativeness = mean over j of max(0, R² of the predictions of v_j on other images)

    R_ij is the importance of number i of the code when gradient boosting predicts factor j (scikit-learn, 100 trees of
    depth 3): the reduction of squared error by splits on it. H_F and H_D are entropies to the base of the F factors and
    of the D numbers that vary. As in the paper, a factor is regressed (on the index of its value); a classifier would
    need trees for each value. All three are 1 for a perfect code and 0 for a constant one; a code of one number is
    complete. The time grows with D: about 10 s for each factor with 512 numbers.
    """

    better: ClassVar[Better] = "more"

    images: Annotated[int, Ge(6), "images of all splits, chosen by the run's seed; a third of them is scored"] = 1500
    trees: Annotated[int, Ge(1), "of gradient boosting, for each factor"] = 100

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no two factors that vary."""
        check_has_factors(data, least=2)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        from sklearn.ensemble import GradientBoostingRegressor

        self.check_data(run.data)
        fitted, held_out = factor_pool(run, self.images).standardised().split(FITTED)
        importances, explained = [], []
        for j in range(fitted.factors.shape[1]):
            model = GradientBoostingRegressor(n_estimators=self.trees, random_state=numpy_seed(run, "dci"))
            model.fit(fitted.codes, fitted.factors[:, j])
            importances.append(np.asarray(model.feature_importances_))
            explained.append(_explained(model.predict(held_out.codes), held_out.factors[:, j].astype(float)))
        return {
            **disentanglement_and_completeness(np.stack(importances, 1)),
            "informativeness": float(np.mean(explained)),
        }


def disentanglement_and_completeness(importance: Float[np.ndarray, "numbers factors"]) -> dict[str, float]:
    """Both from R; 0 if nothing has any importance."""
    total = importance.sum()
    if not total:
        return {"disentanglement": 0.0, "completeness": 0.0}
    weights = importance.sum(1) / total
    return {
        "disentanglement": float(weights @ (1 - _entropies(importance))),
        "completeness": float(np.mean(1 - _entropies(importance.T))),
    }


def _entropies(rows: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, " rows"]:
    """The entropy of each row, made to sum to 1, to the base of its length: 1 for a row of zeros, 0 for one entry."""
    n, sums = rows.shape[1], rows.sum(1, keepdims=True)
    if n == 1:
        return np.zeros(len(rows))
    p = np.where(sums > 0, rows / np.where(sums > 0, sums, 1), 1 / n)
    entropies: Float[np.ndarray, " rows"] = -(p * np.log(np.where(p > 0, p, 1))).sum(1) / np.log(n)
    return entropies


def _explained(predicted: Float[np.ndarray, " n"], actual: Float[np.ndarray, " n"]) -> float:
    """R², not below 0; if the factor has one value among these images, whether it is predicted."""
    error, variance = float(((predicted - actual) ** 2).mean()), float(actual.var())
    return max(0.0, 1 - error / variance) if variance else float(error < 0.25)


@dataclass(frozen=True, kw_only=True)
class SAP:
    """Separated attribute predictability (Kumar et al. 2018, section 3).

        score = mean over factors j of  S_(1)j - S_(2)j,  the two largest of S_ij over numbers i of the code

    For `svm`, S_ij is the accuracy of a linear SVM (C = 0.01, classes weighted to count alike) that predicts the value
    of factor j from number i alone, on a third of the images (Locatello et al. 2019). One threshold separates only the
    ends of a range from the rest, so a perfect code is far from 1 if factors have many values. For `r2`, S_ij is the
    squared correlation, as in the paper for ordered factors: 1 for a perfect code that is linear in them. A code of one
    number has S_(2)j = 0.
    """

    better: ClassVar[Better] = "more"

    images: Annotated[int, Ge(6), "images of all splits, chosen by the run's seed"] = 3000

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no known factors, or none that varies."""
        check_has_factors(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        pool = factor_pool(run, self.images).standardised()
        factors = pool.factors - pool.factors.mean(0)
        correlation = pool.codes.T @ factors / len(pool.codes) / factors.std(0)
        return {"svm": _gap(_svm_accuracies(pool, numpy_seed(run, "sap"))), "r2": _gap(correlation**2)}


def _svm_accuracies(pool: FactorPool, seed: int) -> Float[np.ndarray, "numbers factors"]:
    """S_ij; 0 for a code that is constant."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    fitted, held_out = pool.split(FITTED)
    scores = np.zeros((pool.codes.shape[1], pool.factors.shape[1]))
    for j, (y, held_out_y) in enumerate(zip(fitted.factors.T, held_out.factors.T)):
        for i in range(len(scores)):
            if (y == y[0]).all():  # among these few images
                scores[i, j] = (held_out_y == y[0]).mean()
            elif pool.codes[:, i].any():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model = LinearSVC(C=0.01, class_weight="balanced", dual=False, random_state=seed)
                    model.fit(fitted.codes[:, [i]], y)
                scores[i, j] = model.score(held_out.codes[:, [i]], held_out_y)
    return scores


def _gap(scores: Float[np.ndarray, "numbers factors"]) -> float:
    """The largest score of each factor minus the second largest, averaged."""
    ordered = np.sort(np.vstack([np.zeros(scores.shape[1]), scores]), 0)
    return float((ordered[-1] - ordered[-2]).mean())
