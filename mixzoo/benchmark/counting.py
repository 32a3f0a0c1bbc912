"""What one step does: operations, floating-point operations, bytes, memory. Counted, not timed."""

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
    """Of one step as PyTorch was asked to do it, whatever runs it; the step has to be an eager one to be seen."""

    operations: int  # ATen operations that compute; views are none
    flops: int  # of convolutions and matrix products, forward and backward; a multiplication and an addition are two
    bytes: int  # that convolutions and matrix products read and write; all else could be fused into them
    peak_bytes: int  # the most that its tensors hold at once, beside what is there before it; what an operation takes
    # for itself alone is not in it


class Tally(TorchDispatchMode):
    """Counts what passes below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.flops = self.bytes = self.held = self.peak = 0
        self._known = WeakIdKeyDictionary()  # storages that were counted, or were there before

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or func.namespace != "aten":
            return out
        self.operations += 1
        given, made = _tensors((args, kwargs)), _tensors(out)
        for tensor in given:
            self._known[tensor.untyped_storage()] = True
        for tensor in made:
            self._hold(tensor.untyped_storage())
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
            self.bytes += sum(tensor.nbytes for tensor in (*given, *made))
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = True
        self.held += storage.nbytes()
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._let_go, storage.nbytes())

    def _let_go(self, size: int) -> None:
        self.held -= size


def counted(step: Step) -> Counts:
    """The counts of one call."""
    with Tally() as tally:
        step()
    return Counts(tally.operations, tally.flops, tally.bytes, tally.peak)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def kernels(step: Step) -> int:
    """Kernels, copies and fills that one call has a GPU run."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in seen.events() or [])


def peak_on_gpu(step: Step, device: torch.device) -> int:
    """The most bytes that one call has the allocator hold at once, weights and data included."""
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(device)
