"""CelebA: photographs of faces with forty attributes, in torchvision's layout.

root/celeba/img_align_celeba/000001.jpg ...     178x218, aligned and cropped
root/celeba/list_attr_celeba.txt                the count, the names, then per image a line: file, -1 or 1 per attribute
root/celeba/list_eval_partition.txt             per image a line: file, 0 for train, 1 for validation or 2 for test
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from mixzoo import CheckedFile, DataError, Dataset, PictureError, Split, open_picture, truncated_repr
from mixzoo_datasets.attributes import parse_attributes
from mixzoo_datasets.files import ImageFiles, check_files, hold_in_memory, read_each
from mixzoo_datasets.reading import exists, missing_file, read_lines, resolve_path
from mixzoo_datasets.splits import Root, TrainImages, build_dataset, choose_train_images, select

ALIGNED = (178, 218)  # pixels, width and height of a file
CROP = 148  # pixels, side of the central square that is kept
SPLITS = ("train", "validation", "test")  # numbered as in list_eval_partition.txt
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
PICTURES = "img_align_celeba"


@dataclass(frozen=True, kw_only=True)
class CelebA:
    """CelebA (Liu et al. 2015): 202,599 faces, 162,770 / 19,867 / 19,962 by the publishers' partition.

    Reads root/celeba in torchvision's layout; there is no download. The central 148x148 square of each picture is
    resized bilinearly. Labels are the named attributes, 0 or 1. Every start decodes all the files, or only the train
    files that `train_images` keeps, unless images are streamed (`--data-on stream`). AMR's authors validated on the
    last 2,000 files; they did not publish the crop that they used.
    """

    root: Root = "data"
    attributes: Annotated[str, "labels, from the forty attributes, joined by +"] = "Male+Heavy_Makeup+Wearing_Lipstick"
    size: Annotated[Literal[32, 64], "side in pixels"] = 64
    train_images: TrainImages | None = None

    def data_files(self) -> dict[str, bool]:
        """The lists and the folder of pictures that `load` reads, and whether each exists."""
        root = resolve_path(self.root)
        return {file: exists(root / "celeba" / file) for file in (ATTRIBUTES, PARTITION, PICTURES)}

    def check_files(self) -> Iterator[CheckedFile]:
        """Both lists, then every picture that they name, decoded."""
        root, files, *_ = self._lists()
        yield from (CheckedFile(file=name) for name in (ATTRIBUTES, PARTITION))
        pictures = {root / PICTURES / name: "" for split in SPLITS for name in files[split]}
        yield from check_files(pictures, root, look_at_face, skippable=False)

    def load(self, seed: int) -> Dataset:
        return self._data(seed, whole=True)

    def stream(self, seed: int) -> Dataset:
        """The same data: headers are read now, pictures when they are needed."""
        return self._data(seed, whole=False)

    def _lists(self) -> tuple[Path, dict[str, list[str]], tuple[str, ...], tuple[str, ...], dict[str, list[int]]]:
        """The folder, the files of each split, the chosen attributes, all of them, and their values for each file."""
        folder = resolve_path(self.root)
        root = folder / "celeba"
        for name in (ATTRIBUTES, PARTITION):
            if not exists(root / name):
                raise missing_file(folder, f"celeba/{name}")
        known, values = read_attributes(root / ATTRIBUTES)
        try:
            names = parse_attributes(self.attributes, known)
        except ValueError as err:
            raise DataError(f"{root / ATTRIBUTES}: {err}") from err
        return root, read_partition(root / PARTITION, values), names, known, values

    def _data(self, seed: int, *, whole: bool) -> Dataset:
        root, files, names, known, values = self._lists()

        # Choose the train images first, so that the others are not decoded.
        source = f"CelebA under {root}, {self.size}x{self.size}"
        if self.train_images is not None:
            files["train"] = [
                files["train"][i] for i in choose_train_images(len(files["train"]), self.train_images, seed, source)
            ]
            source += f"; {self.train_images} train images chosen by seed {seed}"

        # Decode every picture, or, for a stream, read only the headers.
        images = face_files([file for split in SPLITS for file in files[split]], root, self.size)
        pixels = images.read(images.numbers) if whole else None
        if not whole:
            list(read_each(images.files, root, check_aligned))

        columns = [known.index(name) for name in names]
        labels = torch.tensor([[values[file][c] for c in columns] for split in SPLITS for file in files[split]])
        counts = [len(files[split]) for split in SPLITS]
        everything = Split(images, labels.reshape(-1, len(names)))
        data = build_dataset(
            [select(everything, numbers) for numbers in images.numbers.split(counts)],
            attribute_names=names,
            source=source,
            needed="an image of each",
            train_images=None,
            seed=seed,
        )
        return data if pixels is None else hold_in_memory(data, pixels)


def read_attributes(path: Path) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """The names of the attributes, and their values, 0 or 1, for each file."""
    listed = read_lines(path)
    if len(listed) < 3:
        raise DataError(
            f"{path}: {len(listed)} lines, expected a count, the names, and a line per image; the file is damaged"
        )
    names = tuple(listed[1].split())
    values = {}
    for number, line in enumerate(listed[2:], start=3):
        file, *signs = line.split() or [""]
        if len(signs) != len(names) or not set(signs) <= {"-1", "1"}:
            raise DataError(
                f"{path}: line {number} must be a file name and -1 or 1 for each of {len(names)} attributes"
            )
        if Path(file).name != file or "\0" in file:
            raise DataError(f"{path}: line {number}: {file!r} is not the name of a file in {PICTURES}")
        values[file] = [int(sign == "1") for sign in signs]
    if listed[0].strip() != str(len(values)):
        raise DataError(
            f"{path}: it announces {truncated_repr(listed[0].strip())} images but lists {len(values)}; the file "
            "is damaged"
        )
    return names, values


def read_partition(path: Path, values: dict[str, list[int]]) -> dict[str, list[str]]:
    """The files of each split, in the order of the partition list."""
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, line in enumerate(read_lines(path), start=1):
        match line.split():
            case [file, "0" | "1" | "2" as split] if file in values:
                files[SPLITS[int(split)]].append(file)
            case [file, "0" | "1" | "2"]:
                raise DataError(f"{path}: line {number}: {file!r} is not in {ATTRIBUTES}")
            case _:
                raise DataError(f"{path}: line {number} must be a file name and 0, 1 or 2")
    return files


def face_files(files: list[str], root: Path, size: int) -> ImageFiles:
    """The pictures as a source that crops and resizes them when they are read."""
    paths = [root / PICTURES / file for file in files]
    return ImageFiles(paths, root, partial(read_face, size=size), (3, size, size), torch.arange(len(files)))


def check_aligned(file: Path) -> None:
    """Raises PictureError if the header gives another size than 178x218."""
    with open_picture(file) as image:
        if image.size != ALIGNED:
            raise PictureError(f"{image.width}x{image.height} pixels", "expected 178x218")


def look_at_face(file: Path) -> tuple[str, str]:
    """The size and mode of one picture, which is decoded."""
    with open_picture(file) as image:
        mode = image.mode
    read_face(file, 32)
    return f"{ALIGNED[0]}x{ALIGNED[1]}", mode


def read_face(file: Path, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The central square of one picture, resized."""
    check_aligned(file)
    with open_picture(file) as image:
        left, top = (ALIGNED[0] - CROP) // 2, (ALIGNED[1] - CROP) // 2
        square = image.convert("RGB").crop((left, top, left + CROP, top + CROP))
    return np.array(square.resize((size, size), Image.Resampling.BILINEAR))
