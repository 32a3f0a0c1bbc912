"""SVHN: house numbers in colour, 32x32, from MATLAB files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mixzoo import DataError, Dataset, Split
from mixzoo_datasets.download import fetch
from mixzoo_datasets.splits import Download, Root, TrainImages, assembled, checked_labels, cut

URL = "http://ufldl.stanford.edu/housenumbers/"
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}


@dataclass(frozen=True, kw_only=True)
class SVHN:
    """SVHN (Netzer et al. 2011), cropped digits: 65,931 train, 7,326 validation and 26,032 test images, 32x32x3.

    Reads root/train_32x32.mat and root/test_32x32.mat. As in AMR the first 90 % of the shuffled train split train and
    the rest validate; `extra` is not used.
    """

    root: Root = "data"
    download: Download = False
    train_images: TrainImages | None = None

    def load(self, seed: int) -> Dataset:
        root = Path(self.root).expanduser()
        if self.download:
            for split, md5 in MD5.items():
                fetch(f"{URL}{split}_32x32.mat", root / f"{split}_32x32.mat", md5)
        train, test = read_mat(root / "train_32x32.mat"), read_mat(root / "test_32x32.mat")
        splits = [*cut(train, int(0.9 * len(train))), test]
        digits = tuple("0123456789")
        source = f"SVHN under {root}"
        return assembled(splits, class_names=digits, source=source, train_images=self.train_images, seed=seed)


def read_mat(path: Path) -> Split:
    """The images X [32, 32, 3, n] and labels y of one file; its label 10 is the digit 0."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise DataError(f"{path}: no such file; give root=FOLDER, or download=true to fetch it")
    try:
        content = loadmat(path, variable_names=["X", "y"])
        images, labels = content["X"], content["y"].ravel()
    except (OSError, ValueError, TypeError, KeyError, EOFError, MatReadError, NotImplementedError) as err:  # HDF5: last
        raise DataError(f"{path}: no MATLAB file with X and y ({err}); damaged") from err
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(f"{path}: X is {images.dtype} {list(images.shape)}, expected uint8 [32, 32, 3, n]")
    if images.shape[3] != len(labels):
        raise DataError(f"{path}: {images.shape[3]} images and {len(labels)} labels; the file is damaged")
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
    numbers = torch.from_numpy(labels.astype(np.int64))
    return Split(pixels, checked_labels(torch.where(numbers == 10, 0, numbers), 10, str(path)))
