"""Data sets that are broken in one way each, and the check that must find it: bug, recipe, check, words."""

from dataclasses import replace
from typing import ClassVar

import torch
from correct_datasets import NAMES, Bars, Changed, Relabelled, Tagged, Unlabelled, transposed
from planted_loading import (
    FingerprintsTheClock,
    GrowsWithTheSeed,
    HoldsALambda,
    InventsAMissingFolder,
    Jitters,
    KeepsTheFolderToItself,
    LeavesNoGradients,
    ReadsAheadOfItself,
    ReadsFloats,
    ReadsInOrder,
    ReadsOneTooMany,
    ReadsTransposed,
    RenamesBySeed,
    RenamesByThePast,
    SeedsNumpy,
    ShufflesByPython,
    ShufflesByThePast,
    ShufflesTheTest,
    ShufflesTheTrain,
    StreamsTensors,
    StreamsUnderAnotherName,
    StreamsWithoutALabel,
    TripsOverAMissingFolder,
)
from planted_statistics import (
    CLASSES,
    GO,
    AttributeOfTrainAlone,
    CountsOtherwise,
    LosesAClass,
    TestsOneClass,
    TurnsTestLabels,
    TurnsTheNames,
)

from mixzoo import Split


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


class HasNoChannel(Bars):
    def load(self, seed):
        data = super().load(seed)
        splits = {n: getattr(data, n) for n in ("train", "validation", "test")}
        return replace(data, **{n: replace(split, images=split.images[:, :0]) for n, split in splits.items()})


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


class HasNoFingerprint(Bars):
    def load(self, seed):
        return replace(super().load(seed), fingerprint="")


class HasNoSource(Bars):
    def load(self, seed):
        return replace(super().load(seed), source="")


class HasALongSource(Bars):
    def load(self, seed):
        return replace(super().load(seed), source="bars\nof three classes")


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


STREAMED = "streamed_images_are_those_of_load"
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
