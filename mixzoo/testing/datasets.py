"""What a data set promises, one function a promise; `dataset_checks` runs them all on a recipe.

A recipe whose files are not there is not checked, and the report says which are missing.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.data import Dataset, DatasetRecipe, HasStream, Source, Split
from mixzoo.core.errors import DataError
from mixzoo.core.strides import canonical_strides, is_canonical
from mixzoo.data.batches import to_images
from mixzoo.evaluation.pictures.grid import Row, sheet
from mixzoo.registry.contract import Contract, signatures
from mixzoo.testing import dataset_labels
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import generators_untouched, process_untouched, same

SPLITS = ("train", "validation", "test")
SHARED = 0.02  # of a split's images may be in the train split too: true duplicates of the source
BLANK = 0.1  # of a split's images may be of one value
FOLDERS = ("root", "path", "folder")  # options that say where the files are
MOST_CHANNELS_LAST = 4  # a last axis as short as that, after a longer first one, is taken for one of channels
STREAMED = 100  # images of a split that a stream is asked for
SUBSET = "train_images"  # the option that keeps a subset of the train split, chosen by the seed


@dataclass(frozen=True)
class DatasetCase:
    """A recipe of a data set and the seeds that it is loaded with."""

    recipe: Any
    seed: int = 0
    other_seed: int = 1

    def __str__(self) -> str:
        return f"seed {self.seed}"

    @property
    def data(self) -> Dataset:
        """The data set of the first seed, read once for all checks."""
        return loaded(self.recipe, self.seed)

    def load(self, seed: int) -> Dataset:
        """The data set, read anew."""
        data = self.recipe.load(seed)
        assert isinstance(data, Dataset), f"load gives a {type(data).__name__}, expected mixzoo.Dataset"
        return data

    def splits(self) -> list[tuple[str, Split]]:
        """The splits of the first seed, by name."""
        return [(name, getattr(self.data, name)) for name in SPLITS]


@lru_cache(maxsize=1)  # files of hundreds of megabytes are read once, not once a check
def loaded(recipe: Any, seed: int) -> Dataset:
    """The data set of a recipe."""
    return DatasetCase(recipe).load(seed)


def dataset_cases(recipe: Any) -> Any:
    """Strategy of the one case of a data set: files do not vary."""
    return strategies().just(DatasetCase(recipe))


def check_is_a_recipe_that_loads(case: DatasetCase) -> None:
    """load(seed) gives a mixzoo.Dataset of three mixzoo.Splits."""
    expected = signatures("dataset", ["load"])
    assert isinstance(case.recipe, DatasetRecipe), f"it lacks load; expected {expected}"
    Contract("dataset", type(case.recipe).__name__).call("load", lambda: case.data)
    for name, split in case.splits():
        assert isinstance(split, Split), f"{name} is a {type(split).__name__}, expected mixzoo.Split"


def check_images_are_bytes_of_one_shape(case: DatasetCase) -> None:
    """Every split is uint8 [n, channels, height, width], not empty, and of one size.

    What is no picture may be float32 in [-1, 1] of height and width 1, a point of as many channels as it has numbers.
    """
    for name, split in case.splits():
        images = split.held
        if images.shape[2:] == (1, 1):
            assert images.dtype in (torch.uint8, torch.float32), f"{name} points are {images.dtype}, expected float32"
            far = float(images.abs().max()) if images.is_floating_point() and len(images) else 0.0
            assert far <= 1, f"{name} points reach {far}, expected numbers in [-1, 1]"
        else:
            assert images.dtype == torch.uint8, (
                f"{name} images are {images.dtype}, expected uint8 of 0..255; float32 in [-1, 1] is for points, which "
                "have height and width 1"
            )
        assert images.ndim == 4, f"{name} images are {list(images.shape)}, expected [n, channels, height, width]"
        assert len(images), f"the {name} split is empty"
        shape, first = tuple(images.shape[1:]), tuple(case.data.train.images.shape[1:])
        assert shape[2] > MOST_CHANNELS_LAST or shape[0] <= shape[2] or shape[1:] == (1, 1), (
            f"{name} images have {shape[0]} channels of {shape}; are the channels the first axis?"
        )
        assert shape == first, f"{name} images are {shape}, those of train {first}"


def check_pictures_can_be_drawn_of_its_images(case: DatasetCase) -> None:
    """The first images of every split can be drawn; of other than 1 or 3 channels the first one or three are."""
    for name, split in case.splits():
        images = to_images(split.held[:2])
        try:
            sheet([Row(name, images)])
        except Exception as err:
            raise AssertionError(f"no picture can be drawn of {name} images {tuple(images.shape[1:])}: {err}") from err


def check_images_have_the_strides_of_a_fresh_tensor(case: DatasetCase) -> None:
    """The images of every split, and those that a stream reads, are laid out as torch.empty would: axes of size 1 too.

    torch takes other strides for another memory format and adds up in another order, so results would differ in their
    last bits from those of the same images read another way. Mixzoo copies such images when it loads them.
    """
    for name, split in case.splits():
        _check_strides(f"{name} images", split.held)
    if not it_can_stream(case.recipe):
        for name in SPLITS:
            source = getattr(case.recipe.stream(case.seed), name).images
            if isinstance(source, Source):
                _check_strides(f"{name} read", source.read(torch.arange(min(len(source), STREAMED))))


def _check_strides(what: str, images: Tensor) -> None:
    assert is_canonical(images), (
        f"{what} of shape {tuple(images.shape)} has strides {images.stride()}, expected "
        f"{canonical_strides(images.shape)}; give images.clone(memory_format=torch.contiguous_format), since "
        ".contiguous() leaves axes of size 1 as they are"
    )


def check_labels_are_numbers_of_classes(case: DatasetCase) -> None:
    """Every image has a label, int64, in 0 .. number of class names - 1; or 0 or 1 for each attribute name."""
    attributes = len(case.data.attribute_names)
    classes = 2 if attributes else max(len(case.data.class_names), 1)
    for name, split in case.splits():
        labels = split.labels
        assert labels.dtype == torch.int64, f"{name} labels are {labels.dtype}, expected int64"
        expected = (len(split.images), attributes) if attributes else (len(split.images),)
        assert labels.shape == expected, f"{name}: {len(split.images)} images, labels {list(labels.shape)}"
        low, high = int(labels.min()), int(labels.max())
        assert low >= 0, f"{name} has the label {low}; classes are counted from 0"
        many = "attributes are 0 or 1" if attributes else f"there are {len(case.data.class_names)} class names"
        assert high < classes, f"{name} has the label {high}, but {many}"


def check_class_names_are_words(case: DatasetCase) -> None:
    """Names of classes, attributes and factors are different strings, none empty, and each class has an image in some
    split, each attribute images with and without it. Labels are of one kind, classes or attributes."""
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
        twice = [name for name, count in Counter(names).items() if count > 1]
        assert not twice, f"{what} name {twice[0]!r} is there twice"
    assert not (data.class_names and data.attribute_names), "it has class_names and attribute_names; labels are of one"
    labels = torch.cat([split.labels for _, split in case.splits()])
    if not data.attribute_names:
        found = set(labels.tolist())
        unused = [name for number, name in enumerate(data.class_names) if number not in found]
        assert not unused, f"no image of class {unused[0]!r} in any split; are the names in the order of the labels?"
    for name, column in zip(data.attribute_names, labels.reshape(len(labels), -1).T):
        assert 0 < column.sum() < len(column), f"attribute {name!r} is {int(column[0])} of every image in every split"


def check_factors_fit_their_names(case: DatasetCase) -> None:
    """Factors, where they are given, are finite float32 [n, factor names] in every split."""
    names = case.data.factor_names
    for name, split in case.splits():
        factors = split.factors
        if factors is None:
            assert not names, f"there are names of factors, but {name} has no factors"
            continue
        assert factors.dtype == torch.float32, f"{name} factors are {factors.dtype}, expected float32"
        expected = [len(split.images), len(names)]
        assert list(factors.shape) == expected, f"{name} factors are {list(factors.shape)}, expected {expected}"
        assert factors.isfinite().all(), f"{name} factors hold NaN or infinity"


def check_loads_the_same_twice(case: DatasetCase) -> None:
    """load(seed) twice gives the same images in the same order, and the same fingerprint."""
    again = case.load(case.seed)
    for name, split in case.splits():
        assert equal(split, getattr(again, name)), f"the {name} split differs when it is loaded again with one seed"
    for names in ("class_names", "attribute_names", "factor_names"):
        assert getattr(case.data, names) == getattr(again, names), f"{names} differ when it is loaded again"
    assert case.data.fingerprint == again.fingerprint, "the fingerprint differs when it is loaded again"


def check_loading_moves_no_generator(case: DatasetCase) -> None:
    """load draws from no global generator, only from the seed that it is given."""
    with generators_untouched("load"):
        case.load(case.seed)


def check_has_a_fingerprint_and_a_source(case: DatasetCase) -> None:
    """fingerprint is a hash of what was read, so that a resume sees a change; source is one printable line."""
    assert case.data.fingerprint.strip(), "fingerprint is empty, so a resume on other images would go unseen"
    assert case.data.source.strip(), "source is empty; say in one line where the images come from"
    assert case.data.source.isprintable(), "source is more than one printable line"


def check_another_seed_leaves_the_held_out_images(case: DatasetCase) -> None:
    """With another seed validation, test and classes are the same, and train has as many images."""
    other = case.load(case.other_seed)
    for name in ("validation", "test"):
        kept = equal(getattr(case.data, name), getattr(other, name))
        assert kept, f"the {name} split changes with the seed; runs with other seeds could not be compared"
    assert case.data.class_names == other.class_names, "class_names change with the seed"
    before, after = len(case.data.train), len(other.train)
    assert before == after, f"the train split has {before} images with one seed and {after} with another"


def check_a_seed_only_chooses_train_images(case: DatasetCase) -> None:
    """A seed chooses which train images are kept and does nothing else to them: no shuffle, no change of a pixel."""
    other = case.load(case.other_seed).train
    mine, theirs = contents(case.data.train), contents(other)
    assert mine != theirs or equal(case.data.train, other), "the seed puts the train images in another order"
    if getattr(case.recipe, SUBSET, None) is None:
        return
    whole = contents(replace(case.recipe, **{SUBSET: None}).load(case.seed).train)
    for seed, kept in ((case.seed, mine), (case.other_seed, theirs)):
        strange = (kept - whole).total()
        assert not strange, f"with seed {seed} {strange} train images are not among those of {SUBSET}=None"


def check_splits_share_no_image(case: DatasetCase) -> None:
    """At most 2 % of a split's images (true duplicates of the source) are in the train split too."""
    train = contents(case.data.train)
    for name in ("validation", "test"):
        held_out = contents(getattr(case.data, name))
        shared = sum(count for image, count in held_out.items() if image in train)
        total = held_out.total()
        assert shared <= SHARED * total, (
            f"{shared} of {total} {name} images are train images too; splits must not overlap"
        )


