"""Stored images to network inputs on the device."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.errors import DataError
from mixzoo.core.random import rng_for
from mixzoo.core.strides import canonical
from mixzoo.registry.config import Train

Batch: TypeAlias = tuple[Float[Tensor, "batch channels height width"], Int[Tensor, "batch *attributes"]]


def to_images(
    stored: Shaped[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Images in [-1, 1]: (v / 255 - 0.5) / 0.5, in the order in which AMR's authors compute it; floats already are.

    Every image that a network sees passes through here, so this is where its strides become canonical
    (`mixzoo.core.strides`).
    """
    stored = canonical(stored)
    if stored.is_floating_point():
        return stored
    return stored.float().div_(255).sub_(0.5).div_(0.5)


@runtime_checkable
class Batches(Protocol):
    """Batches of the train split, wherever it is kept; a context manager that ends its worker processes."""

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int:
        """The number of images in the split."""
        ...

    def batch(self, step: int, index: Int[Tensor, " batch"]) -> Batch:
        """The images and labels of this step, which are those at `index`, on the device."""
        ...

    def __enter__(self) -> "Batches": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class DeviceSplit:
    """A split held on the device, as bytes if it is stored so; a batch is one indexed read of it."""

    images: Shaped[Tensor, "n channels height width"]
    labels: Int[Tensor, "n *attributes"]

    @property
    def device(self) -> torch.device:
        return self.images.device

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, step: int, index: Int[Tensor, " batch"]) -> Batch:
        index = index.to(self.images.device, non_blocking=True)
        return to_images(self.images.index_select(0, index)), self.labels.index_select(0, index)

    def __enter__(self) -> "DeviceSplit":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


@dataclass(frozen=True)
class HostSplit:
    """A split held in host memory; a batch is gathered there, as bytes, and copied to the device.

    For a GPU the gathered batch is pinned, so that the copy does not block the host. The split itself need not be
    pinned: only batches are ever copied. Labels are on the device.
    """

    images: Shaped[Tensor, "n channels height width"]
    labels: Int[Tensor, "n *attributes"]

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, step: int, index: Int[Tensor, " batch"]) -> Batch:
        # A new buffer for each batch: torch reuses pinned memory only once its copy to the device has finished.
        gathered = self.images.new_empty((len(index), *self.images.shape[1:]), pin_memory=self.device.type == "cuda")
        torch.index_select(self.images, 0, index.cpu(), out=gathered)
        return copy_to_device(gathered, index, self.labels)

    def __enter__(self) -> "HostSplit":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def copy_to_device(
    stored: Shaped[Tensor, "batch channels height width"],
    index: Int[Tensor, " batch"],
    labels: Int[Tensor, "n *attributes"],
) -> Batch:
    """A gathered batch as network inputs, with its labels, on the device that holds the labels."""
    images = to_images(stored.to(labels.device, non_blocking=True))
    return images, labels.index_select(0, index.to(labels.device, non_blocking=True))


def on_device(split: Split, device: torch.device, batch_images: int) -> DeviceSplit:
    """The split on the device. Raises DataError if it has fewer images than one batch."""
    check_batch_fits(split, batch_images)
    return DeviceSplit(split.held.to(device), split.labels.to(device))


def check_batch_fits(split: Split, batch_images: int) -> None:
    """Raises DataError if the split has fewer images than one batch."""
    if batch_images > len(split):
        raise DataError(
            f"data: a batch of {batch_images} images from {len(split)} train images makes 0 batches per epoch; "
            f"use --batch-images {len(split)} or fewer, or more train images"
        )


def labelled_images(train: Train, images: int) -> Bool[Tensor, " images"] | None:
    """Which train images the objective may use the labels of; None means all.

    Raises DataError if there are fewer train images than labels to keep.
    """
    if train.labelled_images is None:
        return None
    if train.labelled_images > images:
        raise DataError(f"labelled_images={train.labelled_images}, but there are only {images} train images")
    chosen = torch.randperm(images, generator=rng_for(train.seed, "labelled_images"))[: train.labelled_images]
    return torch.zeros(images, dtype=torch.bool).index_fill(0, chosen, True)
