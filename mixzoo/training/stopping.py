"""Signals that ask a run to stop, and when all its processes do."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from mixzoo.training.distributed import World

SECONDS = 1.0  # between two times that processes ask one another
MOST = 100  # steps between them


@contextmanager
def stop_requested() -> Iterator[Callable[[], str]]:
    """A function that names the signal that asked the run to stop, or ''; a second SIGINT raises KeyboardInterrupt.

    Handlers are put back at the end, and none are set outside the main thread, where Python allows none.
    """
    received: list[str] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield lambda: received[0] if received else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopTogether:
    """The signal that any process of the run got, or '': the same answer on all of them after the same step.

    They ask one another about once a second, by steps, of which they agree how many that is: it costs one small
    all-reduce on the CPU.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._every = self._left = 1
        self._asked = monotonic()

    def __call__(self, own: str) -> str:
        if self._world.size == 1:
            return own
        self._left -= 1
        if self._left:
            return ""
        number = float(signal.Signals[own]) if own else 0.0
        greatest, seconds = self._world.greatest([number, monotonic() - self._asked])
        self._every = self._left = min(max(1, int(SECONDS * self._every / max(seconds, 1e-9))), MOST)
        self._asked = monotonic()
        return signal.Signals(int(greatest)).name if greatest else ""