def check_images_are_pictures(case: DatasetCase) -> None:
    """At most a tenth of a split's images are of one value, and the images of a split differ."""
    for name, split in case.splits():
        pixels = split.held.flatten(1)
        blank = int((pixels.amax(1) == pixels.amin(1)).sum())
        assert blank <= BLANK * len(split), (
            f"{blank} of {len(split)} {name} images are of one value; is the scale right?"
        )
        alike = len(split) > 1 and bool((pixels == pixels[0]).all())
        assert not alike, f"all {len(split)} {name} images are the same"


def check_a_missing_folder_is_a_data_error(case: DatasetCase) -> None:
    """A folder that is not there is a DataError that names it, without a download."""
    with TemporaryDirectory() as home:
        missing = str(Path(home) / "missing")
        changes: dict[str, Any] = {name: missing for name in folders_of(case.recipe)}
        changes |= {f.name: False for f in fields(case.recipe) if f.name == "download"}
        try:
            replace(case.recipe, **changes).load(case.seed)
        except DataError as err:
            said = str(err)
        except Exception as err:
            raise AssertionError(
                f"a missing folder raises {type(err).__name__}: {err}; raise mixzoo.DataError"
            ) from err
        else:
            raise AssertionError("it loads from a folder that is not there")
    assert missing in said, f"the DataError does not name the folder {missing}: {said}"


