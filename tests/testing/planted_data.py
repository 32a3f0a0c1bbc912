"""Data sets and metrics that are broken in one way each, and the check that must see it: bug, part, check, words."""

import os
import random
import warnings
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mixzoo import DataError, Dataset, Split
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import encode, eval_mode

NAMES = ("top", "middle", "bottom")


@dataclass(frozen=True)
class Bars:
    """Nothing wrong: noisy bars, and a subset of them that depends on the seed."""

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
    """Nothing wrong either: it looks for a folder first."""

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


class NoLoad:
    pass


class LoadsATuple(Bars):
    def load(self, seed):
        data = super().load(seed)
        return data.train, data.validation, data.test


class SplitsAreTuples(Bars):
    def load(self, seed):
        data = super().load(seed)
        object.__setattr__(data, "train", (data.train.images, data.train.labels))  # past the check of types
        return data


class FloatImages(Bars):
    def load(self, seed):
        data = super().load(seed)
        object.__setattr__(data.train, "images", data.train.images / 255)
        return data


class ChannelsLast(Bars):
    def load(self, seed):
        data = super().load(seed)
        for split in (data.train, data.validation, data.test):
            object.__setattr__(split, "images", split.images.permute(0, 2, 3, 1))
        return data


class Transposed(Bars):
    """Read as [n, height, width, 1] and transposed without a copy, as a reader of folders once did."""

    def load(self, seed):
        data = super().load(seed)
        splits = {name: transposed(getattr(data, name)) for name in ("train", "validation", "test")}
        return replace(data, **splits)


def transposed(split):
    arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in split.images]
    images = torch.from_numpy(np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2)))
    return replace(split, images=images)


class HasNoChannel(Bars):
    def load(self, seed):
        data = super().load(seed)
        splits = {n: getattr(data, n) for n in ("train", "validation", "test")}
        return replace(data, **{n: replace(split, images=split.images[:, :0]) for n, split in splits.items()})


