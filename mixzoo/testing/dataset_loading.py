"""What a data set promises about loading: repeatable, the same from files and from a stream, errors in words."""

from dataclasses import fields, replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.data import Dataset, Source, Split
from mixzoo.core.errors import DataError
from mixzoo.testing.dataset_cases import DatasetCase, contents, equal, folders_of
from mixzoo.testing.watching import generators_untouched, process_untouched, same

STREAMED = 100  # images that are read from each split of a stream
SUBSET = "train_images"  # the option that keeps a subset of the train split, chosen by the seed


def check_loads_the_same_twice(case: DatasetCase) -> None:
    """Loading twice with one seed gives the same images in the same order, and the same fingerprint."""
    again = case.load(case.seed)
    for name, split in case.splits():
        assert equal(split, getattr(again, name)), (
            f"the {name} split differs when it is loaded again with the same seed"
        )
    for names in ("class_names", "attribute_names", "factor_names"):
        assert getattr(case.data, names) == getattr(again, names), f"{names} differ when the data set is loaded again"
    assert case.data.fingerprint == again.fingerprint, "the fingerprint differs when the data set is loaded again"


def check_loading_moves_no_generator(case: DatasetCase) -> None:
    """load(seed) uses no global random generator; the seed alone decides what is random."""
    with generators_untouched("load"):
        case.load(case.seed)


def check_leaves_the_process_as_it_was(case: DatasetCase) -> None:
    """Loading leaves gradient mode, default dtype and device, threads, warnings and working directory as they were."""
    with process_untouched("load"):
        case.load(case.seed)


def check_another_seed_leaves_the_held_out_images(case: DatasetCase) -> None:
    """The seed does not change validation, test, the class names or the number of train images."""
    other = case.load(case.other_seed)
    for name in ("validation", "test"):
        kept = equal(getattr(case.data, name), getattr(other, name))
        assert kept, f"the {name} split changes with the seed, so runs with different seeds could not be compared"
    assert case.data.class_names == other.class_names, "class_names change with the seed"
    before, after = len(case.data.train), len(other.train)
    assert before == after, f"the train split has {before} images with one seed and {after} with another"


def check_a_seed_only_chooses_train_images(case: DatasetCase) -> None:
    """The seed chooses which train images are kept; it neither shuffles them nor changes a pixel."""
    other = case.load(case.other_seed).train
    mine, theirs = contents(case.data.train), contents(other)
    assert mine != theirs or equal(case.data.train, other), (
        "the seed changes the order of the train images; keep the order, a run shuffles them itself"
    )
    if getattr(case.recipe, SUBSET, None) is None:
        return
    whole = contents(replace(case.recipe, **{SUBSET: None}).load(case.seed).train)
    for seed, kept in ((case.seed, mine), (case.other_seed, theirs)):
        unknown = (kept - whole).total()
        assert not unknown, f"with seed {seed}, {unknown} train images are not among those of {SUBSET}=None"


def check_a_missing_folder_is_a_data_error(case: DatasetCase) -> None:
    """A missing folder raises a DataError that names the folder, and nothing is downloaded."""
    with TemporaryDirectory() as parent:
        missing = str(Path(parent) / "missing")
        changes: dict[str, Any] = {name: missing for name in folders_of(case.recipe)}
        changes |= {f.name: False for f in fields(case.recipe) if f.name == "download"}
        try:
            replace(case.recipe, **changes).load(case.seed)
        except DataError as err:
            message = str(err)
        except Exception as err:
            raise AssertionError(
                f"a missing folder raises {type(err).__name__}: {err}; raise a mixzoo.DataError that names it"
            ) from err
        else:
            raise AssertionError("it loads from a folder that does not exist; raise a mixzoo.DataError that names it")
    assert missing in message, f"the DataError does not name the folder {missing}: {message}"


def check_streamed_images_are_those_of_load(case: DatasetCase) -> None:
    """stream(seed) has the names, labels, factors, fingerprint and images of load(seed).

    Its sources read images as uint8, in any order, and can be pickled for worker processes.
    """
    data = case.recipe.stream(case.seed)
    assert isinstance(data, Dataset), f"stream returns a {type(data).__name__}, expected a mixzoo.Dataset"
    for name in ("class_names", "attribute_names", "factor_names", "source", "fingerprint"):
        of_load, of_stream = getattr(case.data, name), getattr(data, name)
        assert of_stream == of_load, f"{name} is {of_stream!r} from stream, but {of_load!r} from load"
    for name, loaded_split in case.splits():
        split = getattr(data, name)
        assert isinstance(split.images, Source), (
            f"{name} images from stream are a {type(split.images).__name__}, expected a mixzoo.Source"
        )
        _check_same_except_images(name, loaded_split, split)
        _check_reads_the_same(name, loaded_split.held, split.images)
        try:
            ForkingPickler.dumps(split.images)
        except Exception as err:
            raise AssertionError(f"{name} images from stream cannot be pickled for a worker process: {err}") from err


def _check_same_except_images(name: str, loaded_split: Split, split: Split) -> None:
    shape, expected = tuple(split.images.shape), tuple(loaded_split.images.shape)
    assert shape == expected, f"the shape of {name} is {shape} from stream, but {expected} from load"
    assert len(split) == len(loaded_split), (
        f"len() of {name} is {len(split)} from stream, but {len(loaded_split)} from load"
    )
    assert same(split.labels, loaded_split.labels), f"{name} labels differ between stream and load"
    a, b = split.factors, loaded_split.factors
    assert (a is None) == (b is None), f"{name} has factors only from one of stream and load"
    assert a is None or b is None or same(a, b), f"{name} factors differ between stream and load"


def _check_reads_the_same(name: str, images: Tensor, source: Source) -> None:
    """Read forwards, backwards, both ends repeatedly, a single image, and none."""
    first = torch.arange(min(len(images), STREAMED))
    last = len(images) - 1
    for index in (first, first.flip(0), torch.tensor([last, 0, last, 0]), first[:1], first[:0]):
        read = source.read(index)
        assert read.dtype == torch.uint8, f"read of {name} returns {read.dtype}, expected uint8 in 0..255"
        assert read.shape == images[index].shape, f"read of {name} returns {list(read.shape)} for {len(index)} images"
        assert torch.equal(read, images[index]), (
            f"read of {name} returns other images than load at {index.tolist()[:4]}..."
        )
