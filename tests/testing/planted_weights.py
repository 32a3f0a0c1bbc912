"""Mixers with weights whose __call__, share or `at` is wrong."""

from dataclasses import dataclass

import numpy as np
import torch
from planted import Weights, planted

from mixzoo import Mixed


class Broken(Weights):
    """The twin with one method replaced."""


def mixed(h, share):
    return Mixed((share.to(h.dtype) * h).sum(0), share.to(h.dtype))


@planted(Weights, "equal_sources_come_back", "share_is_used")
class KeepsOnlyTheLastSource(Broken):
    """`=` for `+=` in the loop over sources (AMR's k-way mixers)."""

    def __call__(self, h, draw, labels=None):
        for share, source in zip(draw.to(h.dtype), h):
            total = share * source
        return Mixed(total, draw.to(h.dtype))


@planted(Weights, "share_is_used")
class ReportsAnotherShare(Broken):
    """The reported share has another order of sources than the one that was used."""

    def __call__(self, h, draw, labels=None):
        return mixed(h, draw)._replace(share=draw.to(h.dtype).flip(0))


@planted(Weights, "shares_are_on_the_simplex", "moves_with_shift_and_scale")
class ClampsTheShare(Broken):
    """The share is clamped away from 0 and 1 and not normalised again."""

    def __call__(self, h, draw, labels=None):
        return mixed(h, draw.clamp(0.1, 0.9))


@planted(Weights, "leaves_sources_unchanged")
class WritesToItsSources(Broken):
    """Multiplies in place to save memory."""

    def __call__(self, h, draw, labels=None):
        h *= draw.to(h.dtype)
        return Mixed(h.sum(0), draw.to(h.dtype))


@planted(Weights, "leaves_its_draw_unchanged")
class WritesToItsDraw(Broken):
    """Normalises the draw in place, so using it again gives another result."""

    def __call__(self, h, draw, labels=None):
        draw.div_(draw.sum(0) + 1e-6)
        return mixed(h, draw / draw.sum(0))


@planted(Weights, "gradient_is_share", "gradient_reaches_every_source")
class DetachesTheMix(Broken):
    """No gradient reaches the encoder."""

    def __call__(self, h, draw, labels=None):
        return mixed(h.detach(), draw)


@planted(Weights, "gradient_is_share", "gradient_reaches_every_source")
class DetachesTheLastSource(Broken):
    """The gradient is stopped on the partner."""

    def __call__(self, h, draw, labels=None):
        return mixed(torch.cat([h[:-1], h[-1:].detach()]), draw)


@planted(Weights, "result_aliases_no_source")
class ReturnsASourceItself(Broken):
    """At the first corner it returns the source itself."""

    def __call__(self, h, draw, labels=None):
        if (draw[0] == 1).all():
            return Mixed(h[0], draw.to(h.dtype))
        return mixed(h, draw)


@planted(Weights, "keeps_shape_and_dtype")
class PromotesToFloat64(Broken):
    """Mixes in float64 and does not cast back."""

    def __call__(self, h, draw, labels=None):
        return mixed(h.double(), draw)


@planted(Weights, "share_fits_the_codes")
class LeavesTheShareInFloat32(Broken):
    """The share is in float32 whatever the codes are."""

    def __call__(self, h, draw, labels=None):
        return mixed(h, draw)._replace(share=draw)


@planted(Weights, "precision_changes_only_rounding", "share_is_used")
class RoundsToHalf(Broken):
    """Mixes float32 codes in half precision and casts back."""

    def __call__(self, h, draw, labels=None):
        half = mixed(h if h.dtype == torch.float64 else h.half(), draw)
        return Mixed(half.h.to(h.dtype), draw.to(h.dtype))


@planted(Weights, "examples_do_not_leak", "share_is_used")
class MixesWithTheNextExample(Broken):
    """Rolls the partners once more inside the call."""

    def __call__(self, h, draw, labels=None):
        return mixed(torch.cat([h[:1], h[1:].roll(1, 1)]), draw)


