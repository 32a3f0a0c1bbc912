"""What a decoded mix is if it is not what it should be: of a class that no source has, or a copy of a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixzoo import Better, DataError, Dataset, FinishedRun, batches, eval_mode
from mixzoo_metrics.classifier import ClassifierSteps, check_has_labels, label_matrix, train_classifier
from mixzoo_metrics.source_mixes import Mixes, OtherMixer, decoded, mixer_of, source_mixes

COPY = 0.1  # a mix nearer to a source than this part of the distance between sources is a copy of it


@dataclass(frozen=True, kw_only=True)
class ForeignClass:
    """How often a decoded mix has a class that none of its sources has, according to a classifier of real images.

    `mixes` is this rate over random mixes of test images; mixes whose sources have all classes between them do not
    count. For attributes, it is the rate at which an attribute that no source has is predicted. The other numbers show
    what it amounts to: `blends` is the rate of Σ αᵢ xᵢ, the same images mixed as images in the same proportions,
    `reconstructions` that of g(f(x)) and `real` that of x, both against the image's own label: the classifier's errors.
    """

    better: ClassVar[Mapping[str, Better]] = {"mixes": "less", "reconstructions": "less"}

    mixes: Mixes = 2000
    mixer: OtherMixer = None
    steps: ClassifierSteps = 400

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        predict, context = train_classifier(run, self.steps), run.data.build_context()
        has = label_matrix(run.data.test, context.label_width) > 0
        mixer = mixer_of(run, self.mixer, "foreign_class")
        found: dict[str, list[Tensor]] = {"mixes": [], "blends": [], "reconstructions": [], "real": []}

        def count(what: str, images: Tensor, own: Tensor) -> None:
            found[what].append(_foreign(predict(images).cpu(), own, bool(context.attributes)))

        with eval_mode(run.autoencoder):
            for batch in source_mixes(run, mixer, self.mixes):
                theirs = has[batch.chosen].any(0)
                count("mixes", batch.x_mix, theirs)
                count("blends", batch.blend(batch.x), theirs)
            start = 0
            for x in batches(run.data.test.images, run.device):
                own = has[start : start + len(x)]
                count("reconstructions", decoded(run.autoencoder, run.autoencoder.encode(x)), own)
                count("real", x, own)
                start += len(x)
        rates = {what: torch.cat(parts) for what, parts in found.items()}
        if not all(map(len, rates.values())):
            raise DataError(f"{run.data.source}: the sources of every mix have all labels, so none can be foreign")
        return {what: rate.double().mean().item() for what, rate in rates.items()}


def _foreign(
    predicted: Bool[Tensor, "batch label"], own: Bool[Tensor, "batch label"], attributes: bool
) -> Bool[Tensor, " scored"]:
    """Whether a label that is not among its own is predicted: for each attribute, or for each image that lacks one."""
    if attributes:
        return predicted[~own]
    return (predicted & ~own).any(1)[~own.all(1)]


@dataclass(frozen=True, kw_only=True)
class MixCopies:
    """Whether a decoded mix is just one of its sources.

        r = min_i ‖g(h_mix) - g(hᵢ)‖₂  /  mean over pairs i < j of ‖g(hᵢ) - g(hⱼ)‖₂

    `nearest_source` is the mean of r over random mixes of test images: 0 if each is decoded as one of its sources.
    `copies` is the fraction with r < 0.1. Sources are decoded too, so that errors of reconstruction do not count.
    `blends` is the mean of r for Σ αᵢ g(hᵢ), the same proportions of the decoded images, and `blend_copies` their
    fraction below 0.1: what a linear decoder would give. Mixes whose sources are all decoded alike have r = 0 if all
    mixes are such, and are left out otherwise.
    """

    better: ClassVar[Mapping[str, Better]] = {"nearest_source": "more", "copies": "less"}

    mixes: Mixes = 2000
    mixer: OtherMixer = None

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if there are no two test images to mix."""
        check_can_mix(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        mixer = mixer_of(run, self.mixer, "mix_copies")
        mixes, blends, apart = [], [], []
        with eval_mode(run.autoencoder):
            for batch in source_mixes(run, mixer, self.mixes):
                sources = decoded(run.autoencoder, batch.h.flatten(0, 1)).unflatten(0, batch.chosen.shape)
                pairs = [_distance(sources[i], sources[j]) for i, j in combinations(range(mixer.k), 2)]
                apart.append(torch.stack(pairs).mean(0))
                mixes.append(_distance(sources, batch.x_mix).amin(0))
                blends.append(_distance(sources, batch.blend(sources)).amin(0))
        scale = torch.cat(apart)
        differ = scale > 0
        if not differ.any():
            return {"nearest_source": 0.0, "copies": 1.0, "blends": 0.0, "blend_copies": 1.0}
        ratio, blended = (torch.cat(parts)[differ] / scale[differ] for parts in (mixes, blends))
        return {
            "nearest_source": ratio.mean().item(),
            "copies": (ratio < COPY).double().mean().item(),
            "blends": blended.mean().item(),
            "blend_copies": (blended < COPY).double().mean().item(),
        }


def check_can_mix(data: Dataset) -> None:
    """Raises DataError if there are no two test images to mix."""
    if len(data.test) < 2:
        raise DataError(f"{data.source}: {len(data.test)} test image, and a mix needs two")


def _distance(a: Float[Tensor, "*any"], b: Float[Tensor, "*some"]) -> Float[Tensor, "*pairs"]:
    """The Euclidean distance of images, the last three axes."""
    distance: Tensor = (a - b).double().flatten(-3).norm(dim=-1).cpu()
    return distance
