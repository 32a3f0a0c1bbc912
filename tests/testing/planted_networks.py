"""Auto-encoders and discriminators that are broken in one way each, and the check that must see it.

PLANTED_* is a table: what is broken, the network, the check, words of its message.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import dropout

from mixzoo import Scores


@dataclass(frozen=True)
class Recipe:
    """Builds the network of that class."""

    network: type

    def build(self, context):
        return self.network(context)


class Plain(nn.Module):
    """An auto-encoder with nothing wrong: one strided convolution each way."""

    def __init__(self, context):
        super().__init__()
        channels, height, width = context.image_shape
        if height % 4 or width % 4:
            raise ValueError(f"images of {height}x{width}: both sides must be multiples of 4")
        self.latent_shape = (2, height // 4, width // 4)
        self.f = nn.Conv2d(channels, 2, 4, stride=4)
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=4)

    def encode(self, x):
        return self.f(x)

    def decode(self, h):
        return self.g(h)


class FrozenDecoder(Plain):
    """Nothing wrong: an encoder for a decoder that stays as it is, such as one that was trained before."""

    def __init__(self, context):
        super().__init__(context)
        self.g.requires_grad_(False)


class Variational(Plain):
    """Another with nothing wrong: it has a posterior and draws from it in training."""

    def __init__(self, context):
        super().__init__(context)
        self.spread = nn.Conv2d(context.image_shape[0], 2, 4, stride=4)

    def posterior(self, x):
        return self.f(x), self.spread(x)

    def encode(self, x):
        mean, log_variance = self.posterior(x)
        return mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean


class StatesAnotherShape(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.latent_shape = self.latent_shape[::-1]


class StatesAList(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.latent_shape = list(self.latent_shape)


class CannotDecode(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.latent_shape = (2,)

    def encode(self, x):
        return x.flatten(1)[:, :2]


class NoModule:
    def __init__(self, context):
        self.latent_shape = context.image_shape


class GivesDoubles(Plain):
    def encode(self, x):
        return super().encode(x).double()

    def decode(self, h):
        return super().decode(h.float())


class DecodesDoubles(Plain):
    def decode(self, h):
        return super().decode(h).double()


class SwapsHeightAndWidth(Plain):
    def decode(self, h):
        return super().decode(h).transpose(2, 3)


class HasBatchNorm(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.norm = nn.BatchNorm2d(2)

    def encode(self, x):
        return self.norm(super().encode(x))


class CentresTheBatch(Plain):
    def encode(self, x):
        h = super().encode(x)
        return h - h.mean(0)


class CentresTheCodes(Plain):
    def decode(self, h):
        return super().decode(h - h.mean(0))


class DetachesItsCode(Plain):
    def encode(self, x):
        return super().encode(x).detach()


class DetachesBeforeDecoding(Plain):
    def decode(self, h):
        return super().decode(h.detach())


class DetachesTheImages(Plain):
    def encode(self, x):
        return super().encode(x.detach())


class HasAnUnusedLayer(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.spare = nn.Linear(2, 2)


class HasASteepRoot(Plain):
    def encode(self, x):
        h = super().encode(x)
        return h + (0 * h).sqrt()


class BeginsFromNumpy(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.f.weight.data.copy_(torch.from_numpy(np.random.randn(*self.f.weight.shape)))  # noqa: NPY002


class BeginsFromNothing(Plain):
    count = 0

    def __init__(self, context):
        super().__init__(context)
        type(self).count += 1
        nn.init.constant_(self.f.bias, float(self.count))


class SeedsItself(Plain):
    def __init__(self, context):
        torch.manual_seed(0)
        super().__init__(context)


class ForgetsInEvaluation(Plain):
    def train(self, mode=True):
        if not mode:
            self.f.weight.data.mul_(0.5)
        return super().train(mode)


class CountsItsPasses(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.register_buffer("passes", torch.zeros(()))

    def encode(self, x):
        self.passes += 1
        return super().encode(x)


class SwitchesToTraining(Plain):
    def encode(self, x):
        return self.train().f(x)


class DropsOutInEvaluation(Plain):
    def encode(self, x):
        return dropout(super().encode(x), 0.5)


class ChangesWithEachPass(Plain):
    passes = 0

    def encode(self, x):
        self.passes += 1
        return super().encode(x) + self.passes


class DrawsFromNumpy(Plain):
    def encode(self, x):
        return super().encode(x) * (float(np.random.rand()) if self.training else 1)  # noqa: NPY002


class DrawsFromTheClock(Plain):
    def encode(self, x):
        rng = torch.Generator()
        rng.seed()
        return super().encode(x) + (torch.rand((), generator=rng) if self.training else 0)


class KeepsATensorAside(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.scale = torch.rand(())

    def encode(self, x):
        return super().encode(x) * self.scale


class ForgetsItsMean(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def encode(self, x):
        if self.training:
            self.mean = self.mean + x.detach().mean()
        return super().encode(x) + self.mean


class SavesMoreThanTensors(Plain):
    def get_extra_state(self):
        return {"passes": 1}

    def set_extra_state(self, state):
        pass


class GrowsInTraining(Plain):
    def encode(self, x):
        if self.training:
            self.register_buffer("seen", x.detach().mean())
        return super().encode(x)


class WritesToItsImages(Plain):
    def encode(self, x):
        return super().encode(x if x.requires_grad else x.mul_(0.5))


class WritesToItsCodes(Plain):
    def decode(self, h):
        return super().decode(h if h.requires_grad else h.relu_())


class DividesByDeviation(Plain):
    def encode(self, x):
        return super().encode((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


class StaysInSinglePrecision(Plain):
    def encode(self, x):
        return super().encode(x.float().to(self.f.weight.dtype)).float()

    def decode(self, h):
        return super().decode(h.to(self.g.weight.dtype))


class FailsAtOddSizes(Plain):
    def __init__(self, context):
        nn.Module.__init__(self)
        channels, height, width = context.image_shape
        self.latent_shape = (2, height // 4, width // 4)
        self.f = nn.Conv2d(channels, 2, 4, stride=4)
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=4)


class RefusesWithoutWords(Plain):
    def __init__(self, context):
        if context.image_shape[1] % 4:
            raise ValueError
        super().__init__(context)


class RefusesWithAnotherError(Plain):
    def __init__(self, context):
        if context.image_shape[1] % 4:
            raise KeyError("height")
        super().__init__(context)


class RefusesEverything(Plain):
    def __init__(self, context):
        raise ValueError("images must be of 299x299")


class CodesAllAlike(Plain):
    def encode(self, x):
        return super().encode(x) * 0


class ImagesAllAlike(Plain):
    def decode(self, h):
        return super().decode(h * 0)


class SqueezesOneImage(Plain):
    def encode(self, x):
        return super().encode(x).squeeze(0)


class NormalisesOverTheBatchAlone(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.norm = nn.BatchNorm1d(2 * self.latent_shape[1] * self.latent_shape[2])

    def encode(self, x):
        return self.norm(super().encode(x).flatten(1)).unflatten(1, self.latent_shape)


def ending(name, end):
    """Plain, whose images go through `end`."""
    return type(name, (Plain,), {"decode": lambda self, h: end(Plain.decode(self, h))})


NARROW_ENDS = [
    ("a sigmoid", ending("Sigmoid", torch.sigmoid), "0% of the pixels near -1"),
    ("a relu", ending("Relu", torch.relu), "0% of the pixels near -1"),
    ("a softplus", ending("Softplus", nn.functional.softplus), "0% of the pixels near -1"),
    ("half a tanh", ending("HalfTanh", lambda x: 0.5 * x.tanh()), "0% of the pixels near -1 .*median is -0.[45]"),
    ("a negative sigmoid", ending("NegativeSigmoid", lambda x: -x.sigmoid()), r"0% of the pixels near \+1"),
    ("a clamp", ending("Clamp", lambda x: x.clamp(-0.6, 0.6)), "0% of the pixels near -1"),
    ("a sigmoid of 255", ending("Bytes", lambda x: 255 * x.sigmoid()), "0% of the pixels near -1"),
]


class LeavesAnomalyMode(Plain):
    def encode(self, x):
        torch.autograd.set_detect_anomaly(True)
        return super().encode(x)


class HasAFlatPosterior(Variational):
    def posterior(self, x):
        return tuple(part.flatten(1) for part in (self.f(x), self.spread(x)))

    def encode(self, x):
        return self.f(x)


class HasAPosteriorOfOne(Variational):
    def posterior(self, x):
        return self.f(x)

    def encode(self, x):
        return self.f(x)


class HasAnInfiniteVariance(Variational):
    def posterior(self, x):
        return self.f(x), self.spread(x).sub(100).exp().log().mul(float("inf"))


class EncodesBesideTheMean(Variational):
    """One deviation off the mean, in evaluation too."""

    def encode(self, x):
        mean, log_variance = self.posterior(x)
        return mean + (log_variance / 2).exp()


class SwapsMeanAndVariance(Variational):
    def posterior(self, x):
        return self.spread(x), self.f(x)

    def encode(self, x):
        return self.f(x)


PLANTED_AUTOENCODERS = [
    *((f"ends in {bug}", network, "pixels_reach_both_ends", words) for bug, network, words in NARROW_ENDS),
    ("leaves anomaly mode", LeavesAnomalyMode, "leaves_the_process_as_it_was", "leaves torch's anomaly mode changed"),
    ("latent_shape in reverse", StatesAnotherShape, "codes_have_the_stated_shape", "expected .* by latent_shape="),
    ("codes in float64", GivesDoubles, "codes_have_the_stated_shape", "encode returns torch.float64 for images in"),
    ("latent_shape is a list", StatesAList, "is_an_auto_encoder", "must be a tuple of positive ints"),
    ("no decode", CannotDecode, "is_an_auto_encoder", "has no decode"),
    ("no nn.Module", NoModule, "is_an_auto_encoder", "expected a torch.nn.Module"),
    (
        "height and width swapped",
        SwapsHeightAndWidth,
        "images_come_back_at_their_size",
        "reconstructed as .* are two axes swapped",
    ),
    ("images come back in float64", DecodesDoubles, "images_come_back_at_their_size", "reconstructed in torch.float64"),
    ("batch norm", HasBatchNorm, "images_do_not_meet_in_training", "as with BatchNorm"),
    ("minus the mean of the batch", CentresTheBatch, "images_do_not_meet_in_evaluation", "alone than in its batch"),
    ("minus the mean of the codes", CentresTheCodes, "codes_do_not_meet", "give other images than alone"),
    ("detached code", DetachesItsCode, "gradients_reach_every_parameter", r"reaches f.weight, f.bias \(2 of 4"),
    ("a layer that is not used", HasAnUnusedLayer, "gradients_reach_every_parameter", "spare.weight.*remove unused"),
    ("a root at 0", HasASteepRoot, "gradients_reach_every_parameter", "NaN or infinite before training"),
    ("codes detached before decoding", DetachesBeforeDecoding, "gradients_reach_the_codes", "a decoded image reaches"),
    ("images detached", DetachesTheImages, "gradients_reach_the_images", "gradient of the code reaches the images"),
    ("code cut off", DetachesItsCode, "gradients_reach_the_images", "the code is cut off from the graph"),
    ("weights from numpy", BeginsFromNumpy, "same_seed_builds_the_same_weights", "generator of numpy"),
    ("weights from a counter", BeginsFromNothing, "same_seed_builds_the_same_weights", "differ in 'f.bias'"),
    ("seeds inside build", SeedsItself, "another_seed_builds_other_weights", "do not seed inside build"),
    ("eval() changes weights", ForgetsInEvaluation, "changing_mode_changes_no_state", "changes 'f.weight'"),
    ("counts passes in evaluation", CountsItsPasses, "evaluation_changes_no_state", "changes 'passes'"),
    ("switches to training", SwitchesToTraining, "evaluation_changes_no_state", "switches the network to training"),
    ("dropout in evaluation", DropsOutInEvaluation, "evaluation_repeats", "the global generator of torch"),
    ("another code at each pass", ChangesWithEachPass, "evaluation_repeats", "differ in the code"),
    ("numpy's generator in training", DrawsFromNumpy, "training_repeats_from_the_seed", "generator of numpy"),
    ("the clock in training", DrawsFromTheClock, "training_repeats_from_the_seed", "after the same torch seed differ"),
    ("state in a plain tensor", KeepsATensorAside, "checkpoint_brings_it_back", "state is not in state_dict"),
    ("a buffer that is not saved", ForgetsItsMean, "checkpoint_brings_it_back", "make it a parameter or a persistent"),
    (
        "state that is no tensor",
        SavesMoreThanTensors,
        "checkpoint_brings_it_back",
        "'_extra_state', .* not a tensor",
    ),
    ("state that grows", GrowsInTraining, "checkpoint_brings_it_back", "does not fit a newly built network: .*seen"),
    ("writes to the images", WritesToItsImages, "images_are_left_unchanged", "writes to its images in place"),
    ("writes to the codes", WritesToItsCodes, "codes_are_left_unchanged", "writes to its codes in place"),
    ("divides by a deviation of 0", DividesByDeviation, "extreme_images_give_finite_results", "that is black is NaN"),
    ("cast to float32", StaysInSinglePrecision, "float64_works", "float64 images is torch.float32"),
    (
        "fails late at odd sizes",
        FailsAtOddSizes,
        "odd_sizes_are_refused_in_words",
        "images of 1x1: build.. succeeds, but",
    ),
    ("refuses without words", RefusesWithoutWords, "odd_sizes_are_refused_in_words", "the ValueError has no message"),
    ("refuses with a KeyError", RefusesWithAnotherError, "odd_sizes_are_refused_in_words", "build.. raises KeyError"),
    ("refuses every size", RefusesEverything, "codes_have_the_stated_shape", "rejects all .* sizes .* of 299x299"),
    ("one code for all images", CodesAllAlike, "codes_tell_images_apart", "does encode use its input"),
    ("one image for all codes", ImagesAllAlike, "codes_tell_images_apart", "does decode use its input"),
    ("squeeze of one image", SqueezesOneImage, "one_image_is_a_batch", "the code has shape .*, expected .1, 2"),
    (
        "statistics of one image",
        NormalisesOverTheBatchAlone,
        "one_image_is_a_batch",
        "in training mode: .*than 1",
    ),
    ("posterior is flat", HasAFlatPosterior, "posterior_has_the_codes_shape", "mean has shape .*, expected"),
    (
        "posterior is one tensor",
        HasAPosteriorOfOne,
        "posterior_has_the_codes_shape",
        "a Tensor, expected .mean, log_variance",
    ),
    (
        "a code beside the mean",
        EncodesBesideTheMean,
        "code_is_the_mean_of_the_posterior",
        "is not the mean of posterior",
    ),
    (
        "log-variance for a code",
        SwapsMeanAndVariance,
        "code_is_the_mean_of_the_posterior",
        "let encode return the mean",
    ),
    ("posterior is infinite", HasAnInfiniteVariance, "posterior_has_the_codes_shape", "log_variance is NaN"),
]


class Judge(nn.Module):
    """A discriminator with nothing wrong."""

    def __init__(self, context):
        super().__init__()
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * context.image_shape[0], 1))

    def raw(self, x):
        return self.net(x)[:, 0]

    def forward(self, x):
        return Scores(self.raw(x))


class Attributer(Judge):
    """Another with nothing wrong: it has an attribute head."""

    def __init__(self, context):
        super().__init__(context)
        self.head = nn.Linear(16 * context.image_shape[0], context.num_labels) if context.num_labels else None

    def label_logits(self, x):
        return self.head(self.net[:2](x))

    def forward(self, x):
        return Scores(self.raw(x), None if self.head is None else self.label_logits(x))


class Redrawer(Judge):
    """Another with nothing wrong: it is an auto-encoder."""

    def __init__(self, context):
        super().__init__(context)
        self.body = Plain(context)

    def reconstruction(self, x):
        return self.body.decode(self.body.encode(x))

    def forward(self, x):
        return Scores(self.raw(x), reconstruction=self.reconstruction(x))


class RedrawsVectors(Redrawer):
    def reconstruction(self, x):
        return super().reconstruction(x).flatten(1)


class RedrawsDoubles(Redrawer):
    def reconstruction(self, x):
        return super().reconstruction(x).double()


class RedrawsManyAlone(Redrawer):
    def forward(self, x):
        return Scores(self.raw(x), reconstruction=self.reconstruction(x) if len(x) > 1 else None)


class RedrawsTheMean(Redrawer):
    def reconstruction(self, x):
        return super().reconstruction(x - x.mean(0))


class GivesATensor(Judge):
    def forward(self, x):
        return self.raw(x)


class GivesAColumn(Judge):
    def forward(self, x):
        return Scores(self.raw(x)[:, None])


class GivesOneForAll(Judge):
    def forward(self, x):
        return Scores(self.raw(x).mean())


class GivesProbabilities(Judge):
    def forward(self, x):
        return Scores(self.raw(x).sigmoid())


class GivesTanh(Judge):
    def forward(self, x):
        return Scores(self.raw(x).tanh())


class GivesLogProbabilities(Judge):
    def forward(self, x):
        return Scores(nn.functional.logsigmoid(self.raw(x)))


class GivesNoNegative(Judge):
    def forward(self, x):
        return Scores(nn.functional.softplus(self.raw(x)))


class GivesDoubleScores(Judge):
    def forward(self, x):
        return Scores(self.raw(x).double())


class ComparesTheBatch(Judge):
    """A deviation over the minibatch, as Karras et al. 2018 have it."""

    def forward(self, x):
        deviation = x.std(0, unbiased=False).mean()
        return Scores(self.raw(x) + 10 * deviation)


class ScoresAllAlike(Judge):
    def forward(self, x):
        return Scores(self.raw(x * 0))


class ScoresDetached(Judge):
    def forward(self, x):
        return Scores(self.raw(x.detach()))


class HeadOverTheBatch(Attributer):
    def label_logits(self, x):
        return super().label_logits(x).mean(0)


class HeadInHalves(Attributer):
    def label_logits(self, x):
        return super().label_logits(x)[:, : 1 + len(x)]


class HeadOfChoices(Attributer):
    def label_logits(self, x):
        return super().label_logits(x).round().long()


class HeadForManyAlone(Attributer):
    def forward(self, x):
        return Scores(self.raw(x), self.label_logits(x) if self.head is not None and len(x) > 1 else None)


class HeadCutOff(Attributer):
    def label_logits(self, x):
        return super().label_logits(x).detach()


class LeavesThreads(Judge):
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
    ("redrawn as vectors", RedrawsVectors, "reconstructions_have_the_size_of_images", r"reconstruction has shape \["),
    (
        "redrawn in float64",
        RedrawsDoubles,
        "reconstructions_have_the_size_of_images",
        "reconstruction is torch.float64 for images",
    ),
    ("redrawn where many alone", RedrawsManyAlone, "reconstructions_have_the_size_of_images", "None for 1 images"),
    ("redrawn with the others", RedrawsTheMean, "images_do_not_meet_in_evaluation", "has another reconstruction alone"),
    ("attributes cut off", HeadCutOff, "gradients_reach_the_images", "the label_logits is cut off"),
]
