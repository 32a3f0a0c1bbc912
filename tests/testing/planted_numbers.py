"""Draws that fail for extreme random numbers, depend on each other or keep state, and options without an effect."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from correct_mixers import Buffered, Buffers, Doubles, StacksCodes, exponentials, normalised
from planted import Boxes, Maps, Weights, one_hot, planted


class Broken(Weights):
    """The twin with a different draw."""

    def simplex(self, shape, rng):
        return super().draw(shape, rng)


# --- at the ends of the range


def ends(twin=Weights):
    return planted(twin, "draws_survive_extreme_numbers")


@ends()
class DividesByAUniform(Broken):
    """Weights 1/U, which are infinite if torch.rand returns 0."""

    def draw(self, shape, rng):
        return shape.broadcast(normalised(1 / torch.rand(self.k, shape.batch, generator=rng)))


@ends()
class TakesTheLogitOfAUniform(Broken):
    """The logit of U, which is -inf at 0."""

    def draw(self, shape, rng):
        uniform = torch.rand(self.k, shape.batch, generator=rng)
        return shape.broadcast(normalised((uniform / (1 - uniform)).log().exp() / 1e-38))


@ends()
class MakesItsNormalsByHand(Broken):
    """The Box-Muller transform with the logarithm of a U that may be 0."""

    def draw(self, shape, rng):
        first, second = torch.rand(2, self.k, shape.batch, generator=rng)
        normal = (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()
        return shape.broadcast(normal.softmax(0))


@ends()
class InvertsAnExponential(Broken):
    """One over an exponential number, which may be 0."""

    def draw(self, shape, rng):
        return shape.broadcast(normalised(1 / torch.empty(self.k, shape.batch).exponential_(generator=rng)))


@ends()
class RaisesToAHighPower(Broken):
    """U^20, which underflows for all sources at once."""

    def draw(self, shape, rng):
        return shape.broadcast(normalised(torch.rand(self.k, shape.batch, generator=rng) ** 20))


@ends()
class ExponentiatesANormal(Broken):
    """exp(20 x) overflows at 5 standard deviations."""

    def draw(self, shape, rng):
        return shape.broadcast(normalised((20 * torch.randn(self.k, shape.batch, generator=rng)).exp()))


@ends(Maps)
class RoundsUpToASource(Maps):
    """ceil(3 U) - 1 is -1 if U is 0, which is no source."""

    def draw(self, shape, rng):
        source = (3 * torch.rand(shape.batch, shape.channels, generator=rng)).ceil().long() - 1
        return shape.broadcast(one_hot(source, 3))


@ends()
class DividesByASpread(Broken):
    """Weights are divided by the absolute value of a normal number, which may be 0."""

    def draw(self, shape, rng):
        normal = torch.randn(shape.batch, generator=rng)
        return shape.broadcast(normalised(exponentials(self.k, shape.batch, rng) * (normal / normal.abs())))


# --- draws that depend on one another


def together(*checks, twin=Weights):
    return planted(twin, *checks)


@together("examples_are_drawn_independently")
class MirrorsTheBatch(Broken):
    """The second half of a batch is the mirror image of the first half."""

    def draw(self, shape, rng):
        half = self.simplex(shape, rng)[:, : (shape.batch + 1) // 2]
        return torch.cat([half, half.flip(0, 1)], 1)[:, : shape.batch]


@together("examples_are_drawn_independently")
class RepeatsHalfABatchOn(Broken):
    """The second half of a batch has the weights of the first half, rolled by one source."""

    def draw(self, shape, rng):
        half = self.simplex(shape, rng)[:, : (shape.batch + 1) // 2]
        return torch.cat([half, half.roll(1, 0)], 1)[:, : shape.batch]


@together("examples_are_drawn_independently")
class DrawsSixteenAtMost(Broken):
    """Weights for 16 examples, repeated over the batch."""

    def draw(self, shape, rng):
        return self.simplex(shape, rng)[:, torch.arange(shape.batch) % 16]


@together("examples_are_drawn_independently")
class SharesHowFarFromTheMiddle(Broken):
    """The examples of a batch have different directions but the same distance from the centre of the simplex."""

    def draw(self, shape, rng):
        away = self.simplex(shape, rng) - 1 / self.k
        return 1 / self.k + away * torch.rand(1, generator=rng)


@together("examples_are_drawn_independently", twin=Boxes)
class SharesRowsFarApart(Boxes):
    """The boxes of the second half of a batch have the rows of the first half, upside down."""

    def edges(self, shape, rng):
        rows, columns = super().edges(shape, rng)
        half = rows[: (shape.batch + 1) // 2]
        return torch.cat([half, (shape.latent[1] - half).flip(1)])[: shape.batch], columns


@together("a_larger_batch_has_the_same_law")
class StratifiesByPlace(Broken):
    """Example i of a batch draws from the i-th part of the range."""

    def draw(self, shape, rng):
        place = (torch.arange(shape.batch) + torch.rand(shape.batch, generator=rng)) / shape.batch
        rest = self.simplex(shape, rng).flatten(1)[1:]
        return shape.broadcast(torch.cat([place[None], (1 - place) * normalised(rest)]))


@together("a_larger_batch_has_the_same_law")
class LeavesTheLastExampleOut(Broken):
    """In a batch of odd size the last example has equal weights."""

    def draw(self, shape, rng):
        share = self.simplex(shape, rng).clone()
        if shape.batch % 2 and shape.batch > 1:
            share[:, -1] = 1 / self.k
        return share


@together("successive_draws_are_independent")
class DrawsOnePastTheOther(Broken):
    """Every draw but the first is the mirror image of one from the initial seed."""

    def draw(self, shape, rng):
        first = torch.equal(rng.get_state(), torch.Generator().manual_seed(rng.initial_seed()).get_state())
        self.simplex(shape, rng)
        own = self.simplex(shape, torch.Generator().manual_seed(rng.initial_seed()))
        return own if first else own.flip(0)


# --- what is kept


def keeps(twin=Weights):
    return planted(twin, "draws_and_calls_leave_no_trace")


@keeps()
class CountsInAList(Broken):
    """Keeps all draws, and sharpens the weights after 2,000."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "seen", [])

    def draw(self, shape, rng):
        self.seen.append(len(self.seen))
        share = self.simplex(shape, rng)
        return share if len(self.seen) < 2000 else normalised(share**2)


