"""The forward pass, once: x -> h -> h_mix -> x_rec, x_mix."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.mixing import label_vectors, mixed_labels
from mixzoo.protocols import AutoEncoder, Draw, Mixed, Mixer, Needs, Resynthesis, Said


@runtime_checkable
class Shared(Protocol):
    """A batch of which this process has a part; mixes are made between all of it."""

    def gather(self, own: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """The whole batch from this process's part, differentiable."""
        ...

    def local(self, whole: Shaped[Tensor, "*whole"], dim: int = 0) -> Shaped[Tensor, "*own"]:
        """This process's part of the whole batch, which lies along `dim`."""
        ...


class Unshared:
    """A batch that this process has the whole of."""

    def gather(self, own: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "batch *rest"]:
        return own

    def local(self, whole: Shaped[Tensor, "*whole"], dim: int = 0) -> Shaped[Tensor, "*own"]:
        return whole


UNSHARED = Unshared()


def sources(
    h: Shaped[Tensor, "batch *latent"], partners: Int[Tensor, "others batch"]
) -> Shaped[Tensor, "k batch *latent"]:
    """The k sources of each mix, or their labels: the batch itself, then its partners."""
    return torch.stack([h, *(h[row] for row in partners)])


def resynthesise(
    x: Float[Tensor, "own channels height width"],
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
    batch: Shared = UNSHARED,
) -> Resynthesis:
    """x encoded, mixed and decoded, with only what `needs` asks for.

    Codes and mixes go through the decoder as one batch; each image is encoded once. r.h is the code f(x), a posterior's
    mean; what is decoded and mixed is the code itself, a sample of the posterior, or what dropout leaves of it.
    `labels` are numbers of classes or attributes, of which there are `label_width`; one that is not `labelled` reaches
    nothing, and to the mixer it is a label that says nothing.

    Of a `batch` that several processes share, x and labels are this one's part and everything drawn is the whole
    batch's: mixes are made of all codes, and those of this part are decoded.
    """
    seen = x + needs.input_noise * batch.local(noise["input"]) if needs.input_noise else x
    posterior = autoencoder.posterior(seen) if needs.posterior else None  # type: ignore[attr-defined]
    h = autoencoder.encode(seen) if posterior is None else posterior[0]
    z = h if posterior is None else h + (posterior[1] / 2).exp() * batch.local(noise["code"])
    if needs.code_dropout:
        z = z * batch.local(noise["kept"]) / (1 - needs.code_dropout)

    mixing = needs.mix or needs.second is not None
    codes = batch.gather(z) if mixing else z  # of the whole batch, and so the labels and mixes until `own_mix`
    y = batch.gather(labels) if labels is not None and (needs.mix or needs.labels) else None
    mixed = mixed2 = None
    if needs.mix:
        assert partners is not None
        assert draw is not None
        told = None if y is None else sources(told_of(y, labelled, label_width), partners)
        mixed = mixer(sources(codes, partners), draw, told)
    if needs.second is not None:
        assert second is not None
        mixed2 = needs.second(sources(codes, second[0]), second[1])
    said = said_of(y, labelled, label_width, mixed, partners) if needs.labels and y is not None else None
    said = None if said is None else own_said(said, batch)
    mixed, mixed2 = own_mix(mixed, batch), own_mix(mixed2, batch)

    decoded = [z, *(one.h for one in (mixed, mixed2) if one is not None)]
    x_rec, *images = autoencoder.decode(torch.cat(decoded) if len(decoded) > 1 else z).chunk(len(decoded))
    x_mix = images[0] if mixed else None
    h_mix_rec = autoencoder.encode(x_mix) if needs.reencode and x_mix is not None else None
    x_mix2 = images[-1] if mixed2 else None
    return Resynthesis(x, h, x_rec, mixed, x_mix, h_mix_rec, labels, posterior, said, mixed2, x_mix2)


def told_of(
    labels: Int[Tensor, "batch *attributes"], labelled: Bool[Tensor, " batch"] | None, width: int
) -> Shaped[Tensor, "batch *label"]:
    """What the mixer is told of the labels: vectors that say nothing for those that are not `labelled`."""
    if labelled is None:
        return labels
    return torch.where(labelled[:, None], label_vectors(labels[None], width)[0], unknown(labels, width))


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


def own_mix(mixed: Mixed | None, batch: Shared) -> Mixed | None:
    """This process's part of the mixes."""
    if mixed is None:
        return None
    labels = None if mixed.labels is None else batch.local(mixed.labels)
    return Mixed(batch.local(mixed.h), batch.local(mixed.share, 1), labels)


def own_said(said: Said, batch: Shared) -> Said:
    """This process's part of what is said of the labels."""
    y_mix, labelled_mix = (None if found is None else batch.local(found) for found in (said.y_mix, said.labelled_mix))
    return Said(batch.local(said.y), batch.local(said.labelled), y_mix, labelled_mix)
