"""Handwritten digits that come inside scikit-learn: real images with no download."""

from dataclasses import dataclass

import torch

from mixzoo import Dataset, Split
from mixzoo_datasets.splits import TrainImages, assembled, cut, resized

TRAIN, VALIDATION = 1257, 180  # the other 360 of the 1,797 are the test split


@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 handwritten digits of 8x8 pixels, enlarged to 32x32; inside scikit-learn, so no download.

    The test part of UCI's "Optical Recognition of Handwritten Digits" (CC BY 4.0); 17 grey levels. Splits: 1,257 train,
    180 validation and 360 test, by the fixed shuffle.
    """

    train_images: TrainImages | None = None

    def load(self, seed: int) -> Dataset:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)[:, None]
        whole = Split(resized(images), torch.from_numpy(bunch.target).long())
        return assembled(
            cut(whole, TRAIN, VALIDATION),
            class_names=tuple("0123456789"),
            needed="1,797 images",
            source="digits (scikit-learn), 8x8 enlarged to 32x32",
            train_images=self.train_images,
            seed=seed,
        )
