"""A plugin that hangs while it loads is given up.

A module runs in this very process when it is imported, so it cannot be killed: a timer's signal raises an exception
inside it. The clock counts seconds in which nothing more is imported: a large library on a slow disk, which imports one
module after the other, may take its time, and so may the loading of one compiled library, during which no signal is
delivered. Not caught are compiled code that never returns, code that catches BaseException without end, and a plugin
that is loaded in a thread other than the main one, where signals cannot be received.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mixzoo.core.errors import LeaveBlock

SECONDS = 10  # without an import, counted by signals received


class _Hangs(LeaveBlock):
    """Raised inside the code that hangs."""


@contextmanager
def watched(seconds: int = SECONDS) -> Iterator[None]:
    """Raises TimeoutError if the block goes on for `seconds` without importing a module; see above for its limits."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    quiet, modules = 0, len(sys.modules)

    def tick(number: int, frame: FrameType | None) -> None:
        nonlocal quiet, modules
        quiet = quiet + 1 if len(sys.modules) == modules else 0
        modules = len(sys.modules)
        if quiet >= seconds:  # at each further tick too, for code that catches everything once
            raise _Hangs

    handler = signal.signal(signal.SIGALRM, tick)
    timer = signal.setitimer(signal.ITIMER_REAL, 1, 1)
    try:
        yield
    except _Hangs:
        raise TimeoutError(f"still loading after {seconds} s without importing anything") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        # None stands for a handler that was not set from Python, and cannot be set again from here.
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
