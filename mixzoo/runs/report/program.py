"""A network as a short program: a list of steps and their weights, for a page that has no torch.

A step is a dictionary:

op                     what it computes, by `OPERATIONS`; network.js computes the same
from                   the values that it reads: 0 is the input, n the result of step n
input, shape           the shape of the first of these, as it is read, and of the result, without the batch
weight, bias, values   places in the list of weights

and the options of its operation.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Step: TypeAlias = dict[str, Any]


@dataclass
class Weights:
    """The numbers of all steps, of one program or of several; a weight is known by its place in the list."""

    arrays: list[Tensor] = field(default_factory=list)

    def add(self, tensor: Tensor) -> int:
        self.arrays.append(tensor.detach().float().contiguous().cpu())
        return len(self.arrays) - 1

    def rounded(self) -> "Weights":
        """As float16 keeps them."""
        return Weights([array.half().float() for array in self.arrays])

    def packed(self, dtype: str) -> dict[str, Any]:
        """JSON: where each weight ends in one base64 text of little-endian numbers; `dtype` is "<f2" or "<f4"."""
        flat = torch.cat([array.flatten() for array in self.arrays] or [torch.zeros(0)]).numpy().astype(dtype)
        ends = np.cumsum([array.numel() for array in self.arrays]).tolist()
        return {"dtype": dtype, "ends": ends, "numbers": b64encode(flat.tobytes()).decode()}


@dataclass(frozen=True)
class Program:
    """The steps of one network, for inputs of `shape`, and which value is its result, of the shape `output`."""

    shape: tuple[int, ...]
    steps: list[Step]
    result: int
    output: tuple[int, ...]

    @property
    def json(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "steps": self.steps, "result": self.result}


def run(program: Program, weights: Weights, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *result"]:
    """What the program computes, in torch: the reference for network.js, and the check of an export."""
    values = [x]
    for step in program.steps:
        w, b, c = (None if (n := step.get(key)) is None else weights.arrays[n] for key in ("weight", "bias", "values"))
        read = [values[n] for n in step["from"]]
        first = read[0].reshape(len(x), *step["input"])
        result = OPERATIONS[step["op"]](step, [first, *read[1:]], w, b, c)
        values.append(result.reshape(len(x), *step["shape"]))
    return values[program.result].reshape(len(x), *program.output)


Operation: TypeAlias = Callable[[Step, list[Tensor], Any, Any, Any], Tensor]


def _scale(step: Step, x: list[Tensor], w: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    ones = [1] * (x[0].ndim - 2)
    return x[0] * w.reshape(-1, *ones) + b.reshape(-1, *ones)


def _arithmetic(step: Step, x: list[Tensor], w: Tensor | None, b: Tensor | None, c: Tensor | None) -> Tensor:
    other = x[1].reshape(x[0].shape) if c is None else c.reshape(step["shape"] if c.numel() > 1 else ())
    if step.get("turned"):
        return other - x[0]
    result: Tensor = getattr(torch, step["op"])(x[0], other)
    return result


def _upsample(step: Step, x: list[Tensor], w: Tensor | None, b: Tensor | None, c: Tensor | None) -> Tensor:
    down, across = step["by"]
    return x[0].repeat_interleave(down, 2).repeat_interleave(across, 3)


def _slice(step: Step, x: list[Tensor], w: Tensor | None, b: Tensor | None, c: Tensor | None) -> Tensor:
    """Numbers that follow one another."""
    return x[0].flatten(1)[:, step["start"] : step["start"] + prod(step["shape"])]


OPERATIONS: Mapping[str, Operation] = {
    "conv2d": lambda s, x, w, b, c: F.conv2d(x[0], w, b, s["stride"], s["padding"], s["dilation"], s["groups"]),
    "conv_transpose2d": lambda s, x, w, b, c: F.conv_transpose2d(
        x[0], w, b, s["stride"], s["padding"], s["extra"], s["groups"], s["dilation"]
    ),
    "linear": lambda s, x, w, b, c: F.linear(x[0], w, b),
    "norm": lambda s, x, w, b, c: F.group_norm(x[0], s["groups"], w, b, s["eps"]),
    "scale": _scale,
    "relu": lambda s, x, w, b, c: x[0].relu(),
    "leaky_relu": lambda s, x, w, b, c: F.leaky_relu(x[0], s["slope"]),
    "tanh": lambda s, x, w, b, c: x[0].tanh(),
    "sigmoid": lambda s, x, w, b, c: x[0].sigmoid(),
    "silu": lambda s, x, w, b, c: F.silu(x[0]),
    "elu": lambda s, x, w, b, c: F.elu(x[0], s["alpha"]),
    "softplus": lambda s, x, w, b, c: F.softplus(x[0]),
    "clamp": lambda s, x, w, b, c: x[0].clamp(s["low"], s["high"]),
    "upsample": _upsample,
    "avg_pool2d": lambda s, x, w, b, c: F.avg_pool2d(x[0], s["kernel"], s["stride"]),
    "max_pool2d": lambda s, x, w, b, c: F.max_pool2d(x[0], s["kernel"], s["stride"]),
    "pad": lambda s, x, w, b, c: F.pad(x[0], s["sides"], s["mode"], s["value"] if s["mode"] == "constant" else None),
    **dict.fromkeys(("add", "sub", "mul", "div"), _arithmetic),
    "slice": _slice,
    "cat": lambda s, x, w, b, c: torch.cat([one.flatten(1) for one in x], 1),
    "permute": lambda s, x, w, b, c: x[0].permute(0, *(axis + 1 for axis in s["axes"])),
    "cdist": lambda s, x, w, b, c: torch.cdist(x[0], w),
    "argmin": lambda s, x, w, b, c: x[0].argmin(-1),
    "rows": lambda s, x, w, b, c: w[x[0].long()],
}
