"""Checks of a loaded data set, as far as a run relies on it; `mixzoo check` goes further."""

from typing import Any

import torch
from torch import Tensor

from mixzoo.core.data import Dataset, Source, Split
from mixzoo.registry.contract import Contract


def load_dataset(recipe: Any, name: str, method: str, seed: int) -> Dataset:
    """The result of `recipe.load(seed)` or `recipe.stream(seed)`.

    Raises PluginError if the call fails or if what it returns is not a valid data set.
    """
    contract = Contract("dataset", name)
    load = getattr(recipe, method, None)
    if not callable(load):
        raise contract.broken(method, f"it has no {method}")
    data = contract.call(method, load, seed)
    if not isinstance(data, Dataset):
        raise contract.broken(method, f"{method} returned {_named(data)}, which is not a mixzoo.Dataset")
    for which in ("train", "validation", "test"):
        split = getattr(data, which)
        if not isinstance(split, Split):
            raise contract.broken(method, f"its {which} is {_named(split)}, which is not a mixzoo.Split")
        _check_images(contract, which, split)
        _check_labels(contract, which, split, data)
        shape, first = tuple(split.images.shape[1:]), tuple(data.train.images.shape[1:])
        if shape != first:
            raise contract.broken("", f"{which} images have the shape {shape}, but train images {first}")
    return data


def _check_images(contract: Contract, which: str, split: Split) -> None:
    images = split.images
    if not isinstance(images, Tensor | Source):
        raise contract.broken("", f"{which} images are {_named(images)}; they must be a Tensor or a mixzoo.Source")
    if len(images.shape) != 4:
        raise contract.broken(
            "", f"{which} images have the shape {tuple(images.shape)}; it must be [images, channels, height, width]"
        )
    if isinstance(images, Tensor) and images.dtype not in (torch.uint8, torch.float32):
        raise contract.broken(
            "",
            f"{which} images are {images.dtype}; they must be uint8 in 0..255 for pictures, float32 in [-1, 1] for "
            "other data",
        )


def _check_labels(contract: Contract, which: str, split: Split, data: Dataset) -> None:
    labels, attributes = split.labels, len(data.attribute_names)
    expected = [len(split.images), *[attributes] * (attributes > 0)]
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or list(labels.shape) != expected:
        found = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else _named(labels)
        raise contract.broken("", f"{which} labels are {found}; they must be torch.int64 {expected}, one per image")
    if not len(labels):
        return
    classes = 2 if attributes else max(len(data.class_names), 1)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        names = "attributes are 0 or 1" if attributes else f"there are {len(data.class_names)} class names"
        raise contract.broken("", f"{which} labels range from {low} to {high}, but {names}; count classes from 0")


def _named(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
