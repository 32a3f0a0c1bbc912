"""What a data set promises, one function a promise; `dataset_checks` runs them all on a recipe.

A recipe whose files are missing is not checked, and the report says which files are missing.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.data import DatasetRecipe, Source, Split
from mixzoo.core.strides import canonical_strides, is_canonical
from mixzoo.data.batches import to_images
from mixzoo.evaluation.pictures.grid import Row, sheet
from mixzoo.registry.contract import Contract, signatures
from mixzoo.testing import dataset_loading as loading
from mixzoo.testing import dataset_statistics as statistics
from mixzoo.testing.dataset_cases import (
    SPLITS,
    DatasetCase,
    contents,
    dataset_cases,
    has_labels,
    it_can_stream,
    its_files_are_there,
    reads_a_folder,
)
from mixzoo.testing.report import Check, check_from

MAX_DUPLICATES = 0.02  # fraction of a held-out split that may also be in train: true duplicates of the source
MAX_BLANK = 0.1  # fraction of a split's images that may have a single pixel value
MOST_CHANNELS_LAST = 4  # a last axis of at most this length, after a longer first one, looks like channels


def check_is_a_recipe_that_loads(case: DatasetCase) -> None:
    """load(seed) returns a mixzoo.Dataset of three mixzoo.Splits."""
    expected = signatures("dataset", ["load"])
    assert isinstance(case.recipe, DatasetRecipe), f"the recipe has no load; expected {expected}"
    Contract("dataset", type(case.recipe).__name__).call("load", lambda: case.data)
    for name, split in case.splits():
        assert isinstance(split, Split), f"{name} is a {type(split).__name__}, expected a mixzoo.Split"


def check_images_are_bytes_of_one_shape(case: DatasetCase) -> None:
    """Images are uint8 [n, channels, height, width] of one size in every split, and no split is empty.

    Data that are not pictures may be float32 in [-1, 1] with height and width 1, one channel per number of a point.
    """
    for name, split in case.splits():
        images = split.held
        if images.shape[2:] == (1, 1):
            assert images.dtype in (torch.uint8, torch.float32), (
                f"{name} points (height and width 1) are {images.dtype}, expected float32 in [-1, 1] or uint8"
            )
            largest = float(images.abs().max()) if images.is_floating_point() and len(images) else 0.0
            assert largest <= 1, f"{name} points have an absolute value of {largest}, expected numbers in [-1, 1]"
        else:
            assert images.dtype == torch.uint8, (
                f"{name} images are {images.dtype}, expected uint8 in 0..255; only points, with height and width 1, "
                "may be float32 in [-1, 1]"
            )
        assert images.ndim == 4, f"{name} images have shape {list(images.shape)}, expected [n, channels, height, width]"
        assert len(images), f"the {name} split is empty"
        shape, first = tuple(images.shape[1:]), tuple(case.data.train.images.shape[1:])
        assert shape[2] > MOST_CHANNELS_LAST or shape[0] <= shape[2] or shape[1:] == (1, 1), (
            f"{name} images have shape {shape}, which is {shape[0]} channels; is the first axis the channels?"
        )
        assert shape == first, f"{name} images have shape {shape}, but train images have {first}"


def check_pictures_can_be_drawn_of_its_images(case: DatasetCase) -> None:
    """The first images of every split can be drawn: the first of 2 channels, the first 3 of more."""
    for name, split in case.splits():
        images = to_images(split.held[:2])
        try:
            sheet([Row(name, images)])
        except Exception as err:
            raise AssertionError(f"{name} images of shape {tuple(images.shape[1:])} cannot be drawn: {err}") from err


def check_images_have_the_strides_of_a_fresh_tensor(case: DatasetCase) -> None:
    """Loaded and streamed images have the strides that torch.empty gives, on axes of size 1 too.

    torch reads other strides as another memory format and sums in another order, so the last bits of results would
    differ from those of the same images with usual strides. Mixzoo copies such images when it loads them.
    """
    for name, split in case.splits():
        _check_strides(f"{name} images", split.held)
    if not it_can_stream(case.recipe):
        for name in SPLITS:
            source = getattr(case.recipe.stream(case.seed), name).images
            if isinstance(source, Source):
                _check_strides(
                    f"{name} images from stream", source.read(torch.arange(min(len(source), loading.STREAMED)))
                )


def _check_strides(what: str, images: Tensor) -> None:
    assert is_canonical(images), (
        f"{what} of shape {tuple(images.shape)} have strides {images.stride()}, expected "
        f"{canonical_strides(images.shape)}; return images.clone(memory_format=torch.contiguous_format), since "
        ".contiguous() does not change axes of size 1"
    )


def check_labels_are_numbers_of_classes(case: DatasetCase) -> None:
    """Labels are int64: the number of a class name, counted from 0, or a 0 or 1 for each attribute name."""
    attributes = len(case.data.attribute_names)
    classes = 2 if attributes else max(len(case.data.class_names), 1)
    for name, split in case.splits():
        labels = split.labels
        assert labels.dtype == torch.int64, f"{name} labels are {labels.dtype}, expected int64"
        expected = (len(split.images), attributes) if attributes else (len(split.images),)
        assert labels.shape == expected, f"{name} labels have shape {list(labels.shape)}, expected {list(expected)}"
        low, high = int(labels.min()), int(labels.max())
        assert low >= 0, f"{name} has the label {low}; classes are counted from 0"
        allowed = "attributes are 0 or 1" if attributes else f"there are {len(case.data.class_names)} class names"
        assert high < classes, f"{name} has the label {high}, but {allowed}"


def check_class_names_are_words(case: DatasetCase) -> None:
    """Names of classes, attributes and factors are distinct words, and every class and attribute occurs.

    A class has an image in some split, an attribute has images with it and without it. A data set has class names or
    attribute names, not both.
    """
    data = case.data
    for what, names in (
        ("class", data.class_names),
        ("attribute", data.attribute_names),
        ("factor", data.factor_names),
    ):
        assert isinstance(names, tuple), f"{what}_names is a {type(names).__name__}, expected a tuple"
        for name in names:
            is_word = isinstance(name, str) and bool(name.strip())
            assert is_word, f"{what}_names holds {name!r}, expected a word"
        repeated = [name for name, count in Counter(names).items() if count > 1]
        assert not repeated, f"{what}_names holds {repeated[0]!r} more than once"
    assert not (data.class_names and data.attribute_names), (
        "the data set has class_names and attribute_names; labels are either classes or attributes"
    )

    # A name that never occurs shows that names and labels are not in the same order.
    labels = torch.cat([split.labels for _, split in case.splits()])
    if not data.attribute_names:
        present = set(labels.tolist())
        unused = [name for number, name in enumerate(data.class_names) if number not in present]
        assert not unused, f"no split has an image of class {unused[0]!r}; are the names in the order of the labels?"
    for name, column in zip(data.attribute_names, labels.reshape(len(labels), -1).T):
        assert 0 < column.sum() < len(column), (
            f"attribute {name!r} is {int(column[0])} for every image of every split; leave it out"
        )


def check_factors_fit_their_names(case: DatasetCase) -> None:
    """If a data set has factors, every split has them: finite float32 [n, factor names]."""
    names = case.data.factor_names
    for name, split in case.splits():
        factors = split.factors
        if factors is None:
            assert not names, f"there are factor_names, but {name} has no factors"
            continue
        assert factors.dtype == torch.float32, f"{name} factors are {factors.dtype}, expected float32"
        expected = [len(split.images), len(names)]
        assert list(factors.shape) == expected, f"{name} factors have shape {list(factors.shape)}, expected {expected}"
        assert factors.isfinite().all(), f"{name} factors have a NaN or an infinite value"


def check_has_a_fingerprint_and_a_source(case: DatasetCase) -> None:
    """fingerprint identifies the images, so that a resume notices a change; source is one printable line."""
    assert case.data.fingerprint.strip(), "fingerprint is empty, so resuming on other images would go unnoticed"
    assert case.data.source.strip(), "source is empty; say in one line where the images come from"
    assert case.data.source.isprintable(), "source has line breaks or unprintable characters, expected one line"


def check_splits_share_no_image(case: DatasetCase) -> None:
    """At most 2 % of the validation or test images (true duplicates of the source) are in train too."""
    train = contents(case.data.train)
    for name in ("validation", "test"):
        held_out = contents(getattr(case.data, name))
        in_both = sum(count for image, count in held_out.items() if image in train)
        total = held_out.total()
        assert in_both <= MAX_DUPLICATES * total, (
            f"{in_both} of {total} {name} images are in train too; splits must not overlap"
        )


def check_images_are_pictures(case: DatasetCase) -> None:
    """At most 10 % of a split's images have a single pixel value, and the images of a split differ."""
    for name, split in case.splits():
        pixels = split.held.flatten(1)
        blank = int((pixels.amax(1) == pixels.amin(1)).sum())
        assert blank <= MAX_BLANK * len(split), (
            f"{blank} of {len(split)} {name} images have a single pixel value; is the scale right?"
        )
        all_equal = len(split) > 1 and bool((pixels == pixels[0]).all())
        assert not all_equal, f"all {len(split)} {name} images are the same"


