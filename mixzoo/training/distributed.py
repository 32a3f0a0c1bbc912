"""One run on several processes, which share every batch; torchrun starts them.

    torchrun --nproc-per-node N -m mixzoo train ...

Process r of N has the r-th of N equal parts of each batch. Draws are those of the whole batch on every process, terms
are means over the examples, and the gradient of a player is the mean of what the processes have: together they do what
one process would, in another order of summation. There is no wrapper such as DDP: torch.autograd.grad, which takes each
player's gradient here, does not call its hooks.
"""

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    Interrupted,
    MixzooError,
    PluginError,
    is_out_of_memory,
    truncated_repr,
)
from mixzoo.data.streaming import is_dead_worker_error
from mixzoo.training.failure_monitor import FailureMonitor

PATIENCE = timedelta(hours=2)  # of a process that waits for another: process 0 evaluates alone
_JOINED: list[int] = []  # the rank of this process, once it is one of several: for the rest of its life
STARTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells each process


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a run and which of them this is; where it is the only one all of this is the identity."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # among the processes of this machine
    store: Store | None = None  # words between processes
    monitor: FailureMonitor | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and evaluates."""
        return self.rank == 0

    def shard(self, whole: Shaped[Tensor, "*whole"], dim: int = 0) -> Shaped[Tensor, "*own"]:
        """This process's part of the whole batch, which lies along `dim`."""
        return whole if self.world_size == 1 else whole.chunk(self.world_size, dim)[self.rank]

    def all_gather(self, own: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """The whole batch, differentiable: what others make of this process's part comes back in its gradient."""
        if self.world_size == 1:
            return own
        gathered: Tensor = _AllGather.apply(own, self.rank, self.world_size)
        return gathered

    def mean(self, own: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The mean over the processes."""
        if self.world_size == 1:
            return own
        total = own.detach().clone()
        with collective_errors():
            dist.all_reduce(total)
        return total.div_(self.world_size)

    def mean_gradients(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Each gradient's mean over the processes, from one all-reduce of one flat buffer; None stays None."""
        found = [gradient for gradient in gradients if gradient is not None]
        if self.world_size == 1 or not found:
            return tuple(gradients)
        flat = self.mean(torch.cat([gradient.flatten() for gradient in found]))
        means = iter(flat.split([gradient.numel() for gradient in found]))
        return tuple(None if g is None else next(means).view(g.shape).to(g.dtype) for g in gradients)

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """The greatest of each over the processes; each process waits for all others."""
        told = torch.tensor(numbers, dtype=torch.float64)
        if self.world_size > 1:
            with collective_errors():
                dist.all_reduce(told, dist.ReduceOp.MAX)
        found: list[float] = told.tolist()
        return found

    def barrier(self) -> None:
        """Go on once every process has come here."""
        self.all_reduce_max([0])

    def broadcast_text(self, key: str, text: str = "") -> str:
        """The text that process 0 gives for the key."""
        if self.store is None:
            return text
        if self.is_main:
            self.store.set(key, text)
        return str(self.store.get(key).decode())

    def process_devices(self, device: torch.device) -> list[str]:
        """Machine and device of each process, on process 0; elsewhere its own."""
        here = f"{platform.node()} {device}"
        if self.store is None:
            return [here]
        self.store.set(f"place/{self.rank}", here)
        return [self.store.get(f"place/{r}").decode() for r in range(self.world_size)] if self.is_main else [here]

    @contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """The first process of each machine does it before the others begin: they find what it downloaded."""
        key = f"first/{os.environ.get('GROUP_RANK', '0')}"
        if self.store is not None and self.local_rank:
            self.store.get(key)
        yield
        if self.store is not None and not self.local_rank:
            self.store.set(key, "done")

    def sync_parameters(self, modules: Mapping[str, nn.Module], **known: object) -> None:
        """Copy weights and buffers from process 0. Raises CheckpointError if `known` differs between the processes."""
        if self.world_size == 1:
            return
        first = self.broadcast_text("known", repr(known))
        if first != repr(known):
            raise CheckpointError(
                f"process {self.rank} begins from {truncated_repr(known)}, and process 0 from {first}"
            )
        for tensor in state_tensors(modules).values():
            with collective_errors():
                dist.broadcast(tensor, 0)

    def check_in_sync(self, modules: Mapping[str, nn.Module]) -> None:
        """PluginError, naming the first, where a weight or buffer is no longer the same on every process."""
        if self.world_size == 1:
            return
        found = state_tensors(modules)
        own = [digest(tensor) for tensor in found.values()]
        greatest, least = (
            self.all_reduce_max(own),
            [-number for number in self.all_reduce_max([-number for number in own])],
        )
        for name, most, fewest in zip(found, greatest, least):
            if most != fewest:
                raise PluginError(
                    f"{name} differs between the {self.world_size} processes of the run, so the network keeps "
                    "something of "
                    "the images that it sees; run it in one process"
                )

    def on_failure(self, note: Callable[[int, str], None]) -> None:
        """Call `note`, with an exit code and a reason, on this process where another fails."""
        if self.monitor is not None:
            self.monitor.on_failure = note

    def cause(self, exit_code: int, reason: str) -> tuple[int, str]:
        """Exit code and reason of the process that failed first; those given where it is this one."""
        return (self.monitor.first_failure() if self.monitor else None) or (exit_code, reason)


SINGLE_PROCESS = DistributedContext()


class _AllGather(torch.autograd.Function):
    """Every process's part in order; backward, each part's gradient is the sum of what all processes have for it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size = rank, size
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(size)]
        with collective_errors():
            dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        total = gradient.contiguous().clone()
        with collective_errors():
            dist.all_reduce(total)
        return total.chunk(ctx.size)[ctx.rank], None, None


@contextmanager
def collective_errors() -> Iterator[None]:
    """MixzooError, in place of a library's, where another process is gone or does something else."""
    try:
        yield
    except RuntimeError as err:
        if is_out_of_memory(err) or is_dead_worker_error(err):  # trouble of this process
            raise
        reason = str(err).partition("\n")[0]
        raise MixzooError(f"another process of the run is gone ({reason}); `mixzoo resume` goes on") from err


def state_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Weights and buffers by name, not copies."""
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def digest(tensor: Tensor) -> int:
    """A number of 48 bits, which a double holds, for a tensor's bits."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big")


@contextmanager
def joined() -> Iterator[DistributedContext]:
    """The processes that torchrun started, until the end of the block; this process alone if there is no torchrun.

    If one fails, all end. One process reports why: the first that fails or, of a stop by a signal, process 0.
    """
    distributed = SINGLE_PROCESS if _number("WORLD_SIZE", 1) == 1 else _join()
    try:
        yield distributed
    except (Interrupted, KeyboardInterrupt) as err:
        if isinstance(err, Interrupted):  # all of them stop after the same step
            _leave(distributed)
        if distributed.is_main:
            raise
        raise SystemExit(err.exit_code if isinstance(err, Interrupted) else 130) from err
    except BaseException as err:
        if distributed.monitor is not None and not distributed.monitor.fail(err):
            raise SystemExit(getattr(err, "exit_code", 1)) from err  # any exception; mixzoo's own have a code
        raise
    _leave(distributed)


def _leave(distributed: DistributedContext) -> None:
    """Part from the others; threads of the library that outlive this abort the process as it ends."""
    if distributed.monitor is not None:
        distributed.monitor.close()
        dist.destroy_process_group()


def end_process(exit_code: int) -> NoReturn:
    """End a process that torchrun started, after its last word, without taking the interpreter down.

    gloo's threads may hold tensors then, need the interpreter to let go of them, and abort the process (exit code -6 in
    place of its own), now and then, also once the group is destroyed (pytorch/pytorch pull request 179291).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_code)


def has_joined() -> bool:
    """Whether this process is, or was, one of several; `end_process` is for it then."""
    return bool(_JOINED)


def _join() -> DistributedContext:
    if missing := [name for name in STARTED if name not in os.environ]:
        raise ConfigError(f"WORLD_SIZE is set and {missing[0]} is not; start several processes with torchrun")
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    own = PrefixStore("mixzoo", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    groups = PrefixStore("groups", store)
    dist.init_process_group(backend, store=groups, rank=rank, world_size=size, timeout=PATIENCE)
    _JOINED.append(rank)
    return DistributedContext(rank, size, _number("LOCAL_RANK", 0), own, FailureMonitor(own, rank))


def _number(name: str, default: int) -> int:
    given = os.environ.get(name, str(default))
    if not given.isdecimal():
        raise ConfigError(f"the variable {name} is {truncated_repr(given)}, and should be a number; torchrun sets it")
    return int(given)
