"""Metrics that are broken in one way each, and the check that must find it: bug, metric, check, words."""

import os
import random
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import encode, eval_mode


@dataclass(frozen=True)
class Spread:
    """The deviation of the codes of the test images."""

    def __call__(self, run):
        return {"spread": float(encode(run.autoencoder, run.data.test.images, run.device).std(unbiased=False))}


class CannotBeCalled:
    pass


class GivesOneNumber(Spread):
    def __call__(self, run):
        return super().__call__(run)["spread"]


class GivesNothing(Spread):
    def __call__(self, run):
        return {}


class GivesATensor(Spread):
    def __call__(self, run):
        return {"spread": torch.tensor(super().__call__(run)["spread"])}


class GivesNaN(Spread):
    def __call__(self, run):
        return {"spread": float("nan")}


class NamesInSentences(Spread):
    def __call__(self, run):
        return {"Spread of the codes": super().__call__(run)["spread"]}


class SaysLower(Spread):
    better = "lower"


class MisspellsAScore(Spread):
    better = {"spred": "less"}  # noqa: RUF012


class DrawsNoise(Spread):
    def __call__(self, run):
        return {"spread": super().__call__(run)["spread"] + float(torch.rand(()))}


class DrawsFromPython(Spread):
    def __call__(self, run):
        return {"spread": super().__call__(run)["spread"] + random.random()}


class ScoresInTraining(Spread):
    def __call__(self, run):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return {"spread": float(run.autoencoder.encode(to_images(run.data.test.images)).std())}


class LeavesEvaluation(Spread):
    def __call__(self, run):
        run.autoencoder.eval()
        return super().__call__(run)


class MovesBuffers(Spread):
    def __call__(self, run):
        run.autoencoder.f[1].running_mean.mul_(0.9)
        return super().__call__(run)


class LeavesGradients(Spread):
    def __call__(self, run):
        was_training = run.autoencoder.training
        x = to_images(run.data.test.images)
        run.autoencoder.eval().decode(run.autoencoder.encode(x)).sum().backward()
        run.autoencoder.train(was_training)
        return super().__call__(run)


class WritesToImages(Spread):
    def __call__(self, run):
        score = super().__call__(run)
        run.data.test.images.fill_(0)
        return score


class NeedsTwoImages(Spread):
    def __call__(self, run):
        with eval_mode(run.autoencoder):
            h = run.autoencoder.encode(to_images(run.data.test.images)).flatten(1)
        return {"nearest": float((h[0] - h[1]).norm())}


class DividesByOneLess(Spread):
    def __call__(self, run):
        codes = encode(run.autoencoder, run.data.test.images, run.device)[:, 0, 0, 0].numpy()
        return {"spread": float(((codes - codes.mean()) ** 2).sum() / np.float64(len(codes) - 1 or np.nan))}


class TakesImagesWhole(Spread):
    def __call__(self, run):
        return super().__call__(run) | {"brightness": float(run.data.test.images.float().mean())}


class ScoresTheFirstOfAStream(Spread):
    def __call__(self, run):
        images = run.data.test.images
        few = images if isinstance(images, torch.Tensor) else images.read(torch.arange(2))
        return {"spread": float(encode(run.autoencoder, few, run.device).std(unbiased=False))}


class RefusesWithoutWords(Spread):
    def __call__(self, run):
        if len(run.data.test) < 2:
            raise ValueError
        return super().__call__(run)


def leaving(name, change):
    """Spread, and then a change of the process."""

    def call(self, run):
        scores = Spread.__call__(self, run)
        change()
        return scores

    return type(name, (Spread,), {"__call__": call})


class DrawsByDropout(Spread):
    """It forgets to put the network in evaluation mode."""

    def __call__(self, run):
        with torch.no_grad():
            return {"spread": float(run.autoencoder.encode(to_images(run.data.test.images)).std())}


class TakesMore(Spread):
    def __call__(self, run, device):
        return {}


