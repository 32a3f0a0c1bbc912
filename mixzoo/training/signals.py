"""What asks a run to stop, signals and --max-time, and the step after which all its processes do."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType

from mixzoo.core.errors import LeaveBlock
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.time_limit import TimeLimit, leaves_block

# SIGHUP: a terminal that is closed; SIGUSR1 and SIGUSR2: a scheduler's warning that time is nearly up
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
TIME_IS_OVER = 0.5  # exchanged in place of the number of a signal, which goes before it
SECONDS = 1.0  # between two exchanges between the processes
MAX_STEPS = 100  # between two exchanges


@contextmanager
def stop_requested() -> Iterator[Callable[[], str]]:
    """A function that names the signal that asked the run to stop, or ''; a second SIGINT raises KeyboardInterrupt."""
    received: list[str] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    with _handled_by(ask):
        yield lambda: received[0] if received else ""


@contextmanager
def interruptible(run_dir: Path) -> Iterator[None]:
    """The first signal ends the block with Interrupted, except where `stop_requested` handles it.

    The next one finds the handlers that were there before.
    """
    with leaves_block(), ExitStack() as handlers:

        def stop(number: int, frame: FrameType | None) -> None:
            handlers.close()
            by = signal.Signals(number).name
            raise LeaveBlock(f"stopped by {by} between steps; `mixzoo resume {run_dir}` continues it")

        handlers.enter_context(_handled_by(stop))
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside the block, signals that ask to stop call the handler; SIGHUP stays ignored if it was, as under nohup.

    Handlers are put back at the end, and none are set outside the main thread, where Python allows none.
    """
    in_main = threading.current_thread() is threading.main_thread()
    signals = [number for number in STOPS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in (signals if in_main else ())}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)


class StopTogether:
    """What asks any process of the run to stop, a signal or the time limit, or '': the same after the same step.

    They exchange it about once a second, after a number of steps that they agree on; that costs one small all-reduce on
    the CPU.
    """

    def __init__(self, distributed: DistributedContext, limit: TimeLimit | None = None) -> None:
        self._distributed, self._limit = distributed, limit
        self._every = self._left = 1
        self._asked = monotonic()

    def __call__(self, own: str) -> str:
        """What asks for a stop; `own` is the signal that this process has received, or ''."""
        over = self._limit is not None and self._limit.is_over
        by_limit = self._limit.name if self._limit else "--max-time"  # of another process, if this one has none
        if self._distributed.world_size == 1:
            return own or (by_limit if over else "")
        self._left -= 1
        if self._left:
            return ""
        number = float(signal.Signals[own]) if own else TIME_IS_OVER if over else 0.0
        greatest, seconds = self._distributed.all_reduce_max([number, monotonic() - self._asked])
        self._every = self._left = min(max(1, int(SECONDS * self._every / max(seconds, 1e-9))), MAX_STEPS)
        self._asked = monotonic()
        if greatest == TIME_IS_OVER:
            return by_limit
        return signal.Signals(int(greatest)).name if greatest else ""
