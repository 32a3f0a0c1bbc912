"""CelebA: photographs of faces with forty attributes, laid out as torchvision does.

root/celeba/img_align_celeba/000001.jpg ...     178x218, aligned and cropped
root/celeba/list_attr_celeba.txt                the count, the names, then a line per image: its name, -1 or 1 for each
root/celeba/list_eval_partition.txt             a line per image: its name, 0 train, 1 validation or 2 test
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from mixzoo import DataError, Dataset, Split
from mixzoo.errors import escaped, shown
from mixzoo_datasets.attributes import named
from mixzoo_datasets.files import ImageFiles, each, held, image_in
from mixzoo_datasets.reading import is_there, lines, located, missing
from mixzoo_datasets.splits import Root, TrainImages, assembled, kept, taken

ALIGNED = (178, 218)  # width and height of a file, in pixels
CROP = 148  # side of the square in the middle that is kept
SPLITS = ("train", "validation", "test")  # by their number in list_eval_partition.txt
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
PICTURES = "img_align_celeba"


@dataclass(frozen=True, kw_only=True)
class CelebA:
    """CelebA (Liu et al. 2015): 202,599 faces, 162,770 / 19,867 / 19,962 by the publishers' partition.

    Reads root/celeba as torchvision lays it out; it is not fetched. Of each picture the square of 148x148 in the middle
    is resized, bilinear. Labels are the named attributes, 0 and 1. Every file is decoded at every start, unless images
    are read as they are needed (`--data-on stream`); with `train_images` only those of train that are kept. AMR's
    authors validated on the last 2,000 files; the crop that they used is not in what they published.
    """

    root: Root = "data"
    attributes: Annotated[str, "of the forty, joined by +"] = "Male+Heavy_Makeup+Wearing_Lipstick"
    size: Annotated[Literal[32, 64], "side in pixels"] = 64
    train_images: TrainImages | None = None

    def data_files(self) -> dict[str, bool]:
        """The two lists and the folder of pictures that `load` reads, and whether each is there."""
        root = located(self.root)
        return {file: is_there(root / "celeba" / file) for file in (ATTRIBUTES, PARTITION, PICTURES)}

    def load(self, seed: int) -> Dataset:
        return self._data(seed, whole=True)

    def stream(self, seed: int) -> Dataset:
        """The same data, every file's header read now and its picture when it is needed."""
        return self._data(seed, whole=False)

    def _data(self, seed: int, *, whole: bool) -> Dataset:
        folder = located(self.root)
        root = folder / "celeba"
        for name in (ATTRIBUTES, PARTITION):
            if not is_there(root / name):
                raise missing(folder, f"celeba/{name}")
        known, values = read_attributes(root / ATTRIBUTES)
        try:
            names = named(self.attributes, known)
        except ValueError as err:
            raise DataError(f"{root / ATTRIBUTES}: {err}") from err
        files = read_partition(root / PARTITION, values)
        source = escaped(f"CelebA under {root}, {self.size}x{self.size}")
        if self.train_images is not None:
            files["train"] = [files["train"][i] for i in kept(len(files["train"]), self.train_images, seed, source)]
            source += f"; {self.train_images} train images chosen by seed {seed}"
        columns = [known.index(name) for name in names]
        images = face_files([file for split in SPLITS for file in files[split]], root, self.size)
        pixels = images.read(images.numbers) if whole else None
        if not whole:
            list(each(images.files, root, aligned))
        labels = torch.tensor([[values[file][c] for c in columns] for split in SPLITS for file in files[split]])
        counts = [len(files[split]) for split in SPLITS]
        everything = Split(images, labels.reshape(-1, len(names)))
        data = assembled(
            [taken(everything, numbers) for numbers in images.numbers.split(counts)],
            attribute_names=names,
            source=source,
            needed="an image of each",
            train_images=None,
            seed=seed,
        )
        return data if pixels is None else held(data, pixels)


def read_attributes(path: Path) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """The names of the attributes, and 0 or 1 for each of every image."""
    listed = lines(path)
    if len(listed) < 3:
        raise DataError(f"{path}: {len(listed)} lines, expected a count, the names, and a line per image; damaged")
    names = tuple(listed[1].split())
    values = {}
    for number, line in enumerate(listed[2:], start=3):
        file, *signs = line.split() or [""]
        if len(signs) != len(names) or not set(signs) <= {"-1", "1"}:
            raise DataError(f"{path}: line {number} is no file name and -1 or 1 for each of {len(names)} attributes")
        values[file] = [int(sign == "1") for sign in signs]
    if listed[0].strip() != str(len(values)):
        raise DataError(f"{path}: it says {shown(listed[0].strip())} images and lists {len(values)}; damaged")
    return names, values


def read_partition(path: Path, values: dict[str, list[int]]) -> dict[str, list[str]]:
    """The files of each split, in the order of the list."""
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, line in enumerate(lines(path), start=1):
        match line.split():
            case [file, "0" | "1" | "2" as split] if file in values:
                files[SPLITS[int(split)]].append(file)
            case [file, "0" | "1" | "2"]:
                raise DataError(f"{path}: line {number}: {file!r} is not in {ATTRIBUTES}")
            case _:
                raise DataError(f"{path}: line {number} is no file name and 0, 1 or 2")
    return files


def face_files(files: list[str], root: Path, size: int) -> ImageFiles:
    """The pictures, to be cropped and resized when they are read."""
    paths = [root / PICTURES / file for file in files]
    return ImageFiles(paths, root, partial(face, size=size), (3, size, size), torch.arange(len(files)))


def aligned(file: Path) -> None:
    """ValueError where the picture is of another size, by its header."""
    with image_in(file) as image:
        if image.size != ALIGNED:
            raise ValueError(f"{image.width}x{image.height} pixels, expected 178x218")


def face(file: Path, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The middle of one picture."""
    aligned(file)
    with image_in(file) as image:
        left, top = (ALIGNED[0] - CROP) // 2, (ALIGNED[1] - CROP) // 2
        square = image.convert("RGB").crop((left, top, left + CROP, top + CROP))
    return np.array(square.resize((size, size), Image.Resampling.BILINEAR))
