"""Whether decoded mixes have the labels that the mixer aimed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from mixzoo import (
    Better,
    CodeShape,
    DataError,
    Dataset,
    FinishedRun,
    batches,
    dirichlet,
    encode,
    eval_mode,
    label_vectors,
    rng_for,
    to_device,
)
from mixzoo_metrics.classifier import ClassifierSteps, check_has_labels, label_matrix, train_classifier
from mixzoo_metrics.source_mixes import decoded

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class ConditionedLabels:
    """How often decoded mixes have the label ỹ_mix they aim at, according to a classifier trained on real images.

    ỹ_mix = Σᵢ αᵢ yᵢ of k random test images. A mix should have the attributes with more than 1/2 in ỹ_mix, or the class
    with the most. α is the mixer's own if it aims at labels; otherwise it is drawn independently from
    Dirichlet(1, …, 1), so that the score is that of no conditioning. Only labels on which the k sources disagree count,
    since a mix has the others anyway. `chance_accuracy` is the score of the labels of the first source.
    `reconstruction_accuracy` and `classifier_accuracy` are those of the classifier on all labels of reconstructed and
    of real test images, as upper limits.
    """

    better: ClassVar[Mapping[str, Better]] = {"accuracy": "more", "reconstruction_accuracy": "more"}

    mixes: Annotated[int, Ge(1), "decoded mixes to score"] = 1000
    steps: ClassifierSteps = 400

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        predict = train_classifier(run, self.steps)
        width, test = run.data.build_context().label_width, run.data.test
        y, codes = label_matrix(test, width), encode(run.autoencoder, test.images, run.device)
        hits, guesses = [], []
        with eval_mode(run.autoencoder):
            for start in range(0, self.mixes, BATCH):
                chosen = self._sources(run, start, len(test))
                wanted, images = _mix(run, codes[chosen], test.labels[chosen], start)
                differs = (y[chosen] != y[chosen][:1]).any(0)  # [batch label]
                hits.append(_agreement(predict(images).cpu(), wanted, differs, run))
                guesses.append(_agreement(y[chosen][0] > 0, wanted, differs, run))
            rebuilt = [predict(decoded(run.autoencoder, h.to(run.device))).cpu() for h in codes.split(BATCH)]
        real = [predict(x).cpu() for x in batches(test.images, run.device)]
        scored = torch.cat(hits)
        if not len(scored):
            raise DataError(f"{run.data.source}: no two test images have different labels")
        return {
            "accuracy": scored.double().mean().item(),
            "chance_accuracy": torch.cat(guesses).double().mean().item(),
            "reconstruction_accuracy": _all_labels(torch.cat(rebuilt), y, run),
            "classifier_accuracy": _all_labels(torch.cat(real), y, run),
        }

    def _sources(self, run: FinishedRun, start: int, images: int) -> Tensor:
        """Indices of test images, [k batch]."""
        rng = rng_for(run.seed, "conditioned_labels/sources", start)
        return torch.randint(images, (run.mixer.k, min(BATCH, self.mixes - start)), generator=rng)


def _mix(
    run: FinishedRun, h: Float[Tensor, "k batch *latent"], labels: Tensor, start: int
) -> tuple[Bool[Tensor, "batch label"], Float[Tensor, "batch channels height width"]]:
    """The labels that mixes of these codes should have, and the decoded mixes."""
    context = run.data.build_context()
    shape = CodeShape(h.shape[1], tuple(h.shape[2:]))
    draw = run.mixer.draw(shape, rng_for(run.seed, "conditioned_labels/mix", start))
    mixed = run.mixer(h.to(run.device), to_device(draw, torch.device(run.device)), labels.to(run.device))
    y_mix = mixed.labels
    if y_mix is None:
        alpha = dirichlet((len(h), shape.batch), 1.0, rng_for(run.seed, "conditioned_labels/alpha", start))
        y_mix = (alpha[..., None] * label_vectors(labels, context.label_width)).sum(0)
    y_mix = y_mix.cpu()
    wanted = y_mix > 0.5 if context.attributes else y_mix == y_mix.amax(1, keepdim=True)
    return wanted, decoded(run.autoencoder, mixed.h)


def _agreement(
    predicted: Bool[Tensor, "batch label"],
    wanted: Bool[Tensor, "batch label"],
    differs: Bool[Tensor, "batch label"],
    run: FinishedRun,
) -> Bool[Tensor, " scored"]:
    """Whether predictions are as wanted: for each attribute on which the sources differ, or for each image's class."""
    if run.data.build_context().attributes:
        return (predicted == wanted)[differs]
    return (predicted == wanted).all(1)[differs.any(1)]


def _all_labels(predicted: Bool[Tensor, "n label"], y: Float[Tensor, "n label"], run: FinishedRun) -> float:
    """The mean accuracy of predictions, over attributes and images, or over images for classes."""
    right = predicted == (y > 0)
    return (right if run.data.build_context().attributes else right.all(1)).double().mean().item()
