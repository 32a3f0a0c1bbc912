"""What a figure is: a function of trained runs and of what was asked for, which returns something to look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.core.data import Dataset
from mixzoo.core.logger import Setting
from mixzoo.core.parts import AutoEncoder, Mixer

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot
    from PIL import Image

Drawable: TypeAlias = "Image.Image | Plot | Animation"


@dataclass(frozen=True)
class FigureRun:
    """A run that is drawn: its trained networks, its data, and how a reader tells it from the others.

    Use the networks inside `mixzoo.eval_mode(run.autoencoder)`, which turns gradients off and restores the mode;
    `mixzoo.encode`, `mixzoo.mixes_at` and `mixzoo.random_mixes` do that.
    """

    label: str  # what sets it apart from the other runs, in words, such as "mixer cutmix, seed 1"
    autoencoder: AutoEncoder  # encode(x) -> h, decode(h) -> x, latent_shape
    mixer: Mixer  # of the run, trained with the auto-encoder if it has weights
    data: Dataset
    seed: int  # of the run
    device: str  # of the networks, such as "cpu" or "cuda:0"; images and codes go there
    settings: Mapping[str, Setting] = field(default_factory=dict)  # run.toml by dotted key, such as "objective.beta"
    mixers: Callable[[], Mapping[str, Mixer]] = field(default=dict, compare=False)
    """Every mixer by its spec that can mix this run's codes: its own first, then those that need no training."""


@dataclass(frozen=True)
class FigureImages:
    """Images to draw, in the order in which they were asked for."""

    x: Float[Tensor, "n channels height width"]  # in [-1, 1], on the CPU
    labels: Int[Tensor, "n *attributes"] | None  # None of pictures that have no labels, such as a user's own
    names: tuple[str, ...]  # in words: the class, the attributes, or the name of the file


@dataclass(frozen=True)
class FigureRequest:
    """What the user asked for. All runs of a figure have the same data, so the images fit each of them."""

    choose: Callable[[int], FigureImages]  # the user's images or, if none were given, that many test images
    given: bool = False  # whether the user gave images
    scale: int | None = None  # pixels of the figure for each pixel of an image; None: as large as can be read
    seed: int = 0  # of whatever is random in the figure


@dataclass(frozen=True)
class Animation:
    """Pictures of one size that are shown one after another, again and again."""

    frames: Sequence["Image.Image"]
    seconds: float = 0.08  # of each frame


@runtime_checkable
class Figure(Protocol):
    """A picture of one or more runs. It may refuse a run that it cannot draw (`HasCheckRun`)."""

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Drawable:
        """A PIL image, a matplotlib Figure (both saved as PNG, SVG, PDF or WebP), or an Animation (GIF or WebP).

        The same runs and request give the same figure. Raises ConfigError if it cannot be drawn as asked.
        """
        ...


@runtime_checkable
class HasCheckRun(Protocol):
    """A figure that not all runs can be drawn in; without it, any run can."""

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError, in one line that names what is missing, if the figure cannot show this run.

        Such a run is left out if others remain, and the reader is told.
        """
        ...
