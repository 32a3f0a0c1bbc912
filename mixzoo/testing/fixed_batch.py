"""A batch whose networks return given tensors, to compare an objective with terms worked out by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.core.objective import Batch, DiscriminatorOutput, LabelTargets, MixedCodes
from mixzoo.core.parts import Mixer


class FixedBatch(Batch):
    """A `mixzoo.Batch` of given tensors.

    `encode` returns `codes`, one per call; `decode` returns `images`, one per code; `mix` returns `mixes` by name (see
    `mixed_codes`); D returns `logits`, `label_logits` and `reconstruction` by name of its input; `noise`, `uniform` and
    `keep` return `draws` by name. `inputs` records the inputs of D.
    """

    def __init__(
        self,
        x: Float[Tensor, "batch channels height width"],
        *,
        codes: Sequence[Tensor] = (),
        images: Sequence[Tensor] = (),
        mixes: Mapping[str, MixedCodes] = {},
        posterior: tuple[Tensor, Tensor] | None = None,
        logits: Mapping[str, Tensor] = {},
        label_logits: Mapping[str, Tensor] = {},
        reconstruction: Mapping[str, Tensor] = {},
        draws: Mapping[str, Tensor] = {},
        y: Float[Tensor, "batch label"] | None = None,
        labelled: Bool[Tensor, " batch"] | None = None,
        autoencoder: Any = None,
        discriminator: Any = None,
    ) -> None:
        self._x, self._codes, self._images, self._mixes = x, list(codes), list(images), mixes
        self._posterior, self._draws = posterior, draws
        self._outputs = (logits, label_logits, reconstruction)
        self._y = torch.zeros(len(x), 1) if y is None else y
        self._labelled = torch.ones(len(x), dtype=torch.bool) if labelled is None else labelled
        self._autoencoder, self._discriminator = autoencoder, discriminator
        self.inputs: dict[str, Tensor] = {}

    @property
    def x(self) -> Tensor:
        return self._x

    @property
    def labels(self) -> Int[Tensor, " batch"]:
        return self._y.argmax(1)

    @property
    def y(self) -> Tensor:
        return self._y

    @property
    def labelled(self) -> Tensor:
        return self._labelled

    @property
    def autoencoder(self) -> Any:
        return self._autoencoder

    @property
    def discriminator(self) -> Any:
        return self._discriminator

    def encode(self, x: Tensor) -> Tensor:
        return self._codes.pop(0)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert self._posterior is not None
        return self._posterior

    def decode(self, *h: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._images.pop(0) for _ in h)

    def mix(self, h: Tensor, mixer: Mixer | None = None, name: str = "") -> MixedCodes:
        return self._mixes[name]

    def discriminate(self, **inputs: Shaped[Tensor, "some *input"]) -> DiscriminatorOutput:
        self.inputs |= inputs
        parts = ({name: output[name] for name in inputs if name in output} for output in self._outputs)
        return DiscriminatorOutput(*parts)

    def noise(self, name: str, like: Tensor) -> Tensor:
        return self._draws[name]

    def uniform(self, name: str, like: Tensor) -> Tensor:
        return self._draws[name]

    def keep(self, name: str, p: float, like: Tensor) -> Tensor:
        return self._draws[name]


def mixed_codes(
    h: Float[Tensor, "batch *latent"],
    share: Float[Tensor, "k batch *latent_or_ones"],
    y: Float[Tensor, "batch label"] | None = None,
    labelled: Bool[Tensor, " batch"] | None = None,
) -> MixedCodes:
    """The `MixedCodes` with these shares and labels, for the `mixes` of a `FixedBatch`."""
    targets = LabelTargets(
        torch.zeros(len(h), 1) if y is None else y,
        torch.ones(len(h), dtype=torch.bool) if labelled is None else labelled,
    )
    return MixedCodes(h, share, lambda: targets)
