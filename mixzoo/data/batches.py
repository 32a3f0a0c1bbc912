"""Stored images to network inputs on the device, batch by batch.

Which images a step takes is decided here alone (`BatchOrder`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.errors import DataError
from mixzoo.core.random import batch_index, rng_for
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


@dataclass(frozen=True)
class BatchOrder:
    """Which train images each step takes: a function of (seed, step), the same on every process of a run."""

    seed: int
    images: int  # in the train split
    batch_images: int
    labelled_images: Bool[Tensor, " images"] | None = None  # those whose labels the objective may use; None for all
    shard: Callable[[Tensor], Tensor] = lambda whole: whole  # this process's part of a batch

    def whole(self, step: int) -> Int[Tensor, " batch"]:
        """The images of the batch that all processes share."""
        return batch_index(self.seed, self.images, self.batch_images, step)

    def own(self, step: int) -> Int[Tensor, " own"]:
        """The images of this process."""
        return self.shard(self.whole(step))

    def labelled(self, step: int) -> Bool[Tensor, " batch"] | None:
        """Which images of the whole batch are labelled for the objective; None means all of them."""
        return None if self.labelled_images is None else self.labelled_images[self.whole(step)]


class Batches(ABC):
    """Batches of the train split, wherever it is kept; a context manager that ends any worker processes."""

    picks_on_device: ClassVar[bool] = False  # whether `batch` takes the numbers of its images on the device

    def __init__(self, order: BatchOrder, labels: Int[Tensor, "n *attributes"]) -> None:
        self.order, self.labels = order, labels

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.labels.device

    def start(self, step: int) -> None:  # noqa: B027  # most have nothing to start
        """Start any worker processes, for the batches from this step on; `batch` does it where it was not called.

        They are forked, which is safest before other threads work.
        """

    @abstractmethod
    def batch(self, step: int, index: Int[Tensor, " own"] | None = None) -> Batch:
        """This process's images and labels at this step, on the device.

        `index` is `order.own(step)` on the device, if it is there already; only used if `picks_on_device`.
        """

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        return None


class HeldSplit(Batches):
    """A split held in memory as one tensor of images."""

    def __init__(
        self,
        images: Shaped[Tensor, "n channels height width"],
        labels: Int[Tensor, "n *attributes"],
        order: BatchOrder,
    ) -> None:
        super().__init__(order, labels)
        self.images = images


class DeviceSplit(HeldSplit):
    """A split held on the device, as bytes if it is stored so; a batch is one indexed read of it."""

    picks_on_device: ClassVar[bool] = True

    def batch(self, step: int, index: Int[Tensor, " own"] | None = None) -> Batch:
        if index is None:
            index = self.order.own(step).to(self.device, non_blocking=True)
        return to_images(self.images.index_select(0, index)), self.labels.index_select(0, index)


class HostSplit(HeldSplit):
    """A split held in host memory; a batch is gathered there, as bytes, and copied to the device.

    For a GPU the gathered batch is pinned, so that the copy does not block the host. The split itself need not be
    pinned: only batches are ever copied. Labels are on the device.
    """

    def batch(self, step: int, index: Int[Tensor, " own"] | None = None) -> Batch:
        index = self.order.own(step)  # images are gathered on the host
        # A new buffer for each batch: torch reuses pinned memory only once its copy to the device has finished.
        gathered = self.images.new_empty((len(index), *self.images.shape[1:]), pin_memory=self.device.type == "cuda")
        torch.index_select(self.images, 0, index, out=gathered)
        return copy_to_device(gathered, index, self.labels)


def copy_to_device(
    stored: Shaped[Tensor, "batch channels height width"],
    index: Int[Tensor, " batch"],
    labels: Int[Tensor, "n *attributes"],
) -> Batch:
    """A gathered batch as network inputs, with its labels, on the device that holds the labels."""
    images = to_images(stored.to(labels.device, non_blocking=True))
    return images, labels.index_select(0, index.to(labels.device, non_blocking=True))


def on_device(split: Split, device: torch.device, batch_images: int, seed: int = 0) -> DeviceSplit:
    """The split on the device. Raises DataError if it has fewer images than one batch."""
    check_batch_fits(split, batch_images)
    order = BatchOrder(seed, len(split), batch_images)
    return DeviceSplit(split.held.to(device), split.labels.to(device), order)


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
