"""Tables of numbers that a classifier reads labels off: codes, codes of the untrained network, pixels."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mixzoo import AutoEncoder, ConfigError, FinishedRun, Split, batches, encode, rng_for

PIXEL_SIDE = 32  # larger images are averaged down to it, so that the baseline takes bounded time and memory

TrainImages: TypeAlias = Annotated[
    int, Ge(2), "train images to fit on, chosen by the run's seed; all if there are fewer"
]
Baselines: TypeAlias = Annotated[bool, "score the untrained network and the pixels, too"]
Features: TypeAlias = Float[np.ndarray, "n features"]
Read: TypeAlias = Callable[[Split, Int[Tensor, " some"] | None], Features]


@runtime_checkable
class Classifier(Protocol):
    """What scikit-learn's classifiers have."""

    def fit(self, x: Features, y: Int[np.ndarray, " n"]) -> object: ...

    def predict(self, x: Features) -> Int[np.ndarray, " n"]: ...


def representations(run: FinishedRun, baselines: bool) -> Iterator[tuple[str, Read]]:
    """Ways to turn images into rows of numbers, each with the ending of the names of its scores.

    The code has no ending. With `baselines` there are `_untrained`, the code of the same architecture as the run's seed
    initialised it (if the run can build it), and `_pixels`, the image itself with sides of at most 32 pixels.
    """
    yield "", partial(_codes, run, run.autoencoder)
    if baselines:
        if (network := _untrained(run)) is not None:
            yield "_untrained", partial(_codes, run, network)
        yield "_pixels", partial(_pixels, run)


def label_accuracies(
    run: FinishedRun, classifier: Callable[[], Classifier], *, images: int, baselines: bool
) -> dict[str, float]:
    """`test_accuracy` of a classifier fitted on train images, for each representation.

    For attributes it is the mean over all of them, each with its own classifier.
    """
    train, test = run.data.train, run.data.test
    index = torch.randperm(len(train), generator=rng_for(run.seed, "logistic_regression"))[:images]  # alike for all
    tasks = list(zip(_columns(train.labels[index]), _columns(test.labels), strict=True))
    numbers = {}
    for ending, read in representations(run, baselines):
        x, test_x = read(train, index), read(test, None)
        scores = [_accuracy(classifier(), x, y, test_x, test_y) for y, test_y in tasks]
        numbers[f"test_accuracy{ending}"] = sum(scores) / len(scores)
    return numbers


def _accuracy(
    classifier: Classifier,
    x: Features,
    y: Int[np.ndarray, " n"],
    test_x: Float[np.ndarray, "m features"],
    test_y: Int[np.ndarray, " m"],
) -> float:
    if (y == y[0]).all():  # all or none of these images have the attribute: predict that
        return float((test_y == y[0]).mean())
    classifier.fit(x, y)
    return float((classifier.predict(test_x) == test_y).mean())


def _columns(labels: Int[Tensor, "n *attributes"]) -> list[Int[np.ndarray, " n"]]:
    """What each classifier predicts: the classes, or one attribute."""
    return list(labels.reshape(len(labels), -1).T.numpy())


def _codes(run: FinishedRun, network: AutoEncoder, split: Split, index: Int[Tensor, " some"] | None) -> Features:
    """The flattened codes. Raises NonFiniteError if one has NaN or infinity."""
    return encode(network, split.images, run.device, index).flatten(1).double().numpy()


def _pixels(run: FinishedRun, split: Split, index: Int[Tensor, " some"] | None) -> Features:
    _, height, width = run.data.image_shape
    sides = (min(height, PIXEL_SIDE), min(width, PIXEL_SIDE))
    small = [adaptive_avg_pool2d(x, sides).flatten(1) for x in batches(split.images, "cpu", index)]
    return torch.cat(small).double().numpy()


def _untrained(run: FinishedRun) -> AutoEncoder | None:
    """The network before its first step; None if it cannot be built, as where a file of initial weights is gone."""
    try:
        return None if run.untrained is None else run.untrained()
    except ConfigError:
        return None
