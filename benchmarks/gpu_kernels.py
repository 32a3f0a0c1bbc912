"""How many kernels a GPU runs for a step, by rules: from the operations of a step on a CPU, without a GPU.

The rules follow what torch 2.x and cuDNN launch for an operation; nobody has checked them on a GPU (`gpu_day.py --only
kernels` counts the real ones):

- a convolution is one kernel, and one more for its bias; its backward one for each gradient that is asked for: of the
  input, of the weight, of the bias. Tensor cores work on channels-last layouts, so that where input or weight is not
  channels last, cuDNN copies both factors and the result, for each of these products;
- group norm is three kernels forward (moments, fused parameters, the map) and five backward;
- fused Adam and other operations on lists of tensors take 30 tensors a kernel, and copies to other strides one each;
- a dot product is two (products, their sum), any other operation one, a fill or a copy among them;
- what draws, reads or checks on the host is none.
"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

LIST = 30  # tensors of a kernel of an operation on a list
ON_HOST = ("randperm", "rand", "scalar_tensor", "promote_types", "_unsafe_view", "_local_scalar_dense", "empty")
ALONE = {"native_group_norm": 3, "native_group_norm_backward": 5, "dot": 2}
LAYOUT_COPIES = 3  # of a product whose factors are not channels last: two factors, one result


class Kernels(TorchDispatchMode):
    """Adds up the kernels of the operations that are dispatched below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not func.is_view and func.namespace == "aten":
            self.total += kernels_of(func.overloadpacket.__name__, args)
        return func(*args, **(kwargs or {}))


def kernels_of(operation: str, args: tuple[Any, ...]) -> int:
    """The kernels of one operation with these arguments."""
    if operation == "convolution":
        x, weight, bias, *_ = args
        return 1 + (bias is not None) + layout_copies(x, weight)
    if operation == "convolution_backward":
        _, x, weight, *_, (of_input, of_weight, of_bias) = args
        return (of_input + of_weight) * (1 + layout_copies(x, weight)) + of_bias
    if operation == "_foreach_copy_":
        return len(args[0])
    if operation.startswith(("_foreach", "_fused")):
        return ceil(len(args[0]) / LIST)
    return 0 if operation in ON_HOST else ALONE.get(operation, 1)


def layout_copies(x: Tensor, weight: Tensor) -> int:
    last = torch.channels_last
    return 0 if x.is_contiguous(memory_format=last) and weight.is_contiguous(memory_format=last) else LAYOUT_COPIES


def counted_kernels(step: Callable[[], object]) -> int:
    """The kernels of one call of `step`, an eager step on a CPU."""
    with Kernels() as found:
        step()
    return found.total
