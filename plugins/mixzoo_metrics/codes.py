"""Scores of the code: how well a simple classifier reads labels off it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo import FinishedRun, Split, encode, has_labels, rng_for


@dataclass(frozen=True, kw_only=True)
class LogisticRegression:
    """Test accuracy of a logistic regression fitted on the final codes of train images (scikit-learn, L2, C = 1).

    Codes are standardised by the mean and standard deviation of those that it is fitted on. For attributes, the score
    is the mean over all of them, each with its own classifier. Data with fewer than two classes get no score.
    """

    images: Annotated[int, Ge(2), "train images to fit on, chosen by the run's seed; all if there are fewer"] = 10000
    iterations: Annotated[int, Ge(1), "of L-BFGS, at most"] = 1000

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        from sklearn.linear_model import LogisticRegression as Classifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if not has_labels(run.data.build_context()):
            return {}
        train, test = run.data.train, run.data.test
        index = torch.randperm(len(train), generator=rng_for(run.seed, "logistic_regression"))[: self.images]
        codes, test_codes = self._codes(run, train, index), self._codes(run, test)
        scores = []
        for y, test_y in zip(_columns(train.labels[index]), _columns(test.labels), strict=True):
            if (y == y[0]).all():  # all or none of these images have the attribute: predict that
                scores.append(float((test_y == y[0]).mean()))
                continue
            classifier = make_pipeline(StandardScaler(), Classifier(max_iter=self.iterations))
            classifier.fit(codes, y)
            scores.append(float(classifier.score(test_codes, test_y)))
        return {"test_accuracy": sum(scores) / len(scores)}

    def _codes(
        self, run: FinishedRun, split: Split, index: Int[Tensor, " n"] | None = None
    ) -> Float[np.ndarray, "n features"]:
        return encode(run.autoencoder, split.images, run.device, index).flatten(1).double().numpy()


def _columns(labels: Int[Tensor, "n *attributes"]) -> list[Int[np.ndarray, " n"]]:
    """What each classifier predicts: the classes, or one attribute."""
    return list(labels.reshape(len(labels), -1).T.numpy())
