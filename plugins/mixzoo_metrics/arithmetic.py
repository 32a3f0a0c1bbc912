"""Whether the vector of a label, added to a code, gives an image that has the label."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixzoo import DataError, Dataset, FinishedRun
from mixzoo.evaluation.codes import encode, eval_mode
from mixzoo_metrics.classifier import ClassifierSteps, check_has_labels, trained_classifier, truth

BATCH = 256
Codes = Float[Tensor, "n *latent"]


@dataclass(frozen=True, kw_only=True)
class LabelArithmetic:
    """How often g(f(x) + v) has the label whose vector is added (Larsen et al. 2016; Sainburg et al. 2018).

    v_a = mean of f(x) over train images with attribute a - mean over those without

    It is added to codes of test images without a, and taken from those with it. Between classes v is the difference of
    their mean codes, each class going to the next. `accuracy` is how often a classifier trained on real images then
    reads the other label, the mean over labels and ways; `before_accuracy` the same of g(f(x)), which should not have
    it.
    """

    steps: ClassifierSteps = 400

    def check_data(self, data: Dataset) -> None:
        """DataError for data without labels to tell apart."""
        check_has_labels(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        reads = trained_classifier(run, self.steps)
        width = run.data.build_context().label_width
        codes = {
            name: encode(run.autoencoder, getattr(run.data, name).images, run.device) for name in ("train", "test")
        }
        y = {name: truth(getattr(run.data, name), width) > 0 for name in codes}
        moves = list((_to_other_attributes if run.data.build_context().attributes else _to_next_class)(codes, y))
        if not moves:
            raise DataError(f"{run.data.source}: no label has test images, and train images both with it and without")

        def rate(h: Codes, label: int, wanted: bool) -> float:
            said = [reads(run.autoencoder.decode(some.to(run.device)))[:, label] for some in h.split(BATCH)]
            return (torch.cat(said).cpu() == wanted).double().mean().item()

        with eval_mode(run.autoencoder):
            after = [rate(h + v, label, wanted) for h, v, label, wanted in moves]
            before = [rate(h, label, wanted) for h, _, label, wanted in moves]
        return {"accuracy": sum(after) / len(after), "before_accuracy": sum(before) / len(before)}


Move = tuple[Codes, Tensor, int, bool]  # codes, what is added to them, the label, and whether they then should have it


def _to_other_attributes(codes: Mapping[str, Codes], y: Mapping[str, Bool[Tensor, "n label"]]) -> Iterator[Move]:
    for a in range(y["train"].shape[1]):
        has = y["train"][:, a]
        if has.all() or not has.any():
            continue
        v = codes["train"][has].mean(0) - codes["train"][~has].mean(0)
        for wanted in (True, False):
            h = codes["test"][y["test"][:, a] != wanted]
            if len(h):
                yield h, v if wanted else -v, a, wanted


def _to_next_class(codes: Mapping[str, Codes], y: Mapping[str, Bool[Tensor, "n label"]]) -> Iterator[Move]:
    classes = y["train"].shape[1]
    for c in range(classes):
        following = (c + 1) % classes
        h, here, there = codes["test"][y["test"][:, c]], y["train"][:, c], y["train"][:, following]
        if len(h) and here.any() and there.any():
            yield h, codes["train"][there].mean(0) - codes["train"][here].mean(0), following, True
