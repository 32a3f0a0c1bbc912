"""Random numbers at the ends of their range, which torch returns once in 2^24 numbers, on demand.

`torch.rand` may return 0 but never 1, an exponential number may be 0, a normal one 5.8 standard deviations from its
mean. A dispatch mode intercepts every operator that takes a generator, whatever function called it. The operator draws
as usual, so that the generator advances as usual, and then some of its numbers are overwritten.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CALLS = 64  # random calls of a block that are overwritten; later ones are not, so that rejection sampling ends


class Ends(NamedTuple):
    """The range of a random number, as tensors that broadcast to the numbers.

    `small` is a low value that is likely enough for all numbers of a draw at once; `low` may be too rare for that.
    """

    low: Tensor
    high: Tensor
    small: Tensor


class Extreme(TorchDispatchMode):
    """Inside, `write(call, numbers, ends)` overwrites the numbers of each random call; `call` is counted from 0.

    `sizes` and `names` record how many numbers each call returned and its operator.
    """

    def __init__(self, write: Callable[[int, Tensor, Ends], None] = lambda call, numbers, ends: None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.write, self.sizes, self.names = write, list[int](), list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        numbers = func(*args, **(kwargs or {}))
        schema = func._schema
        if not any(argument.name == "generator" for argument in schema.arguments):
            return numbers
        # Arguments that are equal to their defaults are not passed to the dispatch mode.
        defaults = {
            argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()
        }
        given = defaults | {a.name: value for a, value in zip(schema.arguments, args)} | dict(kwargs or {})
        name = schema.name.removeprefix("aten::")
        ends = ends_of(name, given, numbers)
        if ends is None or not numbers.numel():
            return numbers
        if len(self.sizes) < CALLS:
            self.write(len(self.sizes), numbers, ends)
        self.sizes.append(numbers.numel())
        self.names.append(name)
        return numbers


def ends_of(name: str, given: Mapping[str, Any], numbers: Tensor) -> Ends | None:
    """The range of the numbers of this operator, or None if they have none or are not independent."""
    make = _ENDS.get(name)
    ends = None if make is None else make(given, numbers)
    return None if ends is None else Ends(*(torch.as_tensor(end).to(numbers.dtype) for end in ends))


def _step(numbers: Tensor) -> float:
    """The smallest positive number of torch.rand, which is also the distance of its largest number from 1."""
    return torch.finfo(numbers.dtype).eps / 2


def _uniform(given: Mapping[str, Any], numbers: Tensor) -> Any:
    low, high, step = float(given.get("from", 0)), float(given.get("to", 1)), _step(numbers)
    return low, low + (high - low) * (1 - step), low + (high - low) * step


def _exponential(given: Mapping[str, Any], numbers: Tensor) -> Any:
    rate, step = float(given.get("lambd", 1)), _step(numbers)
    return 0.0, -math.log(step) / rate, step / rate


def _normal(given: Mapping[str, Any], numbers: Tensor) -> Any:
    # torch.normal has a mean; normal_ has "self" instead, the tensor that it fills
    mean, std = torch.as_tensor(given.get("mean", 0.0)), torch.as_tensor(given.get("std", 1.0))
    reach = math.sqrt(-2 * math.log(_step(numbers)))  # of the Box-Muller transform: 5.8 in float32, 8.6 in float64
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
        return None  # numbers that are drawn without replacement must differ
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
    """Overwrites the number at `index` of one call with the "low" or "high" end of its range, or its "middle"."""

    def write(number: int, numbers: Tensor, ends: Ends) -> None:
        if number != call:
            return
        position = tuple(int(i) for i in torch.unravel_index(torch.tensor(index), numbers.shape))
        low, high = _spread(ends.low, numbers)[position], _spread(ends.high, numbers)[position]
        value = {"low": low, "high": high, "middle": low + (high - low) / 2 if numbers.is_floating_point() else low}
        numbers[position] = value[end]

    return write


def every_number(rng: Generator) -> Callable[[int, Tensor, Ends], None]:
    """Overwrites every number with its `small` or `high` end, at random."""

    def write(number: int, numbers: Tensor, ends: Ends) -> None:
        up = torch.rand(numbers.shape, generator=rng) < 0.5
        numbers.copy_(torch.where(up, _spread(ends.high, numbers), _spread(ends.small, numbers)))

    return write


def _spread(end: Tensor, numbers: Tensor) -> Tensor:
    return end.expand(numbers.shape)
