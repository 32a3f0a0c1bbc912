"""Auto-encoders that are broken in one way each, and the check that must find it: bug, class, check, words."""

import torch
from correct_networks import PlainAutoEncoder, Variational
from planted_network_states import (
    BeginsFromNothing,
    BeginsFromNumpy,
    ChangesWithEachPass,
    CountsItsPasses,
    DrawsFromNumpy,
    DrawsFromTheClock,
    DropsOutInEvaluation,
    ForgetsInEvaluation,
    ForgetsItsMean,
    GrowsInTraining,
    KeepsATensorAside,
    SavesMoreThanTensors,
    SeedsItself,
    SwitchesToTraining,
)
from torch import nn


class StatesAnotherShape(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.latent_shape = self.latent_shape[::-1]


class StatesAList(PlainAutoEncoder):
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


class GivesDoubles(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x).double()

    def decode(self, h):
        return super().decode(h.float())


class DecodesDoubles(PlainAutoEncoder):
    def decode(self, h):
        return super().decode(h).double()


class SwapsHeightAndWidth(PlainAutoEncoder):
    def decode(self, h):
        return super().decode(h).transpose(2, 3)


class HasBatchNorm(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.norm = nn.BatchNorm2d(2)

    def encode(self, x):
        return self.norm(super().encode(x))


class CentresTheBatch(PlainAutoEncoder):
    def encode(self, x):
        h = super().encode(x)
        return h - h.mean(0)


class CentresTheCodes(PlainAutoEncoder):
    def decode(self, h):
        return super().decode(h - h.mean(0))


class DetachesItsCode(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x).detach()


class DetachesBeforeDecoding(PlainAutoEncoder):
    def decode(self, h):
        return super().decode(h.detach())


class DetachesTheImages(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x.detach())


class HasAnUnusedLayer(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.spare = nn.Linear(2, 2)


class HasASteepRoot(PlainAutoEncoder):
    def encode(self, x):
        h = super().encode(x)
        return h + (0 * h).sqrt()


class WritesToItsImages(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x if x.requires_grad else x.mul_(0.5))


class WritesToItsCodes(PlainAutoEncoder):
    def decode(self, h):
        return super().decode(h if h.requires_grad else h.relu_())


class DividesByDeviation(PlainAutoEncoder):
    def encode(self, x):
        return super().encode((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


class StaysInSinglePrecision(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x.float().to(self.f.weight.dtype)).float()

    def decode(self, h):
        return super().decode(h.to(self.g.weight.dtype))


class FailsAtOddSizes(PlainAutoEncoder):
    def __init__(self, context):
        nn.Module.__init__(self)
        channels, height, width = context.image_shape
        self.latent_shape = (2, height // 4, width // 4)
        self.f = nn.Conv2d(channels, 2, 4, stride=4)
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=4)


class RefusesWithoutWords(PlainAutoEncoder):
    def __init__(self, context):
        if context.image_shape[1] % 4:
            raise ValueError
        super().__init__(context)


class RefusesWithAnotherError(PlainAutoEncoder):
    def __init__(self, context):
        if context.image_shape[1] % 4:
            raise KeyError("height")
        super().__init__(context)


class RefusesEverything(PlainAutoEncoder):
    def __init__(self, context):
        raise ValueError("images must be of 299x299")


class CodesAllAlike(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x) * 0


class ImagesAllAlike(PlainAutoEncoder):
    def decode(self, h):
        return super().decode(h * 0)


class SqueezesOneImage(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x).squeeze(0)


class NormalisesOverTheBatchAlone(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.norm = nn.BatchNorm1d(2 * self.latent_shape[1] * self.latent_shape[2])

    def encode(self, x):
        return self.norm(super().encode(x).flatten(1)).unflatten(1, self.latent_shape)


def ending(name, end):
    """PlainAutoEncoder with `end` as its last layer."""
    return type(name, (PlainAutoEncoder,), {"decode": lambda self, h: end(PlainAutoEncoder.decode(self, h))})


NARROW_ENDS = [
    ("a sigmoid", ending("Sigmoid", torch.sigmoid), "0% of the pixels near -1"),
    ("a relu", ending("Relu", torch.relu), "0% of the pixels near -1"),
    ("a softplus", ending("Softplus", nn.functional.softplus), "0% of the pixels near -1"),
    ("half a tanh", ending("HalfTanh", lambda x: 0.5 * x.tanh()), "0% of the pixels near -1 .*median is -0.[45]"),
    ("a negative sigmoid", ending("NegativeSigmoid", lambda x: -x.sigmoid()), r"0% of the pixels near \+1"),
    ("a clamp", ending("Clamp", lambda x: x.clamp(-0.6, 0.6)), "0% of the pixels near -1"),
    ("a sigmoid of 255", ending("Bytes", lambda x: 255 * x.sigmoid()), "0% of the pixels near -1"),
]


class LeavesAnomalyMode(PlainAutoEncoder):
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
    """One standard deviation off the mean, in evaluation mode too."""

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
