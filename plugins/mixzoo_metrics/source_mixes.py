"""Decoded random mixes along with the images that they are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixzoo import (
    AutoEncoder,
    CodeShape,
    ConfigError,
    FinishedRun,
    Mixer,
    NonFiniteError,
    Part,
    rng_for,
    to_device,
    to_images,
)

BATCH = 500  # mixes at a time; the same as in mixzoo.random_mixes, so that the mixes are the same

Mixes: TypeAlias = Annotated[int, Ge(1), "random mixes of test images"]
OtherMixer: TypeAlias = Annotated[Part[Mixer], "of the mixes; the run's own when not given"] | None


@dataclass(frozen=True)
class SourceMixes:
    """A batch of mixes on the run's device, and what they are made of."""

    chosen: Int[Tensor, "k batch"]  # which test images
    x: Float[Tensor, "k batch channels height width"]  # these images
    h: Float[Tensor, "k batch *latent"]  # f(x)
    h_mix: Float[Tensor, "batch *latent"]
    x_mix: Float[Tensor, "batch channels height width"]  # g(h_mix)
    alpha: Float[Tensor, "k batch"]  # the share of each source in h_mix, averaged over its positions

    def blend(self, x: Float[Tensor, "k batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Σᵢ αᵢ xᵢ: these images mixed as images, in the proportions of the mixes."""
        return (self.alpha[..., None, None, None] * x).sum(0)


def source_mixes(run: FinishedRun, mixer: Mixer, count: int) -> Iterator[SourceMixes]:
    """The mixes of `mixzoo.random_mixes` with their sources, in batches; the network must be in evaluation mode.

    Raises NonFiniteError if a code or a decoded mix is not finite.
    """
    test = run.data.test
    for start in range(0, count, BATCH):
        n = min(BATCH, count - start)
        chosen = torch.randint(len(test), (mixer.k, n), generator=rng_for(run.seed, "evaluation sources", start))
        x = to_images(test.read(chosen.flatten()).to(run.device))
        h = check_finite(run.autoencoder.encode(x), "the code of an image").unflatten(0, (mixer.k, n))
        draw = mixer.draw(CodeShape(n, tuple(h.shape[2:])), rng_for(run.seed, "evaluation mix", start))
        mixed = mixer(h, to_device(draw, h.device), test.labels[chosen].to(run.device))
        alpha = mixed.share.flatten(2).mean(2)
        yield SourceMixes(chosen, x.unflatten(0, (mixer.k, n)), h, mixed.h, decoded(run.autoencoder, mixed.h), alpha)


def decoded(
    autoencoder: AutoEncoder, h: Float[Tensor, "batch *latent"]
) -> Float[Tensor, "batch channels height width"]:
    """g(h). Raises NonFiniteError if it is not finite."""
    return check_finite(autoencoder.decode(h), "a decoded image")


def check_finite(tensor: Tensor, what: str) -> Tensor:
    """The tensor itself. Raises NonFiniteError if it has NaN or infinity."""
    if not tensor.isfinite().all():
        raise NonFiniteError(f"{what} is not finite: training has diverged; try a lower --lr")
    return tensor


def mixer_of(run: FinishedRun, part: Part[Mixer] | None, metric: str) -> Mixer:
    """The mixer that the metric names, or the run's own. Raises ConfigError if the one it names has weights."""
    if part is None:
        return run.mixer
    mixer = part.build(run.data.build_context(tuple(run.autoencoder.latent_shape)))
    if isinstance(mixer, nn.Module):
        raise ConfigError(f"metric {metric!r}: mixer {part.name!r} learns; only the run's own has weights")
    return mixer
