"""Stored images -> network inputs, on the device."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

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
