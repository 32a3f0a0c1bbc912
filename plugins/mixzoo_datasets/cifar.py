"""CIFAR-10: small colour photographs, 32x32.

torchvision's files are pickles, which are never unpickled here: pickletools lists the opcodes of a file without running
them, and the pixels and labels are taken from that list.
"""

import io
import os
import pickletools  # lists opcodes; it makes no object and calls nothing
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from mixzoo import CheckedFile, DataError, Dataset, Split, open_regular
from mixzoo_datasets.download import fetch
from mixzoo_datasets.reading import bad_file, exists, is_folder, missing_file, read_bytes, reason, resolve_path
from mixzoo_datasets.splits import PHOTOS, Download, Root, TrainImages, build_dataset, check_labels, shuffle_and_split

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
PICKLED, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"
TRAIN, TEST = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]
PIXELS = 3 * 32 * 32
LARGEST = 100_000_000  # bytes of a batch file that are read or unpacked, at most; real ones have 31,035,704
VALIDATION = 10_000  # of the 50,000
NUMBERS = {"BININT", "BININT1", "BININT2"}  # opcodes of labels; the integers of other opcodes are something else
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, kw_only=True)
class CIFAR10:
    """CIFAR-10 (Krizhevsky 2009): photographs of ten classes, 40,000 / 10,000 / 10,000, 32x32x3.

    Reads root/cifar-10-batches-py (torchvision's pickles, which are parsed but never run) or the binary version in
    root/cifar-10-batches-bin.
    """

    root: Root = "data"
    download: Download = False
    train_images: TrainImages | None = None

    run_defaults: ClassVar[Mapping[str, Any]] = PHOTOS

    def data_files(self) -> dict[str, bool]:
        """Every file that `load` reads, and whether it exists."""
        root = resolve_path(self.root)
        folder, end = (BINARY, ".bin") if _is_binary(root) else (PICKLED, "")
        return {file: exists(root / file) for file in (f"{folder}/{name}{end}" for name in TRAIN + TEST)}

    def check_files(self) -> Iterator[CheckedFile]:
        """Each batch file, checked by itself."""
        root = resolve_path(self.root)
        for name, file in zip(TRAIN + TEST, self.data_files()):
            try:
                split = read_batches(root, [name])
            except DataError as err:
                yield bad_file(file, root, err)
                continue
            classes = dict(zip(CLASSES, split.labels.bincount(minlength=len(CLASSES)).tolist()))
            yield CheckedFile(
                file=file, images=len(split), classes=classes, sizes={"32x32": len(split)}, modes={"RGB": len(split)}
            )

    def load(self, seed: int) -> Dataset:
        root = resolve_path(self.root)
        if self.download and not _is_binary(root) and not all(exists(root / PICKLED / n) for n in TRAIN + TEST):
            archive = root / URL.rpartition("/")[2]
            fetch(URL, archive, MD5)
            unpack(archive, root)
        train, test = read_batches(root, TRAIN), read_batches(root, TEST)
        splits = [*shuffle_and_split(train, max(0, len(train) - VALIDATION)), test]
        return build_dataset(
            splits,
            class_names=CLASSES,
            source=f"CIFAR-10 under {root}",
            needed=f"more than {VALIDATION:,} train images and a test image",
            train_images=self.train_images,
            seed=seed,
        )


def read_batches(root: Path, names: list[str]) -> Split:
    """The images and labels of the named batch files, concatenated."""
    binary = _is_binary(root)
    folder = BINARY if binary else PICKLED
    splits = []
    for name in names:
        file = f"{folder}/{name}.bin" if binary else f"{folder}/{name}"
        path = root / file
        if not exists(path):
            raise missing_file(root, file, "; download=true fetches it")
        pixels, labels = (_binary if binary else _pickled)(path)
        if len(pixels) != PIXELS * len(labels) or not len(labels):
            raise DataError(
                f"{path}: {len(pixels)} bytes of pixels for {len(labels)} labels, expected {PIXELS} each; "
                "the file is damaged"
            )
        images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(-1, 3, 32, 32)
        splits.append(Split(images, check_labels(torch.tensor(labels), len(CLASSES), str(path))))
    return Split(torch.cat([s.held for s in splits]), torch.cat([s.labels for s in splits]))


def _is_binary(root: Path) -> bool:
    return is_folder(root / BINARY) and not is_folder(root / PICKLED)


def _binary(path: Path) -> tuple[bytes, list[int]]:
    """Pixels and labels from records of one byte of label and 3,072 bytes of pixels."""
    records = read_bytes(path, LARGEST)
    record = 1 + PIXELS
    if len(records) % record or not records:
        raise DataError(f"{path}: {len(records)} bytes, not a multiple of {record}; the file is damaged")
    rows = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(-1, record)
    return rows[:, 1:].contiguous().numpy().tobytes(), rows[:, 0].tolist()


def _pickled(path: Path) -> tuple[bytes, list[int]]:
    """Pixels and labels: the file's longest string, and the numbers in the list after the key "labels"."""
    pixels, labels, in_labels = b"", list[int](), False
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(read_bytes(path, LARGEST))):
            if isinstance(argument, str | bytes | bytearray):
                text = argument.encode("latin-1") if isinstance(argument, str) else bytes(argument)
                in_labels = text == b"labels"
                pixels = max(pixels, text, key=len)
            elif in_labels and opcode.name in NUMBERS and isinstance(argument, int):
                labels.append(argument)
    except (ValueError, UnicodeError) as err:  # raised by pickletools for bytes that are not a pickle
        raise DataError(f"{path}: not a batch file of CIFAR-10 ({err}); the file is damaged") from err
    return pixels, labels


def unpack(archive: Path, root: Path) -> None:
    """Unpack the batch files of the archive, and nothing else, under root. Raises DataError if one is too large."""
    wanted = {f"{PICKLED}/{name}" for name in TRAIN + TEST}
    try:
        with open_regular(archive) as stream, tarfile.open(fileobj=stream) as tar:
            for member in tar:
                batch = tar.extractfile(member) if member.name in wanted and member.isreg() else None
                if batch is not None:
                    if member.size > LARGEST:
                        raise DataError(
                            f"{archive}: {member.name} has {member.size} bytes, more than the {LARGEST} allowed"
                        )
                    (root / PICKLED).mkdir(exist_ok=True)
                    partial = root / PICKLED / f".partial-{os.getpid()}"  # so that a batch file is complete or missing
                    partial.write_bytes(batch.read())
                    os.replace(partial, root / member.name)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as err:
        raise DataError(f"{archive}: cannot be unpacked ({reason(err)})") from err