@dataclass(frozen=True)
class Spectral(Bars):
    """Nothing wrong: images of other numbers of channels than 1 or 3."""

    channels: int = 5

    def load(self, seed):
        data = super().load(seed)
        splits = {n: getattr(data, n) for n in ("train", "validation", "test")}
        wide = {n: torch.cat([split.images // (c + 1) for c in range(self.channels)], 1) for n, split in splits.items()}
        return replace(data, **{n: replace(split, images=wide[n]) for n, split in splits.items()})


class WithoutChannels(Bars):
    def load(self, seed):
        data = super().load(seed)
        object.__setattr__(data.test, "images", data.test.images[:, 0])
        return data


class AnotherSize(Changed):
    which = "test"

    def changed(self, split, seed):
        return Split(split.images[:, :, :4], split.labels)


class NothingToTest(Changed):
    which = "test"

    def changed(self, split, seed):
        return Split(split.images[:0], split.labels[:0])


class CountsFromOne(Changed):
    def changed(self, split, seed):
        return Split(split.images, split.labels + 1)


class CountsBelowZero(Changed):
    def changed(self, split, seed):
        return Split(split.images, split.labels - 1)


class ShortLabels(Changed):
    def changed(self, split, seed):
        return Split(split.images, split.labels.int())


class LosesALabel(Bars):
    def load(self, seed):
        data = super().load(seed)
        object.__setattr__(data.train, "labels", data.train.labels[1:])
        return data


class NamesAList(Bars):
    def load(self, seed):
        data = super().load(seed)
        object.__setattr__(data, "class_names", list(NAMES))
        return data


class NamesNothing(Bars):
    def load(self, seed):
        return replace(super().load(seed), class_names=())


class NamesTwice(Bars):
    def load(self, seed):
        return replace(super().load(seed), class_names=("top", "top", "bottom"))


class NamesNothingTwo(Bars):
    def load(self, seed):
        return replace(super().load(seed), class_names=("top", "", "bottom"))


class NamesOneTooMany(Bars):
    def load(self, seed):
        return replace(super().load(seed), class_names=("none", *NAMES))


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


class HasNoFingerprint(Bars):
    def load(self, seed):
        return replace(super().load(seed), fingerprint="")


class HasNoSource(Bars):
    def load(self, seed):
        return replace(super().load(seed), source="")


class HasALongSource(Bars):
    def load(self, seed):
        return replace(super().load(seed), source="bars\nof three classes")


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


class TestsOnTrain(Bars):
    def load(self, seed):
        data = super().load(seed)
        return replace(data, test=Split(data.train.images[:30], data.train.labels[:30]))


class TurnsBlack(Changed):
    def changed(self, split, seed):
        return Split(split.images // 255, split.labels)


class RepeatsOneImage(Changed):
    def changed(self, split, seed):
        return Split(split.images[:1].repeat(len(split), 1, 1, 1), split.labels)


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


@dataclass(frozen=True)
class Kept:
    """Nothing wrong: a source of images that are there."""

    images: torch.Tensor

    @property
    def shape(self):
        return tuple(self.images.shape)

    def __len__(self):
        return len(self.images)

    def read(self, index):
        return self.images[index]


class Streams(Bars):
    """Nothing wrong: bars that can be streamed."""

    kept = Kept

    def stream(self, seed):
        data = super().load(seed)
        splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
        return replace(data, **{name: replace(split, images=self.kept(split.images)) for name, split in splits.items()})


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
    """Nothing wrong: two attributes and the factor behind them."""

    names: ClassVar = {"class_names": (), "attribute_names": ("top", "bottom"), "factor_names": ("third",)}

    def changed(self, split):
        attributes = torch.stack([split.labels == 0, split.labels == 2], 1).long()
        return Split(split.images, attributes, split.labels[:, None].float())


class Unlabelled(Relabelled):
    """Nothing wrong: no labels at all, and points in place of images."""

    names: ClassVar = {"class_names": ()}

    def changed(self, split):
        points = split.images.flatten(1)[:, :2].float() / 127.5 - 1
        return Split(points[:, :, None, None], torch.zeros_like(split.labels))


class AttributesOfTwo(Tagged):
    def changed(self, split):
        return replace(super().changed(split), labels=split.labels[:, None].expand(-1, 2))


class AttributesInARow(Tagged):
    def changed(self, split):
        return replace(super().changed(split), labels=split.labels.clamp(max=1))


class HasAnAttributeOfAll(Tagged):
    names: ClassVar = Tagged.names | {"attribute_names": ("bright", "bottom")}

    def changed(self, split):
        tagged = super().changed(split)
        return replace(tagged, labels=torch.stack([torch.ones_like(split.labels), tagged.labels[:, 1]], 1))


class NamesBothKinds(Tagged):
    names: ClassVar = Tagged.names | {"class_names": NAMES}


class FactorsWithoutNames(Tagged):
    names: ClassVar = Tagged.names | {"factor_names": ()}


class NamesWithoutFactors(Relabelled):
    names: ClassVar = {"factor_names": ("third",)}


class LongFactors(Tagged):
    def changed(self, split):
        tagged = super().changed(split)
        return replace(tagged, factors=tagged.factors.double())


class InfiniteFactors(Tagged):
    def changed(self, split):
        tagged = super().changed(split)
        return replace(tagged, factors=1 / tagged.factors)


class PointsBeyondOne(Unlabelled):
    def changed(self, split):
        points = super().changed(split)
        points.images[0, 0] = 1.5
        return points


@dataclass(frozen=True)
class Many(Bars):
    """Nothing wrong: more bars, so that a statistic says something."""

    images: int = 120

    def load(self, seed):
        rng = torch.Generator().manual_seed(7)
        splits = [self.split(n, rng) for n in (self.images, 60, 60)]
        return Dataset(*splits, NAMES, source="bars", fingerprint="many")


def of_many(name, change):
    """Many, its three splits changed: `change` gets and gives a table of them."""

    def load(self, seed):
        data = Many.load(self, seed)
        splits = {which: getattr(data, which) for which in ("train", "validation", "test")}
        return replace(data, **splits | change(splits))

    return type(name, (Many,), {"load": load})


def taken(split, index):
    return Split(split.images[index], split.labels[index])


def relabelled(split, labels):
    return Split(split.images, labels)


def turned(split):
    return relabelled(split, split.labels[torch.randperm(len(split), generator=torch.Generator().manual_seed(1))])


def spoilt(split, by):
    return Split((split.images.int() + by).clamp(0, 255).to(torch.uint8), split.labels)


def shuffled(split):
    return torch.randperm(len(split), generator=torch.Generator().manual_seed(2))


TestsOneClass = of_many("TestsOneClass", lambda s: {"test": taken(s["test"], s["test"].labels == 0)})
LosesAClass = of_many("LosesAClass", lambda s: {"validation": taken(s["validation"], s["validation"].labels != 1)})
TurnsAllLabels = of_many("TurnsAllLabels", lambda s: {name: turned(split) for name, split in s.items()})
ShufflesImages = of_many(
    "ShufflesImages", lambda s: {n: Split(taken(t, shuffled(t)).images, t.labels) for n, t in s.items()}
)
DrawsLabels = of_many(
    "DrawsLabels",
    lambda s: {
        n: relabelled(t, torch.randint(3, t.labels.shape, generator=torch.Generator().manual_seed(len(n))))
        for n, t in s.items()
    },
)
CountsOtherwise = of_many("CountsOtherwise", lambda s: {"test": relabelled(s["test"], (s["test"].labels + 1) % 3)})
TurnsTheNames = of_many(
    "TurnsTheNames", lambda s: {"validation": relabelled(s["validation"], 2 - s["validation"].labels)}
)
TurnsTestLabels = of_many("TurnsTestLabels", lambda s: {"test": turned(s["test"])})
ValidatesOnTest = of_many("ValidatesOnTest", lambda s: {"validation": s["test"]})
TestsOnBrightTrain = of_many("TestsOnBrightTrain", lambda s: {"test": spoilt(taken(s["train"], torch.arange(60)), 1)})
RepeatsAFew = of_many("RepeatsAFew", lambda s: {"train": taken(s["train"], torch.arange(120) % 12)})


class LeavesNoGradients(Bars):
    def load(self, seed):
        torch.set_grad_enabled(False)
        return super().load(seed)


class AttributeOfTrainAlone(Tagged):
    def changed(self, split):
        tagged = super().changed(split)
        tall = len(split) == 60
        return tagged if tall else replace(tagged, labels=tagged.labels * torch.tensor([1, 0]))


STREAMED = "streamed_images_are_those_of_load"
GO, CLASSES = "labels_go_with_their_images", "each_split_has_every_class"
DOUBTFUL = [  # what is most likely a mistake
    ("labels in another order", TurnsAllLabels, GO, "are images and labels in the same order"),
    ("images in another order", ShufflesImages, GO, "are images and labels in the same order"),
    ("labels drawn", DrawsLabels, GO, "% would by chance"),
    (
        "copies with another brightness",
        TestsOnBrightTrain,
        "no_copies_between_splits",
        "100% of the test .* are copies, within a grey level, of train",
    ),
    (
        "validates on test",
        ValidatesOnTest,
        "no_copies_between_splits",
        "100% of the test .* are copies, .* of validation",
    ),
    ("a few images again and again", RepeatsAFew, "images_are_many", "of the 120 train images .* only 12 are distinct"),
]
PLANTED_DATASETS = [
    (
        "a test split of one class",
        TestsOneClass,
        CLASSES,
        "test has no image of class 'middle'; in proportion to train, about 7 of",
    ),
    ("a class lost", LosesAClass, CLASSES, "validation has no image of class 'middle'; .* about 13 of its 40"),
    ("an attribute of train alone", AttributeOfTrainAlone, CLASSES, "has no image with 'bottom'"),
    (
        "counts test otherwise",
        CountsOtherwise,
        GO,
        "0% of the test images .* the labels of test numbered or ordered differently",
    ),
    (
        "turns names of validation",
        TurnsTheNames,
        GO,
        "of the validation images .* the labels of validation numbered or ordered differently",
    ),
    ("turns labels of test", TurnsTestLabels, GO, "of the test images have the label of the most similar train image"),
    (
        "leaves no gradients",
        LeavesNoGradients,
        "leaves_the_process_as_it_was",
        "load leaves torch's gradient mode changed",
    ),
    ("no load", NoLoad, "is_a_recipe_that_loads", "has no attribute 'load'|the recipe has no load"),
    ("loads a tuple", LoadsATuple, "is_a_recipe_that_loads", "load returns a tuple, expected a mixzoo.Dataset"),
    ("splits are tuples", SplitsAreTuples, "is_a_recipe_that_loads", "train is a tuple, expected a mixzoo.Split"),
    ("images are floats", FloatImages, "images_are_bytes_of_one_shape", "are torch.float32, expected uint8"),
    ("channels last", ChannelsLast, "images_are_bytes_of_one_shape", "is the first axis the channels"),
    (
        "no channel at all",
        HasNoChannel,
        "pictures_can_be_drawn_of_its_images",
        r"train images of shape \(0, 8, 6\) cannot be drawn: ",
    ),
    (
        "transposed without a copy",
        Transposed,
        "images_have_the_strides_of_a_fresh_tensor",
        r"train images of shape \(60, 1, 8, 6\) have strides \(48, 1, 6, 1\), expected \(48, 48, 6, 1\)",
    ),
    (
        "reads transposed without a copy",
        ReadsTransposed,
        "images_have_the_strides_of_a_fresh_tensor",
        r"train images from stream of shape \(60, 1, 8, 6\) have strides \(48, 1, 6, 1\)",
    ),
    ("no axis of channels", WithoutChannels, "images_are_bytes_of_one_shape", r"test images have shape \[30, 8, 6\]"),
    (
        "splits of two sizes",
        AnotherSize,
        "images_are_bytes_of_one_shape",
        r"test images have shape \(1, 4, 6\), but train images have",
    ),
    ("an empty split", NothingToTest, "images_are_bytes_of_one_shape", "the test split is empty"),
    ("labels from 1", CountsFromOne, "labels_are_numbers_of_classes", "has the label 3, but there are 3 class names"),
    ("labels from -1", CountsBelowZero, "labels_are_numbers_of_classes", "counted from 0"),
    ("labels in int32", ShortLabels, "labels_are_numbers_of_classes", "torch.int32, expected int64"),
    ("a label too few", LosesALabel, "labels_are_numbers_of_classes", r"have shape \[59\], expected \[60\]"),
    ("names in a list", NamesAList, "class_names_are_words", "class_names is a list"),
    ("no names", NamesNothing, "labels_are_numbers_of_classes", "has the label 2, but there are 0 class names"),
    ("attributes of 2", AttributesOfTwo, "labels_are_numbers_of_classes", "has the label 2, but attributes are 0 or 1"),
    (
        "attributes in a row",
        AttributesInARow,
        "labels_are_numbers_of_classes",
        r"have shape \[60\], expected \[60, \d\]",
    ),
    ("an attribute of all", HasAnAttributeOfAll, "class_names_are_words", "'bright' is 1 for every image"),
    ("names of both kinds", NamesBothKinds, "class_names_are_words", "labels are either classes or attributes"),
    ("factors without names", FactorsWithoutNames, "factors_fit_their_names", r"\[60, 1\], expected \[60, 0\]"),
    ("names without factors", NamesWithoutFactors, "factors_fit_their_names", "but train has no factors"),
    ("factors in float64", LongFactors, "factors_fit_their_names", "torch.float64, expected float32"),
    ("an infinite factor", InfiniteFactors, "factors_fit_their_names", "NaN or an infinite value"),
    (
        "points beyond 1",
        PointsBeyondOne,
        "images_are_bytes_of_one_shape",
        r"an absolute value of 1.5, expected numbers in",
    ),
    ("a name twice", NamesTwice, "class_names_are_words", "class_names holds 'top' more than once"),
    ("an empty name", NamesNothingTwo, "class_names_are_words", "holds '', expected a word"),
    ("a name too many", NamesOneTooMany, "class_names_are_words", "no split has an image of class 'bottom'"),
    ("another order each time", ShufflesByThePast, "loads_the_same_twice", "the train split differs when"),
    ("Python's global generator", ShufflesByPython, "loads_the_same_twice", "the train split differs when"),
    ("another fingerprint", FingerprintsTheClock, "loads_the_same_twice", "the fingerprint differs"),
    ("other names each time", RenamesByThePast, "loads_the_same_twice", "class_names differ"),
    ("seeds numpy", SeedsNumpy, "loading_moves_no_generator", "load draws from the global generator of numpy"),
    ("no fingerprint", HasNoFingerprint, "has_a_fingerprint_and_a_source", "fingerprint is empty"),
    ("no source", HasNoSource, "has_a_fingerprint_and_a_source", "source is empty"),
    (
        "a source of two lines",
        HasALongSource,
        "has_a_fingerprint_and_a_source",
        "line breaks or unprintable characters",
    ),
    ("test by the seed", ShufflesTheTest, "another_seed_leaves_the_held_out_images", "the test split changes with"),
    ("names by the seed", RenamesBySeed, "another_seed_leaves_the_held_out_images", "class_names change with"),
    ("size by the seed", GrowsWithTheSeed, "another_seed_leaves_the_held_out_images", "60 images with one seed and 59"),
    (
        "order by the seed",
        ShufflesTheTrain,
        "a_seed_only_chooses_train_images",
        "the seed changes the order of the train images",
    ),
    ("pixels by the seed", Jitters, "a_seed_only_chooses_train_images", "train images are not among those"),
    ("tests on train", TestsOnTrain, "splits_share_no_image", "30 of 30 test images are in train too"),
    ("turns black", TurnsBlack, "images_are_pictures", "60 of 60 train images have a single pixel value"),
    ("repeats one image", RepeatsOneImage, "images_are_pictures", "all 60 train images are the same"),
    ("reads in order", ReadsInOrder, STREAMED, "read of train returns other images than load"),
    ("reads floats", ReadsFloats, STREAMED, "read of train returns torch.float32, expected uint8"),
    ("a shape too long", ReadsOneTooMany, STREAMED, r"shape of train is \(61, 1, 8, 6\) from stream"),
    ("reads by the past", ReadsAheadOfItself, STREAMED, "read of train returns other images than load"),
    ("cannot be sent", HoldsALambda, STREAMED, "train images from stream cannot be pickled for a worker process"),
    ("other labels", StreamsWithoutALabel, STREAMED, "test labels differ between stream and load"),
    ("another fingerprint streamed", StreamsUnderAnotherName, STREAMED, "fingerprint is 'streamed' from stream"),
    ("streams tensors", StreamsTensors, STREAMED, "train images from stream are a Tensor, expected a mixzoo.Source"),
    ("a FileNotFoundError", TripsOverAMissingFolder, "a_missing_folder_is_a_data_error", "raise a mixzoo.DataError"),
    (
        "loads what is not there",
        InventsAMissingFolder,
        "a_missing_folder_is_a_data_error",
        "a folder that does not exist",
    ),
    (
        "does not name the folder",
        KeepsTheFolderToItself,
        "a_missing_folder_is_a_data_error",
        "does not name the folder",
    ),
]


@dataclass(frozen=True)
class Spread:
    """Nothing wrong: the deviation of the codes of the test images."""

    def __call__(self, run):
        return {"spread": float(encode(run.autoencoder, run.data.test.images, run.device).std(unbiased=False))}


class CannotBeCalled:
    pass


class GivesOneNumber(Spread):
    def __call__(self, run):
        return super().__call__(run)["spread"]


class GivesNothing(Spread):
    def __call__(self, run):
        return {}


class GivesATensor(Spread):
    def __call__(self, run):
        return {"spread": torch.tensor(super().__call__(run)["spread"])}


class GivesNaN(Spread):
    def __call__(self, run):
        return {"spread": float("nan")}


class NamesInSentences(Spread):
    def __call__(self, run):
        return {"Spread of the codes": super().__call__(run)["spread"]}


class DrawsNoise(Spread):
    def __call__(self, run):
        return {"spread": super().__call__(run)["spread"] + float(torch.rand(()))}


class DrawsFromPython(Spread):
    def __call__(self, run):
        return {"spread": super().__call__(run)["spread"] + random.random()}


class ScoresInTraining(Spread):
    def __call__(self, run):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return {"spread": float(run.autoencoder.encode(to_images(run.data.test.images)).std())}


class LeavesEvaluation(Spread):
    def __call__(self, run):
        run.autoencoder.eval()
        return super().__call__(run)


class MovesBuffers(Spread):
    def __call__(self, run):
        run.autoencoder.f[1].running_mean.mul_(0.9)
        return super().__call__(run)


class LeavesGradients(Spread):
    def __call__(self, run):
        was_training = run.autoencoder.training
        x = to_images(run.data.test.images)
        run.autoencoder.eval().decode(run.autoencoder.encode(x)).sum().backward()
        run.autoencoder.train(was_training)
        return super().__call__(run)


class WritesToImages(Spread):
    def __call__(self, run):
        score = super().__call__(run)
        run.data.test.images.fill_(0)
        return score


class NeedsTwoImages(Spread):
    def __call__(self, run):
        with eval_mode(run.autoencoder):
            h = run.autoencoder.encode(to_images(run.data.test.images)).flatten(1)
        return {"nearest": float((h[0] - h[1]).norm())}


class DividesByOneLess(Spread):
    def __call__(self, run):
        codes = encode(run.autoencoder, run.data.test.images, run.device)[:, 0, 0, 0].numpy()
        return {"spread": float(((codes - codes.mean()) ** 2).sum() / np.float64(len(codes) - 1 or np.nan))}


class TakesImagesWhole(Spread):
    def __call__(self, run):
        return super().__call__(run) | {"brightness": float(run.data.test.images.float().mean())}


class ScoresTheFirstOfAStream(Spread):
    def __call__(self, run):
        images = run.data.test.images
        few = images if isinstance(images, torch.Tensor) else images.read(torch.arange(2))
        return {"spread": float(encode(run.autoencoder, few, run.device).std(unbiased=False))}


class RefusesWithoutWords(Spread):
    def __call__(self, run):
        if len(run.data.test) < 2:
            raise ValueError
        return super().__call__(run)


def leaving(name, change):
    """Spread, and then a change of the process."""

    def call(self, run):
        scores = Spread.__call__(self, run)
        change()
        return scores

    return type(name, (Spread,), {"__call__": call})


class DrawsByDropout(Spread):
    """It forgets to put the network in evaluation mode."""

    def __call__(self, run):
        with torch.no_grad():
            return {"spread": float(run.autoencoder.encode(to_images(run.data.test.images)).std())}


class TakesMore(Spread):
    def __call__(self, run, device):
        return {}


PROCESS = "leaves_the_process_as_it_was"
LEFT = [
    ("gradient mode", lambda: torch.set_grad_enabled(False), "torch's gradient mode"),
    ("default dtype", lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
    ("deterministic mode", lambda: torch.use_deterministic_algorithms(True), "torch's deterministic mode"),
    ("threads", lambda: torch.set_num_threads(torch.get_num_threads() + 1), "torch's number of threads"),
    ("precision", lambda: torch.set_float32_matmul_precision("medium"), "torch's precision of float32 products"),
    ("the folder", lambda: os.chdir("/"), "the working directory"),
    ("anomaly mode", lambda: torch.autograd.set_detect_anomaly(True), "torch's anomaly mode"),
    ("autocast", lambda: torch.set_autocast_enabled("cpu", True), "torch's autocast"),
    ("numpy's errors", lambda: np.seterr(all="ignore"), "NumPy's handling of floating-point errors"),
    ("warnings", lambda: warnings.simplefilter("ignore"), "the filters of warnings"),
    ("the environment", lambda: os.environ.update(TOKENIZERS="1"), "the environment variables"),
]

PLANTED_METRICS = [
    *(
        (f"leaves {what}", leaving(f"Leaves{i}", change), PROCESS, f"the metric leaves {words} changed")
        for i, (what, change, words) in enumerate(LEFT)
    ),
    ("draws by dropout", DrawsByDropout, "scores_repeat", "in training mode, .* `with mixzoo.eval_mode"),
    ("takes more", TakesMore, "is_a_metric", r"the metric raises TypeError.*expected __call__\(run\) -> {name: float}"),
    ("cannot be called", CannotBeCalled, "is_a_metric", "the metric cannot be called"),
    ("a number alone", GivesOneNumber, "is_a_metric", "the metric returns a float; expected"),
    ("no number", GivesNothing, "is_a_metric", "the metric returns no numbers"),
    ("a tensor", GivesATensor, "numbers_are_named_and_finite", "is a Tensor, expected a float"),
    ("a NaN", GivesNaN, "numbers_are_named_and_finite", "spread is nan"),
    ("a sentence for a name", NamesInSentences, "numbers_are_named_and_finite", "is not a valid name; use up to 40"),
    ("torch's global generator", DrawsNoise, "scores_repeat", "the global generator of torch"),
    ("Python's global generator", DrawsFromPython, "scores_repeat", "two calls on one run differ"),
    ("training mode", ScoresInTraining, "the_mode_does_not_matter", "in evaluation mode; .*`with mixzoo.eval_mode"),
    (
        "leaves evaluation mode",
        LeavesEvaluation,
        "the_network_is_left_unchanged",
        "does not restore training mode",
    ),
    ("writes to a buffer", MovesBuffers, "the_network_is_left_unchanged", "changes 'f.1.running_mean'"),
    ("leaves gradients", LeavesGradients, "the_network_is_left_unchanged", "changes the gradients"),
    ("writes to images", WritesToImages, "the_data_are_left_unchanged", "writes to the test images in place"),
    ("needs two images", NeedsTwoImages, "few_images_are_enough_or_refused", "1 test image raise IndexError"),
    ("divides by n - 1", DividesByOneLess, "few_images_are_enough_or_refused", "is nan with 3 train images"),
    ("takes images whole", TakesImagesWhole, "streamed_data_score_the_same", "read images in batches, with mixzoo"),
    ("a part of a stream", ScoresTheFirstOfAStream, "streamed_data_score_the_same", "for the same data streamed"),
    ("refuses without words", RefusesWithoutWords, "few_images_are_enough_or_refused", "the ValueError has no message"),
]
