"""Learned mixers with a bug: weights without a gradient or not saved, or a dependence on other examples."""

import torch
from planted import LabelWeights, Learned, planted
from torch import nn


def learned(*checks):
    """Plant a recipe that builds the class."""
    return planted(Learned, *checks)


@learned("gradient_reaches_every_weight")
class LearnsNothing(LabelWeights):
    """The share is computed without gradients."""

    def share(self, draw, labels, dtype):
        return super().share(draw, labels, dtype).detach()


@learned("gradient_reaches_every_weight")
class HasAnIdleWeight(LabelWeights):
    """An unused layer."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(2, 2)


@learned("weights_are_saved_whole")
class KeepsAWeightToItself(LabelWeights):
    """A tensor that is neither a parameter nor a buffer, so a resumed run has a different one."""

    def __init__(self):
        super().__init__()
        self.own = torch.randn(10)

    def share(self, draw, labels, dtype):
        weights = draw["base"].to(dtype) * (draw["learned"] * (self.score + self.own)[labels]).exp().to(dtype)
        return weights / weights.sum(0)


@learned("draw_is_tensors_on_the_cpu")
class DrawsWithItsWeights(LabelWeights):
    """The draw contains a function of the weights, with a gradient."""

    def draw(self, shape, rng):
        draw = super().draw(shape, rng)
        return {**draw, "learned": draw["learned"] * self.score.exp().sum() / self.score.exp().sum()}


@learned("examples_do_not_leak")
class ReadsTheNextLabel(LabelWeights):
    """The labels are rolled by one example."""

    def share(self, draw, labels, dtype):
        return super().share(draw, labels.roll(1, 1), dtype)


@learned("examples_do_not_leak")
class NormalisesByTheBatch(LabelWeights):
    """Scores are centred on the batch."""

    def share(self, draw, labels, dtype):
        score = self.score[labels]
        weights = draw["base"].to(dtype) * (draw["learned"] * (score - score.mean(1, keepdim=True) * score)).exp()
        return weights / weights.sum(0)


@learned("same_draw_same_mix", "uses_only_its_generator")
class DropsOut(LabelWeights):
    """Dropout inside __call__, which is randomness outside the draw."""

    def share(self, draw, labels, dtype):
        return super().share({**draw, "learned": nn.functional.dropout(draw["learned"], 0.5)}, labels, dtype)


@learned("aimed_labels_fit_the_batch")
class AimsAtTheWholeBatch(LabelWeights):
    """y_mix is summed over the batch."""

    def forward(self, h, draw, labels=None):
        mixed = super().forward(h, draw, labels)
        return mixed._replace(labels=mixed.labels.sum(0, keepdim=True).expand(h.shape[1] + 1, -1))


@learned("labels_do_not_matter")
class SaysNothingOfLabels(LabelWeights):
    """It reads labels but does not skip the check."""

    skipped_checks = {}  # noqa: RUF012
