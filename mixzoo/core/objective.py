"""An objective is the whole algorithm: one function of a batch, which returns the terms of both players.

    h = batch.encode(batch.x)                               h = f(x)
    mixed = batch.mix(h)                                    h_mix = Mix(h_1, ..., h_k)
    x_rec, x_mix = batch.decode(h, mixed.h)                 one pass of g for all of them
    D = batch.discriminate(real=batch.x, mix=x_mix)         one pass of D for all of them

A call is a pass: what is not called is not computed. Nothing here detaches or holds a generator: the engine takes each
player's gradient for its own parameters alone, and every random number is asked for by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias, runtime_checkable

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.core.parts import AutoEncoder, Discriminator, Mixer

Terms: TypeAlias = dict[str, Tensor]  # named scalars, already weighted; a player descends on their sum


@dataclass(frozen=True)
class Losses:
    """What `losses` returns: each player's terms, named and weighted. The engine logs each and descends on the sum."""

    autoencoder: Terms  # of f, g and a mixer with weights
    discriminator: Terms = field(default_factory=dict)
    code: Float[Tensor, "batch *latent"] | None = None  # what the probe learns on, if not the first code of the step
    whole_batch: bool = False  # True if a term is no mean over examples, so that processes cannot share a batch


@dataclass(frozen=True)
class MixedCodes:
    """The mixes of a batch; what their labels are is worked out when it is read."""

    h: Float[Tensor, "batch *latent"]
    share: Float[Tensor, "k batch *latent_or_ones"]  # of each source at each position; sums to 1 over k
    label_targets: "Callable[[], LabelTargets]" = field(repr=False)

    @cached_property
    def _targets(self) -> "LabelTargets":
        return self.label_targets()

    @property
    def y(self) -> Float[Tensor, "batch label"]:
        """ỹ_mix: what the mixer aimed at (AMR eq. 7) or, if it aims at nothing, the mean of the sources' y by share."""
        return self._targets.y

    @property
    def labelled(self) -> Bool[Tensor, " batch"]:
        """The mixes all of whose sources are labelled; `y` means nothing for the others."""
        return self._targets.labelled


@dataclass(frozen=True)
class LabelTargets:
    """Labels as vectors, and for which examples they are known."""

    y: Float[Tensor, "batch label"]
    labelled: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What D says of each named input: `D["mix"]` is its raw score, a logit per example [batch]."""

    logits: Mapping[str, Float[Tensor, " batch"]]
    label_logits: Mapping[str, Float[Tensor, "batch label"]] = field(default_factory=dict)
    reconstruction: Mapping[str, Float[Tensor, "batch *input"]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Float[Tensor, " batch"]:
        return self.logits[name]


class Batch(ABC):
    """One step as an objective sees it: its images and labels, passes through the networks, and named randomness.

    In a run on several processes x and labels are this process's share of the batch; mixes are made between all of it.
    """

    @property
    @abstractmethod
    def x(self) -> Float[Tensor, "batch channels height width"]:
        """The images, in [-1, 1]."""

    @property
    @abstractmethod
    def labels(self) -> Int[Tensor, "batch *attributes"]:
        """The class of each image, or 0 and 1 for each attribute, as the data set numbers them."""

    @property
    @abstractmethod
    def y(self) -> Float[Tensor, "batch label"]:
        """Labels as vectors: one-hot over classes, or the attributes as 0 and 1; 0 where not `labelled`."""

    @property
    @abstractmethod
    def labelled(self) -> Bool[Tensor, " batch"]:
        """The examples whose label the objective may use."""

    @property
    @abstractmethod
    def autoencoder(self) -> AutoEncoder:
        """The auto-encoder itself, for what no method here does, such as the codebook of a quantiser."""

    @property
    @abstractmethod
    def discriminator(self) -> Discriminator:
        """D itself, never compiled and in full precision, for a penalty on its slope (R1, WGAN-GP)."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *latent"]:
        """h = f(x). The probe learns on the first code of a step, unless `Losses(code=...)` names another."""

    @abstractmethod
    def posterior(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch *latent"], Float[Tensor, "batch *latent"]]:
        """(mean, log_variance) of q(z|x), from a variational auto-encoder; the mean counts as a code."""

    @abstractmethod
    def decode(self, *h: Float[Tensor, "batch *latent"]) -> tuple[Float[Tensor, "batch channels height width"], ...]:
        """g of each, as one batch through the decoder."""

    @abstractmethod
    def mix(self, h: Float[Tensor, "batch *latent"], mixer: Mixer | None = None, name: str = "") -> MixedCodes:
        """Each code mixed with those of its partners, other examples of the batch.

        By the run's mixer, or by `mixer`, which has no weights and needs a name: partners and draw are a function of
        (seed, name, step). Mixers get the labels of the sources if the data have labels.
        """

    @abstractmethod
    def discriminate(self, **inputs: Shaped[Tensor, "some *input"]) -> DiscriminatorOutput:
        """What D says of all of them, as one batch through D; the log has the mean logit of each under its name."""

    @abstractmethod
    def noise(self, name: str, like: Shaped[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """Standard normal numbers of the shape of `like`, a function of (seed, name, step)."""

    @abstractmethod
    def uniform(self, name: str, like: Shaped[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """Numbers uniform in [0, 1), a function of (seed, name, step)."""

    @abstractmethod
    def keep(self, name: str, p: float, like: Shaped[Tensor, "batch *shape"]) -> Bool[Tensor, "batch *shape"]:
        """A mask, false with chance `p` for each number, a function of (seed, name, step)."""


@runtime_checkable
class Objective(Protocol):
    """The terms of both players as one function of a batch."""

    def losses(self, batch: Batch) -> Losses:
        """Both players' terms. Called once on a stand-in batch before the run, which notes all that it asks for; it
        must ask for the same at every step."""
        ...
