"""What a metric is a function of, and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from mixzoo.core.data import Dataset
from mixzoo.core.parts import AutoEncoder, Mixer

Better: TypeAlias = Literal["less", "more", ""]  # of a score; "" if neither is better, as of a reference


@dataclass(frozen=True)
class FinishedRun:
    """What a metric is a function of: the trained networks and the data, and nothing else of the run.

    The networks are as training left them: in training mode, on `device`. Put them in evaluation mode inside
    `mixzoo.eval_mode(run.autoencoder)`, which also turns gradients off, and restores the mode; `mixzoo.encode` and
    `mixzoo.batches` take any number of images, held in memory or read from files.
    """

    autoencoder: AutoEncoder  # encode(x) -> h, decode(h) -> x, latent_shape
    mixer: Mixer  # of the run, trained with the auto-encoder if it has weights
    data: Dataset  # its splits train, validation and test, class_names, factor_names, ...
    seed: int  # of the run: seed a generator with it for random numbers
    device: str  # of the networks, such as "cpu" or "cuda:0"; images and codes go there
    untrained: Callable[[], AutoEncoder] | None = field(default=None, compare=False)
    """Builds the auto-encoder as it was before the first step, on `device`: the baseline of a score. None if the run
    was put together by hand, from networks alone."""


@runtime_checkable
class Metric(Protocol):
    """Named numbers about a finished run.

    It may say whether less or more of them is better (`HasBetter`), and which data it needs (`HasCheckData`).
    """

    def __call__(self, run: FinishedRun) -> Mapping[str, float]: ...


@runtime_checkable
class HasCheckData(Protocol):
    """A metric that needs certain data; without it, a metric takes any data."""

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if it has no numbers for these data. It is called before training begins."""
        ...


@runtime_checkable
class HasBetter(Protocol):
    """A metric that says which value of a score is better; without it, `mixzoo compare` marks no value as the best."""

    @property
    def better(self) -> Better | Mapping[str, Better]:
        """What is better of all of its scores, or by the name of a score; a name left out is a reference."""
        ...
