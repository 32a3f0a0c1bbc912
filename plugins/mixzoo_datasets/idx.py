"""MNIST and data sets in its format: IDX files of 28x28 grey images.

idx = 0 0 8 (unsigned bytes) · number of axes · length of each axis, 4 bytes, big-endian · the bytes
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from mixzoo import CheckedFile, DataError, Dataset, Split, canonical, host_free, open_regular
from mixzoo_datasets.download import fetch
from mixzoo_datasets.reading import GROWTH, bad_file, exists, missing_file, reason, resolve_path
from mixzoo_datasets.splits import Download, Root, TrainImages, build_dataset, check_labels, resize, shuffle_and_split

VALIDATION = 10_000  # of the 60,000
PIXELS = (28, 28)
COPIES = 3  # of an array in memory at once, roughly: as read, resized, and split
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


@dataclass(frozen=True)
class Archive:
    """A data set in MNIST's format: its folder under root, its address, its classes and the MD5 of its files."""

    folder: str
    url: str
    class_names: tuple[str, ...]
    md5: dict[str, str]  # by file stem

    def load(self, root: str, *, download: bool, train_images: int | None, seed: int) -> Dataset:
        """50,000 train and 10,000 validation images from the 60,000 (AMR's split), and the 10,000 test images."""
        home = resolve_path(root)
        raw = home / self.folder / "raw"
        if download:
            for stem, md5 in self.md5.items():
                if not exists(raw / stem):
                    fetch(f"{self.url}{stem}.gz", raw / f"{stem}.gz", md5)
        train, test = (
            read_pair(home, f"{self.folder}/raw/{split}", len(self.class_names), "; download=true fetches it")
            for split in ("train", "t10k")
        )
        splits = [*shuffle_and_split(train, max(0, len(train) - VALIDATION)), test]
        return build_dataset(
            splits,
            class_names=self.class_names,
            source=f"{self.folder} under {raw}, 28x28 resized to 32x32",
            needed=f"more than {VALIDATION:,} train images and a test image",
            train_images=train_images,
            seed=seed,
        )


def find_pairs(root: Path, *stems: str) -> dict[str, bool]:
    """Whether the images and labels of each stem exist, gzipped or not, by their path under root."""
    files = [f"{stem}-{kind}" for stem in stems for kind in (IMAGES, LABELS)]
    return {file: exists(root / file) or exists(gzip_path(root / file)) for file in files}


def read_pair(
    root: Path, stem: str, classes: int, remedy: str = "", *, first: int = 0, transposed: bool = False
) -> Split:
    """The images in root/STEM-images-idx3-ubyte[.gz], resized to 32x32, and their labels, which count from `first`.

    Raises DataError if a file is missing or damaged, or if the two do not match.
    """
    paths = [root / f"{stem}-{kind}" for kind in (IMAGES, LABELS)]
    for path, kind in zip(paths, (IMAGES, LABELS)):
        if not (exists(path) or exists(gzip_path(path))):
            raise missing_file(root, f"{stem}-{kind} (or {stem.rpartition('/')[2]}-{kind}.gz)", remedy)
    images, labels = read_images(paths[0]), read_labels(paths[1], classes, first)
    _check_match(len(images), len(labels), paths[0])
    upright = canonical(images.mT) if transposed else images
    return Split(resize(upright[:, None]), labels)


def check_pair(root: Path, stem: str, class_names: tuple[str, ...], first: int = 0) -> Iterator[CheckedFile]:
    """The two files of a stem, each by itself; then the labels say whether there is one for each image."""
    images = None
    for kind in (IMAGES, LABELS):
        path = root / f"{stem}-{kind}"
        try:
            if not (exists(path) or exists(gzip_path(path))):
                raise missing_file(root, f"{stem}-{kind}", "; put it there, gzipped or not")
            if kind == IMAGES:
                images = len(read_images(path))
                yield CheckedFile(file=f"{stem}-{kind}", images=images, sizes={"28x28": images}, modes={"L": images})
                continue
            labels = read_labels(path, len(class_names), first)
            if images is not None:
                _check_match(images, len(labels), path)
            counts = dict(zip(class_names, labels.bincount(minlength=len(class_names)).tolist()))
            yield CheckedFile(file=f"{stem}-{kind}", classes=counts)
        except DataError as err:
            yield bad_file(f"{stem}-{kind}", root, err)


def read_images(path: Path) -> UInt8[Tensor, "n 28 28"]:
    """The images in a file. Raises DataError if they have another size."""
    images = read_idx(path, axes=3)
    if images.shape[1:] != PIXELS:
        shape = "x".join(map(str, images.shape[1:]))
        raise DataError(f"{path}: images of {shape} pixels, expected 28x28")
    return images


def read_labels(path: Path, classes: int, first: int) -> Int[Tensor, " n"]:
    """The labels in a file, counted from 0. Raises DataError if one is no class."""
    return check_labels(read_idx(path, axes=1).long() - first, classes, str(path), first)


def _check_match(images: int, labels: int, path: Path) -> None:
    if images != labels:
        split = path.name.removesuffix(f"-{IMAGES}").removesuffix(f"-{LABELS}")
        raise DataError(f"{path.parent}: {images} {split} images and {labels} labels; the files do not match")


