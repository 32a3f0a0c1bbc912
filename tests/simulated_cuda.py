"""CUDA on a machine without a card: torch's own Python runs, and only the driver under it is a stand-in.

`install_cards` lets torch find cards: its checks of arguments run, and what needs a card still fails. `fake_tensors`
gives tensors on a card shapes, dtypes and devices, but no numbers. `on_gpu` is both, with what else a run asks of a
card; under `Watch` a step fails if the host would wait for the GPU or an operation mixes devices.

What this cannot see: the allocator, streams, cuDNN's choices, timing, the capture of a graph.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from mixzoo.training import blocks

WAITS = {  # aten's names of what reads a number or a size back from the device
    "_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "allclose", "unique_dim",
    "unique_consecutive", "_unique", "_unique2", "bincount", "histc", "_linalg_check_errors",
}  # fmt: skip
PICKS = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
TRANSFERS = {"_to_copy", "copy_", "copy", "_foreach_copy_"}
# of those that torch.use_deterministic_algorithms lists as having no deterministic form on CUDA, forward and backward
NOT_DETERMINISTIC = {
    "adaptive_avg_pool2d_backward", "_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward",
    "avg_pool3d_backward", "fractional_max_pool2d_backward", "max_pool3d_with_indices_backward", "median", "mode",
    "max_unpool2d", "grid_sampler_2d_backward", "reflection_pad1d_backward", "reflection_pad2d_backward",
    "replication_pad1d_backward", "replication_pad2d_backward", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "upsample_trilinear3d_backward", "kthvalue",
    "_embedding_bag_backward", "nll_loss2d_forward", "nll_loss2d_backward", "_ctc_loss_backward", "put_", "histc",
    "bincount",
}  # fmt: skip


class GPUFault(AssertionError):
    """What would be wrong, or slow, on a GPU."""


@dataclass
class Driver:
    """The cards of a simulated machine, and what was asked of them."""

    cards: int
    memory: int = 80 << 30  # bytes of each card, all of them free
    current: int = 0
    fractions: dict[int, float] = field(default_factory=dict)  # of the memory that the process may take
    opened: list[str] = field(default_factory=list)  # calls that open a context on a card
    pinned: list[int] = field(default_factory=list)  # bytes of each block of steps

    def set_device(self, card: int) -> None:
        assert 0 <= card < self.cards, f"invalid device ordinal {card}"
        self.opened.append(f"cuda:{card}")
        self.current = card

    def exchange_device(self, card: int) -> int:
        before = self.current
        if card >= 0:
            self.set_device(card)
        return before

    def host_memory(self, size: int, device: torch.device) -> Tensor:
        """As `blocks.host_memory`; without a card there is no pinned memory."""
        assert device.type == "cuda"
        self.pinned.append(size)
        return torch.empty(size, dtype=torch.uint8)

    def limit(self, fraction: float, card: int) -> None:
        assert 0 <= card < self.cards, f"invalid device ordinal {card}"
        self.fractions[card] = fraction

    def cudaMemGetInfo(self, card: int) -> tuple[int, int]:
        assert 0 <= card < self.cards, f"invalid device ordinal {card}"
        self.opened.append(f"cuda:{card}")
        return self.memory, self.memory


def install_cards(monkeypatch: pytest.MonkeyPatch, cards: int) -> Driver:
    """Let torch find that many cards. `torch.cuda`'s own checks of arguments run; what needs a card still fails."""
    driver = Driver(cards)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    for module in (torch.cuda, torch.cuda.memory, torch.cuda.random):
        monkeypatch.setattr(module, "_lazy_init", lambda: driver.opened.append("init"), raising=False)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", driver.set_device, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: driver.current, raising=False)
    for name in ("_exchange_device", "_maybe_exchange_device"):
        monkeypatch.setattr(torch.cuda, name, driver.exchange_device)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", driver.limit, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_isCurrentStreamCapturing", lambda: False, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_synchronize", lambda: None, raising=False)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    properties = SimpleNamespace(total_memory=driver.memory, major=9, minor=0, name="a simulated GPU")
    monkeypatch.setattr(torch.cuda, "_get_device_properties", lambda card: properties, raising=False)
    monkeypatch.setattr(torch.cuda, "default_generators", tuple(torch.Generator() for _ in range(cards)))
    # where torch finds cards, fake tensors would open one
    monkeypatch.setattr(fake_tensor, "init_gpu_context", lambda device: None)
    monkeypatch.setattr(FakeTensorMode, "avoid_device_init", property(lambda mode: True))
    return driver


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Inside, tensors have a shape, a dtype and a device, and no numbers, so that they may be on a card."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def real(function):
    """The function with numbers, inside fake_tensors too: for what is made on the CPU, whatever the device."""

    def run(*given, **named):
        with _disable_current_modes():
            return function(*given, **named)

    return run


