"""What a recipe of a data set loads, checked as far as a run relies on it; `mixzoo check` looks further."""

from typing import Any

import torch
from torch import Tensor

from mixzoo.contract import Contract
from mixzoo.protocols import Dataset, Source, Split


def load_dataset(recipe: Any, name: str, method: str, seed: int) -> Dataset:
    """`recipe.load(seed)` or `recipe.stream(seed)`; PluginError if it fails or gives no data set."""
    contract = Contract("dataset", name)
    data = contract.call(method, getattr(recipe, method), seed)
    if not isinstance(data, Dataset):
        raise contract.broken(method, f"{method} gives {_named(data)}, which is no mixzoo.Dataset")
    for which in ("train", "validation", "test"):
        split = getattr(data, which)
        if not isinstance(split, Split):
            raise contract.broken(method, f"its {which} is {_named(split)}, which is no mixzoo.Split")
        _check_images(contract, which, split)
        _check_labels(contract, which, split, data)
        shape, first = list(split.images.shape[1:]), list(data.train.images.shape[1:])
        if shape != first:
            raise contract.broken("", f"{which} images are {shape}, those of train {first}")
    return data


def _check_images(contract: Contract, which: str, split: Split) -> None:
    images = split.images
    if not isinstance(images, Tensor | Source):
        raise contract.broken("", f"{which} images are {_named(images)}, neither a Tensor nor a mixzoo.Source")
    if len(images.shape) != 4:
        raise contract.broken("", f"{which} images are {list(images.shape)}, not [images, channels, height, width]")
    if isinstance(images, Tensor) and images.dtype not in (torch.uint8, torch.float32):
        raise contract.broken(
            "", f"{which} images are {images.dtype}; pictures are uint8 of 0..255, other data float32 in [-1, 1]"
        )


def _check_labels(contract: Contract, which: str, split: Split, data: Dataset) -> None:
    labels, attributes = split.labels, len(data.attribute_names)
    expected = [len(split.images), *[attributes] * (attributes > 0)]
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or list(labels.shape) != expected:
        found = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else _named(labels)
        raise contract.broken("", f"{which} labels are {found}, not torch.int64 {expected}: one for each image")
    if not len(labels):
        return
    classes = 2 if attributes else max(len(data.class_names), 1)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        names = "attributes are 0 or 1" if attributes else f"there are {len(data.class_names)} class names"
        raise contract.broken("", f"{which} labels go from {low} to {high}, and {names}; count classes from 0")


def _named(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
