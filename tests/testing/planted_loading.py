"""Data sets whose loading or streaming is broken in one way each."""

import random
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from correct_datasets import Bars, Changed, Filed, Kept, Streams, transposed

from mixzoo import DataError, Split


class ShufflesByThePast(Changed):
    calls = count()

    def changed(self, split, seed):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(next(self.calls)))
        return Split(split.images[order], split.labels[order])


class ShufflesByPython(Changed):
    def changed(self, split, seed):
        order = list(range(len(split)))
        random.shuffle(order)
        return Split(split.images[order], split.labels[order])


class FingerprintsTheClock(Bars):
    calls = count()

    def load(self, seed):
        return replace(super().load(seed), fingerprint=f"{next(self.calls)}")


class RenamesByThePast(Bars):
    calls = count()

    def load(self, seed):
        return replace(super().load(seed), class_names=("top", "middle", f"bottom {next(self.calls)}"))


class SeedsNumpy(Bars):
    def load(self, seed):
        np.random.seed(seed)  # noqa: NPY002
        return super().load(seed)


class ShufflesTheTest(Changed):
    which = "test"

    def changed(self, split, seed):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        return Split(split.images[order], split.labels[order])


class ShufflesTheTrain(ShufflesTheTest):
    which = "train"


class GrowsWithTheSeed(Changed):
    def changed(self, split, seed):
        return Split(split.images[seed:], split.labels[seed:])


class RenamesBySeed(Bars):
    def load(self, seed):
        return replace(super().load(seed), class_names=("top", "middle", f"bottom {seed}"))


@dataclass(frozen=True)
class Jitters(Changed):
    train_images: int | None = 20

    def changed(self, split, seed):
        if self.train_images is None:
            return split
        noise = torch.randint(0, 9, split.images.shape, generator=torch.Generator().manual_seed(seed))
        return Split((split.images + noise).to(torch.uint8), split.labels)


class TripsOverAMissingFolder(Filed):
    def load(self, seed):
        list(Path(self.root).iterdir())
        return super().load(seed)


class InventsAMissingFolder(Filed):
    def load(self, seed):
        return Bars.load(self, seed)


class KeepsTheFolderToItself(Filed):
    def load(self, seed):
        if not Path(self.root).is_dir():
            raise DataError("the data are missing")
        return Bars.load(self, seed)


class ReadsInOrder(Streams):
    class kept(Kept):
        def read(self, index):
            return self.images[index.sort().values]


class ReadsFloats(Streams):
    class kept(Kept):
        def read(self, index):
            return self.images[index] / 255


class ReadsOneTooMany(Streams):
    class kept(Kept):
        @property
        def shape(self):
            return (len(self.images) + 1, *self.images.shape[1:])


class ReadsAheadOfItself(Streams):
    calls = count()

    class kept(Kept):
        def read(self, index):
            return self.images[(index + (next(ReadsAheadOfItself.calls) > 1)) % len(self.images)]


class ReadsTransposed(Streams):
    class kept(Kept):
        def read(self, index):
            return transposed(Split(self.images[index], index)).images


class HoldsALambda(Streams):
    kept = staticmethod(lambda images: HoldsALambda.Source(images))

    class Source(Kept):
        def __init__(self, images):
            object.__setattr__(self, "images", images)
            object.__setattr__(self, "decode", lambda: None)


class StreamsWithoutALabel(Streams):
    def stream(self, seed):
        data = super().stream(seed)
        return replace(data, test=replace(data.test, labels=data.test.labels.flip(0)))


class StreamsUnderAnotherName(Streams):
    def stream(self, seed):
        return replace(super().stream(seed), fingerprint="streamed")


class StreamsTensors(Streams):
    kept = staticmethod(lambda images: images)


class LeavesNoGradients(Bars):
    def load(self, seed):
        torch.set_grad_enabled(False)
        return super().load(seed)
