"""A classifier that judges decoded images: trained on real images, independently of the run's networks."""

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

from mixzoo import (
    DataError,
    Dataset,
    FinishedRun,
    Split,
    batch_index,
    eval_mode,
    has_labels,
    label_vectors,
    seed_for,
    to_images,
)

ClassifierSteps: TypeAlias = Annotated[int, Ge(1), "training steps of the classifier, on a batch of real images each"]
BATCH = 64  # images of a training step
LEARNING_RATE = 2e-3
WIDTH = 16  # feature maps of the first convolution

Predict: TypeAlias = Callable[[Float[Tensor, "batch channels height width"]], Bool[Tensor, "batch label"]]


def train_classifier(run: FinishedRun, steps: int) -> Predict:
    """A function that predicts, for each class or attribute, whether an image has it (`train_network`)."""
    network, attributes = train_network(run, steps), run.data.build_context().attributes

    def predict(images: Float[Tensor, "batch channels height width"]) -> Bool[Tensor, "batch label"]:
        with eval_mode(network):
            logits = network(images)
        predicted: Tensor = logits > 0 if attributes else logits == logits.amax(1, keepdim=True)
        return predicted

    return predict


def image_features(network: nn.Sequential, x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n feature"]:
    """What the network's convolutions make of images, averaged over positions: 4 * WIDTH numbers an image."""
    maps: Tensor = network[:-2](x)
    return maps.mean((2, 3))


def train_network(run: FinishedRun, steps: int) -> nn.Sequential:
    """A classifier of the run's data, seeded by the run and independent of its networks: a logit for each label.

    Four convolutions and a linear layer, trained on all train images and labels. Raises DataError if the data have no
    labels to tell apart.
    """
    check_has_labels(run.data)
    context, train = run.data.build_context(), run.data.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(run.seed, "classifier"))
        network = _network(context.image_shape, context.label_width).to(run.device)
    optimiser = Adam(network.parameters(), lr=LEARNING_RATE)
    batch = min(BATCH, len(train))
    with torch.enable_grad():
        for step in range(steps):
            index = batch_index(run.seed, len(train), batch, step)
            logits = network(to_images(train.read(index).to(run.device)))
            optimiser.zero_grad()
            _loss(logits, train.labels[index].to(run.device)).backward()
            optimiser.step()
    return network


def check_has_labels(data: Dataset) -> None:
    """Raises DataError if the data have no labels to tell apart."""
    if not has_labels(data.build_context()):
        raise DataError(f"{data.source}: no labels to tell apart, so no classifier can read them")


def label_matrix(split: Split, width: int) -> Float[Tensor, "n label"]:
    """The labels as vectors: one-hot over classes, or the attributes."""
    return label_vectors(split.labels[None], width)[0]


def _network(image_shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Four convolutions that halve the image, then a linear layer."""
    channels, *sides = image_shape
    sizes = [channels, WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH]
    positions = prod(-(-side // 2 ** (len(sizes) - 1)) for side in sides)  # each halving rounds up
    layers: list[nn.Module] = []
    for maps_in, maps_out in pairwise(sizes):
        layers += [nn.Conv2d(maps_in, maps_out, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(sizes[-1] * positions, width))


def _loss(logits: Float[Tensor, "batch label"], labels: Tensor) -> Float[Tensor, ""]:
    if labels.ndim > 1:
        return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return cross_entropy(logits, labels)
