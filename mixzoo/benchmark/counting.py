"""Counts of one step: operations, floating-point operations, bytes and peak memory. Nothing is timed."""

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

Step = Callable[[], object]


@dataclass(frozen=True)
class Counts:
    """Counts of one step as PyTorch dispatches it. Only an eager step can be counted."""

    operations: int  # ATen operations that compute; views do not count
    flops: int  # of convolutions and matrix products, forward and backward; a multiplication and an addition are two
    bytes: int  # read and written by convolutions and matrix products; all other operations could be fused into them
    peak_bytes: int  # the most that the step's new tensors hold at once, without workspace inside an operation


class Tally(TorchDispatchMode):
    """Counts the operations that are dispatched below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.flops = self.bytes = self.held = self.peak = 0
        self._known = WeakIdKeyDictionary()  # storages counted already, or allocated before

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or func.namespace != "aten":
            return out
        self.operations += 1
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        for tensor in inputs:
            self._known[tensor.untyped_storage()] = True
        for tensor in outputs:
            self._hold(tensor.untyped_storage())
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
            self.bytes += sum(tensor.nbytes for tensor in (*inputs, *outputs))
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = True
        self.held += storage.nbytes()
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, size: int) -> None:
        self.held -= size


def counted(step: Step) -> Counts:
    """Counts of one call of `step`."""
    with Tally() as tally:
        step()
    return Counts(tally.operations, tally.flops, tally.bytes, tally.peak)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def kernels(step: Step) -> int:
    """The number of kernels, copies and fills that one call runs on the GPU."""
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        step()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in trace.events() or [])


def peak_on_gpu(step: Step, device: torch.device) -> int:
    """The most bytes allocated at once during one call, weights and data included."""
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(device)
