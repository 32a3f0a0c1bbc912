"""Stored images -> network inputs, on the device."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.config import Train
from mixzoo.draws import rng_for
from mixzoo.errors import DataError
from mixzoo.protocols import Split


def to_images(
    stored: Shaped[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Images in [-1, 1]: (v / 255 - 0.5) / 0.5, in the authors' order of operations; floats are there already."""
    if stored.is_floating_point():
        return stored
    return stored.float().div_(255).sub_(0.5).div_(0.5)


@dataclass(frozen=True)
class DeviceSplit:
    """A split held whole on the device as it is stored and indexed a batch at a time: no per-image work in Python."""

    images: Shaped[Tensor, "n channels height width"]
    labels: Int[Tensor, "n *attributes"]

    def batch(
        self, index: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch channels height width"], Int[Tensor, "batch *attributes"]]:
        """The images and labels at `index`."""
        index = index.to(self.images.device, non_blocking=True)
        return to_images(self.images.index_select(0, index)), self.labels.index_select(0, index)


def on_device(split: Split, device: torch.device, batch_images: int) -> DeviceSplit:
    """The split on the device; DataError where it holds less than one batch."""
    if batch_images > len(split):
        raise DataError(
            f"data: a batch of {batch_images} images from {len(split)} train images makes 0 batches per epoch; "
            f"use --batch-images {len(split)} or fewer, or more train images"
        )
    return DeviceSplit(split.images.to(device), split.labels.to(device))


def labelled_images(train: Train, images: int) -> Bool[Tensor, " images"] | None:
    """Which of the train images the objective may use the label of; None for all. DataError where there are too few."""
    if train.labelled_images is None:
        return None
    if train.labelled_images > images:
        raise DataError(f"labelled_images={train.labelled_images}, but there are {images} train images")
    chosen = torch.randperm(images, generator=rng_for(train.seed, "labelled_images"))[: train.labelled_images]
    return torch.zeros(images, dtype=torch.bool).index_fill(0, chosen, True)
