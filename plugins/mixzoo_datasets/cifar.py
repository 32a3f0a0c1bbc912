"""CIFAR-10: small photographs in colour, 32x32.

torchvision's files are pickles. They are never unpickled here: pickletools lists a file's opcodes without running any,
and the pixels and labels are taken from that list.
"""

import io
import os
import pickletools
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch

from mixzoo import DataError, Dataset, Split
from mixzoo_datasets.download import fetch
from mixzoo_datasets.splits import Download, Root, TrainImages, assembled, checked_labels, cut, located

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
PICKLED, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"
TRAIN, TEST = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]
PIXELS = 3 * 32 * 32
VALIDATION = 10_000  # of the 50,000
NUMBERS = {"BININT", "BININT1", "BININT2"}  # opcodes of a label; other opcodes carry integers too
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, kw_only=True)
class CIFAR10:
    """CIFAR-10 (Krizhevsky 2009): photographs of ten classes, 40,000 / 10,000 / 10,000, 32x32x3.

    Reads root/cifar-10-batches-py (torchvision's files, whose pickles are read but never run), or the binary version in
    root/cifar-10-batches-bin.
    """

    root: Root = "data"
    download: Download = False
    train_images: TrainImages | None = None

    def load(self, seed: int) -> Dataset:
        root = located(self.root)
        if self.download and not _is_binary(root) and not all((root / PICKLED / n).is_file() for n in TRAIN + TEST):
            archive = root / URL.rpartition("/")[2]
            fetch(URL, archive, MD5)
            unpack(archive, root)
        train, test = read_batches(root, TRAIN), read_batches(root, TEST)
        splits = [*cut(train, max(0, len(train) - VALIDATION)), test]
        source = f"CIFAR-10 under {root}"
        return assembled(
            splits,
            class_names=CLASSES,
            source=source,
            needed=f"more than {VALIDATION:,} train images and a test image",
            train_images=self.train_images,
            seed=seed,
        )


def read_batches(root: Path, names: list[str]) -> Split:
    """The images of those batch files, one after another."""
    binary = _is_binary(root)
    folder = root / (BINARY if binary else PICKLED)
    splits = []
    for name in names:
        path = folder / (f"{name}.bin" if binary else name)
        if not path.is_file():
            raise DataError(f"{path}: no such file; give root=FOLDER, or download=true to fetch it")
        pixels, labels = (_binary if binary else _pickled)(path)
        if len(pixels) != PIXELS * len(labels) or not len(labels):
            raise DataError(f"{path}: {len(pixels)} bytes of pixels for {len(labels)} labels; {PIXELS} each; damaged")
        images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(-1, 3, 32, 32)
        splits.append(Split(images, checked_labels(torch.tensor(labels), len(CLASSES), str(path))))
    return Split(torch.cat([s.held for s in splits]), torch.cat([s.labels for s in splits]))


def _is_binary(root: Path) -> bool:
    return (root / BINARY).is_dir() and not (root / PICKLED).is_dir()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise DataError(f"{path}: cannot be read ({err.strerror})") from err


def _binary(path: Path) -> tuple[bytes, list[int]]:
    """Records of one byte of label and 3,072 of pixels."""
    content = _content(path)
    record = 1 + PIXELS
    if len(content) % record:
        raise DataError(f"{path}: {len(content)} bytes, no multiple of {record}; damaged")
    rows = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, record)
    return rows[:, 1:].contiguous().numpy().tobytes(), rows[:, 0].tolist()


def _pickled(path: Path) -> tuple[bytes, list[int]]:
    """The longest string of the file (the pixels) and the numbers of the list that follows the key "labels"."""
    pixels, labels, in_labels = b"", list[int](), False
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(_content(path))):
            if isinstance(argument, str | bytes | bytearray):
                text = argument.encode("latin-1") if isinstance(argument, str) else bytes(argument)
                in_labels = text == b"labels"
                pixels = max(pixels, text, key=len)
            elif in_labels and opcode.name in NUMBERS and isinstance(argument, int):
                labels.append(argument)
    except (ValueError, UnicodeError) as err:  # what pickletools raises for bytes that are no pickle
        raise DataError(f"{path}: no batch file of CIFAR-10 ({err}); damaged") from err
    return pixels, labels


def unpack(archive: Path, root: Path) -> None:
    """Write the batch files of the archive, and nothing else in it, under root."""
    wanted = {f"{PICKLED}/{name}" for name in TRAIN + TEST}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name in wanted and member.isreg() else None
                if content is not None:
                    (root / PICKLED).mkdir(exist_ok=True)
                    partial = root / PICKLED / f".partial-{os.getpid()}"  # a batch file is there whole or not at all
                    partial.write_bytes(content.read())
                    os.replace(partial, root / member.name)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as err:
        raise DataError(f"{archive}: cannot be unpacked ({err})") from err
