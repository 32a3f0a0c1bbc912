"""What a data set promises of its labels and splits beyond their form: that they belong to the images beside them."""

from math import log, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.core.data import Dataset, Split
from mixzoo.data.batches import to_images
from mixzoo.testing.report import Doubt

MOST = 1000  # images of a split that are looked at
FEWEST = 30  # below which a statistic says nothing
EXPECTED = 5  # images of a class that a split would have if it were like train, from which on it must have one
COMPARED = 32  # height and width at most of images that are looked at for copies
SIDE = 8  # images are compared at about this height and width, so that a small shift matters little
SIGMAS = 3.0  # above chance
CLEAR = 6.0  # in train, where another split that is at chance cannot be
SAME = 1.0  # grey level: images that are no further apart, in the mean, are one image
NEARER = 0.3  # and as a part of how far images of train usually are from the nearest of them
COPIES = 0.02  # of a split's images may be of the train split


class Agreement(NamedTuple):
    """How often an image has the label of the image most like it, and how often by chance."""

    found: float
    chance: float
    sigmas: float  # how far above chance
    images: int  # that were looked at


def check_each_split_has_every_class(data: Dataset) -> None:
    """A class of the train split, and either value of an attribute, is in the other splits too, but for small ones."""
    columns = _columns(data.train, data)
    for name, split in (("validation", data.validation), ("test", data.test)):
        for (label, own), (_, its) in zip(columns, _columns(split, data)):
            for value, meaning in label.items():
                expected = len(its) * (own == value).double().mean().item()
                assert expected < EXPECTED + log(len(label)) or bool((its == value).any()), (
                    f"{name} has no image {meaning}, and about {expected:.0f} of its {len(its)} would be if it were "
                    "like train; split every class, or leave this check out and say why"
                )


def _columns(split: Split, data: Dataset) -> list[tuple[dict[int, str], Tensor]]:
    """Each label of the split: what its values mean, and the values."""
    if data.attribute_names:
        return [
            ({0: f"without {name!r}", 1: f"with {name!r}"}, split.labels[:, i])
            for i, name in enumerate(data.attribute_names)
        ]
    return [({i: f"of class {name!r}" for i, name in enumerate(data.class_names)}, split.labels)]


def check_labels_go_with_their_images(data: Dataset) -> None:
    """Images that are alike have one label more often than by chance, within train and between it and other splits."""
    own = agreement(data, data.train)
    if own is None:
        return
    if own.sigmas < SIGMAS:
        raise Doubt(
            f"{own.found:.0%} of the train images have the label of the image most like them, {own.chance:.0%} would "
            "by chance: are images and labels in the same order? Fine if pixels say nothing of the label"
        )
    for name, split in (("validation", data.validation), ("test", data.test)):
        other = agreement(data, split)
        # What the split would show if it were like train: fewer images show less.
        expected = 0.0 if other is None else own.sigmas * sqrt(other.images / own.images)
        assert other is None or expected < CLEAR or other.sigmas >= min(SIGMAS, expected / 4), (
            f"{other.found:.0%} of the {name} images have the label of the train image most like them "
            f"({other.chance:.0%} would by chance), and {own.found:.0%} do within train: are labels counted or ordered "
            f"otherwise in {name}?"
        )


def agreement(data: Dataset, split: Split) -> Agreement | None:
    """Of the split's images with the train images; None if there is nothing to tell apart."""
    within = split is data.train
    index = _spread(len(data.train))
    near = _few(data.train, index)
    mine = near if within else _few(split, _spread(len(split)))
    if len(mine[1]) < FEWEST or len(near[1]) < FEWEST:
        return None
    distances = torch.cdist(mine[0], near[0])
    if within:
        distances.fill_diagonal_(float("inf"))
    nearest = near[1][distances.argmin(1)]
    found, chance = [], []
    for own, its in zip(mine[1].reshape(len(mine[1]), -1).T, nearest.reshape(len(nearest), -1).T):
        values = own.unique()
        share = torch.stack([(own == v).double().mean() * (its == v).double().mean() for v in values]).sum().item()
        if share < 0.999:
            found.append((own == its).double().mean().item())
            chance.append(share)
    if not found:
        return None
    sigmas = [(f - c) / sqrt(c * (1 - c) / len(mine[1])) for f, c in zip(found, chance)]
    best = max(range(len(sigmas)), key=lambda i: sigmas[i])
    return Agreement(found[best], chance[best], sigmas[best], len(mine[1]))


def check_no_copies_between_splits(data: Dataset) -> None:
    """Hardly an image of validation or test is, but for a grey level, an image of train, or of the other."""
    if tuple(data.train.images.shape[2:]) == (1, 1):
        return  # points may be as near to one another as they like
    train = _pixels(data.train, _spread(len(data.train), 4 * MOST))
    among = torch.cdist(train[:MOST], train)
    among[:, : len(among)].fill_diagonal_(float("inf"))
    usual = among.amin(1).median().item() / sqrt(train.shape[1])  # of a train image to the one most like it
    held = {name: _pixels(split, _spread(len(split))) for name, split in
            (("validation", data.validation), ("test", data.test))}  # fmt: skip
    pairs = (("validation", "train", train), ("test", "train", train), ("test", "validation", held["validation"]))
    for name, other, images in pairs:
        distances = torch.cdist(held[name], images).amin(1) / sqrt(images.shape[1])
        copies = (distances <= min(SAME, NEARER * usual)).double().mean().item()
        if copies > COPIES:
            raise Doubt(
                f"{copies:.0%} of the {name} images that were looked at are images of {other}, but for a grey level; "
                "scores of it would be too good"
            )


def check_images_are_many(data: Dataset) -> None:
    """At least half of a split's images are different from one another."""
    for name in ("train", "validation", "test"):
        split: Split = getattr(data, name)
        pixels = split.held.flatten(1)[_spread(len(split))]
        different = len(pixels.unique(dim=0))
        if len(pixels) >= FEWEST and 2 * different < len(pixels):
            raise Doubt(f"{len(pixels)} of the {name} images that were looked at are {different} different ones")


def _few(split: Split, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, "some features"], Tensor]:
    """Some images made small, each with mean 0 and length 1, and their labels."""
    images = to_images(split.held[index])
    if min(images.shape[2:]) > SIDE:
        images = torch.nn.functional.adaptive_avg_pool2d(images, SIDE)
    flat = images.flatten(1)
    if flat.shape[1] > len("xyz"):  # a point's place is what it is; a picture may be brighter
        flat = flat - flat.mean(1, keepdim=True)
        flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return flat, split.labels[index]


def _pixels(split: Split, index: Int[Tensor, " some"]) -> Float[Tensor, "some pixels"]:
    images = split.held[index].float() if split.held.dtype == torch.uint8 else 127.5 * split.held[index]
    if min(images.shape[2:]) > COMPARED:
        images = torch.nn.functional.adaptive_avg_pool2d(images, COMPARED)
    return images.flatten(1)


def _spread(count: int, most: int = MOST) -> Int[Tensor, " some"]:
    """Up to so many places, evenly spread: files are often in the order of their classes."""
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most).long()