@planted(Weights, "examples_do_not_leak", "batch_permutes")
class CentresOnTheBatch(Broken):
    """Subtracts a little of the batch mean from every example but the first."""

    def __call__(self, h, draw, labels=None):
        found = mixed(h, draw)
        away = found.h.mean(0) * 0.1
        return found._replace(h=torch.cat([found.h[:1], found.h[1:] - away]))


@planted(Weights, "batch_permutes")
class FavoursTheFirstExample(Broken):
    """The first example of the batch is left as it is."""

    def __call__(self, h, draw, labels=None):
        share = draw.clone()
        share[:, 0] = 0
        share[0, 0] = 1
        return mixed(h, share)


@planted(Weights, "sources_may_change_places")
class FavoursTheFirstSource(Broken):
    """Squares only the weight of the first source, and normalises."""

    def __call__(self, h, draw, labels=None):
        share = torch.cat([draw[:1] ** 2, draw[1:]])
        return mixed(h, share / share.sum(0))


@planted(Weights, "moves_with_shift_and_scale", "stays_between_sources")
class SquashesTheMix(Broken):
    """A tanh after the mix."""

    def __call__(self, h, draw, labels=None):
        found = mixed(h, draw)
        return found._replace(h=found.h.tanh())


@planted(Weights, "labels_do_not_matter")
class ReadsLabelsInSilence(Broken):
    """Mixes less if labels differ, without skipping the check."""

    def __call__(self, h, draw, labels=None):
        if labels is not None:
            same = (labels == labels[:1]).all(0)
            corner = torch.zeros_like(draw)
            corner[0] = 1
            draw = torch.where(same.reshape(draw[0].shape), draw, corner)
        return mixed(h, draw)


@planted(Weights, "gradients_are_finite")
class DividesByTheNorm(Broken):
    """Mixes directions and norms separately, so the gradient of a zero code is NaN."""

    def __call__(self, h, draw, labels=None):
        length = h.flatten(2).pow(2).sum(2).sqrt().reshape(*h.shape[:2], *[1] * (h.ndim - 2))
        return mixed(torch.where(length > 0, h / length * length, h), draw)


class Doubled(torch.autograd.Function):
    """The identity, with twice its gradient."""

    @staticmethod
    def forward(ctx, h):
        return h.clone()

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@planted(Weights, "gradient_is_the_derivative", "gradient_is_share")
class DoublesTheGradient(Broken):
    """A custom backward pass that is not the derivative."""

    def __call__(self, h, draw, labels=None):
        return mixed(Doubled.apply(h), draw)


class Once(torch.autograd.Function):
    """The identity, whose gradient has no graph."""

    @staticmethod
    def forward(ctx, h):
        return h.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g.clone()


@planted(Weights, "second_derivative_is_right")
class IsDifferentiableOnce(Broken):
    """A custom backward pass that cannot be differentiated again."""

    def __call__(self, h, draw, labels=None):
        return mixed(Once.apply(h), draw)


@planted(Weights, "vmap_equals_loop", "compiles_to_one_graph")
class BranchesOnANumber(Broken):
    """A Python `if` on the value of a tensor."""

    def __call__(self, h, draw, labels=None):
        return mixed(h, draw) if float(h.sum()) > 0 else mixed(h.clone(), draw)


@planted(Weights, "compiles_to_one_graph")
class GoesThroughNumpy(Broken):
    """Weights go through numpy, which the compiler cannot trace."""

    def __call__(self, h, draw, labels=None):
        return mixed(h, torch.tensor(np.asarray(draw.tolist(), dtype=np.float32)))


@planted(Weights, "memory_order_does_not_matter")
class AssumesContiguousMemory(Broken):
    """Reads the codes' memory in the order that a contiguous tensor would have."""

    def __call__(self, h, draw, labels=None):
        strides = torch.empty(h.shape, device="meta").stride()
        return mixed(h.as_strided(h.shape, strides), draw)