def gzip_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def read_idx(path: Path, axes: int) -> UInt8[Tensor, "..."]:
    """The array in an IDX file, plain or gzipped (.gz). Raises DataError if the file is not valid.

    Reads and unpacks no more than the lengths in the header announce.
    """
    found = path if exists(path) else gzip_path(path)
    try:
        with open_regular(found) as file:
            size = file.seek(0, 2)
            file.seek(0)
            if found.suffix != ".gz":
                return _array(file, found, axes, size)
            with gzip.open(file) as unpacked:
                return _array(unpacked, found, axes, size * GROWTH)
    except (OSError, EOFError, zlib.error) as err:
        raise DataError(f"{found}: cannot be read ({reason(err)}); the file is damaged, or access is denied") from err


def _array(file: BufferedReader | gzip.GzipFile, found: Path, axes: int, at_most: int) -> UInt8[Tensor, "..."]:
    """The array of an open IDX file that contains `at_most` bytes at most."""
    head = file.read(4)
    if len(head) < 4 or head[:3] != b"\0\0\x08":
        raise DataError(f"{found}: not an IDX file of bytes (begins with {head.hex() or 'nothing'}, not 000008)")
    if head[3] != axes:
        raise DataError(f"{found}: {head[3]} axes, expected {axes}")

    # Refuse lengths that the file cannot hold, or that memory cannot, before anything is allocated.
    lengths = [int.from_bytes(file.read(4), "big") for _ in range(axes)]
    start, entries, shape = 4 + 4 * axes, prod(lengths), "x".join(map(str, lengths))
    need = f"but {shape} entries need {start + entries}; the file is damaged"
    if start + entries > at_most:
        raise DataError(f"{found}: at most {at_most} bytes, {need}")
    if not entries:
        raise DataError(f"{found}: {shape} entries, so the file is empty")
    free = host_free()
    if free is not None and COPIES * entries > free:
        needed = f"{COPIES * entries / 1e9:.1f} GB"
        raise DataError(f"{found}: {shape} entries take {needed} of memory, but only {free / 1e9:.1f} GB are free")

    array, read = torch.empty(entries, dtype=torch.uint8), 0
    view = memoryview(array.numpy().data)
    while count := file.readinto(view[read:]):
        read += count
    if read < entries:
        raise DataError(f"{found}: {start + read} bytes, {need}")
    if file.read(1):  # reading to the end makes gzip compare the checksum
        raise DataError(f"{found}: more than {start + entries} bytes, {need}")
    return array.reshape(lengths)


@dataclass(frozen=True, kw_only=True)
class Archived:
    """Options and loading, shared by the data sets in MNIST's format."""

    root: Root = "data"
    download: Download = False
    train_images: TrainImages | None = None

    archive: ClassVar[Archive]

    def check_files(self) -> Iterator[CheckedFile]:
        """Each file, checked by itself."""
        for split in ("train", "t10k"):
            yield from check_pair(
                resolve_path(self.root), f"{self.archive.folder}/raw/{split}", self.archive.class_names
            )

    def load(self, seed: int) -> Dataset:
        return self.archive.load(self.root, download=self.download, train_images=self.train_images, seed=seed)

    def data_files(self) -> dict[str, bool]:
        """Every file that `load` reads, and whether it exists."""
        raw = f"{self.archive.folder}/raw"
        return find_pairs(resolve_path(self.root), f"{raw}/train", f"{raw}/t10k")


class MNIST(Archived):
    """MNIST (LeCun, Cortes, Burges): handwritten digits, 50,000 / 10,000 / 10,000, resized from 28x28 to 32x32.

    Reads root/MNIST/raw/*-ubyte[.gz].
    """

    archive = Archive(
        folder="MNIST",
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        class_names=tuple("0123456789"),
        md5={
            f"train-{IMAGES}": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            f"train-{LABELS}": "d53e105ee54ea40749a09fcbcd1e9432",
            f"t10k-{IMAGES}": "9fb629c4189551a2d022fa330f9573f3",
            f"t10k-{LABELS}": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    )


class KMNIST(Archived):
    """KMNIST (Clanuwat et al. 2018): cursive Japanese letters, 50,000 / 10,000 / 10,000, resized to 32x32.

    Reads root/KMNIST/raw/*-ubyte[.gz]. CC BY-SA 4.0.
    """

    archive = Archive(
        folder="KMNIST",
        url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        md5={
            f"train-{IMAGES}": "bdb82020997e1d708af4cf47b453dcf7",
            f"train-{LABELS}": "e144d726b3acfaa3e44228e80efcd344",
            f"t10k-{IMAGES}": "5c965bf0a639b31b8f53240b1b52f4d7",
            f"t10k-{LABELS}": "7320c461ea6c1c855c0b718fb2a4b134",
        },
    )


class FashionMNIST(Archived):
    """Fashion-MNIST (Xiao et al. 2017): clothes, 50,000 / 10,000 / 10,000, resized from 28x28 to 32x32.

    Reads root/FashionMNIST/raw/*-ubyte[.gz]. MIT. The paper does not use it; it has the size and shape of KMNIST.
    """

    archive = Archive(
        folder="FashionMNIST",
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        class_names=(
            *("T-shirt", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
        md5={
            f"train-{IMAGES}": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            f"train-{LABELS}": "25c81989df183df01b3e8a0aad5dffbe",
            f"t10k-{IMAGES}": "bef4ecab320f06d8554ea6380940ec79",
            f"t10k-{LABELS}": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    )