PROCESS = "leaves_the_process_as_it_was"
LEFT = [
    ("gradient mode", lambda: torch.set_grad_enabled(False), "torch's gradient mode"),
    ("default dtype", lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
    ("deterministic mode", lambda: torch.use_deterministic_algorithms(True), "torch's deterministic mode"),
    ("threads", lambda: torch.set_num_threads(torch.get_num_threads() + 1), "torch's number of threads"),
    ("precision", lambda: torch.set_float32_matmul_precision("medium"), "torch's precision of float32 products"),
    ("the folder", lambda: os.chdir("/"), "the working directory"),
    ("anomaly mode", lambda: torch.autograd.set_detect_anomaly(True), "torch's anomaly mode"),
    ("autocast", lambda: torch.set_autocast_enabled("cpu", True), "torch's autocast"),
    ("numpy's errors", lambda: np.seterr(all="ignore"), "NumPy's handling of floating-point errors"),
    ("warnings", lambda: warnings.simplefilter("ignore"), "the filters of warnings"),
    ("the environment", lambda: os.environ.update(TOKENIZERS="1"), "the environment variables"),
]
PLANTED_METRICS = [
    *(
        (f"leaves {what}", leaving(f"Leaves{i}", change), PROCESS, f"the metric leaves {words} changed")
        for i, (what, change, words) in enumerate(LEFT)
    ),
    ("draws by dropout", DrawsByDropout, "scores_repeat", "in training mode, .* `with mixzoo.eval_mode"),
    ("takes more", TakesMore, "is_a_metric", r"the metric raises TypeError.*expected __call__\(run\) -> {name: float}"),
    ("cannot be called", CannotBeCalled, "is_a_metric", "the metric cannot be called"),
    ("a number alone", GivesOneNumber, "is_a_metric", "the metric returns a float; expected"),
    ("no number", GivesNothing, "is_a_metric", "the metric returns no numbers"),
    ("a tensor", GivesATensor, "numbers_are_named_and_finite", "is a Tensor, expected a float"),
    ("a NaN", GivesNaN, "numbers_are_named_and_finite", "spread is nan"),
    ("a sentence for a name", NamesInSentences, "numbers_are_named_and_finite", "is not a valid name; use up to 40"),
    ("another word for less", SaysLower, "better_names_its_scores", '`better` is \'lower\'; expected .*"less", "more"'),
    ("a score that it lacks", MisspellsAScore, "better_names_its_scores", "names 'spred', which is none of .* spread"),
    ("torch's global generator", DrawsNoise, "scores_repeat", "the global generator of torch"),
    ("Python's global generator", DrawsFromPython, "scores_repeat", "two calls on one run differ"),
    ("training mode", ScoresInTraining, "the_mode_does_not_matter", "in evaluation mode; .*`with mixzoo.eval_mode"),
    (
        "leaves evaluation mode",
        LeavesEvaluation,
        "the_network_is_left_unchanged",
        "does not restore training mode",
    ),
    ("writes to a buffer", MovesBuffers, "the_network_is_left_unchanged", "changes 'f.1.running_mean'"),
    ("leaves gradients", LeavesGradients, "the_network_is_left_unchanged", "changes the gradients"),
    ("writes to images", WritesToImages, "the_data_are_left_unchanged", "writes to the test images in place"),
    ("needs two images", NeedsTwoImages, "few_images_are_enough_or_refused", "1 test image raise IndexError"),
    ("divides by n - 1", DividesByOneLess, "few_images_are_enough_or_refused", "is nan with 3 train images"),
    ("takes images whole", TakesImagesWhole, "streamed_data_score_the_same", "read images in batches, with mixzoo"),
    ("a part of a stream", ScoresTheFirstOfAStream, "streamed_data_score_the_same", "for the same data streamed"),
    ("refuses without words", RefusesWithoutWords, "few_images_are_enough_or_refused", "the ValueError has no message"),
]