@contextmanager
def on_gpu(monkeypatch: pytest.MonkeyPatch, cards: int = 1) -> Iterator[Driver]:
    """A machine with cards, as far as building a run and taking its steps go."""
    with monkeypatch.context() as patched:
        driver = install_cards(patched, cards)
        patched.setattr(nn.Module, "_apply", _apply)
        patched.setattr(Tensor, "pin_memory", lambda tensor: tensor.clone())  # fake tensors have none
        patched.setattr(torch.autograd, "grad", _grad)
        # Draws are real numbers up to their transfer: fake tensors cannot be used in two threads at once.
        patched.setattr(blocks, "global_generator", real(blocks.global_generator))
        patched.setattr(blocks, "host_memory", real(driver.host_memory))
        with fake_tensors():
            yield driver


def _apply(module: nn.Module, function, recurse: bool = True) -> nn.Module:
    """Module._apply by new parameters: fake tensors cannot be swapped into old ones."""
    for child in module.children():
        _apply(child, function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(function(parameter.data), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module


AUTOGRAD = torch.autograd.grad


def _grad(outputs, inputs, *given, **named):
    """Gradients' shapes, of tensors on a card: autograd's engine asks the driver for a context there.

    The backward pass itself runs in the same tests with fake tensors on the CPU.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if any(one.device.type == "cuda" for one in inputs):
        return tuple(torch.zeros_like(one) for one in inputs)
    return AUTOGRAD(outputs, inputs, *given, **named)


class Watch(TorchDispatchMode):
    """Raises GPUFault for an operation that waits for the device, goes from one to another, or mixes them.

    `transfers`: to load data, copies to a GPU may be made that the host does not wait for.
    """

    def __init__(self, *, transfers: bool = False, deterministic: bool = False) -> None:
        super().__init__()
        self.transfers, self.deterministic = transfers, deterministic
        self.seen: Counter[str] = Counter()
        self.low: Counter[str] = Counter()  # with a factor in bfloat16

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.__name__.partition(".")[0]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self.seen[name] += 1
        if any(tensor.dtype == torch.bfloat16 for tensor in tensors):
            self.low[name] += 1
        if name in WAITS:
            raise GPUFault(f"{func} waits for the GPU")
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            raise GPUFault(f"{func} without output_size waits for the GPU")
        if name in PICKS and any(leaf.dtype in (torch.bool, torch.uint8) for leaf in tensors[1:]):
            raise GPUFault(f"{func} by a mask waits for the GPU")
        if self.deterministic and name in NOT_DETERMINISTIC:
            raise GPUFault(f"{func} has no deterministic form on a GPU")
        devices = {tensor.device.type for tensor in tensors}
        if name in TRANSFERS:
            self._transfer(func, name, args, kwargs, tensors)
        elif len(devices) > 1:
            raise GPUFault(f"{func} mixes tensors on {' and '.join(sorted(devices))}")
        if func is torch.ops.aten._fused_adam_.tensor_lr:  # which fake tensors lack; they have no numbers to differ in
            return torch.ops.aten._fused_adam_.default(*args, **{**kwargs, "lr": 0.0})
        return func(*args, **kwargs)

    def _transfer(self, func, name, args, kwargs, tensors) -> None:
        source = tensors[-1].device.type
        target = torch.device(kwargs.get("device") or source).type if name == "_to_copy" else tensors[0].device.type
        if source == target:
            return
        if not self.transfers:
            raise GPUFault(f"{func} goes from {source} to {target} within a step")
        if source == "cuda":
            raise GPUFault(f"{func} to {target} waits for the GPU")
        if not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])):
            raise GPUFault(f"{func} from {source} to {target} waits: it is not non_blocking")
