"""Handwritten digits that come with scikit-learn: real images without a download."""

from dataclasses import dataclass
from typing import Annotated

import torch

from mixzoo import Dataset, Split
from mixzoo_datasets.attributes import parse_attributes
from mixzoo_datasets.splits import TrainImages, build_dataset, resize, shuffle_and_split

ATTRIBUTES = {"even": (0, 2, 4, 6, 8), "large": (5, 6, 7, 8, 9), "loop": (0, 6, 8, 9)}  # name: the digits that have it
TRAIN, VALIDATION = 1257, 180  # the other 360 of the 1,797 are the test split


@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 handwritten digits of 8x8 pixels, enlarged to 32x32; they come with scikit-learn, so there is no download.

    The test part of UCI's "Optical Recognition of Handwritten Digits" (CC BY 4.0); 17 grey levels. Splits: 1,257 train,
    180 validation and 360 test, by the fixed shuffle. Labels: the digit; or, with `attributes`, any of

        even    0, 2, 4, 6 or 8        large   5 or more        loop   0, 6, 8 or 9, written with a closed loop
    """

    attributes: Annotated[str, "labels instead of the digit, joined by +, such as even+large+loop"] | None = None
    train_images: TrainImages | None = None

    def __post_init__(self) -> None:
        if self.attributes is not None:
            parse_attributes(self.attributes, tuple(ATTRIBUTES))

    def load(self, seed: int) -> Dataset:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)[:, None]
        labels, names = torch.from_numpy(bunch.target).long(), tuple[str, ...]()
        if self.attributes is not None:
            names = parse_attributes(self.attributes, tuple(ATTRIBUTES))
            labels = torch.stack([torch.isin(labels, torch.tensor(ATTRIBUTES[name])) for name in names], 1).long()
        return build_dataset(
            shuffle_and_split(Split(resize(images), labels), TRAIN, VALIDATION),
            class_names=() if names else tuple("0123456789"),
            attribute_names=names,
            needed="1,797 images",
            source="digits (scikit-learn), 8x8 enlarged to 32x32",
            train_images=self.train_images,
            seed=seed,
        )
