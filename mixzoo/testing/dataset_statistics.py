"""What a data set promises beyond the form of its tensors: statistics of its labels, images and splits.

The check of the classes is a failure; the others raise Doubt, a warning, unless only an error explains the numbers.
"""

from math import log, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.core.data import Dataset, Split
from mixzoo.data.batches import to_images
from mixzoo.testing.dataset_cases import DatasetCase
from mixzoo.testing.report import Doubt

MOST = 1000  # images of a split that are compared
FEWEST = 30  # images; a statistic of fewer means nothing
EXPECTED = 5  # a split must have a class if, with the proportions of train, it would have this many images of it
COPY_SIDE = 32  # images are reduced to at most this height and width to find copies
SIDE = 8  # images are reduced to this height and width to find similar ones, so that a small shift matters little
SIGMAS = 3.0  # standard errors above chance
CLEAR = 6.0  # expected standard errors from which on a split at chance is an error
SAME = 1.0  # grey levels; images with at most this root mean square difference count as copies
NEARER = 0.3  # ... and at most this fraction of the median distance between a train image and its nearest neighbour
MAX_COPIES = 0.02  # fraction of a split's images that may be copies


class Agreement(NamedTuple):
    """How often an image has the label of the most similar train image."""

    observed: float  # fraction of the images
    chance: float  # the fraction to expect if labels were unrelated to images
    sigmas: float  # how far above chance
    images: int  # that were compared


def check_each_split_has_every_class(case: DatasetCase) -> None:
    """Validation and test have every class, and both values of every attribute, unless they are too small."""
    data = case.data
    columns = _columns(data.train, data)
    for name, split in (("validation", data.validation), ("test", data.test)):
        for (meanings, in_train), (_, in_split) in zip(columns, _columns(split, data)):
            for value, meaning in meanings.items():
                expected = len(in_split) * (in_train == value).double().mean().item()
                assert expected < EXPECTED + log(len(meanings)) or bool((in_split == value).any()), (
                    f"{name} has no image {meaning}; in proportion to train, about {expected:.0f} of its "
                    f"{len(in_split)} images would be. Split every class, or skip this check with a reason"
                )


def _columns(split: Split, data: Dataset) -> list[tuple[dict[int, str], Tensor]]:
    """For each label of the split, what its values mean, and the values."""
    if data.attribute_names:
        return [
            ({0: f"without {name!r}", 1: f"with {name!r}"}, split.labels[:, i])
            for i, name in enumerate(data.attribute_names)
        ]
    return [({i: f"of class {name!r}" for i, name in enumerate(data.class_names)}, split.labels)]


def check_labels_go_with_their_images(case: DatasetCase) -> None:
    """Similar images have the same label more often than by chance, within train and between train and other splits."""
    data = case.data
    train = agreement(data, data.train)
    if train is None:
        return
    if train.sigmas < SIGMAS:
        raise Doubt(
            f"{train.observed:.0%} of the train images have the label of the most similar image, {train.chance:.0%} "
            "would by chance: are images and labels in the same order? Fine if the label does not show in the pixels"
        )
    for name, split in (("validation", data.validation), ("test", data.test)):
        other = agreement(data, split)
        # Fewer images show the same agreement with fewer standard errors.
        expected = 0.0 if other is None else train.sigmas * sqrt(other.images / train.images)
        assert other is None or expected < CLEAR or other.sigmas >= min(SIGMAS, expected / 4), (
            f"{other.observed:.0%} of the {name} images have the label of the most similar train image "
            f"({other.chance:.0%} would by chance), but {train.observed:.0%} do within train: are the labels of {name} "
            "numbered or ordered differently?"
        )


