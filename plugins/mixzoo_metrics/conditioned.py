"""Scores of labels: whether decoded mixes have the label that they should, and whether label vectors steer codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from mixzoo import CodeShape, DataError, Dataset, FinishedRun
from mixzoo.draws import rng_for, to_device
from mixzoo.evaluation.codes import batches, encode, eval_mode
from mixzoo.mixing import label_vectors
from mixzoo_metrics.classifier import ClassifierSteps, check_has_labels, trained_classifier, truth

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class ConditionedLabels:
    """How often decoded mixes have the label ỹ_mix that they were to have, read by a classifier trained on real images.

    ỹ_mix = Σᵢ αᵢ yᵢ of k random test images; a label counts as asked for where its part of ỹ_mix is more than 1/2, or
    is the largest of classes. α is the mixer's own where it aims at labels; for another mixer, which does not know
    of it, α is drawn beside from Dirichlet(1, …, 1), so that its score is what no conditioning gives. Scored are the
    labels over which the k sources are not at one: what they agree on a mix has anyway. `chance` is the score of one
    source's label, any, in place of the mix. `reconstruction_accuracy` and `classifier_accuracy` are the classifier's,
    on all labels of reconstructed and of real test images: what the score could come to.
    """

    mixes: Annotated[int, Ge(1), "decoded mixes to score"] = 1000
    steps: ClassifierSteps = 400

    def check_data(self, data: Dataset) -> None:
        """DataError for data without labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        reads = trained_classifier(run, self.steps)
        width, test = run.data.build_context().label_width, run.data.test
        y, codes = truth(test, width), encode(run.autoencoder, test.images, run.device)
        hits, guesses = [], []
        with eval_mode(run.autoencoder):
            for start in range(0, self.mixes, BATCH):
                chosen = self._sources(run, start, len(test))
                asked, images = _mixed(run, codes[chosen], test.labels[chosen], start)
                apart = (y[chosen] != y[chosen][:1]).any(0)  # [batch label]
                hits.append(_agreement(reads(images).cpu(), asked, apart, run))
                guesses.append(_agreement(y[chosen][0] > 0, asked, apart, run))
            said = [reads(run.autoencoder.decode(h.to(run.device))).cpu() for h in codes.split(BATCH)]
        real = [reads(x).cpu() for x in batches(test.images, run.device)]
        scored = torch.cat(hits)
        if not len(scored):
            raise DataError(f"{run.data.source}: no two test images have different labels")
        return {
            "accuracy": scored.double().mean().item(),
            "chance_accuracy": torch.cat(guesses).double().mean().item(),
            "reconstruction_accuracy": _all_labels(torch.cat(said), y, run),
            "classifier_accuracy": _all_labels(torch.cat(real), y, run),
        }

    def _sources(self, run: FinishedRun, start: int, images: int) -> Tensor:
        """Numbers of test images, [k batch]."""
        rng = rng_for(run.seed, "conditioned_labels/sources", start)
        return torch.randint(images, (run.mixer.k, min(BATCH, self.mixes - start)), generator=rng)


def _mixed(
    run: FinishedRun, h: Float[Tensor, "k batch *latent"], labels: Tensor, start: int
) -> tuple[Bool[Tensor, "batch label"], Float[Tensor, "batch channels height width"]]:
    """The labels asked of mixes of these codes, and the decoded mixes."""
    context = run.data.build_context()
    shape = CodeShape(h.shape[1], tuple(h.shape[2:]))
    draw = run.mixer.draw(shape, rng_for(run.seed, "conditioned_labels/mix", start))
    mixed = run.mixer(h.to(run.device), to_device(draw, torch.device(run.device)), labels.to(run.device))
    y_mix = mixed.labels
    if y_mix is None:
        e = torch.empty(len(h), shape.batch).exponential_(
            generator=rng_for(run.seed, "conditioned_labels/alpha", start)
        )
        y_mix = ((e / e.sum(0))[..., None] * label_vectors(labels, context.label_width)).sum(0)
    y_mix = y_mix.cpu()
    asked = y_mix > 0.5 if context.attributes else y_mix == y_mix.amax(1, keepdim=True)
    return asked, run.autoencoder.decode(mixed.h)


def _agreement(
    said: Bool[Tensor, "batch label"], asked: Bool[Tensor, "batch label"], apart: Bool[Tensor, "batch label"],
    run: FinishedRun,
) -> Bool[Tensor, " scored"]:  # fmt: skip
    """Of each label over which the sources differ, whether it is as asked; of classes, one answer an image."""
    if run.data.build_context().attributes:
        return (said == asked)[apart]
    return (said == asked).all(1)[apart.any(1)]


def _all_labels(said: Bool[Tensor, "n label"], y: Float[Tensor, "n label"], run: FinishedRun) -> float:
    right = said == (y > 0)
    return (right if run.data.build_context().attributes else right.all(1)).double().mean().item()
