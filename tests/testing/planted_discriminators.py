"""Discriminators that are broken in one way each, and the check that must find it: bug, class, check, words."""

import torch
from correct_networks import PlainDiscriminator, WithLabelLogits, WithReconstruction
from planted_autoencoders import NoModule
from torch import nn

from mixzoo import Scores


class ReconstructsVectors(WithReconstruction):
    def reconstruction(self, x):
        return super().reconstruction(x).flatten(1)


class ReconstructsDoubles(WithReconstruction):
    def reconstruction(self, x):
        return super().reconstruction(x).double()


class ReconstructsManyAlone(WithReconstruction):
    def forward(self, x):
        return Scores(self.raw(x), reconstruction=self.reconstruction(x) if len(x) > 1 else None)


class ReconstructsTheMean(WithReconstruction):
    def reconstruction(self, x):
        return super().reconstruction(x - x.mean(0))


class GivesATensor(PlainDiscriminator):
    def forward(self, x):
        return self.raw(x)


class GivesAColumn(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x)[:, None])


class GivesOneForAll(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x).mean())


class GivesProbabilities(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x).sigmoid())


class GivesTanh(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x).tanh())


class GivesLogProbabilities(PlainDiscriminator):
    def forward(self, x):
        return Scores(nn.functional.logsigmoid(self.raw(x)))


class GivesNoNegative(PlainDiscriminator):
    def forward(self, x):
        return Scores(nn.functional.softplus(self.raw(x)))


class GivesDoubleScores(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x).double())


class ComparesTheBatch(PlainDiscriminator):
    """The standard deviation over the minibatch (Karras et al. 2018)."""

    def forward(self, x):
        deviation = x.std(0, unbiased=False).mean()
        return Scores(self.raw(x) + 10 * deviation)


class ScoresAllAlike(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x * 0))


class ScoresDetached(PlainDiscriminator):
    def forward(self, x):
        return Scores(self.raw(x.detach()))


class HeadOverTheBatch(WithLabelLogits):
    def label_logits(self, x):
        return super().label_logits(x).mean(0)


class HeadInHalves(WithLabelLogits):
    def label_logits(self, x):
        return super().label_logits(x)[:, : 1 + len(x)]


class HeadOfChoices(WithLabelLogits):
    def label_logits(self, x):
        return super().label_logits(x).round().long()


class HeadForManyAlone(WithLabelLogits):
    def forward(self, x):
        return Scores(self.raw(x), self.label_logits(x) if self.head is not None and len(x) > 1 else None)


class HeadCutOff(WithLabelLogits):
    def label_logits(self, x):
        return super().label_logits(x).detach()


class LeavesThreads(PlainDiscriminator):
    def forward(self, x):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().forward(x)


PLANTED_DISCRIMINATORS = [
    ("leaves threads", LeavesThreads, "leaves_the_process_as_it_was", "leaves torch's number of threads changed"),
    ("a tensor for Scores", GivesATensor, "is_a_discriminator", "a call returns a Tensor, expected mixzoo.Scores"),
    ("no nn.Module", NoModule, "is_a_discriminator", "expected a torch.nn.Module"),
    ("a column of scores", GivesAColumn, "every_image_gets_one_score", "one number per image"),
    ("one score for the batch", GivesOneForAll, "every_image_gets_one_score", r"logits has shape \[\] for"),
    ("scores in float64", GivesDoubleScores, "every_image_gets_one_score", "logits is torch.float64 for images"),
    ("a sigmoid at the end", GivesProbabilities, "scores_are_raw", "the mean logit above 1.5"),
    ("a tanh at the end", GivesTanh, "scores_are_raw", "leave out the last sigmoid, tanh or relu"),
    ("a log-sigmoid at the end", GivesLogProbabilities, "scores_are_raw", "the mean logit above 1.5"),
    ("a softplus at the end", GivesNoNegative, "scores_are_raw", "the mean logit below -1.5"),
    (
        "deviation over the minibatch",
        ComparesTheBatch,
        "images_do_not_meet_in_training",
        "the score .* depends on the other images",
    ),
    ("deviation over the minibatch", ComparesTheBatch, "images_do_not_meet_in_evaluation", "another score alone"),
    ("one score for all", ScoresAllAlike, "scores_tell_images_apart", "does D use its input"),
    ("images detached", ScoresDetached, "gradients_reach_the_images", "gradient of the score reaches the images"),
    (
        "attributes of the batch",
        HeadOverTheBatch,
        "label_logits_are_logits_of_each_image",
        r"label_logits has shape \[2\] for",
    ),
    (
        "attributes come and go",
        HeadInHalves,
        "label_logits_are_logits_of_each_image",
        r"has shape \[1, 2\] for 1 images and context.num_labels=5",
    ),
    ("attributes are choices", HeadOfChoices, "label_logits_are_logits_of_each_image", "int64, expected floating"),
    ("attributes of many alone", HeadForManyAlone, "label_logits_are_logits_of_each_image", "None for 1 images"),
    (
        "reconstructed as vectors",
        ReconstructsVectors,
        "reconstructions_have_the_size_of_images",
        r"reconstruction has shape \[",
    ),
    (
        "reconstructed in float64",
        ReconstructsDoubles,
        "reconstructions_have_the_size_of_images",
        "reconstruction is torch.float64 for images",
    ),
    (
        "reconstructed where many alone",
        ReconstructsManyAlone,
        "reconstructions_have_the_size_of_images",
        "None for 1 images",
    ),
    (
        "reconstructed with the others",
        ReconstructsTheMean,
        "images_do_not_meet_in_evaluation",
        "has another reconstruction alone",
    ),
    ("attributes cut off", HeadCutOff, "gradients_reach_the_images", "the label_logits is cut off"),
]