def check_streamed_images_are_those_of_load(case: DatasetCase) -> None:
    """stream(seed) gives the data set of load(seed): the same names, labels, factors and fingerprint, and sources that
    read the same images, as bytes, whatever the order they are asked for in, and can be sent to another process."""
    data = case.recipe.stream(case.seed)
    assert isinstance(data, Dataset), f"stream gives a {type(data).__name__}, expected mixzoo.Dataset"
    for name in ("class_names", "attribute_names", "factor_names", "source", "fingerprint"):
        mine, its = getattr(case.data, name), getattr(data, name)
        assert mine == its, f"{name} is {its!r} of stream and {mine!r} of load"
    for name, loaded_split in case.splits():
        split = getattr(data, name)
        assert isinstance(split.images, Source), f"{name} images are a {type(split.images).__name__}, no mixzoo.Source"
        _same_but_for_images(name, loaded_split, split)
        _reads_the_same(name, loaded_split.held, split.images)
        try:
            ForkingPickler.dumps(split.images)
        except Exception as err:
            raise AssertionError(f"{name} images cannot be sent to a process that reads them: {err}") from err


def _same_but_for_images(name: str, loaded_split: Split, split: Split) -> None:
    shape, expected = tuple(split.images.shape), tuple(loaded_split.images.shape)
    assert shape == expected, f"the shape of {name} is {shape} of stream and {expected} of load"
    assert len(split) == len(loaded_split), f"len() of {name} is {len(split)} of stream, {len(loaded_split)} of load"
    assert same(split.labels, loaded_split.labels), f"{name} labels of stream are not those of load"
    a, b = split.factors, loaded_split.factors
    assert (a is None) == (b is None), f"{name} has factors of one of stream and load alone"
    assert a is None or b is None or same(a, b), f"{name} factors of stream are not those of load"


