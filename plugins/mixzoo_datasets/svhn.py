"""SVHN: house numbers in colour, 32x32, from MATLAB files."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Shaped

from mixzoo import CheckedFile, DataError, Dataset, Split, canonical
from mixzoo_datasets.download import fetch
from mixzoo_datasets.mat import read_arrays
from mixzoo_datasets.reading import bad_file, exists, missing_file, reason, resolve_path
from mixzoo_datasets.splits import Download, Root, TrainImages, build_dataset, shuffle_and_split

URL = "http://ufldl.stanford.edu/housenumbers/"
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}


@dataclass(frozen=True, kw_only=True)
class SVHN:
    """SVHN (Netzer et al. 2011), cropped digits: 65,931 train, 7,326 validation and 26,032 test images, 32x32x3.

    Reads root/train_32x32.mat and root/test_32x32.mat. As in AMR, the first 90 % of the shuffled train images train and
    the rest validate; the `extra` images are not used.
    """

    root: Root = "data"
    download: Download = False
    train_images: TrainImages | None = None

    def data_files(self) -> dict[str, bool]:
        """Every file that `load` reads, and whether it exists."""
        root = resolve_path(self.root)
        return {file: exists(root / file) for file in (f"{split}_32x32.mat" for split in MD5)}

    def check_files(self) -> Iterator[CheckedFile]:
        """Both files, each checked by itself."""
        root = resolve_path(self.root)
        for file in self.data_files():
            try:
                if not exists(root / file):
                    raise missing_file(root, file, "; download=true fetches it")
                split = read_mat(root / file)
            except DataError as err:
                yield bad_file(file, root, err)
                continue
            classes = {str(digit): count for digit, count in enumerate(split.labels.bincount(minlength=10).tolist())}
            yield CheckedFile(
                file=file, images=len(split), classes=classes, sizes={"32x32": len(split)}, modes={"RGB": len(split)}
            )

    def load(self, seed: int) -> Dataset:
        root = resolve_path(self.root)
        if self.download:
            for split, md5 in MD5.items():
                fetch(f"{URL}{split}_32x32.mat", root / f"{split}_32x32.mat", md5)
        for split in MD5:
            if not exists(root / f"{split}_32x32.mat"):
                raise missing_file(root, f"{split}_32x32.mat", "; download=true fetches it")
        train, test = read_mat(root / "train_32x32.mat"), read_mat(root / "test_32x32.mat")
        splits = [*shuffle_and_split(train, int(0.9 * len(train))), test]
        digits = tuple("0123456789")
        return build_dataset(
            splits,
            class_names=digits,
            source=f"SVHN under {root}",
            needed="at least 2 train images and a test image",
            train_images=self.train_images,
            seed=seed,
        )


def read_mat(path: Path) -> Split:
    """The images X [32, 32, 3, n] and labels y of one file, in which the digit 0 has the label 10."""
    try:
        content = read_arrays(path, {"X": (32, 32, 3, None), "y": (None, None)})
    except (OSError, ValueError, KeyError, zlib.error) as err:
        raise DataError(f"{path}: not a MATLAB file with X and y ({reason(err)}); the file is damaged") from err
    images, labels = content["X"], content["y"].ravel()
    if images.dtype != np.uint8:
        raise DataError(f"{path}: X is {images.dtype} {list(images.shape)}, expected uint8 [32, 32, 3, n]")
    if images.shape[3] != len(labels):
        raise DataError(f"{path}: {images.shape[3]} images and {len(labels)} labels; the file is damaged")
    pixels = canonical(torch.from_numpy(images).permute(3, 2, 0, 1))
    return Split(pixels, torch.from_numpy(_digits(labels, path)))


def _digits(labels: Shaped[np.ndarray, " n"], path: Path) -> Int[np.ndarray, " n"]:
    """The labels as digits. Raises DataError if one is not a whole number in 0..10 (MATLAB may have saved floats)."""
    wrong = ~((labels >= 0) & (labels <= 10) & (labels == np.rint(labels)))
    if wrong.any():
        first = int(wrong.argmax())
        raise DataError(f"{path}: label {labels[first]} of image {first} is not a whole number in 0..10")
    return labels.astype(np.int64) % 10
