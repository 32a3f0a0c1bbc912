"""Data sets: splits of images, held in memory or read from files as they are needed, and their labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from mixzoo.core.parts import BuildContext
from mixzoo.core.strides import canonical


@runtime_checkable
class Source(Protocol):
    """Images that stay in their files until they are read. It can be pickled, for worker processes.

    `read` is a function of `index` alone: an image is the same whatever was read before, and in whatever order.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The number of images, channels, height, width."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        """The images at `index`. Raises DataError, with the file's name, if one cannot be read."""
        ...


@runtime_checkable
class HasStamp(Protocol):
    """A source that notices more changes of its files than the data set's fingerprint does; for an image cache."""

    def stamp(self) -> str:
        """Another text if the files were written since, even if their content is the same."""
        ...


@dataclass(frozen=True)
class Split:
    """Images as stored, their labels and, if they are known, the factors that generated them.

    Images are a tensor (uint8 in 0..255, or float32 in [-1, 1] for data that are no pictures) or a `Source`.
    """

    images: Shaped[Tensor, "n channels height width"] | Source
    labels: Int[Tensor, "n *attributes"]  # the class of each image, or 0 or 1 for each attribute
    factors: Float[Tensor, "n factors"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: Int[Tensor, " some"]) -> Shaped[Tensor, "some channels height width"]:
        """The images at `index`, as stored, in host memory, with canonical strides (`mixzoo.core.strides`)."""
        return canonical(self.images[index] if isinstance(self.images, Tensor) else self.images.read(index))

    @property
    def held(self) -> Tensor:
        """The images, [n, channels, height, width]. Raises ValueError if they are not held in memory."""
        if isinstance(self.images, Tensor):
            return self.images
        raise ValueError("the images are read from their files as needed; use read(index), or mixzoo.batches")


@dataclass(frozen=True)
class Dataset:
    """The three splits of a data set, in memory or streamed, and what their labels mean.

    Labels are classes or attributes; without names of either there are none, and they are all 0.
    """

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    source: str = ""  # one line: where the images come from, and how they were split
    fingerprint: str = field(default="", compare=False)  # hash of the data, so that a resumed run notices a change
    attribute_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)  # name of each file that was left out -> why

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return (channels, height, width)

    def build_context(self, latent_shape: tuple[int, ...] = ()) -> BuildContext:
        """What a part built for these data may know."""
        return BuildContext(self.image_shape, len(self.class_names), latent_shape, len(self.attribute_names))


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """What a check found in one file of a data set: images or labels, or why a run cannot use it."""

    file: str  # its path, under the folder of the data set if there is one
    problem: str = ""  # why it cannot be used; '' if it can
    allowed: str = ""  # what would be, or what to do
    images: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)  # images of each class
    sizes: Mapping[str, int] = field(default_factory=dict)  # images of each size, such as "28x28"
    modes: Mapping[str, int] = field(default_factory=dict)  # images of each mode, as Pillow calls them
    skippable: bool = False  # whether a run may leave it out


@runtime_checkable
class DatasetRecipe(Protocol):
    """A data set that can be loaded. Raises DataError if something is missing or damaged.

    It may have `stream` (`HasStream`), `data_files` (`HasDataFiles`), `check_files` (`HasFileChecks`) and
    `run_defaults`, too (`mixzoo.registry.recipes`).
    """

    def load(self, seed: int) -> Dataset:
        """The splits, held in memory. `seed`, the run's, may choose a subset of the train split, and nothing else."""
        ...


@runtime_checkable
class HasStream(Protocol):
    """A data set that can be read from its files as needed; without it, the images are always held in memory."""

    def stream(self, seed: int) -> Dataset:
        """What `load` gives, fingerprint included, with a `Source` in place of each split's images."""
        ...


@runtime_checkable
class HasDataFiles(Protocol):
    """A data set that names its files, so that `mixzoo doctor` says which are missing."""

    def data_files(self) -> Mapping[str, bool]:
        """Every file that it reads, and whether it is there."""
        ...


@runtime_checkable
class HasFileChecks(Protocol):
    """A data set whose files can be checked one by one; without it, `mixzoo data check` loads the whole."""

    def check_files(self) -> Iterator[CheckedFile]:
        """Every file, read as a run reads it; a bad one is an item, too, and the next ones follow.

        Raises DataError for what concerns no single file, such as a folder that is missing.
        """
        ...
