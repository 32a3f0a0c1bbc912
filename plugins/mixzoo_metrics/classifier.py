"""A classifier that a run's networks never meet: trained on real images, it reads labels off decoded ones."""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import Adam

from mixzoo import DataError, Dataset, FinishedRun, Split
from mixzoo.data.batches import to_images
from mixzoo.draws import order, seed_for
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.probe import has_labels
from mixzoo.mixing import label_vectors

ClassifierSteps: TypeAlias = Annotated[int, Ge(1), "of the classifier's training on real images, one batch each"]
BATCH, RATE, WIDTH = 64, 2e-3, 16

Reads: TypeAlias = Callable[[Float[Tensor, "batch channels height width"]], Bool[Tensor, "batch label"]]


def trained_classifier(run: FinishedRun, steps: int) -> Reads:
    """Reads labels off images: for each class or attribute, whether the image has it. DataError where nothing can be
    told apart.

    Four convolutions and a linear layer, on the train images and all their labels, from the run's seed.
    """
    check_has_labels(run.data)
    context, train = run.data.build_context(), run.data.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(run.seed, "classifier"))
        network = _network(context.image_shape, context.label_width).to(run.device)
    optimiser = Adam(network.parameters(), lr=RATE)
    batch = min(BATCH, len(train))
    with torch.enable_grad():
        for step in range(steps):
            index = order(run.seed, len(train), step * batch, batch)
            logits = network(to_images(train.read(index).to(run.device)))
            optimiser.zero_grad()
            _loss(logits, train.labels[index].to(run.device)).backward()
            optimiser.step()

    def reads(images: Float[Tensor, "batch channels height width"]) -> Bool[Tensor, "batch label"]:
        with eval_mode(network):
            logits = network(images)
        said: Tensor = logits > 0 if context.attributes else logits == logits.amax(1, keepdim=True)
        return said

    return reads


def check_has_labels(data: Dataset) -> None:
    """DataError for data whose labels tell nothing apart."""
    if not has_labels(data.build_context()):
        raise DataError(f"{data.source}: no labels to tell apart, so no classifier can read them")


def truth(split: Split, width: int) -> Float[Tensor, "n label"]:
    """The labels as vectors: one-hot over classes, or attributes."""
    return label_vectors(split.labels[None], width)[0]


def _network(image_shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Four convolutions that halve the image, and a linear layer on all that is left."""
    channels, *sides = image_shape
    sizes = [channels, WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH]
    left = prod(-(-side // 2 ** (len(sizes) - 1)) for side in sides)  # positions; every halving rounds up
    layers: list[nn.Module] = []
    for one, other in pairwise(sizes):
        layers += [nn.Conv2d(one, other, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(sizes[-1] * left, width))


def _loss(logits: Float[Tensor, "batch label"], labels: Tensor) -> Float[Tensor, ""]:
    if labels.ndim > 1:
        return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return cross_entropy(logits, labels)
