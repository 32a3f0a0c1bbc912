"""One memory layout for every input tensor, so that equal numbers give equal results on every CPU.

An axis of size 1 may have any stride, and torch infers the memory format from the strides: grey images that were
transposed without a copy look channels-last, and their convolution sums in another order. `.contiguous()` does not
change them.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor


def canonical_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of `torch.empty(shape)`, including those of axes of size 1."""
    strides, step = list[int](), 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def is_canonical(tensor: Tensor) -> bool:
    """Whether the tensor has the strides of `torch.empty(tensor.shape)`; an empty tensor always counts as canonical."""
    return tensor.numel() == 0 or tensor.stride() == canonical_strides(tensor.shape)


def canonical(tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The tensor itself if its strides are canonical, otherwise a copy with canonical strides."""
    return tensor if is_canonical(tensor) else tensor.clone(memory_format=torch.contiguous_format)
