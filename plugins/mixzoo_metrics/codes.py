"""Scores of the code: how well a classifier reads labels off it, and how many directions it uses.

Each is reported for two baselines, too (`mixzoo_metrics.representations`): a code is worth what it adds to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int

from mixzoo import Better, DataError, Dataset, FinishedRun, rng_for, seed_for
from mixzoo_metrics.classifier import check_has_labels
from mixzoo_metrics.representations import Baselines, Classifier, TrainImages, label_accuracies, representations


@dataclass(frozen=True, kw_only=True)
class LogisticRegression:
    """Test accuracy of a logistic regression fitted on the final codes of train images (scikit-learn, L2, C = 1).

    Codes are standardised by the mean and standard deviation of those that it is fitted on. For attributes, the score
    is the mean over all of them, each with its own classifier. `test_accuracy_untrained` is the accuracy on codes of
    the network before its first step, `test_accuracy_pixels` that on the images, averaged to at most 32x32 pixels.
    """

    better: ClassVar[Better] = "more"

    images: TrainImages = 10000
    iterations: Annotated[int, Ge(1), "of L-BFGS, at most"] = 1000
    baselines: Baselines = True

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        from sklearn.linear_model import LogisticRegression as Model
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.check_data(run.data)

        def classifier() -> Classifier:
            model: Classifier = make_pipeline(StandardScaler(), Model(max_iter=self.iterations))
            return model

        return label_accuracies(run, classifier, images=self.images, baselines=self.baselines)


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours:
    """Test accuracy of the vote of the k nearest codes of train images (k-nearest-neighbour classifier, scikit-learn).

    The distance between codes is 1 - ⟨h, h'⟩ / (‖h‖ ‖h'‖), as in Wu et al. 2018, section 3.4 (whose votes are weighted;
    these are not), or ‖h - h'‖. Of classes with equally many votes, the first wins. Nothing is fitted, so that the
    score asks for more of a code than that a hyperplane separates the classes.

    For attributes, the score is the mean over all of them. `test_accuracy_untrained` is the accuracy on codes of the
    network before its first step, `test_accuracy_pixels` that on the images, averaged to at most 32x32 pixels.
    """

    better: ClassVar[Better] = "more"

    k: Annotated[int, Ge(1), "neighbours that vote"] = 5
    distance: Annotated[Literal["cosine", "euclidean"], "between codes"] = "cosine"
    images: TrainImages = 10000
    baselines: Baselines = True

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no labels to tell apart, or fewer than k train images."""
        check_has_labels(data)
        if (images := min(self.images, len(data.train))) < self.k:
            raise DataError(f"{data.source}: {images} train images are fewer than the k={self.k} neighbours that vote")

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer

        self.check_data(run.data)

        def classifier() -> Classifier:
            votes = KNeighborsClassifier(self.k, algorithm="brute")
            # Of unit vectors ‖h - h'‖² = 2 - 2 ⟨h, h'⟩: the nearest by angle, found by the faster Euclidean search.
            model: Classifier = make_pipeline(Normalizer(), votes) if self.distance == "cosine" else votes
            return model

        return label_accuracies(run, classifier, images=self.images, baselines=self.baselines)


@dataclass(frozen=True, kw_only=True)
class MLPProbe:
    """Test accuracy of a multi-layer perceptron fitted on the final codes of train images (scikit-learn, Adam).

    The "deeper classifiers on top of the bottlenecks" that AMR section 5 proposes: hidden layers of ReLU, a learning
    rate of 0.001, batches of 200 and a fixed number of epochs, initialised and shuffled by the run's seed. Codes are
    standardised as for `logistic_regression`; the gap between the two is what is in the code but not linear in it.

    For attributes, the score is the mean over all of them. `test_accuracy_untrained` is the accuracy on codes of the
    network before its first step, `test_accuracy_pixels` that on the images, averaged to at most 32x32 pixels.
    """

    better: ClassVar[Better] = "more"

    width: Annotated[int, Ge(1), "units of a hidden layer"] = 256
    layers: Annotated[int, Ge(1), "hidden layers"] = 1
    epochs: Annotated[int, Ge(1), "passes over the train images"] = 30
    images: TrainImages = 10000
    baselines: Baselines = True

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        seed = seed_for(run.seed, "mlp_probe") % 2**32  # the seeds that numpy takes

        def classifier() -> Classifier:
            return _Perceptron((self.width,) * self.layers, self.epochs, seed)

        return label_accuracies(run, classifier, images=self.images, baselines=self.baselines)


@dataclass(frozen=True, kw_only=True)
class EffectiveRank:
    """How many directions the codes of train images use (RankMe, Garrido et al. 2023, eq. 1).

        rank = exp(-Σ pᵢ log pᵢ),  pᵢ = σᵢ / Σⱼ σⱼ,  σᵢ the singular values of the matrix of codes

    This is d if codes have equal lengths along d orthogonal directions and none along others, 1 if all are multiples of
    one vector, and 0 if all are 0. Codes are not centred in the paper; `centred` leaves out what all codes share.
    `rank_untrained` is that of codes of the network before its first step, and `rank_pixels` that of the images,
    averaged to at most 32x32 pixels. It needs no labels.
    """

    better: ClassVar[Better] = "more"

    images: Annotated[int, Ge(2), "train images to encode, chosen by the run's seed; all if there are fewer"] = 5000
    centred: Annotated[bool, "subtract the mean code first"] = False
    baselines: Baselines = True

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        train = run.data.train
        index = torch.randperm(len(train), generator=rng_for(run.seed, "effective_rank"))[: self.images]
        numbers = {}
        for ending, read in representations(run, self.baselines):
            codes = read(train, index)
            numbers[f"rank{ending}"] = effective_rank(codes - codes.mean(0) if self.centred else codes)
        return numbers


def effective_rank(codes: Float[np.ndarray, "n features"]) -> float:
    """exp of the entropy of the normalised singular values."""
    sizes = np.linalg.svd(codes, compute_uv=False)
    if not sizes.sum():
        return 0.0
    p = sizes[sizes > 0] / sizes.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


class _Perceptron:
    """Standardised inputs, and a perceptron that takes a fixed number of passes over them."""

    def __init__(self, hidden: tuple[int, ...], epochs: int, seed: int) -> None:
        from sklearn.neural_network import MLPClassifier
        from sklearn.preprocessing import StandardScaler

        self._scaler, self._epochs = StandardScaler(), epochs
        self._network = MLPClassifier(hidden, random_state=seed)

    def fit(self, x: Float[np.ndarray, "n features"], y: Int[np.ndarray, " n"]) -> object:
        scaled, classes = self._scaler.fit_transform(x), np.unique(y)
        for _ in range(self._epochs):  # `fit` would stop when the loss stalls, or warn that it had not
            self._network.partial_fit(scaled, y, classes=classes)
        return self

    def predict(self, x: Float[np.ndarray, "n features"]) -> Int[np.ndarray, " n"]:
        predicted: Int[np.ndarray, " n"] = self._network.predict(self._scaler.transform(x))
        return predicted
