"""The forward pass, once: x -> h -> h_mix -> x_rec, x_mix."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.mixing import label_vectors, mixed_labels
from mixzoo.protocols import AutoEncoder, Draw, Mixed, Mixer, Needs, Resynthesis, Said


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
    partners: Int[Tensor, "others batch"] | None,
    draw: Draw | None,
    needs: Needs,
    labels: Tensor | None = None,
    label_width: int = 0,
    labelled: Bool[Tensor, " batch"] | None = None,
    second: tuple[Tensor, Draw] | None = None,
    noise: Mapping[str, Tensor] = {},
) -> Resynthesis:
    """x encoded, mixed and decoded, with only what `needs` asks for.

    Codes and mixes go through the decoder as one batch; each image is encoded once. r.h is the code f(x), a posterior's
    mean; what is decoded and mixed is the code itself, a sample of the posterior, or what dropout leaves of it.
    `labels` are numbers of classes or attributes, of which there are `label_width`; one that is not `labelled` reaches
    nothing, and to the mixer it is a label that says nothing.
    """
    told = labels  # what the mixer is told of them
    if labels is not None and labelled is not None:
        told = torch.where(labelled[:, None], label_vectors(labels[None], label_width)[0], unknown(labels, label_width))
    seen = x + needs.input_noise * noise["input"] if needs.input_noise else x
    posterior = autoencoder.posterior(seen) if needs.posterior else None  # type: ignore[attr-defined]
    h = autoencoder.encode(seen) if posterior is None else posterior[0]
    z = h if posterior is None else h + (posterior[1] / 2).exp() * noise["code"]
    if needs.code_dropout:
        z = z * noise["kept"] / (1 - needs.code_dropout)

    mixed = mixed2 = None
    if needs.mix:
        assert partners is not None
        assert draw is not None
        mixed = mixer(sources(z, partners), draw, None if told is None else sources(told, partners))
    if needs.second is not None:
        assert second is not None
        mixed2 = needs.second(sources(z, second[0]), second[1])
    codes = [z, *(one.h for one in (mixed, mixed2) if one is not None)]
    x_rec, *images = autoencoder.decode(torch.cat(codes) if len(codes) > 1 else z).chunk(len(codes))
    x_mix = images[0] if mixed else None
    h_mix_rec = autoencoder.encode(x_mix) if needs.reencode and x_mix is not None else None
    said = said_of(labels, labelled, label_width, mixed, partners) if needs.labels and labels is not None else None
    x_mix2 = images[-1] if mixed2 else None
    return Resynthesis(x, h, x_rec, mixed, x_mix, h_mix_rec, labels, posterior, said, mixed2, x_mix2)


def unknown(labels: Int[Tensor, "batch *attributes"], width: int) -> float:
    """Each number of a label vector that says nothing: any class alike, or each attribute as much as not."""
    return 0.5 if labels.ndim > 1 else 1 / width


def said_of(
    labels: Int[Tensor, "batch *attributes"],
    labelled: Bool[Tensor, " batch"] | None,
    width: int,
    mixed: Mixed | None,
    partners: Int[Tensor, "others batch"] | None,
) -> Said:
    """The labels of the batch and of its mixes as vectors."""
    known = torch.ones(len(labels), dtype=torch.bool, device=labels.device) if labelled is None else labelled
    y = label_vectors(labels[None], width)[0] * known[:, None]
    if mixed is None or partners is None:
        return Said(y, known)
    return Said(y, known, mixed_labels(mixed, sources(y, partners)), sources(known, partners).all(0))
