"""A limit of the time that a command may take (--max-time), after which a run stops as it does at a signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType

from mixzoo.core.durations import duration_text
from mixzoo.core.errors import Interrupted, LeaveBlock


class TimeLimit:
    """A length of time in seconds, which begins when the object is made; `option` is what it was given as."""

    def __init__(self, seconds: float, option: str = "--max-time ") -> None:
        self.name = f"{option}{duration_text(seconds)}"
        self._ends = monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._ends - monotonic())

    @property
    def is_over(self) -> bool:
        return not self.left


@contextmanager
def leaves_block() -> Iterator[None]:
    """Raises Interrupted, with the same message, for a LeaveBlock inside the block."""
    try:
        yield
    except LeaveBlock as left:
        raise Interrupted(str(left)) from None


@contextmanager
def in_time(limit: TimeLimit | None, run_dir: Path) -> Iterator[None]:
    """Ends the block with Interrupted when the time is over, in the midst of whatever is computed there.

    Outside the main thread, or if a timer of somebody else is running, only if it is over at the beginning.
    """
    if limit is None:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise LeaveBlock(
            f"stopped by {limit.name} after the last step, before all scores were computed; `mixzoo resume {run_dir}` "
            "computes them"
        )

    with leaves_block():
        if limit.is_over:
            stop(0, None)
        in_main = threading.current_thread() is threading.main_thread()
        if not in_main or signal.getitimer(signal.ITIMER_REAL)[0]:
            yield
            return
        before = signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(limit.left, 1e-3))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
