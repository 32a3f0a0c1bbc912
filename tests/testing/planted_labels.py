"""Mixers whose y_mix is not the mean of the sources' labels, weighted by the share."""

import torch
from correct_mixers import AimsAtVectors
from planted import planted

from mixzoo.core.labels import label_vectors


def aims(*checks):
    return planted(AimsAtVectors, *checks)


class Broken(AimsAtVectors):
    """The twin with three sources and different target labels."""

    def __init__(self):
        super().__init__(k=3)


@aims("aimed_labels_at_a_corner")
class AimsAtTheNextSource(Broken):
    """Labels are rolled over the sources."""

    def aim(self, weights, labels):
        return super().aim(weights, labels.roll(1, 0))


@aims("aimed_labels_at_a_corner")
class AimsAtTheNextExample(Broken):
    """Labels are rolled over the batch."""

    def aim(self, weights, labels):
        return super().aim(weights, labels.roll(1, 1))


@aims("aimed_labels_at_a_corner")
class AimsAtTheMean(Broken):
    """Labels are averaged without weights."""

    def aim(self, weights, labels):
        return label_vectors(labels, self.classes).mean(0)


@aims("aimed_labels_at_a_corner")
class AimsAtTheFirstLabel(Broken):
    """y_mix is the label of the first source."""

    def aim(self, weights, labels):
        return label_vectors(labels, self.classes)[0]


@aims("aimed_labels_at_a_corner")
class MixesTheTwoNearest(Broken):
    """The label of the last source is left out and its weight is given to the others."""

    def aim(self, weights, labels):
        kept = weights[:-1] + weights[-1:] / 2
        return super().aim(kept, labels[:-1])


@aims("aimed_labels_follow_the_point")
class AimsAtTheLargest(Broken):
    """y_mix is the label of the source with the largest share."""

    def aim(self, weights, labels):
        most = torch.nn.functional.one_hot(weights.argmax(0), len(weights)).T
        return super().aim(most.to(weights.dtype), labels)


@aims("aimed_labels_lie_between")
class SquaresTheWeights(Broken):
    """Weights of labels are squared, and no longer sum to 1."""

    def aim(self, weights, labels):
        return super().aim(weights.square(), labels)


@aims("aimed_labels_lie_between", "aimed_labels_at_a_corner")
class AimsAtLogits(Broken):
    """y_mix is the logarithm of the right value."""

    def aim(self, weights, labels):
        return (super().aim(weights, labels) + 1e-3).log()


@aims("aimed_labels_lie_between")
class AddsUpUpToTwo(Broken):
    """y_mix is the label of the first source plus the mean of all."""

    def aim(self, weights, labels):
        moved = (weights[0] > 0).to(weights.dtype) * (weights[0] < 1)
        return super().aim(weights, labels) + moved[:, None] * label_vectors(labels, self.classes)[0]


@aims("aimed_labels_follow_the_point")
class AimsWithoutTheDraw(Broken):
    """y_mix depends on the point only in `at`; in training it is always the first label."""

    def aim(self, weights, labels):
        drawn = ((weights * 1000).round() - weights * 1000).abs().amax(0) > 1e-3
        thirds = (weights * 6 - (weights * 6).round()).abs().amax(0) < 1e-3
        first = label_vectors(labels, self.classes)[0]
        return torch.where((drawn & ~thirds)[:, None], first, super().aim(weights, labels))


@aims("aimed_labels_at_a_corner")
class TakesVectorsForClasses(Broken):
    """Label vectors are replaced by their argmax, so an unknown label becomes the first class."""

    def aim(self, weights, labels):
        return super().aim(weights, labels.argmax(-1) if labels.ndim > 2 else labels)


@aims("aimed_labels_at_a_corner")
class CutsLabelsToIntegers(Broken):
    """`labels.long()` of a vector: an unknown label, 1/10 for each class, becomes 0."""

    def aim(self, weights, labels):
        return super().aim(weights, labels.long())


@aims("aimed_labels_at_a_corner")
class LeavesOutWhatIsNotKnown(Broken):
    """Sources with an unknown label are left out of y_mix."""

    def aim(self, weights, labels):
        if labels.ndim > 2:
            weights = weights * (labels.amax(-1) > 0.9)
        return super().aim(weights, labels)


@aims("class_numbers_are_one_hot_vectors", "aimed_labels_at_a_corner")
class CountsVectorsFromOne(Broken):
    """Label vectors are shifted by one class."""

    def aim(self, weights, labels):
        return super().aim(weights, labels).roll(labels.ndim - 2, -1)


@aims("examples_do_not_leak", "aimed_labels_at_a_corner")
class AimsAtAPartOfTheBatch(Broken):
    """A tenth of y_mix is the mean of the batch."""

    def aim(self, weights, labels):
        y_mix = super().aim(weights, labels)
        return 0.9 * y_mix + 0.1 * y_mix.mean(0)


@aims("aimed_labels_fit_the_batch")
class HasAsManyClassesAsItSees(Broken):
    """y_mix has as many classes as the largest label of the batch."""

    def aim(self, weights, labels):
        return super().aim(weights, labels)[:, : int(labels.max()) + 1]
