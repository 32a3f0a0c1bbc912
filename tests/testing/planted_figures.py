"""Figures that are broken in one way each, and the check that must find it: bug, figure, check, words."""

import os
import random
from dataclasses import dataclass

import torch
from PIL import Image

from mixzoo import Animation, Block, ConfigError, Row, block_sheet, eval_mode


@dataclass(frozen=True)
class Rebuilt:
    """Reconstructions, a row for each run."""

    def __call__(self, runs, request):
        images = request.choose(3)
        rows = [Row("images", images.x)]
        for run in runs:
            with eval_mode(run.autoencoder):
                rows.append(Row(run.label, self.rebuilt(run, images.x)))
        return block_sheet([Block("", rows)], request.scale)

    def rebuilt(self, run, x):
        return run.autoencoder.decode(run.autoencoder.encode(x))


class CannotBeCalled:
    pass


class ReturnsATensor(Rebuilt):
    def __call__(self, runs, request):
        return request.choose(3).x


class HasNoFrames(Rebuilt):
    def __call__(self, runs, request):
        return Animation([])


class FramesDiffer(Rebuilt):
    def __call__(self, runs, request):
        return Animation([Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4))])


class DrawsByItself(Rebuilt):
    def rebuilt(self, run, x):
        return super().rebuilt(run, x) + torch.randn(1)


class HasItsOwnNoise(Rebuilt):
    def rebuilt(self, run, x):
        return super().rebuilt(run, x) + random.Random(os.urandom(8)).random()


class ShowsTheFirstRun(Rebuilt):
    def __call__(self, runs, request):
        return super().__call__(runs[:1], request)


class KeepsTheMode(Rebuilt):
    def __call__(self, runs, request):
        images = request.choose(3)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            rows = [Row(run.label, self.rebuilt(run, images.x)) for run in runs]
        return block_sheet([Block("", rows)])


class LeavesEvaluationMode(Rebuilt):
    def rebuilt(self, run, x):
        made = super().rebuilt(run, x)
        run.autoencoder.eval()
        return made

    def __call__(self, runs, request):
        made = super().__call__(runs, request)
        for run in runs:
            run.autoencoder.eval()
        return made


class WritesToTheImages(Rebuilt):
    def rebuilt(self, run, x):
        run.data.test.images[0] = 0
        return super().rebuilt(run, x)


class SetsMatplotlib(Rebuilt):
    def __call__(self, runs, request):
        import matplotlib

        matplotlib.rcParams["font.size"] = matplotlib.rcParams["font.size"] + 1
        return super().__call__(runs, request)


class ReadsWhatIsHeld(Rebuilt):
    def rebuilt(self, run, x):
        return super().rebuilt(run, run.data.test.held[:3] / 127.5 - 1)


class NeedsLabels(Rebuilt):
    def __call__(self, runs, request):
        assert request.choose(3).labels.sum() >= 0
        return super().__call__(runs, request)


class RefusesWithoutWords(Rebuilt):
    def check_run(self, run, request):
        if run.data.image_shape[0] == 3:
            raise ConfigError("")


class RefusesAll(Rebuilt):
    def check_run(self, run, request):
        raise ConfigError("no run is good enough")


PLANTED_FIGURES = [
    ("cannot be called", CannotBeCalled, "is_a_figure", "cannot be called with runs"),
    ("a tensor", ReturnsATensor, "is_a_figure", "returns a Tensor"),
    ("no frames", HasNoFrames, "is_a_figure", "has no frames"),
    ("frames of two sizes", FramesDiffer, "is_a_figure", "differ in size"),
    ("refuses every run", RefusesAll, "is_a_figure", "refuses runs of images"),
    ("global generator", DrawsByItself, "is_drawn_alike_again", "generator"),
    ("noise of its own", HasItsOwnNoise, "is_drawn_alike_again", "two figures of the same run differ"),
    ("one run only", ShowsTheFirstRun, "every_run_is_shown", "draw each of `runs`"),
    ("training mode", KeepsTheMode, "the_mode_does_not_matter", "evaluation mode"),
    ("mode is not restored", LeavesEvaluationMode, "the_run_is_left_unchanged", "mode is not restored"),
    ("writes to images", WritesToTheImages, "the_run_is_left_unchanged", "images"),
    ("matplotlib's settings", SetsMatplotlib, "leaves_the_process_as_it_was", "matplotlib's settings"),
    ("held images alone", ReadsWhatIsHeld, "streamed_data_look_the_same", "streamed data raise ValueError"),
    ("labels are needed", NeedsLabels, "unusual_runs_are_drawn_or_refused", "pictures without labels"),
    ("refuses without words", RefusesWithoutWords, "unusual_runs_are_drawn_or_refused", "has no message"),
]
