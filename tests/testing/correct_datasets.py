"""Correct data sets, from which the broken ones derive."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mixzoo import DataError, Dataset, Split

NAMES = ("top", "middle", "bottom")


@dataclass(frozen=True)
class Bars:
    """Noisy bars, and a subset of them that depends on the seed."""

    train_images: int | None = None
    images: int = 60

    def load(self, seed):
        rng = torch.Generator().manual_seed(7)
        train, validation, test = (self.split(n, rng) for n in (self.images, 30, 30))
        if self.train_images is not None:
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[: self.train_images]
            train = Split(train.images[order], train.labels[order])
        return Dataset(train, validation, test, NAMES, source="bars", fingerprint=str(int(train.images.sum())))

    def split(self, n, rng):
        labels = torch.arange(n) % 3
        images = torch.randint(0, 60, (n, 1, 8, 6), generator=rng)
        bright = torch.arange(8)[None] // 3 == labels[:, None]
        return Split((images + 180 * bright[:, None, :, None]).to(torch.uint8), labels)


@dataclass(frozen=True)
class Filed(Bars):
    """It looks for a folder first."""

    root: str = "."
    download: bool = False

    def load(self, seed):
        if not Path(self.root).is_dir():
            raise DataError(f"{self.root}: no such folder; give root=FOLDER")
        return super().load(seed)


class Changed(Bars):
    """Bars with one split made another."""

    which = "train"

    def load(self, seed):
        data = super().load(seed)
        return replace(data, **{self.which: self.changed(getattr(data, self.which), seed)})


def transposed(split):
    arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in split.images]
    images = torch.from_numpy(np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2)))
    return replace(split, images=images)


@dataclass(frozen=True)
class Spectral(Bars):
    """Images of other numbers of channels than 1 or 3."""

    channels: int = 5

    def load(self, seed):
        data = super().load(seed)
        splits = {n: getattr(data, n) for n in ("train", "validation", "test")}
        wide = {n: torch.cat([split.images // (c + 1) for c in range(self.channels)], 1) for n, split in splits.items()}
        return replace(data, **{n: replace(split, images=wide[n]) for n, split in splits.items()})


@dataclass(frozen=True)
class Kept:
    """A source of images that are there."""

    images: torch.Tensor

    @property
    def shape(self):
        return tuple(self.images.shape)

    def __len__(self):
        return len(self.images)

    def read(self, index):
        return self.images[index]


class Streams(Bars):
    """Bars that can be streamed."""

    kept = Kept

    def stream(self, seed):
        data = super().load(seed)
        splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
        return replace(data, **{name: replace(split, images=self.kept(split.images)) for name, split in splits.items()})


class Relabelled(Bars):
    """Bars whose labels, factors and names of them are others, in every split alike."""

    names: ClassVar = {}

    def load(self, seed):
        data = super().load(seed)
        splits = {name: self.changed(getattr(data, name)) for name in ("train", "validation", "test")}
        return replace(data, **splits, **self.names)

    def changed(self, split):
        return split


class Tagged(Relabelled):
    """Two attributes and the factor behind them."""

    names: ClassVar = {"class_names": (), "attribute_names": ("top", "bottom"), "factor_names": ("third",)}

    def changed(self, split):
        attributes = torch.stack([split.labels == 0, split.labels == 2], 1).long()
        return Split(split.images, attributes, split.labels[:, None].float())


class Unlabelled(Relabelled):
    """No labels at all, and points in place of images."""

    names: ClassVar = {"class_names": ()}

    def changed(self, split):
        points = split.images.flatten(1)[:, :2].float() / 127.5 - 1
        return Split(points[:, :, None, None], torch.zeros_like(split.labels))


@dataclass(frozen=True)
class Many(Bars):
    """More bars, so that a statistic says something."""

    images: int = 120

    def load(self, seed):
        rng = torch.Generator().manual_seed(7)
        splits = [self.split(n, rng) for n in (self.images, 60, 60)]
        return Dataset(*splits, NAMES, source="bars", fingerprint="many")