def agreement(data: Dataset, split: Split) -> Agreement | None:
    """Compare the split with train. None if there are too few images, or if every image has the same label."""
    within = split is data.train
    train_images, train_labels = _thumbnails(data.train, _spread(len(data.train)))
    if within:
        images, labels = train_images, train_labels
    else:
        images, labels = _thumbnails(split, _spread(len(split)))
    if len(labels) < FEWEST or len(train_labels) < FEWEST:
        return None

    distances = torch.cdist(images, train_images)
    if within:  # an image is not its own neighbour
        distances.fill_diagonal_(float("inf"))
    nearest = train_labels[distances.argmin(1)]

    agreements = []
    for own, neighbour in zip(labels.reshape(len(labels), -1).T, nearest.reshape(len(nearest), -1).T):
        both = [(own == value).double().mean() * (neighbour == value).double().mean() for value in own.unique()]
        chance = torch.stack(both).sum().item()
        if chance < 0.999:
            observed = (own == neighbour).double().mean().item()
            sigmas = (observed - chance) / sqrt(chance * (1 - chance) / len(labels))
            agreements.append(Agreement(observed, chance, sigmas, len(labels)))
    # One attribute that shows in the pixels is enough to see that the order is right.
    return max(agreements, key=lambda one: one.sigmas, default=None)


def check_no_copies_between_splits(case: DatasetCase) -> None:
    """At most 2 % of the validation or test images are copies, within a grey level, of images of another split."""
    data = case.data
    if tuple(data.train.images.shape[2:]) == (1, 1):
        return  # points may be arbitrarily close
    train = _pixels(data.train, _spread(len(data.train), 4 * MOST))
    within = torch.cdist(train[:MOST], train)
    within[:, : len(within)].fill_diagonal_(float("inf"))
    usual = within.amin(1).median().item() / sqrt(train.shape[1])  # from a train image to its nearest neighbour
    held_out = {name: _pixels(split, _spread(len(split))) for name, split in
            (("validation", data.validation), ("test", data.test))}  # fmt: skip
    pairs = (("validation", "train", train), ("test", "train", train), ("test", "validation", held_out["validation"]))
    for name, other, images in pairs:
        distances = torch.cdist(held_out[name], images).amin(1) / sqrt(images.shape[1])
        copies = (distances <= min(SAME, NEARER * usual)).double().mean().item()
        if copies > MAX_COPIES:
            raise Doubt(
                f"{copies:.0%} of the {name} images that were compared are copies, within a grey level, of {other} "
                f"images; scores on {name} would be too good"
            )


def check_images_are_many(case: DatasetCase) -> None:
    """At least half of a split's images are distinct."""
    for name, split in case.splits():
        pixels = split.held.flatten(1)[_spread(len(split))]
        distinct = len(pixels.unique(dim=0))
        if len(pixels) >= FEWEST and 2 * distinct < len(pixels):
            raise Doubt(f"of the {len(pixels)} {name} images that were compared, only {distinct} are distinct")


def _thumbnails(split: Split, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, "some features"], Tensor]:
    """Some images, reduced and scaled to mean 0 and norm 1, and their labels."""
    images = to_images(split.held[index])
    if min(images.shape[2:]) > SIDE:
        images = torch.nn.functional.adaptive_avg_pool2d(images, SIDE)
    flat = images.flatten(1)
    if flat.shape[1] > 3:  # the brightness of a picture does not matter, the coordinates of a point do
        flat = flat - flat.mean(1, keepdim=True)
        flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return flat, split.labels[index]


def _pixels(split: Split, index: Int[Tensor, " some"]) -> Float[Tensor, "some pixels"]:
    images = split.held[index].float() if split.held.dtype == torch.uint8 else 127.5 * split.held[index]
    if min(images.shape[2:]) > COPY_SIDE:
        images = torch.nn.functional.adaptive_avg_pool2d(images, COPY_SIDE)
    return images.flatten(1)


def _spread(count: int, most: int = MOST) -> Int[Tensor, " some"]:
    """Up to `most` indices, evenly spaced, since files are often sorted by class."""
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most).long()
