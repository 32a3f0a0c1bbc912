"""What each kind of part must do. The words are the paper's (Beckham et al. 2019, "AMR"):

    x      images in [-1, 1]       f  encoder      h = f(x)   latent code, a map [channels, height, width] or a vector
    h_mix  Mix(h_1, ..., h_k)      g  decoder      x_rec = g(f(x))      x_mix = g(h_mix)
    share  weight of each source at each latent position, sums to 1 over k      D  discriminator, raw scores

A part is named by its *recipe*: a frozen dataclass whose fields are its options. A recipe without weights is the part
itself (most mixers, every objective); one that must know the data, has weights or holds other parts has
`build(context)`, which returns the part.

A part is recognised by its members, so a plugin's class need not inherit from any class here. An optional member is a
protocol of its own, `Has...`, which says what holds for a part without it; `isinstance` tells whether a part has it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Generator, Tensor
from torch.nn import Parameter

from mixzoo.strides import canonical

T = TypeVar("T")

Terms: TypeAlias = dict[str, Tensor]  # named scalars, already weighted; a player descends on their sum
Images: TypeAlias = dict[str, Tensor]  # named batches of images, "real", "rec", "mix", ...
Draw: TypeAlias = Tensor | Mapping[str, Tensor]  # all the randomness of one mix, as tensors


@dataclass(frozen=True)
class BuildContext:
    """What a part may know about the run it is built for."""

    image_shape: tuple[int, int, int]  # channels, height, width
    classes: int  # of the data set's labels; 0 if labels are attributes or there are none
    latent_shape: tuple[int, ...] = ()  # of one code; () while the auto-encoder itself is built
    attributes: int = 0  # of each example; 0 if labels are classes
    num_labels: int = 0  # label logits that a discriminator should give: `label_width`, 0 if no objective reads them
    restored: bool = False  # weights come from a checkpoint next, so none need to be downloaded or read

    @property
    def label_width(self) -> int:
        """The length of y, a label as a vector: its attributes, or one-hot over classes."""
        return self.attributes or self.classes


class CodeShape(NamedTuple):
    """The shape of a batch of codes: `latent` is (channels, height, width) or (features,)."""

    batch: int
    latent: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.latent[0]

    @property
    def is_map(self) -> bool:
        return len(self.latent) > 1

    def broadcast(self, weights: Shaped[Tensor, "k batch *some"]) -> Shaped[Tensor, "k batch *latent"]:
        """`weights` with trailing axes of size 1, so that they multiply codes [k, batch, *latent]."""
        ones = 2 + len(self.latent) - weights.ndim
        return weights.reshape(*weights.shape, *[1] * ones)


class Mixed(NamedTuple):
    """A mix, and the share of each source that was really used (ACAI's critic regresses it)."""

    h: Float[Tensor, "batch *latent"]
    share: Float[Tensor, "k batch *latent_or_ones"]
    labels: Float[Tensor, "batch classes"] | None = None  # y_mix, the target of a label-conditioned mixer (AMR eq. 7)


class Scores(NamedTuple):
    """What D says of a batch of images: a raw score each, and attribute logits where it has such a head (AMR eq. 7).

    A D that is an auto-encoder itself says how it redraws each image too (Sainburg et al. 2018, "GAIA").
    """

    realness: Float[Tensor, " batch"]
    attributes: Float[Tensor, "batch attributes"] | None = None
    redrawn: Float[Tensor, "batch channels height width"] | None = None


@dataclass(frozen=True)
class Judgement:
    """D's raw scores of everything judged: `D["mix"]` [batch]; `D.attributes["mix"]` where D has an attribute head.

    `D.redrawn["mix"]` where D is an auto-encoder: the images as they come out of it.
    """

    realness: Mapping[str, Float[Tensor, " batch"]]
    attributes: Mapping[str, Float[Tensor, "batch attributes"]] = field(default_factory=dict)
    redrawn: Mapping[str, Float[Tensor, "batch channels height width"]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Float[Tensor, " batch"]:
        return self.realness[name]


@dataclass(frozen=True)
class Needs:
    """What an objective reads, so that nothing else is computed."""

    mix: bool = False  # r.h_mix, r.share, r.x_mix
    discriminator: bool = False  # scores of what it judges
    reencode: bool = False  # r.h_mix_rec = f(g(h_mix))
    labels: bool = False  # r.labels, r.y and what goes with them; a mixer gets labels wherever the data have them
    posterior: bool = False  # r.mean, r.log_variance; x_rec and mixes come from a sample of the posterior
    second: "Mixer | None" = None  # r.h_mix2, r.x_mix2: another mix of the same codes, by this mixer (without weights)
    attributes: bool = False  # D.attributes of what it judges: a discriminator with an attribute head
    redrawn: bool = False  # D.redrawn of what it judges: a discriminator that is an auto-encoder
    penalty: bool = False  # it has `discriminator_penalty(x, discriminator)`, terms of D that need D itself
    input_noise: float = 0.0  # standard deviation of what is added to x before f, in [-1, 1] units
    whole_batch: bool = False  # a term is no mean over examples, so a batch cannot be shared by several processes
    code_dropout: float = 0.0  # chance of each number of a code to be 0 for g and the mixer; the others grow to match


@runtime_checkable
class AutoEncoder(Protocol):
    """f and g; an `nn.Module`. A variational one has `posterior` too (`HasPosterior`)."""

    latent_shape: tuple[int, ...]

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *latent"]: ...

    def decode(self, h: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch channels height width"]: ...

    def parameters(self) -> Iterator[Parameter]: ...


@runtime_checkable
class HasPosterior(Protocol):
    """An auto-encoder whose code has a distribution; without it, an image has one code."""

    def posterior(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch *latent"], Float[Tensor, "batch *latent"]]:
        """The mean and the logarithm of the variance of each number of the code."""
        ...


@runtime_checkable
class Discriminator(Protocol):
    """D; an `nn.Module`. It scores each image alone: no statistic of the batch may enter a score."""

    def __call__(self, x: Float[Tensor, "batch channels height width"]) -> Scores: ...

    def parameters(self) -> Iterator[Parameter]: ...


@runtime_checkable
class Mixer(Protocol):
    """A random point of the simplex, realised somewhere in the code.

    `draw` makes all the randomness, as tensors, from `rng` alone, and never looks at a code or a parameter. The call is
    then a pure, differentiable function of the k sources. A mixer with weights is an `nn.Module` with the same methods.

    It may have `needs_map` (`HasNeedsMap`), `draw_at` (`HasDrawAt`) and `skipped_checks` (`mixzoo.recipes`) too.
    """

    @property
    def k(self) -> int:
        """Sources of one mix, at least 2."""
        ...

    def draw(self, shape: CodeShape, rng: Generator) -> Draw: ...

    def __call__(self, h: Float[Tensor, "k batch *latent"], draw: Draw, labels: Tensor | None = None) -> Mixed: ...

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Draw:
        """The draw with which every example is mixed at `point` of the simplex, for pictures."""
        ...


@runtime_checkable
class HasNeedsMap(Protocol):
    """A mixer that says whether it mixes positions of a map; without it, a mixer takes vector codes too."""

    @property
    def needs_map(self) -> bool: ...


@runtime_checkable
class HasDrawAt(Protocol):
    """A mixer whose law changes over the training; without it, `draw` is used throughout."""

    def draw_at(self, shape: CodeShape, rng: Generator, progress: float) -> Draw:
        """`draw` at this progress of the training, from 0 to 1."""
        ...


@dataclass(frozen=True)
class Resynthesis:
    """One forward pass: the codes, the mixes and the images that every term is a function of.

    Fields that the objective does not need (`Needs`) are None, and reading one is a mistake of the objective.
    """

    x: Float[Tensor, "batch channels height width"]
    h: Float[Tensor, "batch *latent"]
    x_rec: Float[Tensor, "batch channels height width"]
    _mixed: Mixed | None = None
    _x_mix: Tensor | None = None
    _h_mix_rec: Tensor | None = None
    _labels: Tensor | None = None
    _posterior: tuple[Tensor, Tensor] | None = None
    _said: "Said | None" = None
    _second: Mixed | None = None
    _x_mix2: Tensor | None = None

    @property
    def h_mix(self) -> Float[Tensor, "batch *latent"]:
        return _needed(self._mixed, "mix").h

    @property
    def share(self) -> Float[Tensor, "k batch *latent_or_ones"]:
        return _needed(self._mixed, "mix").share

    @property
    def x_mix(self) -> Float[Tensor, "batch channels height width"]:
        return _needed(self._x_mix, "mix")

    @property
    def h_mix_rec(self) -> Float[Tensor, "batch *latent"]:
        """f(g(h_mix)), the code of the decoded mix."""
        return _needed(self._h_mix_rec, "reencode")

    @property
    def labels(self) -> Shaped[Tensor, "batch *attributes"]:
        return _needed(self._labels, "labels")

    @property
    def y(self) -> Float[Tensor, "batch label"]:
        """Labels as vectors: one-hot over classes, or the attributes as 0 and 1; 0 where `labelled` is not."""
        return _needed(self._said, "labels").y

    @property
    def labelled(self) -> Bool[Tensor, " batch"]:
        """The examples whose label the objective may use."""
        return _needed(self._said, "labels").labelled

    @property
    def y_mix(self) -> Float[Tensor, "batch label"]:
        """ỹ_mix: what the mixer aimed at (AMR eq. 7) or, where it aims at none, the mean of the sources' y by share."""
        return _needed(_needed(self._said, "labels").y_mix, "mix")

    @property
    def labelled_mix(self) -> Bool[Tensor, " batch"]:
        """The mixes all of whose sources are labelled; y_mix means nothing for the others."""
        return _needed(_needed(self._said, "labels").labelled_mix, "mix")

    @property
    def h_mix2(self) -> Float[Tensor, "batch *latent"]:
        return _needed(self._second, "second").h

    @property
    def x_mix2(self) -> Float[Tensor, "batch channels height width"]:
        return _needed(self._x_mix2, "second")

    @property
    def mean(self) -> Float[Tensor, "batch *latent"]:
        return _needed(self._posterior, "posterior")[0]

    @property
    def log_variance(self) -> Float[Tensor, "batch *latent"]:
        return _needed(self._posterior, "posterior")[1]


@dataclass(frozen=True)
class Said:
    """Labels of a batch and of its mixes, as vectors, and for which of them they are known."""

    y: Float[Tensor, "batch label"]
    labelled: Bool[Tensor, " batch"]
    y_mix: Float[Tensor, "batch label"] | None = None
    labelled_mix: Bool[Tensor, " batch"] | None = None


def _needed(value: T | None, need: str) -> T:
    if value is None:
        what = "second=a mixer" if need == "second" else f"{need}=True"
        raise ValueError(f"the objective reads something that it does not ask for: add {what} to its needs")
    return value


@runtime_checkable
class Objective(Protocol):
    """The terms of both players, over one shared forward pass. The engine detaches; nothing here does.

    One whose needs say `penalty` has `discriminator_penalty(x, discriminator) -> Terms` too: further terms of D, on
    real images, that are no function of its scores (a gradient penalty). It gets D itself, which then runs again.
    """

    @property
    def needs(self) -> Needs: ...

    def judged(self, r: Resynthesis) -> Images:
        """What D looks at, once, as one batch; {} where there is no discriminator."""
        ...

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        """The terms that f, g and a learned mixer descend on; `D` holds the raw scores of what was judged."""
        ...

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms: ...


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
        """The images at `index`, as stored, in host memory, with canonical strides (`mixzoo.strides`)."""
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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return (channels, height, width)

    def build_context(self, latent_shape: tuple[int, ...] = ()) -> BuildContext:
        """What a part built for these data may know."""
        return BuildContext(self.image_shape, len(self.class_names), latent_shape, len(self.attribute_names))


@runtime_checkable
class DatasetRecipe(Protocol):
    """A data set that can be loaded. Raises DataError if something is missing or damaged.

    It may have `stream` (`HasStream`), `data_files` (`HasDataFiles`) and `run_defaults` (`mixzoo.recipes`) too.
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


@runtime_checkable
class Metric(Protocol):
    """Named numbers about a finished run. A metric that needs certain data has `check_data` too (`HasCheckData`)."""

    def __call__(self, run: FinishedRun) -> Mapping[str, float]: ...


@runtime_checkable
class HasCheckData(Protocol):
    """A metric that needs certain data; without it, a metric takes any data."""

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if it has no numbers for these data. It is called before training begins."""
        ...
