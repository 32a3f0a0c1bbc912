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
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Generator, Tensor
from torch.nn import Parameter

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
    """What D says of a batch: a logit for each example and, if it has such a head, label logits (AMR eq. 7).

    A D that is an auto-encoder itself gives its reconstruction of each input too (Sainburg et al. 2018, "GAIA").
    """

    logits: Float[Tensor, " batch"]
    label_logits: Float[Tensor, "batch label"] | None = None
    reconstruction: Float[Tensor, "batch *input"] | None = None


@runtime_checkable
class AutoEncoder(Protocol):
    """f and g; an `nn.Module`. A variational one has `posterior` too (`HasPosterior`)."""

    latent_shape: tuple[int, ...]

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *latent"]: ...

    def decode(self, h: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch channels height width"]: ...

    def parameters(self) -> Iterator[Parameter]: ...


class Reconstructs:
    """Gives an auto-encoder module its `forward`, x_rec = g(f(x)), so that it is called as any nn.Module is.

    class Mine(mixzoo.Reconstructs, nn.Module), with encode and decode
    """

    def forward(self: AutoEncoder, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """g(f(x)), the reconstructions of the images."""
        return self.decode(self.encode(x))


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
    """D; an `nn.Module`. It scores each input alone: no statistic of the batch may enter a score.

    Inputs are images or, for one that judges codes, codes.
    """

    def __call__(self, x: Float[Tensor, "batch *input"]) -> Scores: ...

    def parameters(self) -> Iterator[Parameter]: ...


@runtime_checkable
class Mixer(Protocol):
    """A random point of the simplex, realised somewhere in the code.

    `draw` makes all the randomness, as tensors, from `rng` alone, and never looks at a code or a parameter; a second
    thread may call it while the first one trains. The call is then a pure, differentiable function of the k sources. A
    mixer with weights is an `nn.Module` with the same methods.

    It may have `needs_map` (`HasNeedsMap`), `draw_at` (`HasDrawAt`) and `skipped_checks`, too
    (`mixzoo.registry.recipes`).
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