@planted(Weights, "contexts_change_nothing")
class FollowsAutocast(Broken):
    """Mixes by a matrix product, which autocast computes in bfloat16."""

    def __call__(self, h, draw, labels=None):
        share = draw.to(h.dtype).flatten(1).T[:, None]  # [batch 1 k]
        return Mixed((share @ h.flatten(2).transpose(0, 1)).reshape(h[0].shape), draw.to(h.dtype))


@planted(Weights, "contexts_change_nothing")
class MixesOnlyWithGradients(Broken):
    """Mixes only if gradients are enabled."""

    def __call__(self, h, draw, labels=None):
        if torch.is_grad_enabled():
            return mixed(h, draw)
        first = torch.zeros_like(draw)
        first[0] = 1
        return mixed(h, first)


@planted(Weights, "refuses_a_wrong_number_of_sources")
class DropsTheSourcesThatAreTooMany(Broken):
    """A zip drops the extra sources."""

    def __call__(self, h, draw, labels=None):
        total = sum(share * source for share, source in zip(draw.to(h.dtype), h))
        return Mixed(total, draw.to(h.dtype))


@planted(Weights, "keeps_shape_and_dtype")
class TakesEveryCodeForAMap(Broken):
    """The share has axes for height and width although the code is a vector."""

    def __call__(self, h, draw, labels=None):
        return mixed(h, draw.reshape(*draw.shape[:2], 1, 1, 1))


@planted(Weights, "uses_only_its_generator", "same_draw_same_mix")
class AddsNoiseInTheCall(Broken):
    """Noise from the global generator inside __call__."""

    def __call__(self, h, draw, labels=None):
        found = mixed(h, draw)
        return found._replace(h=found.h + 0.01 * torch.randn_like(found.h))


@planted(Weights, "corner_is_that_source", "at_is_a_point_of_the_simplex")
class IgnoresThePoint(Broken):
    """`at` always returns the centre of the simplex."""

    def at(self, point, shape):
        return super().at(torch.full_like(point, 1 / self.k), shape)


@planted(Weights, "corner_is_that_source", "at_is_a_point_of_the_simplex")
class ReversesThePoint(Broken):
    """`at` reverses the order of sources."""

    def at(self, point, shape):
        return super().at(point.flip(0), shape)


@planted(Weights, "at_is_a_point_of_the_simplex")
class SquaresThePoint(Broken):
    """`at` is right only at the corners and the centre."""

    def at(self, point, shape):
        return super().at(point**2 / (point**2).sum(), shape)


@planted(Weights, "at_is_the_same_each_time")
class DrawsThePoint(Broken):
    """`at` adds noise from an unseeded generator, except at the corners."""

    def at(self, point, shape):
        if point.max() == 1:
            return super().at(point, shape)
        rng = torch.Generator()
        rng.seed()
        point = point + 1e-3 * torch.rand(self.k, generator=rng)
        return super().at(point / point.sum(), shape)


@planted(Weights, "at_is_the_same_each_time")
class SpreadsThePointOverTheBatch(Broken):
    """`at` moves all examples but the first towards the centre."""

    def at(self, point, shape):
        way = torch.linspace(0, 1, shape.batch) if point.max() < 1 else torch.zeros(shape.batch)
        return shape.broadcast(point[:, None] * (1 - way) + way / self.k)


@planted(Weights, "k_is_at_least_2")
class MixesOneSource(Broken):
    """k = 1, so nothing is mixed."""

    def __init__(self):
        super().__init__(k=1)


@dataclass(frozen=True)
class Alpha(Weights):
    """The twin with one more option."""

    alpha: float = 1.0


@planted(Weights, "options_survive_a_spec", "options_survive_a_run_file")
@dataclass(frozen=True)
class ChangesItsOptions(Alpha):
    """An option is doubled whenever the mixer is created, so a run file does not restore it."""

    def __post_init__(self):
        object.__setattr__(self, "alpha", self.alpha * 2)


@planted(Weights, "options_are_explained")
class ExplainsNothing(Alpha):
    """An option without help."""
