"""Stored images -> network inputs, on the device."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.config import Train
from mixzoo.draws import rng_for
from mixzoo.errors import DataError
from mixzoo.protocols import Split
from mixzoo.strides import canonical

Batch: TypeAlias = tuple[Float[Tensor, "batch channels height width"], Int[Tensor, "batch *attributes"]]


def to_images(
    stored: Shaped[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Images in [-1, 1]: (v / 255 - 0.5) / 0.5, in the authors' order of operations; floats are there already.

    Every image that a network sees comes through here, so here its strides become canonical (`mixzoo.strides`).
    """
    stored = canonical(stored)
    if stored.is_floating_point():
        return stored
    return stored.float().div_(255).sub_(0.5).div_(0.5)


@runtime_checkable
class Batches(Protocol):
    """The train split wherever it is kept. Used as a context manager: what it holds open ends with the block."""

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int:
        """Images of the split."""
        ...

    def batch(self, step: int, index: Int[Tensor, " batch"]) -> Batch:
        """The images and labels at `index`, which are those of this step, on the device."""
        ...

    def __enter__(self) -> "Batches": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class DeviceSplit:
    """A split held whole on the device as it is stored and indexed a batch at a time: no per-image work in Python."""

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
    """A split held in host memory; a batch is gathered there, as bytes, and sent to the device.

    Where the device is a GPU the gathered batch is pinned, so that it is sent while the host goes on; the whole split
    need not be, since no more than the batch is ever sent. Labels are on the device.
    """

    images: Shaped[Tensor, "n channels height width"]
    labels: Int[Tensor, "n *attributes"]

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, step: int, index: Int[Tensor, " batch"]) -> Batch:
        # A fresh buffer each time: torch hands a pinned one out again only once it has been sent.
        gathered = self.images.new_empty((len(index), *self.images.shape[1:]), pin_memory=self.device.type == "cuda")
        torch.index_select(self.images, 0, index.cpu(), out=gathered)
        return sent(gathered, index, self.labels)

    def __enter__(self) -> "HostSplit":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def sent(
    stored: Shaped[Tensor, "batch channels height width"],
    index: Int[Tensor, " batch"],
    labels: Int[Tensor, "n *attributes"],
) -> Batch:
    """A gathered batch on the device that the labels are on."""
    images = to_images(stored.to(labels.device, non_blocking=True))
    return images, labels.index_select(0, index.to(labels.device, non_blocking=True))


def on_device(split: Split, device: torch.device, batch_images: int) -> DeviceSplit:
    """The split on the device; DataError where it holds less than one batch."""
    check_batch_fits(split, batch_images)
    return DeviceSplit(split.held.to(device), split.labels.to(device))


def check_batch_fits(split: Split, batch_images: int) -> None:
    """DataError where the split holds less than one batch."""
    if batch_images > len(split):
        raise DataError(
            f"data: a batch of {batch_images} images from {len(split)} train images makes 0 batches per epoch; "
            f"use --batch-images {len(split)} or fewer, or more train images"
        )


def labelled_images(train: Train, images: int) -> Bool[Tensor, " images"] | None:
    """Which of the train images the objective may use the label of; None for all. DataError where there are too few."""
    if train.labelled_images is None:
        return None
    if train.labelled_images > images:
        raise DataError(f"labelled_images={train.labelled_images}, but there are {images} train images")
    chosen = torch.randperm(images, generator=rng_for(train.seed, "labelled_images"))[: train.labelled_images]
    return torch.zeros(images, dtype=torch.bool).index_fill(0, chosen, True)
