"""The images that a figure shows: those that the user names or gives, or fixed ones of the test split."""

from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mixzoo.core.data import Dataset, Split
from mixzoo.core.errors import ConfigError, DataError, path_excerpt, printable, truncated_repr
from mixzoo.core.figure import FigureImages
from mixzoo.core.random import rng_for
from mixzoo.data.batches import to_images
from mixzoo.data.prepare import prepare_images
from mixzoo.evaluation.pictures.conditioned import pairs_with_different_labels
from mixzoo.evaluation.pictures.mixes import fixed_examples

Images: TypeAlias = Sequence[Any] | Any | None  # numbers of test images, or pictures as `Run.prepare` takes them
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MOST = 100  # images that a user names
SEVERAL = 3  # attributes of an image in its name, at most


def images_from(text: str) -> list[int] | list[Path]:
    """The value of `--images`: numbers of test images, or files and folders of pictures.

    Raises ConfigError if it is neither, DataError if a file is not there.
    """
    parts = [text] if Path(text).exists() else [part.strip() for part in text.split(",")]
    if all(part.isascii() and part.isdigit() for part in parts):
        return [int(part) for part in parts]
    found: list[Path] = []
    for part in parts:
        path = Path(part)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
            if not inside:
                raise DataError(f"--images {path_excerpt(part)}: the folder has no pictures ({', '.join(PICTURES)})")
            found += inside
        elif part and path.is_file():
            found.append(path)
        else:
            wrong = next((one for one in parts if not one.isdigit() and not Path(one).exists()), part)
            raise ConfigError(
                f"--images {path_excerpt(text)}: {truncated_repr(wrong)} is neither the number of a test image nor a "
                "file or folder; write 3,17,42 or my1.png,my2.png"
            )
    return found


def chooser(data: Dataset, images: Images, seed: int) -> Callable[[int], FigureImages]:
    """What gives a figure its images: these, or as many as it asks for of the test split, always the same for a seed.

    Raises ConfigError or DataError if they are no images, or no numbers of test images.
    """
    if images is None:
        return lambda count: numbered(data, fixed_numbers(data, count, seed))
    one_by_one = _listed(images)
    if not 1 <= len(one_by_one) <= MOST:
        raise ConfigError(f"{len(one_by_one)} images; give 1 to {MOST}")
    numbers = [int(one) for one in one_by_one if isinstance(one, Integral) and not isinstance(one, bool)]
    if numbers and len(numbers) < len(one_by_one):
        raise ConfigError("images= has numbers of test images and pictures; give either")
    given = _by_number(data, numbers) if numbers else _own(data, one_by_one)
    return lambda count: given


def _listed(images: Any) -> list[Any]:
    """What was given, one by one: a list, an array of numbers, a tensor of them, or a single picture or batch."""
    if isinstance(images, np.ndarray | Tensor) and images.ndim == 1:
        return list(images.tolist())
    return list(images) if isinstance(images, Sequence) and not isinstance(images, str | bytes) else [images]


def numbered(data: Dataset, index: Int[Tensor, " n"]) -> FigureImages:
    """These test images, with their labels and names."""
    labels = data.test.labels[index]
    return FigureImages(to_images(data.test.read(index)), labels, tuple(_names(data, index, labels)))


def fixed_numbers(data: Dataset, count: int, seed: int) -> Int[Tensor, " n"]:
    """Numbers of test images: of each class in turn, or of attributes in pairs that differ in many of them.

    Another seed gives other images, and the classes in another order. Raises ConfigError if there are fewer.
    """
    test = data.test
    if len(test) < count:
        raise ConfigError(f"the figure shows {count} images, and there are {len(test)} test images; give --images")
    order = torch.randperm(len(test), generator=rng_for(seed, "figure images")) if seed else torch.arange(len(test))
    labels = test.labels[order]
    if data.attribute_names:
        pairs = pairs_with_different_labels(Split(test.images, labels), len(data.attribute_names), -(-count // 2))
        found = [number for pair in pairs for number in pair]
        others = [number for number in range(min(len(test), 50 * count)) if number not in found]
        return order[torch.tensor([*found, *others][:count])]
    if seed and data.class_names:
        labels = torch.randperm(len(data.class_names), generator=rng_for(seed, "figure classes"))[labels]
    return order[fixed_examples(Split(test.images, labels), count)]


def _by_number(data: Dataset, numbers: Sequence[int]) -> FigureImages:
    for number in numbers:
        if not 0 <= number < len(data.test):
            raise ConfigError(f"--images {number}: test images are numbered 0 to {len(data.test) - 1}")
    return numbered(data, torch.tensor(numbers))


def _own(data: Dataset, pictures: Sequence[Any]) -> FigureImages:
    x = torch.cat([prepare_images(picture, data.image_shape) for picture in pictures])
    names = [Path(one).stem if isinstance(one, str | Path) else f"picture {i}" for i, one in enumerate(pictures, 1)]
    if len(x) != len(names):  # an array of several
        names = [f"picture {i}" for i in range(1, len(x) + 1)]
    return FigureImages(x, None, tuple(map(printable, names)))


def _names(data: Dataset, index: Tensor, labels: Tensor) -> list[str]:
    """Each image in words: the name of its class, or its first attributes; its number if it has neither."""
    if data.attribute_names:
        on = [[n for n, value in zip(data.attribute_names, row) if value > 0] for row in labels.tolist()]
        shown = [", ".join(names[:SEVERAL]) + (", ..." if len(names) > SEVERAL else "") for names in on]
        return [printable(name or "none of the attributes") for name in shown]
    if data.class_names:
        return [printable(data.class_names[label]) for label in labels.tolist()]
    return [f"image {number}" for number in index.tolist()]
