"""If one process of a run fails, all of them end, after process 0 has recorded why."""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta

from torch.distributed import Store  # type: ignore[attr-defined]

EVERY = 0.3  # seconds between looks
GRACE = 1.0  # seconds for a process to fail of the same cause by itself
PATIENCE = timedelta(seconds=10)  # for process 0 to record what failed elsewhere


class FailureMonitor:
    """Ends this process when another has failed; on a GPU, a process that waits for it would never notice.

    A process that fails writes the reason to the store and stays until process 0 has recorded it (`on_failure`). A
    thread of each other process reads it there.
    """

    def __init__(self, store: Store, rank: int) -> None:
        self._store, self._rank = store, rank
        self.on_failure: Callable[[int, str], None] = lambda exit_code, reason: None
        self._leaving = threading.Event()
        threading.Thread(target=self._look, name="failure-monitor", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._leaving.set()

    def fail(self, err: BaseException) -> bool:
        """Tell the other processes why this one ends; returns whether it is the first to fail."""
        self._leaving.set()
        # Only errors of mixzoo have an exit code; any other exception can end a process too.
        code = getattr(err, "exit_code", 1)
        reason = str(err) if hasattr(err, "exit_code") else f"{type(err).__name__}: {err}"
        try:
            first = self._store.add("failures", 1) == 1
            if first:
                self._store.set("failed", json.dumps([code, f"process {self._rank}: {reason}"]))
            self._wait_until_written()
        except RuntimeError:  # the store is gone, and torchrun with it: there is nobody to tell
            return True
        return first

    def first_failure(self) -> tuple[int, str] | None:
        """Exit code and reason of the process that failed first; None while none has."""
        try:
            if not self._store.check(["failed"]):
                return None
            code, reason = json.loads(self._store.get("failed"))
        except RuntimeError:
            return 1, "torchrun is gone"
        return int(code), str(reason)

    def _wait_until_written(self) -> None:
        if self._rank == 0:
            self._store.set("written", "")
        else:
            self._store.wait(["written"], PATIENCE)

    def _look(self) -> None:
        while not self._leaving.wait(EVERY):
            failure = self.first_failure()
            if failure is not None and not self._leaving.wait(GRACE):
                code, reason = failure
                if self._rank == 0:
                    self.on_failure(code, reason)
                with contextlib.suppress(RuntimeError):  # process 0 or the store is gone too
                    self._wait_until_written()
                os._exit(code)  # the main thread may be waiting for the one that failed
