"""Mixers with weights whose draws are wrong: their randomness or their distribution."""

import random

import numpy as np
import torch
from planted import Weights, planted


class Broken(Weights):
    """The twin with a different draw."""

    def simplex(self, shape, rng):
        return super().draw(shape, rng)


def normalised(weights, shape):
    return shape.broadcast(weights / weights.sum(0))


@planted(Weights, "examples_are_drawn_independently")
class OneDrawForTheBatch(Broken):
    """All examples have the same weights."""

    def draw(self, shape, rng):
        return self.simplex(shape, rng)[:, :1].expand(-1, shape.batch, *[-1] * len(shape.latent))


@planted(Weights, "examples_are_drawn_independently")
class PairsOfExamplesAreOpposite(Broken):
    """Every second example has the weights of the one before it in reverse."""

    def draw(self, shape, rng):
        share = self.simplex(shape, rng).clone()
        share[:, 1::2] = share[:, : shape.batch // 2 * 2 : 2].flip(0)
        return share


@planted(Weights, "uses_only_its_generator", "same_seed_same_draw")
class UsesTorchsDefaultGenerator(Broken):
    """A forgotten generator=rng."""

    def draw(self, shape, rng):
        torch.rand(1, generator=rng)
        return normalised(torch.rand(self.k, shape.batch), shape)


@planted(Weights, "uses_only_its_generator", "same_seed_same_draw")
class UsesNumpysDefaultGenerator(Broken):
    """np.random.dirichlet, as in many published implementations."""

    def draw(self, shape, rng):
        torch.rand(1, generator=rng)
        return normalised(torch.tensor(np.random.dirichlet([1.0] * self.k, shape.batch).T).float(), shape)  # noqa: NPY002


@planted(Weights, "uses_only_its_generator", "same_seed_same_draw")
class UsesPythonsRandom(Broken):
    """random.random() decides which source is first."""

    def draw(self, shape, rng):
        return self.simplex(shape, rng).roll(int(random.random() * 3), 0)


@planted(Weights, "same_seed_same_draw")
class SeedsItselfAnew(Broken):
    """Draws from its own generator, seeded by the system."""

    def draw(self, shape, rng):
        torch.rand(1, generator=rng)
        own = torch.Generator()
        own.seed()
        return self.simplex(shape, own)


@planted(Weights, "same_seed_same_draw")
class CountsItsDraws(Broken):
    """The order of sources alternates, so a draw depends on the number of earlier draws."""

    def draw(self, shape, rng):
        object.__setattr__(self, "count", getattr(self, "count", 0) + 1)
        return self.simplex(shape, rng).roll(self.count, 0)


@planted(Weights, "draw_never_sees_codes")
class RemembersTheCodes(Broken):
    """The draw depends on the size of the codes that were mixed before."""

    def __call__(self, h, draw, labels=None):
        object.__setattr__(self, "seen", float(h.abs().sum()))
        return super().__call__(h, draw, labels)

    def draw(self, shape, rng):
        share = self.simplex(shape, rng)
        return share.roll(1, 0) if getattr(self, "seen", 1) == 0 else share


@planted(Weights, "generator_moves_on", "successive_draws_are_independent")
class CopiesItsGenerator(Broken):
    """Draws from a copy, so the state of the generator does not change."""

    def draw(self, shape, rng):
        return self.simplex(shape, copied(rng))


def copied(rng):
    copy = torch.Generator()
    copy.set_state(rng.get_state())
    return copy


@planted(Weights, "successive_draws_are_independent")
class DrawsTheSameAgain(Broken):
    """Uses the initial seed of the generator and ignores its state."""

    def draw(self, shape, rng):
        torch.rand(1, generator=rng)
        return self.simplex(shape, torch.Generator().manual_seed(rng.initial_seed()))


@planted(Weights, "other_seeds_give_other_draws")
class IgnoresItsGenerator(Broken):
    """A fixed seed."""

    def draw(self, shape, rng):
        torch.rand(1, generator=rng)
        return self.simplex(shape, torch.Generator().manual_seed(0))


@planted(Weights, "draw_is_tensors_on_the_cpu")
class DrawsOnAnotherDevice(Broken):
    """The draw is on another device than the CPU."""

    def draw(self, shape, rng):
        return self.simplex(shape, rng).to("meta")


@planted(Weights, "draw_is_tensors_on_the_cpu")
class DrawsAList(Broken):
    """The draw is a mapping of Python numbers."""

    def draw(self, shape, rng):
        return {"share": self.simplex(shape, rng).tolist()}


@planted(Weights, "draw_is_tensors_on_the_cpu", "shares_are_on_the_simplex")
class DividesByZero(Broken):
    """Weights of a small concentration, U^(1/alpha), underflow: 0 / 0."""

    def draw(self, shape, rng):
        return normalised(torch.rand(self.k, shape.batch, generator=rng) ** 333, shape)


@planted(Weights, "draw_can_be_saved")
class HidesAPartOfItsDraw(Broken):
    """__call__ reads an attribute of the drawn tensor, which is not saved."""

    def draw(self, shape, rng):
        share = self.simplex(shape, rng)
        share.first = share[:1].clone()
        return share

    def __call__(self, h, draw, labels=None):
        order = 1 if hasattr(draw, "first") else 0
        return super().__call__(h.roll(order, 0), draw, labels)


@planted(Weights, "shares_are_on_the_simplex")
class NormalisesOverTheBatch(Broken):
    """A softmax over the wrong axis."""

    def draw(self, shape, rng):
        return shape.broadcast(torch.randn(self.k, shape.batch, generator=rng).softmax(1))


@planted(Weights, "shares_are_on_the_simplex", "equal_sources_come_back", "moves_with_shift_and_scale")
class AddsUpToMoreThanOne(Broken):
    """Weights sum to 1.01."""

    def draw(self, shape, rng):
        return self.simplex(shape, rng) * 1.01


@planted(Weights, "shares_are_on_the_simplex", "stays_between_sources")
class Extrapolates(Broken):
    """A negative weight for the last source."""

    def draw(self, shape, rng):
        share = self.simplex(shape, rng) * 1.2
        share[-1] -= 0.2
        return share


@planted(Weights, "share_fits_the_codes", "keeps_shape_and_dtype")
class DrawsOneSourceTooMany(Broken):
    """k + 1 weights."""

    def draw(self, shape, rng):
        return normalised(torch.rand(self.k + 1, shape.batch, generator=rng), shape)


@planted(Weights, "mean_share_is_one_over_k")
class AppliesItsChanceTwice(Broken):
    """p squared: the first source's weight is a product of two draws where one was meant."""

    def draw(self, shape, rng):
        p = torch.rand(2, shape.batch, generator=rng)
        first = p[0] * p[1] * 2 / self.k
        return shape.broadcast(torch.stack([first, *[(1 - first) / (self.k - 1)] * (self.k - 1)]))


@planted(Weights, "mean_share_is_one_over_k")
class BreaksAStick(Broken):
    """Stick breaking with uniform fractions, so the first weight is the largest."""

    def draw(self, shape, rng):
        cuts = torch.rand(self.k - 1, shape.batch, generator=rng)
        left = torch.cat([torch.ones(1, shape.batch), (1 - cuts).cumprod(0)])
        return shape.broadcast(torch.cat([left[:-1] * cuts, left[-1:]]))


@planted(Weights, "a_larger_batch_has_the_same_law")
class SharpensWithTheBatch(Broken):
    """Weights are raised to the power of the batch size."""

    def draw(self, shape, rng):
        return normalised(torch.rand(self.k, shape.batch, generator=rng) ** shape.batch, shape)


@planted(Weights, "every_position_can_come_from_every_source")
class NeverUsesTheLastSource(Broken):
    """The weight of the last source is always 0."""

    def draw(self, shape, rng):
        weights = torch.rand(self.k, shape.batch, generator=rng)
        weights[-1] = 0
        return normalised(weights, shape)
