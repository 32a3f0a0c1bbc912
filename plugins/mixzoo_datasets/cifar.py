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
from mixzoo.errors import escaped
from mixzoo_datasets.download import fetch
from mixzoo_datasets.reading import content, is_folder, is_there, located, missing, opened, reason
from mixzoo_datasets.splits import Download, Root, TrainImages, assembled, checked_labels, cut

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
PICKLED, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"
TRAIN, TEST = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]
PIXELS = 3 * 32 * 32
LARGEST = 100_000_000  # bytes of a batch file in an archive; they have 31,035,704
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

    def data_files(self) -> dict[str, bool]:
        """Every file that `load` reads, and whether it is there."""
        root = located(self.root)
        folder, end = (BINARY, ".bin") if _is_binary(root) else (PICKLED, "")
        return {file: is_there(root / file) for file in (f"{folder}/{name}{end}" for name in TRAIN + TEST)}

    def load(self, seed: int) -> Dataset:
        root = located(self.root)
        if self.download and not _is_binary(root) and not all(is_there(root / PICKLED / n) for n in TRAIN + TEST):
            archive = root / URL.rpartition("/")[2]
            fetch(URL, archive, MD5)
            unpack(archive, root)
        train, test = read_batches(root, TRAIN), read_batches(root, TEST)
        splits = [*cut(train, max(0, len(train) - VALIDATION)), test]
        source = escaped(f"CIFAR-10 under {root}")
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
    folder = BINARY if binary else PICKLED
    splits = []
    for name in names:
        file = f"{folder}/{name}.bin" if binary else f"{folder}/{name}"
        path = root / file
        if not is_there(path):
            raise missing(root, file, "; download=true fetches it")
        pixels, labels = (_binary if binary else _pickled)(path)
        if len(pixels) != PIXELS * len(labels) or not len(labels):
            raise DataError(f"{path}: {len(pixels)} bytes of pixels for {len(labels)} labels; {PIXELS} each; damaged")
        images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(-1, 3, 32, 32)
        splits.append(Split(images, checked_labels(torch.tensor(labels), len(CLASSES), str(path))))
    return Split(torch.cat([s.held for s in splits]), torch.cat([s.labels for s in splits]))


def _is_binary(root: Path) -> bool:
    return is_folder(root / BINARY) and not is_folder(root / PICKLED)


def _binary(path: Path) -> tuple[bytes, list[int]]:
    """Records of one byte of label and 3,072 of pixels."""
    records = content(path)
    record = 1 + PIXELS
    if len(records) % record or not records:
        raise DataError(f"{path}: {len(records)} bytes, no multiple of {record}; damaged")
    rows = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(-1, record)
    return rows[:, 1:].contiguous().numpy().tobytes(), rows[:, 0].tolist()


def _pickled(path: Path) -> tuple[bytes, list[int]]:
    """The longest string of the file (the pixels) and the numbers of the list that follows the key "labels"."""
    pixels, labels, in_labels = b"", list[int](), False
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(content(path))):
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
    """Write the batch files of the archive, and nothing else in it, under root; DataError if one is too large."""
    wanted = {f"{PICKLED}/{name}" for name in TRAIN + TEST}
    try:
        with opened(archive) as stream, tarfile.open(fileobj=stream) as tar:
            for member in tar:
                batch = tar.extractfile(member) if member.name in wanted and member.isreg() else None
                if batch is not None:
                    if member.size > LARGEST:
                        raise DataError(
                            f"{archive}: {member.name} is of {member.size} bytes, at most {LARGEST} are read"
                        )
                    (root / PICKLED).mkdir(exist_ok=True)
                    partial = root / PICKLED / f".partial-{os.getpid()}"  # a batch file is there whole or not at all
                    partial.write_bytes(batch.read())
                    os.replace(partial, root / member.name)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as err:
        raise DataError(f"{archive}: cannot be unpacked ({reason(err)})") from err
