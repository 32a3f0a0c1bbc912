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
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from types import FrameType
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
    EndedWithAnother,
    Interrupted,
    MixzooError,
    PluginError,
    is_out_of_memory,
    one_line,
    truncated_repr,
)
from mixzoo.core.process_id import ProcessId
from mixzoo.data.streaming import is_dead_worker_error
from mixzoo.training.failure_monitor import EVERY, JOINING, LOST_AFTER, PATIENCE, FailureMonitor, is_gone

LONGEST_WAIT = timedelta(hours=2)  # of a process that gives signs of life: process 0 evaluates alone
_JOINED: list[FailureMonitor] = []  # that of this process, once it is one of several: for the rest of its life
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

    def on_failure(self, note: Callable[[int, str, ProcessId | None], None]) -> None:
        """Call `note` where another process fails, on process 0 and, if that has not recorded it, on the others.

        It gets an exit code, a reason and, if it is known to be gone or not to answer, process 0.
        """
        if self.monitor is not None:
            self.monitor.on_failure = note

    def named(self, reason: str, err: BaseException) -> str:
        """The reason for which this process fails, with its number; the error may name another one itself."""
        alone = self.world_size == 1 or isinstance(err, ProcessGone)
        return reason if alone else f"process {self.rank}: {reason}"

    def cause(self, exit_code: int, reason: str) -> tuple[int, str]:
        """Exit code and reason of the process that failed first; those given where it is this one."""
        first = self.monitor.first_failure() if self.monitor else None
        return (first.exit_code, first.reason) if first else (exit_code, reason)

    def end_if_lost(self) -> None:
        """End this process if it did not answer for so long that the others have ended the run without it."""
        if self.monitor is not None:
            self.monitor.end_if_lost()


SINGLE_PROCESS = DistributedContext()


class ProcessGone(MixzooError):
    """The connection to another process was lost: to number `lost`, or to an unknown one."""

    def __init__(self, message: str, lost: int | None = None) -> None:
        super().__init__(message)
        self.lost = lost


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
        lost = _JOINED[-1].gone() if _JOINED else None
        reason = f"another process of the run is gone ({one_line(err)}); `mixzoo resume` goes on"
        raise ProcessGone(reason if lost is None else is_gone(lost), lost) from err


def state_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Weights and buffers by name, not copies."""
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def digest(tensor: Tensor) -> int:
    """A number of 48 bits, which a double holds, for a tensor's bits."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big")


@contextmanager
def joined(lost_after: float = LOST_AFTER) -> Iterator[DistributedContext]:
    """The processes that torchrun started, until the end of the block; this process alone if there is no torchrun.

    If one fails, is killed or gives no sign of life for `lost_after` seconds, all end. One process reports why: the
    first that fails or, of a stop by a signal, process 0.
    """
    distributed = SINGLE_PROCESS if _number("WORLD_SIZE", 1) == 1 else _join(lost_after)
    try:
        yield distributed
    except (Interrupted, KeyboardInterrupt) as err:
        if isinstance(err, Interrupted):  # all of them stop after the same step
            _wait_for_main(distributed, PATIENCE)
            _leave(distributed)
        if distributed.is_main:
            raise
        raise EndedWithAnother(err.exit_code if isinstance(err, Interrupted) else 130) from err
    except BaseException as err:
        if distributed.monitor is not None and not distributed.monitor.fail(err):
            raise EndedWithAnother(getattr(err, "exit_code", 1)) from err  # any exception; mixzoo's own have a code
        raise
    _wait_for_main(distributed)
    _leave(distributed)


def _wait_for_main(distributed: DistributedContext, seconds: float = float("inf")) -> None:
    """Wait until process 0 has written how the run ended, which may take it a long evaluation.

    If it is killed before that, the others record it. And if a process ended with an error before, as it does after a
    signal, torchrun would end process 0.
    """
    if distributed.store is None:
        return
    began = monotonic()
    with suppress(RuntimeError):  # process 0 or torchrun is gone
        if distributed.is_main:
            distributed.store.set("ended", "")
        while not distributed.store.check(["ended"]) and monotonic() - began < seconds:
            sleep(EVERY)


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


def _join(lost_after: float) -> DistributedContext:
    if missing := [name for name in STARTED if name not in os.environ]:
        raise ConfigError(f"WORLD_SIZE is set and {missing[0]} is not; start several processes with torchrun")
    store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=JOINING * lost_after)))
    store.set_timeout(LONGEST_WAIT)
    own = PrefixStore("mixzoo", store)
    monitor = FailureMonitor(own, rank, size, lost_after)  # first: it also watches over those that do not come
    _handle_signals(monitor)
    _JOINED.append(monitor)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    groups = PrefixStore("groups", store)
    dist.init_process_group(backend, store=groups, rank=rank, world_size=size, timeout=LONGEST_WAIT)
    monitor.meet()
    return DistributedContext(rank, size, _number("LOCAL_RANK", 0), own, monitor)


def _handle_signals(monitor: FailureMonitor) -> None:
    """Handle the signals that come where a run does not handle them itself, for the rest of the process's life."""

    def terminate(number: int, frame: FrameType | None) -> None:
        # torchrun sends it to the others as soon as one has failed; that is to be recorded first.
        if not monitor.is_recording:
            monitor.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGCONT, lambda number, frame: monitor.end_if_lost())


def _number(name: str, default: int) -> int:
    given = os.environ.get(name, str(default))
    if not given.isdecimal():
        raise ConfigError(f"the variable {name} is {truncated_repr(given)}, and should be a number; torchrun sets it")
    return int(given)
