"""Where the data of a run are kept: on the device, in host memory, or in their files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from mixzoo.config import Train
from mixzoo.data.batches import Batches, DeviceSplit, HostSplit
from mixzoo.data.contracts import load_dataset
from mixzoo.data.finite import check_finite
from mixzoo.data.free_memory import device_free, host_free
from mixzoo.data.streaming import StreamedSplit
from mixzoo.draws import order
from mixzoo.errors import ConfigError
from mixzoo.protocols import Dataset, HasStream, Split
from mixzoo.strides import canonical

SHARE = 0.5  # of the memory that is free may go to the data; the networks need the rest
READ = 500  # images read at a time when a split is read whole
WORKERS = 2  # that read a stream, when --workers does not say


@dataclass(frozen=True)
class LoadedData:
    """A data set in memory or ready to stream, and where its train split is kept."""

    data: Dataset
    data_on: Literal["device", "host", "stream"]
    note: str = ""  # why `auto` did not choose the device, one line; '' if it did


def load_data(recipe: Any, name: str, train: Train, device: torch.device) -> LoadedData:
    """The data set of the recipe, where `train.data_on` says, its tensors with canonical strides.

    Raises ConfigError if it cannot be there, PluginError if it is no such data set, and DataError if its numbers are
    not finite.
    """
    placed = _load(recipe, name, train, device)
    data = placed.data
    check_finite(data, name)
    train_split, validation, test = map(_canonical_split, _splits(data))
    return replace(placed, data=replace(data, train=train_split, validation=validation, test=test))


def _load(recipe: Any, name: str, train: Train, device: torch.device) -> LoadedData:
    can_stream = isinstance(recipe, HasStream)
    if train.workers is not None and train.data_on in ("device", "host"):
        raise ConfigError(f"--workers {train.workers}: with --data-on {train.data_on} no worker reads; leave it out")
    if train.data_on == "stream":
        if not can_stream:
            raise ConfigError(f"--data-on stream: data set {name!r} is always held in memory; use device, host or auto")
        return LoadedData(_held_out_held(load_dataset(recipe, name, "stream", train.seed)), "stream")
    if train.data_on != "auto":
        return LoadedData(load_dataset(recipe, name, "load", train.seed), train.data_on)
    if can_stream:
        data = load_dataset(recipe, name, "stream", train.seed)
        size, room = sum(map(nbytes, _splits(data))), host_free()
        if room is not None and size > SHARE * room:
            why = f"data: read from their files as needed: {_too_much(size, room, 'of memory')}"
            return LoadedData(_held_out_held(data), "stream", why)
    data = load_dataset(recipe, name, "load", train.seed)
    size, room = nbytes(data.train), device_free(device)
    if device.type == "cpu" or room is None or size <= SHARE * room:
        return LoadedData(data, "device")
    return LoadedData(data, "host", f"data: kept in host memory: {_too_much(size, room, f'on {device}')}")


def train_batches(
    placed: LoadedData,
    train: Train,
    device: torch.device,
    indices: Callable[[int], Int[Tensor, " batch"]] | None = None,
) -> Batches:
    """The train split, ready to give batches on the device; `indices` says which images each step will ask for.

    All of the step's images when not given. No worker starts before the first batch is asked for.
    """
    split = placed.data.train
    labels = split.labels.to(device)
    if isinstance(split.images, Tensor):
        if placed.data_on == "host":
            return HostSplit(split.images, labels)
        return DeviceSplit(split.images.to(device), labels)

    def whole(step: int) -> Int[Tensor, " batch"]:
        return order(train.seed, len(split), step * train.batch_images, train.batch_images)

    workers = WORKERS if train.workers is None else train.workers
    return StreamedSplit(split.images, labels, indices or whole, steps=train.steps, workers=workers)


def nbytes(split: Split) -> int:
    """Bytes of the split's images when they are held."""
    return split.images.nbytes if isinstance(split.images, Tensor) else prod(split.images.shape)


def _held_out_held(data: Dataset) -> Dataset:
    """Streamed data with validation and test held in memory where they take a small part of it.

    Every evaluation reads them whole, in the run's own process, so decoding them each time would be most of the run.
    """
    room = host_free()
    if room is None or nbytes(data.validation) + nbytes(data.test) > SHARE / 4 * room:
        return data
    return replace(data, validation=_read_whole(data.validation), test=_read_whole(data.test))


def _canonical_split(split: Split) -> Split:
    """The split, each of its tensors with canonical strides."""
    images = canonical(split.images) if isinstance(split.images, Tensor) else split.images
    factors = None if split.factors is None else canonical(split.factors)
    return Split(images, canonical(split.labels), factors)


def _read_whole(split: Split) -> Split:
    """The split in memory, read a batch at a time."""
    if isinstance(split.images, Tensor):
        return split
    images = torch.empty(split.images.shape, dtype=torch.uint8)
    for some in torch.arange(len(split)).split(READ):
        images[some] = split.images.read(some)
    return replace(split, images=images)


def _splits(data: Dataset) -> tuple[Split, Split, Split]:
    return (data.train, data.validation, data.test)


def _too_much(size: int, room: int, where: str) -> str:
    return f"{_amount(size)} of images is more than half of the {_amount(room)} free {where}"


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
