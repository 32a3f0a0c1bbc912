"""Whether adding a label's vector to a code gives an image with that label."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixzoo import Better, DataError, Dataset, FinishedRun, encode, eval_mode
from mixzoo_metrics.classifier import ClassifierSteps, check_has_labels, label_matrix, train_classifier
from mixzoo_metrics.source_mixes import decoded

BATCH = 256
Codes = Float[Tensor, "n *latent"]


@dataclass(frozen=True, kw_only=True)
class LabelArithmetic:
    """How often g(f(x) + v) has the label whose vector v is added (Larsen et al. 2016; Sainburg et al. 2018).

    v_a = mean of f(x) over train images with attribute a - mean over those without

    v_a is added to the codes of test images without a and subtracted from those with a. Between classes, v is the
    difference of their mean codes, from each class to the next. `accuracy` is how often a classifier trained on real
    images then predicts the new label, averaged over labels and directions; `before_accuracy` is the same for g(f(x)),
    which should not have that label.
    """

    better: ClassVar[Mapping[str, Better]] = {"accuracy": "more"}

    steps: ClassifierSteps = 400

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the data have no labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        predict = train_classifier(run, self.steps)
        width = run.data.build_context().label_width
        codes = {
            name: encode(run.autoencoder, getattr(run.data, name).images, run.device) for name in ("train", "test")
        }
        y = {name: label_matrix(getattr(run.data, name), width) > 0 for name in codes}
        shifts_of = _attribute_shifts if run.data.build_context().attributes else _class_shifts
        shifts = list(shifts_of(codes, y))
        if not shifts:
            raise DataError(f"{run.data.source}: no label has test images, and train images both with it and without")

        def rate(h: Codes, label: int, wanted: bool) -> float:
            predicted = [predict(decoded(run.autoencoder, part.to(run.device)))[:, label] for part in h.split(BATCH)]
            return (torch.cat(predicted).cpu() == wanted).double().mean().item()

        with eval_mode(run.autoencoder):
            after = [rate(h + v, label, wanted) for h, v, label, wanted in shifts]
            before = [rate(h, label, wanted) for h, _, label, wanted in shifts]
        return {"accuracy": sum(after) / len(after), "before_accuracy": sum(before) / len(before)}


class Shift(NamedTuple):
    """Codes of test images, and the vector that should give them a label or take it away."""

    h: Codes
    v: Float[Tensor, " *latent"]
    label: int
    wanted: bool  # whether g(h + v) should have the label


def _attribute_shifts(codes: Mapping[str, Codes], y: Mapping[str, Bool[Tensor, "n label"]]) -> Iterator[Shift]:
    for a in range(y["train"].shape[1]):
        has = y["train"][:, a]
        if has.all() or not has.any():
            continue
        v = codes["train"][has].mean(0) - codes["train"][~has].mean(0)
        for wanted in (True, False):
            h = codes["test"][y["test"][:, a] != wanted]
            if len(h):
                yield Shift(h, v if wanted else -v, a, wanted)


def _class_shifts(codes: Mapping[str, Codes], y: Mapping[str, Bool[Tensor, "n label"]]) -> Iterator[Shift]:
    classes = y["train"].shape[1]
    for c in range(classes):
        target = (c + 1) % classes
        h, here, there = codes["test"][y["test"][:, c]], y["train"][:, c], y["train"][:, target]
        if len(h) and here.any() and there.any():
            yield Shift(h, codes["train"][there].mean(0) - codes["train"][here].mean(0), target, True)
