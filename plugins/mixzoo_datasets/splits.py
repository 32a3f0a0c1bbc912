"""Splits as in AMR: one fixed shuffle, then the first images train and the rest validate.

The shuffle is numpy's RandomState(0).shuffle of the image numbers, whose stream numpy has frozen, so everybody gets the
same splits whatever the seed of the run. Only `train_images`, a subset of the train split, depends on that seed. (The
authors' own subsets were the same images every time, although their text says otherwise.)
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mixzoo import DataError, Dataset, Split, escaped, rng_for
from mixzoo_datasets.files import StoredImages

TrainImages: TypeAlias = Annotated[int, Ge(1), "train images to keep, a subset that depends on the seed"]
Root: TypeAlias = Annotated[str, "folder with the data, in torchvision's layout"]
Download: TypeAlias = Annotated[bool, "download missing files into root"]

SIDE = 32  # pixels; the side of the paper's images
PHOTOS: Mapping[str, Any] = {  # run defaults for photographs: at 32x32 a code of 256 numbers, where amr's own is of 32
    "autoencoder": "amr:latent=16"  # benchmarks/results/photos.md compares them
}


def shuffled_order(images: int) -> Int[Tensor, " images"]:
    """The image numbers in the fixed order of the paper's splits."""
    order = np.arange(images)
    np.random.RandomState(0).shuffle(order)
    return torch.from_numpy(order)


def select(whole: Split, numbers: Int[Tensor, " n"]) -> Split:
    """The split of the images at `numbers`."""
    factors = None if whole.factors is None else whole.factors[numbers]
    images = whole.images.select(numbers) if isinstance(whole.images, StoredImages) else whole.held[numbers]
    return Split(images, whole.labels[numbers], factors)


def shuffle_and_split(whole: Split, *counts: int) -> list[Split]:
    """The shuffled images as splits of `counts` images, followed by a split of the remaining images."""
    order = shuffled_order(len(whole))
    sizes = [*counts, len(whole) - sum(counts)]
    return [select(whole, numbers) for numbers in torch.split(order, sizes)]


def build_dataset(
    splits: list[Split],
    *,
    class_names: tuple[str, ...] = (),
    attribute_names: tuple[str, ...] = (),
    factor_names: tuple[str, ...] = (),
    source: str,
    needed: str,
    train_images: int | None,
    seed: int,
    skipped: Mapping[str, str] | None = None,
) -> Dataset:
    """The data set of the train, validation and test splits, reduced to `train_images`, with its fingerprint.

    `skipped` are files that were left out, with reasons; their names are part of the fingerprint. Raises DataError if a
    split is empty; `needed` tells the user how many images that takes.
    """
    train, validation, test = splits
    source = escaped(source)
    for name, split in zip(("train", "validation", "test"), splits):
        if not len(split):
            total = sum(map(len, splits))
            raise DataError(f"{source}: the {name} split would be empty ({total} images in all); needed: {needed}")
    if train_images is not None:
        train = select(train, choose_train_images(len(train), train_images, seed, source))
        source = f"{source}; {train_images} train images chosen by seed {seed}"
    mark = fingerprint([train, validation, test], skipped or {})
    return Dataset(train, validation, test, class_names, source, mark, attribute_names, factor_names, skipped or {})


def choose_train_images(images: int, train_images: int, seed: int, source: str) -> Int[Tensor, " train_images"]:
    """The train images that the seed chooses. Raises DataError if the train split has fewer."""
    if train_images > images:
        raise DataError(f"{escaped(source)}: train_images={train_images}, but the train split has only {images} images")
    return torch.randperm(images, generator=rng_for(seed, "train_images"))[:train_images]


def fingerprint(splits: list[Split], skipped: Iterable[str] = ()) -> str:
    """A hash of every pixel, label and factor; stored images have a `fingerprint` of their own.

    Of files that were left out it covers the names.
    """
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        if isinstance(split.images, StoredImages):
            digest.update(split.images.fingerprint())
        else:
            digest.update(split.held.contiguous().numpy().data)
        for tensor in (split.labels, *([] if split.factors is None else [split.factors])):
            digest.update(tensor.contiguous().numpy().data)
    for name in skipped:
        digest.update(b"\0skipped\0" + name.encode())  # not the reason, which depends on Pillow's version
    return digest.hexdigest()


def resize(images: UInt8[Tensor, "n channels height width"], side: int = SIDE) -> UInt8[Tensor, "n channels side side"]:
    """The images resized bilinearly to side x side, with exactly the pixels that Pillow's resize gives."""
    return interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def check_labels(labels: Int[Tensor, " n"], classes: int, where: str, first: int = 0) -> Int[Tensor, " n"]:
    """The labels. Raises DataError for the first one outside 0 .. classes-1, numbered as in a file that counts from
    `first`."""
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(wrong):
        image = int(wrong[0])
        allowed = f"{first}..{first + classes - 1}"
        raise DataError(f"{where}: label {int(labels[image]) + first} of image {image} is not in {allowed}")
    return labels
