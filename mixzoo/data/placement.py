"""Where a run keeps its data: on the device, in host memory, or in their files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from mixzoo.core.data import Dataset, HasStream, Split
from mixzoo.core.errors import ConfigError, excerpt
from mixzoo.core.strides import canonical
from mixzoo.data.batches import Batches, BatchOrder, DeviceSplit, HostSplit, labelled_images
from mixzoo.data.contracts import load_dataset
from mixzoo.data.finite import check_finite
from mixzoo.data.free_memory import device_free, host_free
from mixzoo.data.open_cache import check_cache_folder, with_image_cache
from mixzoo.data.streaming import StreamedSplit
from mixzoo.registry.config import Train

DATA_FRACTION = 0.5  # of the free memory that the data may take; the networks need the rest
HELD_OUT_FRACTION = DATA_FRACTION / 4  # that the validation and test images of a streamed data set may take
READ_BATCH = 500  # images read at a time when a split is read into memory
WORKERS = 2  # processes that read a stream unless --workers is given


@dataclass(frozen=True)
class LoadedData:
    """A data set, held in memory or ready to stream, and where its train split is kept."""

    data: Dataset
    data_on: Literal["device", "host", "stream"]
    note: str = ""  # one line on why `auto` did not choose the device; '' if it did
    cache_notes: Sequence[str] = ()  # lines on the image cache, if one was asked for


def load_data(recipe: Any, name: str, train: Train, device: torch.device, *, fill_cache: bool = True) -> LoadedData:
    """The recipe's data set, kept where `train.data_on` says, with canonical strides.

    With fill_cache=False an image cache is used if it is there, and otherwise nothing is said of it.

    Raises ConfigError if the data cannot be kept there, PluginError if they are not a valid data set, and DataError if
    they contain NaN or infinity.
    """
    loaded = _load(recipe, name, train, device, fill_cache)
    data = loaded.data
    check_finite(data, name)
    train_split, validation, test = map(_canonical_split, _splits(data))
    return replace(loaded, data=replace(data, train=train_split, validation=validation, test=test))


def _load(recipe: Any, name: str, train: Train, device: torch.device, fill_cache: bool) -> LoadedData:
    can_stream = isinstance(recipe, HasStream)
    if train.workers is not None and train.data_on in ("device", "host"):
        raise ConfigError(f"--workers {train.workers} has no effect with --data-on {train.data_on}; leave it out")
    if train.image_cache and train.data_on in ("device", "host"):
        raise ConfigError(
            f"--image-cache {excerpt(train.image_cache)} has no effect with --data-on {train.data_on}; use --data-on "
            "stream, or leave it out"
        )
    if train.image_cache and fill_cache:
        check_cache_folder(train.image_cache)  # before the data are loaded, which may take long
    if train.data_on == "stream":
        if not can_stream:
            raise ConfigError(f"--data-on stream: data set {name!r} cannot be streamed; use device, host or auto")
        return _streamed(load_dataset(recipe, name, "stream", train.seed), recipe, name, train, fill_cache)

    if train.data_on != "auto":
        return LoadedData(load_dataset(recipe, name, "load", train.seed), train.data_on)

    # `auto`: stream what would fill host memory, else keep the train split on the device if it fits there.
    if can_stream:
        data = load_dataset(recipe, name, "stream", train.seed)
        size, free = sum(map(nbytes, _splits(data))), host_free()
        if free is not None and size > DATA_FRACTION * free:
            note = f"data: streamed from files: {_too_large(size, free, 'in memory')}"
            return replace(_streamed(data, recipe, name, train, fill_cache), note=note)
    data = load_dataset(recipe, name, "load", train.seed)
    size, free = nbytes(data.train), device_free(device)
    unused = ["data: the image cache is not used, as the images fit in memory"] if train.image_cache else []
    if device.type == "cpu" or free is None or size <= DATA_FRACTION * free:
        return LoadedData(data, "device", cache_notes=unused)
    return LoadedData(data, "host", f"data: kept in host memory: {_too_large(size, free, f'on {device}')}", unused)


def _streamed(data: Dataset, recipe: Any, name: str, train: Train, fill_cache: bool) -> LoadedData:
    """Data of `stream`, with the image cache if one is asked for."""
    notes = list[str]()
    if train.image_cache:
        data, notes = with_image_cache(data, recipe, name, train.image_cache, fill=fill_cache)
    return LoadedData(_hold_small_splits(data), "stream", cache_notes=notes)


def train_batches(
    loaded: LoadedData,
    train: Train,
    device: torch.device,
    shard: Callable[[Tensor], Tensor] = lambda whole: whole,
) -> Batches:
    """Batches of the train split on the device; `shard` gives this process's part of a batch.

    Worker processes start when the first batch is read. Raises DataError if there are fewer train images than labelled
    ones are asked for.
    """
    split = loaded.data.train
    labelled = labelled_images(train, len(split))
    order = BatchOrder(train.seed, len(split), train.batch_images, labelled, shard)
    labels = split.labels.to(device)
    if isinstance(split.images, Tensor):
        if loaded.data_on == "host":
            return HostSplit(split.images, labels, order)
        return DeviceSplit(split.images.to(device), labels, order)

    workers = WORKERS if train.workers is None else train.workers
    return StreamedSplit(split.images, labels, order, steps=train.steps, workers=workers)


def nbytes(split: Split) -> int:
    """Bytes that the split's images take in memory."""
    return split.images.nbytes if isinstance(split.images, Tensor) else prod(split.images.shape)


def _hold_small_splits(data: Dataset) -> Dataset:
    """Streamed data, with validation and test held in memory if they take only a small part of it.

    Every evaluation reads both in full, in the run's own process; decoding them each time would dominate the run.
    """
    free = host_free()
    if free is None or nbytes(data.validation) + nbytes(data.test) > HELD_OUT_FRACTION * free:
        return data
    return replace(data, validation=_read_whole(data.validation), test=_read_whole(data.test))


def _canonical_split(split: Split) -> Split:
    """The split with canonical strides in all its tensors."""
    images = canonical(split.images) if isinstance(split.images, Tensor) else split.images
    factors = None if split.factors is None else canonical(split.factors)
    return Split(images, canonical(split.labels), factors)


def _read_whole(split: Split) -> Split:
    """The split, read into memory batch by batch."""
    if isinstance(split.images, Tensor):
        return split
    images = torch.empty(split.images.shape, dtype=torch.uint8)
    for index in torch.arange(len(split)).split(READ_BATCH):
        images[index] = split.images.read(index)
    return replace(split, images=images)


def _splits(data: Dataset) -> tuple[Split, Split, Split]:
    return (data.train, data.validation, data.test)


def _too_large(size: int, free: int, where: str) -> str:
    return f"{_readable(size)} of images is more than half of the {_readable(free)} free {where}"


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
