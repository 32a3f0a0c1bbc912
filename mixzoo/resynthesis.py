"""The forward pass, once: x -> h -> h_mix -> x_rec, x_mix."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mixzoo.protocols import AutoEncoder, Draw, Mixer, Needs, Resynthesis


def sources(
    h: Shaped[Tensor, "batch *latent"], partners: Int[Tensor, "others batch"]
) -> Shaped[Tensor, "k batch *latent"]:
    """The k sources of each mix, or their labels: the batch itself, then its partners."""
    return torch.stack([h, *(h[row] for row in partners)])


def resynthesise(
    x: Float[Tensor, "batch channels height width"],
    *,
    autoencoder: AutoEncoder,
    mixer: Mixer,
    partners: Int[Tensor, "others batch"],
    draw: Draw,
    needs: Needs,
    labels: Tensor | None = None,
) -> Resynthesis:
    """x encoded, mixed and decoded, with only what `needs` asks for.

    Codes and mixes go through the decoder as one batch; each image is encoded once.
    """
    posterior = autoencoder.posterior(x) if needs.posterior else None  # type: ignore[attr-defined]
    h = autoencoder.encode(x)
    if not needs.mix:
        return Resynthesis(x, h, autoencoder.decode(h), _labels=labels, _posterior=posterior)
    source_labels = None if labels is None else sources(labels, partners)
    mixed = mixer(sources(h, partners), draw, source_labels)
    x_rec, x_mix = autoencoder.decode(torch.cat([h, mixed.h])).chunk(2)
    h_mix_rec = autoencoder.encode(x_mix) if needs.reencode else None
    return Resynthesis(x, h, x_rec, mixed, x_mix, h_mix_rec, labels, posterior)