_check: Callable[..., Any] = partial(check_from, kind="dataset", cases=dataset_cases)

dataset_checks: tuple[Check, ...] = (
    _check(check_is_a_recipe_that_loads, applies=its_files_are_there, stops=True),
    *map(
        partial(_check, applies=its_files_are_there),
        (
            check_images_are_bytes_of_one_shape,
            check_images_have_the_strides_of_a_fresh_tensor,
            check_pictures_can_be_drawn_of_its_images,
            check_labels_are_numbers_of_classes,
            check_class_names_are_words,
            check_factors_fit_their_names,
            loading.check_loads_the_same_twice,
            loading.check_loading_moves_no_generator,
            check_has_a_fingerprint_and_a_source,
            loading.check_another_seed_leaves_the_held_out_images,
            loading.check_a_seed_only_chooses_train_images,
            check_splits_share_no_image,
            check_images_are_pictures,
            statistics.check_no_copies_between_splits,
            statistics.check_images_are_many,
            loading.check_leaves_the_process_as_it_was,
        ),
    ),
    *map(
        partial(_check, applies=has_labels),
        (
            statistics.check_each_split_has_every_class,
            statistics.check_labels_go_with_their_images,
        ),
    ),
    _check(loading.check_streamed_images_are_those_of_load, applies=it_can_stream),
    _check(loading.check_a_missing_folder_is_a_data_error, applies=reads_a_folder),
)
