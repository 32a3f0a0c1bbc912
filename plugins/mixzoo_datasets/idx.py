"""MNIST and its kin: IDX files, 28x28 grey images, ten classes.

idx = 0 0 8 (unsigned bytes) · number of axes · the axes' lengths, 4 bytes each, big-endian · the bytes
"""

import gzip
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import UInt8
from torch import Tensor

from mixzoo import DataError, Dataset, Split
from mixzoo_datasets.download import fetch
from mixzoo_datasets.splits import Download, Root, TrainImages, assembled, checked_labels, cut, located, resized

VALIDATION = 10_000  # of the 60,000
PIXELS = (28, 28)
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


@dataclass(frozen=True)
class Archive:
    """Where a data set of this family lives: its folder under root, its address, its classes, its files' MD5."""

    folder: str
    url: str
    class_names: tuple[str, ...]
    md5: dict[str, str]  # by file stem

    def load(self, root: str, *, download: bool, train_images: int | None, seed: int) -> Dataset:
        """50,000 train and 10,000 validation images of the 60,000 (AMR's split), and the 10,000 of the test split."""
        raw = located(root) / self.folder / "raw"
        if download:
            for stem, md5 in self.md5.items():
                if not (raw / stem).is_file():
                    fetch(f"{self.url}{stem}.gz", raw / f"{stem}.gz", md5)
        train, test = self._read(raw, "train"), self._read(raw, "t10k")
        splits = [*cut(train, max(0, len(train) - VALIDATION)), test]
        source = f"{self.folder} under {raw}, 28x28 resized to 32x32"
        return assembled(
            splits,
            class_names=self.class_names,
            source=source,
            needed=f"more than {VALIDATION:,} train images and a test image",
            train_images=train_images,
            seed=seed,
        )

    def _read(self, raw: Path, split: str) -> Split:
        images = read_idx(raw / f"{split}-{IMAGES}", axes=3)
        labels = read_idx(raw / f"{split}-{LABELS}", axes=1)
        if images.shape[1:] != PIXELS:
            shape = "x".join(map(str, images.shape[1:]))
            raise DataError(f"{raw}/{split}-{IMAGES}: images of {shape} pixels, expected 28x28")
        if len(images) != len(labels):
            raise DataError(f"{raw}: {len(images)} {split} images and {len(labels)} labels; the files do not match")
        checked = checked_labels(labels.long(), len(self.class_names), f"{raw}/{split}-{LABELS}")
        return Split(resized(images[:, None]), checked)


def read_idx(path: Path, axes: int) -> UInt8[Tensor, "..."]:
    """The array in an IDX file, plain or gzipped (.gz); DataError names the file and what is wrong with it."""
    found = next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)
    if found is None:
        raise DataError(f"{path}[.gz]: no such file; give root=FOLDER, or download=true to fetch it")
    content = _content(found)
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{found}: no IDX file of bytes (begins with {content[:4].hex() or 'nothing'}, not 000008)")
    if content[3] != axes:
        raise DataError(f"{found}: {content[3]} axes, expected {axes}")
    start = 4 + 4 * axes
    lengths = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    if len(content) != start + prod(lengths):
        shape = "x".join(map(str, lengths))
        raise DataError(f"{found}: {len(content)} bytes, but {shape} entries need {start + prod(lengths)}; damaged")
    if len(content) == start:
        raise DataError(f"{found}: {'x'.join(map(str, lengths))} entries, so nothing is in it")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(lengths)


def _content(found: Path) -> bytes:
    try:
        if found.suffix != ".gz":
            return found.read_bytes()
        with gzip.open(found) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as err:
        raise DataError(f"{found}: cannot be read ({err}); damaged or not permitted") from err


@dataclass(frozen=True, kw_only=True)
class Archived:
    """The options that all of the family have."""

    root: Root = "data"
    download: Download = False
    train_images: TrainImages | None = None

    archive: ClassVar[Archive]

    def load(self, seed: int) -> Dataset:
        return self.archive.load(self.root, download=self.download, train_images=self.train_images, seed=seed)


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

    Reads root/FashionMNIST/raw/*-ubyte[.gz]. MIT. Not a data set of the paper: of the same size and shape as KMNIST.
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