@keeps()
class CountsInItsClass(Broken):
    """A class attribute counts the calls of all mixers."""

    calls = 0

    def __call__(self, h, draw, labels=None):
        type(self).calls += 1
        return super().__call__(h, draw, labels)


@keeps()
class CountsInADefault(Broken):
    """A mutable default argument counts."""

    def draw(self, shape, rng, seen=[]):  # noqa: B006  (the bug)
        seen.append(shape.batch)
        return self.simplex(shape, rng)


TOTAL = {"calls": 0}


@keeps()
class CountsInItsModule(Broken):
    """A global dict of the module counts."""

    def __call__(self, h, draw, labels=None):
        TOTAL["calls"] += 1
        return super().__call__(h, draw, labels)


def counting():
    calls = 0

    def count():
        nonlocal calls
        calls += 1
        return calls

    return count


@keeps()
class CountsInAClosure(Broken):
    """A closure counts, and draws differ from the 500th on."""

    count = staticmethod(counting())

    def draw(self, shape, rng):
        return self.simplex(shape, rng).roll(self.count() // 500, 0)


@keeps()
class RemembersTheFirstCodes(Broken):
    """The size of the first codes scales the weights of all later draws."""

    def __call__(self, h, draw, labels=None):
        if not hasattr(self, "scale"):
            object.__setattr__(self, "scale", float(h.detach().abs().mean()))
        return super().__call__(h, normalised(draw**self.scale), labels)


class Averages(Buffered):
    """Built by KeepsARunningMean."""

    def forward(self, h, draw, labels=None):
        self.sharpness.mul_(0.99).add_(0.02 + 0 * draw.mean().abs())
        self.order.copy_(self.order.roll(0))
        self.mean = 0.9 * getattr(self, "mean", 0.0) + 0.1 * h.detach().mean()
        return super().forward(h, draw, labels)


@keeps(Buffers)
class KeepsARunningMean:
    """A running mean of the codes, as in batch norm, although it is unused."""

    def build(self, context):
        return Averages(3)


@keeps()
class KeepsItsLastDraw(Broken):
    """The last draw is kept, with a copy of the generator's state."""

    def draw(self, shape, rng):
        object.__setattr__(self, "last", {"state": rng.get_state(), "draws": [self.simplex(shape, rng)]})
        return self.last["draws"][0].clone()


# --- options


def option(twin=Doubles):
    return planted(twin, "every_option_is_read")


@option()
@dataclass(frozen=True)
class ReadsItsDefault(Doubles):
    """Reads the default of the class in place of the instance's value."""

    def draw(self, shape, rng):
        return Doubles(self.k).draw(shape, rng)


@option()
@dataclass(frozen=True)
class IgnoresOneChoice(StacksCodes):
    """The third of three choices equals the second."""

    law: Annotated[Literal["even", "sharp", "flat"], "of the weights"] = "even"

    def draw(self, shape, rng):
        weights = StacksCodes.draw(self, shape, rng)
        return weights if self.law == "even" else normalised(weights**2)

    def __call__(self, h, draw, labels=None):
        return StacksCodes.__call__(self, h, draw, labels)


@option()
@dataclass(frozen=True)
class ForgetsItsFlag(StacksCodes):
    """A flag is read only in code that never runs."""

    sharp: Annotated[bool, "squares the weights"] = False

    def draw(self, shape, rng):
        weights = StacksCodes.draw(self, shape, rng)
        return normalised(weights**2) if self.sharp and shape.batch < 1 else weights


@option()
@dataclass(frozen=True)
class MixesThreeWhateverK(StacksCodes):
    """It has an option k but always draws three."""

    k: Annotated[int, Ge(2), "sources of one mix"] = 3

    def draw(self, shape, rng):
        return shape.broadcast(exponentials(3, shape.batch, rng))

    def at(self, point, shape):
        return shape.broadcast(point[:, None].expand(-1, shape.batch))


@option()
@dataclass(frozen=True)
class FailsAtTheEndOfItsRange(StacksCodes):
    """U^(1/alpha) is 0 for all sources at the smallest allowed alpha."""

    alpha: Annotated[float, Ge(0.001), Le(10), "concentration"] = 1.0

    def draw(self, shape, rng):
        return shape.broadcast(normalised(torch.rand(self.k, shape.batch, generator=rng) ** (1 / self.alpha)))


@option()
@dataclass(frozen=True)
class ReadsNoneAsHalf(StacksCodes):
    """A given probability is treated as None."""

    p: Annotated[float, Ge(0), Le(1), "weight of the first; drawn when not given"] | None = None

    def draw(self, shape, rng):
        first = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([first, 1 - first]))


@option()
@dataclass(frozen=True)
class RoundsItsOption(StacksCodes):
    """A number is truncated to an integer, which is always 0."""

    shift: Annotated[float, Gt(0), Le(0.9), "moves the weights"] = 0.5

    def draw(self, shape, rng):
        return StacksCodes.draw(self, shape, rng) * (1 + int(self.shift))