def _reads_the_same(name: str, images: Tensor, source: Source) -> None:
    """Forwards, backwards, the ends again and again, one alone, and none at all."""
    numbers = torch.arange(min(len(images), STREAMED))
    last = len(images) - 1
    for index in (numbers, numbers.flip(0), torch.tensor([last, 0, last, 0]), numbers[:1], numbers[:0]):
        read = source.read(index)
        assert read.dtype == torch.uint8, f"{name} read gives {read.dtype}, expected uint8 of 0..255"
        assert read.shape == images[index].shape, f"{name} read gives {list(read.shape)} for {len(index)} images"
        assert torch.equal(read, images[index]), f"{name} read({index.tolist()[:4]}...) gives other images than load"


def equal(a: Split, b: Split) -> bool:
    """Whether two splits hold the same images, labels and factors in the same order."""
    factors = (a.factors is None) == (b.factors is None) and (
        a.factors is None or b.factors is None or same(a.factors, b.factors)
    )
    return same(a.held, b.held) and same(a.labels, b.labels) and factors


def contents(split: Split) -> Counter[bytes]:
    """How often each image is in the split."""
    return Counter(_bytes(split.held))


def _bytes(images: Tensor) -> Iterable[bytes]:
    return (image.tobytes() for image in images.contiguous().numpy())


def folders_of(recipe: Any) -> list[str]:
    """The options of the recipe that name a folder."""
    return [f.name for f in fields(recipe) if f.name in FOLDERS]


def its_files_are_there(recipe: Any) -> str:
    """'' for a data set that loads; else what it says is missing."""
    try:
        loaded(recipe, DatasetCase(recipe).seed)
    except DataError as err:
        return f"no data: {err}"
    except Exception:  # the first check says what it raises, and stops the others
        return ""
    return ""


def it_can_stream(recipe: Any) -> str:
    """'' for a data set that loads and can be streamed."""
    return its_files_are_there(recipe) or ("" if isinstance(recipe, HasStream) else "it has no stream(seed)")


def reads_a_folder(recipe: Any) -> str:
    """'' for a data set that reads files from a folder."""
    return "" if folders_of(recipe) else f"it reads no folder (none of the options {', '.join(FOLDERS)})"


def check_each_split_has_every_class(case: DatasetCase) -> None:
    """A class of the train split, and either value of an attribute, is in the other splits too, but for small ones."""
    dataset_labels.check_each_split_has_every_class(case.data)


def check_labels_go_with_their_images(case: DatasetCase) -> None:
    """Images that are alike have one label more often than by chance, within train and between it and other splits."""
    dataset_labels.check_labels_go_with_their_images(case.data)


def check_no_copies_between_splits(case: DatasetCase) -> None:
    """Hardly an image of validation or test is, but for a grey level, an image of train, or of the other."""
    dataset_labels.check_no_copies_between_splits(case.data)


def check_images_are_many(case: DatasetCase) -> None:
    """At least half of a split's images are different from one another."""
    dataset_labels.check_images_are_many(case.data)


def check_leaves_the_process_as_it_was(case: DatasetCase) -> None:
    """Loading leaves gradient mode, default dtype and device, threads, warnings, the folder, ... as they were."""
    with process_untouched("load"):
        case.load(case.seed)


def has_labels(recipe: Any) -> str:
    """'' for a data set that loads and has labels."""
    if why := its_files_are_there(recipe):
        return why
    data = loaded(recipe, DatasetCase(recipe).seed)
    return "" if len(data.class_names) > 1 or data.attribute_names else "it has no labels"


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
            check_loads_the_same_twice,
            check_loading_moves_no_generator,
            check_has_a_fingerprint_and_a_source,
            check_another_seed_leaves_the_held_out_images,
            check_a_seed_only_chooses_train_images,
            check_splits_share_no_image,
            check_images_are_pictures,
            check_no_copies_between_splits,
            check_images_are_many,
            check_leaves_the_process_as_it_was,
        ),
    ),
    *map(
        partial(_check, applies=has_labels),
        (
            check_each_split_has_every_class,
            check_labels_go_with_their_images,
        ),
    ),
    _check(check_streamed_images_are_those_of_load, applies=it_can_stream),
    _check(check_a_missing_folder_is_a_data_error, applies=reads_a_folder),
)
