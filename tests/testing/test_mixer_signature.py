"""A part that is not a mixer fails one check, with the expected signature, and no other check runs."""

import re

import pytest
import torch
from planted import Learned, Weights
from torch import nn

from mixzoo.testing import check_part

pytestmark = pytest.mark.kit


class TakesNoLabels(Weights):
    def __call__(self, h, draw):
        return super().__call__(h, draw)


class TakesItsGeneratorAlone(Weights):
    def draw(self, rng):
        return torch.rand(3, generator=rng)


class TakesThemTheOtherWayRound(Weights):
    def draw(self, rng, shape):
        return super().draw(shape, rng)


class WantsProgress(Weights):
    def draw_at(self, shape, rng):
        return self.draw(shape, rng)


class ReturnsTheMixAlone(Weights):
    def __call__(self, h, draw, labels=None):
        return super().__call__(h, draw, labels).h


class ReturnsAPair(Weights):
    def __call__(self, h, draw, labels=None):
        return tuple(super().__call__(h, draw, labels)[:2])


class ForgetsToReturnItsDraw(Weights):
    def draw(self, shape, rng):
        super().draw(shape, rng)


class NumbersItsDraws(Weights):
    def draw(self, shape, rng):
        return {0: super().draw(shape, rng)}


class HasNoShare(Weights):
    def __call__(self, h, draw, labels=None):
        return super().__call__(h, draw, labels)._replace(share=None)


class HasAPointOfItsOwn(Weights):
    def at(self, point):
        return point


class Network(nn.Module):
    k = 2

    def draw(self, shape, rng):
        return torch.rand(2, shape.batch, generator=rng)

    def at(self, point, shape):
        return point

    def forward(self, h, draw):
        return h[0]


class BuildsNothing:
    def build(self, context):
        return None


class BuildsWithoutAContext:
    def build(self):
        return Weights()


CALL = r"expected __call__\(h, draw, labels=None\) -> Mixed\(h, share\), h \[batch, \*latent\], share \[k, batch, ...\]"
DRAW = r"expected draw\(shape, rng\) -> a Tensor, or a table of Tensors"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (TakesNoLabels(), rf"^the mixer has __call__\(h, draw\); {CALL}$"),
        (TakesItsGeneratorAlone(), rf"^the mixer has draw\(rng\); {DRAW}$"),
        (TakesThemTheOtherWayRound(), rf"^draw raised AttributeError: .*; {DRAW}$"),
        (
            WantsProgress(),
            r"^the mixer has draw_at\(shape, rng\); expected draw_at\(shape, rng, progress\) -> a Tensor",
        ),
        (ReturnsTheMixAlone(), rf"^__call__ returned .*\[3, 2, 5, 3\]; {CALL}$"),
        (ReturnsAPair(), rf"^__call__ returned \(.*\[3, 2, 5, 3\], .*\); {CALL}$"),
        (HasNoShare(), rf"^__call__ returned Mixed with share=None; {CALL}$"),
        (ForgetsToReturnItsDraw(), rf"^draw returned None; {DRAW}$"),
        (NumbersItsDraws(), rf"^draw returned a dict; {DRAW}$"),
        (HasAPointOfItsOwn(), r"^the mixer has at\(point\); expected at\(point, shape\) -> a draw$"),
        (Network(), rf"^the mixer has __call__\(h, draw\); {CALL}$"),
        (
            BuildsNothing(),
            r"^build raised PluginError: mixer 'BuildsNothing' is not a valid Mixer: it lacks .*; expected build\(",
        ),
        (BuildsWithoutAContext(), r"^the mixer has build\(\); expected build\(context\) -> a mixer$"),
        (Weights, r"^the part is the class Weights; pass an instance, Weights\(\)$"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_wrong_signature_is_one_failure_with_the_expected_signature(part, words):
    report = check_part(part, kind="mixer", effort="low", skip={})
    (outcome,) = report.outcomes
    assert outcome.check.name == "is_a_mixer"
    assert outcome.status == "failed"
    assert re.search(words, outcome.detail), outcome.detail


@pytest.mark.parametrize("part", [Weights(), Learned()])
def test_a_mixer_passes(part):
    from mixzoo.testing.mixer_signature import check_is_a_mixer

    check_is_a_mixer(part)
