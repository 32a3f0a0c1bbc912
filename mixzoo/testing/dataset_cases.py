"""The case that a data set is checked on: its recipe and two seeds, and which checks apply to it."""

from collections import Counter
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from mixzoo.core.data import Dataset, HasStream, Split
from mixzoo.core.errors import DataError
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.watching import same

SPLITS = ("train", "validation", "test")
FOLDERS = ("root", "path", "folder")  # options that say where the files are


@dataclass(frozen=True)
class DatasetCase:
    """A recipe of a data set and the two seeds that it is loaded with."""

    recipe: Any
    seed: int = 0
    other_seed: int = 1

    def __str__(self) -> str:
        return f"seed {self.seed}"

    @property
    def data(self) -> Dataset:
        """The data set loaded with `seed`, read once for all checks."""
        return loaded(self.recipe, self.seed)

    def load(self, seed: int) -> Dataset:
        """The data set loaded with this seed, read again."""
        data = self.recipe.load(seed)
        assert isinstance(data, Dataset), f"load returns a {type(data).__name__}, expected a mixzoo.Dataset"
        return data

    def splits(self) -> list[tuple[str, Any]]:
        """The splits of `data`, by name, whatever the data set has given as such."""
        return [(name, getattr(self.data, name)) for name in SPLITS]


@lru_cache(maxsize=1)  # reads files of hundreds of megabytes once, not once per check
def loaded(recipe: Any, seed: int) -> Dataset:
    """The data set that the recipe loads with this seed."""
    return DatasetCase(recipe).load(seed)


def dataset_cases(recipe: Any) -> Any:
    """A strategy with a single case, since files do not vary."""
    return strategies().just(DatasetCase(recipe))


def equal(a: Split, b: Split) -> bool:
    """Whether two splits hold the same images, labels and factors in the same order."""
    factors = (a.factors is None) == (b.factors is None) and (
        a.factors is None or b.factors is None or same(a.factors, b.factors)
    )
    return same(a.held, b.held) and same(a.labels, b.labels) and factors


def contents(split: Split) -> Counter[bytes]:
    """How often each image is in the split."""
    return Counter(image.tobytes() for image in split.held.contiguous().numpy())


def folders_of(recipe: Any) -> list[str]:
    """The options of the recipe that name a folder."""
    return [f.name for f in fields(recipe) if f.name in FOLDERS]


def its_files_are_there(recipe: Any) -> str:
    """'' if the data set loads, else what its DataError says is missing."""
    try:
        loaded(recipe, DatasetCase(recipe).seed)
    except DataError as err:
        return f"no data: {err}"
    except Exception:  # the first check reports it and stops the others
        return ""
    return ""


def it_can_stream(recipe: Any) -> str:
    """'' if the data set loads and can be streamed."""
    return its_files_are_there(recipe) or ("" if isinstance(recipe, HasStream) else "it has no stream(seed)")


def reads_a_folder(recipe: Any) -> str:
    """'' if the data set reads files from a folder."""
    return "" if folders_of(recipe) else f"it reads no folder: it has none of the options {', '.join(FOLDERS)}"


def has_labels(recipe: Any) -> str:
    """'' if the data set loads and has labels."""
    if why := its_files_are_there(recipe):
        return why
    data = loaded(recipe, DatasetCase(recipe).seed)
    return "" if len(data.class_names) > 1 or data.attribute_names else "it has no labels"
