"""Random numbers at the ends of their range: torch's generators, made to return what they return once in 2^24 numbers.

`torch.rand` may be 0 and is never 1, an exponential number may be 0, a normal one 5.8 deviations from its mean. A
dispatch mode sees every operator that takes a generator, whatever the function that called it, lets it draw (so that
the generator moves as ever), and then writes some of the numbers that came back.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CALLS = 64  # random calls of one block that are forced; those after them are not, so that a rejection sampler ends


class Ends(NamedTuple):
    """What a random number may be at least and at most, and which small number besides `low` is likely enough that all
    of a draw may be as small; as tensors that broadcast to the numbers."""

    low: Tensor
    high: Tensor
    small: Tensor


class Extreme(TorchDispatchMode):
    """Inside, `write(call, numbers, ends)` changes the numbers of each random call in place; calls are counted from 0.

    `sizes` has how many numbers each call returned, `names` the operators.
    """

    def __init__(self, write: Callable[[int, Tensor, Ends], None] = lambda call, numbers, ends: None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.write, self.sizes, self.names = write, list[int](), list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        schema = func._schema
        if not any(argument.name == "generator" for argument in schema.arguments):
            return found
        # an argument that is as its default is not passed on
        defaults = {
            argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()
        }
        given = defaults | {a.name: value for a, value in zip(schema.arguments, args)} | dict(kwargs or {})
        name = schema.name.removeprefix("aten::")
        ends = ends_of(name, given, found)
        if ends is None or not found.numel():
            return found
        if len(self.sizes) < CALLS:
            self.write(len(self.sizes), found, ends)
        self.sizes.append(found.numel())
        self.names.append(name)
        return found


def ends_of(name: str, given: Mapping[str, Any], numbers: Tensor) -> Ends | None:
    """The ends of what this operator returned; None for one whose numbers have none, or are not independent."""
    make = _ENDS.get(name)
    ends = None if make is None else make(given, numbers)
    return None if ends is None else Ends(*(torch.as_tensor(end).to(numbers.dtype) for end in ends))


def _step(numbers: Tensor) -> float:
    """The smallest positive number of torch.rand, and its distance from 1 at the other end."""
    return torch.finfo(numbers.dtype).eps / 2


def _uniform(given: Mapping[str, Any], numbers: Tensor) -> Any:
    low, high, step = float(given.get("from", 0)), float(given.get("to", 1)), _step(numbers)
    return low, low + (high - low) * (1 - step), low + (high - low) * step


def _exponential(given: Mapping[str, Any], numbers: Tensor) -> Any:
    rate, step = float(given.get("lambd", 1)), _step(numbers)
    return 0.0, -math.log(step) / rate, step / rate


def _normal(given: Mapping[str, Any], numbers: Tensor) -> Any:
    # the mean is "self" where normal_ is called on a tensor that it fills, which is no mean
    mean, std = torch.as_tensor(given.get("mean", 0.0)), torch.as_tensor(given.get("std", 1.0))
    reach = math.sqrt(-2 * math.log(_step(numbers)))  # of the Box-Muller transform: 5.8, or 8.6 in float64
    return mean - reach * std, mean + reach * std, mean - reach * std


def _log_normal(given: Mapping[str, Any], numbers: Tensor) -> Any:
    low, high, small = _normal({"mean": 1.0, "std": 2.0, **given}, numbers)
    return low.exp(), high.exp(), small.exp()


def _gamma(given: Mapping[str, Any], numbers: Tensor) -> Any:
    a, finfo = given["self"].double(), torch.finfo(numbers.dtype)
    low = ((math.log(_step(numbers)) + torch.lgamma(a + 1)) / a).exp().clamp(min=finfo.tiny)  # where P = step
    return low, a + 8 * a.sqrt() + 40, low


def _bernoulli(given: Mapping[str, Any], numbers: Tensor) -> Any:
    p = given.get("p", given["self"])
    p = torch.as_tensor(numbers if p is None else p).double()
    low, high = (p >= 1).double(), (p > 0).double()
    return low, high, low


def _integer(given: Mapping[str, Any], numbers: Tensor) -> Any:
    low, high = given.get("low", given.get("from", 0)) or 0, given.get("high", given.get("to"))
    return None if high is None else (low, high - 1, low)


def _cauchy(given: Mapping[str, Any], numbers: Tensor) -> Any:
    median, far = float(given.get("median", 0)), float(given.get("sigma", 1)) / (math.pi * _step(numbers))
    return median - far, median + far, median - far


def _geometric(given: Mapping[str, Any], numbers: Tensor) -> Any:
    p = float(given["p"])
    return None if not 0 < p < 1 else (1, math.ceil(math.log(2.0**-24) / math.log1p(-p)), 1)


def _category(given: Mapping[str, Any], numbers: Tensor) -> Any:
    if given["num_samples"] != 1:
        return None  # those without replacement have to differ
    possible = (given["self"] > 0).int()
    first = possible.argmax(-1, keepdim=True)
    last = possible.shape[-1] - 1 - possible.flip(-1).argmax(-1, keepdim=True)
    return first, last, first


_ENDS: Mapping[str, Callable[[Mapping[str, Any], Tensor], Any]] = {
    **dict.fromkeys(("rand", "rand_like", "uniform", "uniform_"), _uniform),
    **dict.fromkeys(("randn", "randn_like", "normal", "normal_", "normal_functional"), _normal),
    **dict.fromkeys(("exponential", "exponential_"), _exponential),
    **dict.fromkeys(("log_normal", "log_normal_"), _log_normal),
    **dict.fromkeys(("bernoulli", "bernoulli_"), _bernoulli),
    **dict.fromkeys(("randint", "randint_like", "random", "random_"), _integer),
    **dict.fromkeys(("cauchy", "cauchy_"), _cauchy),
    **dict.fromkeys(("geometric", "geometric_"), _geometric),
    "_standard_gamma": _gamma,
    "multinomial": _category,
}


def one_number(call: int, index: int, end: str) -> Callable[[int, Tensor, Ends], None]:
    """Writes one number, that at `index`, of one call: to the "low" or the "high" end, or halfway between."""

    def write(number: int, numbers: Tensor, ends: Ends) -> None:
        if number != call:
            return
        place = tuple(int(i) for i in torch.unravel_index(torch.tensor(index), numbers.shape))
        low, high = _spread(ends.low, numbers)[place], _spread(ends.high, numbers)[place]
        value = {"low": low, "high": high, "middle": low + (high - low) / 2 if numbers.is_floating_point() else low}
        numbers[place] = value[end]

    return write


def every_number(rng: Generator) -> Callable[[int, Tensor, Ends], None]:
    """Writes every number to one end or the other, at random; the low end is a number that is likely enough for all."""

    def write(number: int, numbers: Tensor, ends: Ends) -> None:
        up = torch.rand(numbers.shape, generator=rng) < 0.5
        numbers.copy_(torch.where(up, _spread(ends.high, numbers), _spread(ends.small, numbers)))

    return write


def _spread(end: Tensor, numbers: Tensor) -> Tensor:
    return end.expand(numbers.shape)
