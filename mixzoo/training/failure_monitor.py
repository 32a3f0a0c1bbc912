"""If one process of a run fails, is gone or no longer answers, all of them end, after one has recorded why.

Process 0 records it. If it is process 0 that is gone, the others try to, and the lock of the run directory decides
which of them does (`on_failure`). A process that does not answer is killed by those on its machine, so that it cannot
go on writing when it is continued.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from time import monotonic, sleep

from torch.distributed import Store  # type: ignore[attr-defined]

from mixzoo.core.durations import duration_text
from mixzoo.core.process_id import ProcessId

EVERY = 0.3  # seconds between looks
BEAT = 1.0  # seconds between signs of life
LOST_AFTER = 300.0  # seconds without a sign of life after which a process is taken for lost
JOINING = 4  # so many times longer for one that has not come yet: it may load libraries from a slow disk
GRACE = 1.0  # seconds for a process to fail of the same cause by itself
PATIENCE = 10.0  # seconds for process 0 to record what failed elsewhere
HANGS = "it is stopped, or hangs; `mixzoo resume` goes on"
LEFT = b"left"  # the last sign of life of a process that ends in good order


@dataclass(frozen=True)
class Failure:
    """Why a run ends."""

    exit_code: int
    reason: str
    lost: int | None = None  # the process that is gone or does not answer


class FailureMonitor:
    """Ends this process when another has failed; on a GPU, a process that waits for it would never notice.

    A process that fails writes the reason to the store and stays until process 0 has recorded it. A thread of each
    process gives signs of life and reads those of the others, also while the main thread computes, evaluates or waits.
    A second one ends the process if the store itself no longer answers. Time in which this process was stopped itself
    does not count as silence of others.
    """

    def __init__(self, store: Store, rank: int, size: int, lost_after: float = LOST_AFTER) -> None:
        # A connection of its own: on a shared one it would wait while the main thread waits for a word of another.
        self._store = store.clone()
        self._rank, self._others, self._lost_after = rank, [r for r in range(size) if r != rank], lost_after
        self.on_failure: Callable[[int, str, ProcessId | None], None] = lambda exit_code, reason, gone: None
        self._leaving, self._closed = threading.Event(), threading.Event()
        self._processes: dict[int, ProcessId] = {}  # those that have come
        self._beats: dict[int, bytes] = {}  # the last sign of life of each of them
        self._silent = dict.fromkeys(self._others, 0.0)  # seconds since it changed
        self._own_beats = self._looks = 0
        self._unanswered: Failure | None = None  # if the store no longer answers
        self.is_recording = False  # or about to: this process ends when it is recorded why
        self._store.set(f"process/{rank}", ProcessId.of_this().to_json())
        self._beat()
        for work in (self._look, self._watch_store):
            threading.Thread(target=work, name="failure-monitor", daemon=True).start()

    def meet(self) -> None:
        """Learn which processes the others are. All of them have come."""
        with contextlib.suppress(RuntimeError):  # the threads notice that the store is gone
            self._read_beats()

    def close(self) -> None:
        """Stop watching, and be missed by none."""
        self._leaving.set()
        self._closed.set()
        with contextlib.suppress(RuntimeError):  # the store is gone already
            self._store.set(f"beat/{self._rank}", LEFT.decode())

    def fail(self, err: BaseException) -> bool:
        """Tell the other processes why this one ends; returns whether it is the first to fail."""
        self._leaving.set()
        self.is_recording = True
        # Only errors of mixzoo have an exit code; any other exception can end a process too.
        code, lost = getattr(err, "exit_code", 1), getattr(err, "lost", None)
        reason = str(err) if hasattr(err, "exit_code") else f"{type(err).__name__}: {err}"
        failure = Failure(code, reason if lost is not None else f"process {self._rank}: {reason}", lost)
        try:
            first = self._declare(failure)
        except RuntimeError:  # there is nobody to tell
            self._record_for_main(self._store_lost("is gone"))
            return True
        self._see_it_recorded(self.first_failure() or failure)
        self._closed.set()
        self.is_recording = False  # from here on torchrun may end this process at once
        return first

    def first_failure(self) -> Failure | None:
        """The failure of the process that failed first; None while none has."""
        try:
            if not self._store.check(["failed"]):
                return None
            return Failure(**json.loads(self._store.get("failed")))
        except RuntimeError:
            return self._store_lost("is gone")

    def gone(self) -> int | None:
        """The process whose connection was lost, None if it cannot be told, or if another has said why it ends."""
        try:
            began = monotonic()
            seen = self._read_beats()
            while monotonic() - began < 3 * BEAT:
                if self._store.check(["failed"]):
                    return None
                if (ended := self._ended()) is not None:
                    return ended
                sleep(EVERY / 3)
            still = [r for r, beat in self._read_beats().items() if seen.get(r) == beat != LEFT]
            return still[0] if len(still) == 1 else None
        except RuntimeError:
            return self._store_lost("is gone").lost

    def end_if_lost(self) -> None:
        """End this process if it is process 0 and the others have given it up: it must write no more."""
        if self._rank:
            return
        try:
            given_up = self._store.check(["failed"]) and json.loads(self._store.get("failed"))["lost"] == self._rank
        except RuntimeError:  # the others have ended, and with them the store
            given_up = True
        if given_up and not self._closed.is_set():
            os._exit(1)

    def _declare(self, failure: Failure) -> bool:
        """Tell the others; returns whether this is the first failure."""
        first = bool(self._store.add("failures", 1) == 1)
        if first:
            self._store.set("failed", json.dumps(asdict(failure)))
        return first

    def _look(self) -> None:
        last_beat = last_count = monotonic()
        while not self._leaving.wait(EVERY):
            try:
                now = monotonic()
                if now - last_beat >= BEAT:
                    self._beat()
                    last_beat = now
                failure = self.first_failure()
                if failure is None and now - last_count >= max(BEAT, self._lost_after / 10):
                    # A pause longer than that between two counts is one of this process.
                    failure = self._find_lost(min(now - last_count, max(2 * BEAT, self._lost_after / 5)))
                    last_count = now
            except RuntimeError:
                failure = self._store_lost("is gone")
            self._looks += 1
            if failure is not None and not self._leaving.wait(GRACE):
                self._end(failure)

    def _watch_store(self) -> None:
        """End this process if the store has not answered for long: whoever keeps it may be stopped."""
        seen, quiet = 0, 0.0
        while not self._closed.wait(BEAT):
            quiet = quiet + BEAT if self._looks == seen else 0.0
            seen = self._looks
            if quiet > self._lost_after:
                self.is_recording = True
                failure = self._store_lost(f"has not answered for {duration_text(self._lost_after)}: {HANGS}")
                self._unanswered = failure  # what the main thread says too, whom the kill wakes up
                self._record_for_main(failure)
                os._exit(failure.exit_code)

    def _beat(self) -> None:
        self._own_beats += 1
        self._store.set(f"beat/{self._rank}", str(self._own_beats))

    def _read_beats(self) -> dict[int, bytes]:
        """The signs of life of the other processes that have come."""
        for r in self._others:
            if r not in self._processes and self._store.check([f"process/{r}", f"beat/{r}"]):
                self._processes[r] = ProcessId.from_json(self._store.get(f"process/{r}").decode())
        come = list(self._processes)
        return dict(zip(come, self._store.multi_get([f"beat/{r}" for r in come]))) if come else {}

    def _find_lost(self, passed: float) -> Failure | None:
        """A process that has ended without a word or has been silent for too long; the others are told, too."""
        beats = self._read_beats()
        for r in self._others:
            changed = r in beats and (beats[r] != self._beats.get(r) or beats[r] == LEFT)
            self._silent[r] = 0.0 if changed else self._silent[r] + passed
        self._beats = beats
        if (lost := self._ended()) is not None:
            failure = Failure(1, is_gone(lost), lost)
        else:
            limits = {r: self._lost_after if r in beats else JOINING * self._lost_after for r in self._others}
            silent = [r for r in self._others if self._silent[r] > limits[r]]
            if not silent:
                return None
            lost = silent[0]
            what = "answered" if lost in beats else "joined the others"
            reason = f"process {lost} has not {what} for {duration_text(limits[lost])}: {HANGS}"
            failure = Failure(1, reason, lost)
        self._declare(failure)
        return self.first_failure()

    def _ended(self) -> int | None:
        """A process of this machine that has ended, and not in good order."""
        for r in [r for r, process in self._processes.items() if process.has_ended]:
            if self._store.get(f"beat/{r}") != LEFT:  # read after it has ended
                return r
        return None

    def _end(self, failure: Failure) -> None:
        """End this process, because another has failed: the main thread may be waiting for that one."""
        self.is_recording = True
        if failure.lost == self._rank:  # given up by the others, who have recorded it
            os._exit(failure.exit_code)
        if failure.lost in self._processes:
            self._processes[failure.lost].kill()
        if self._rank == 0:
            self.on_failure(failure.exit_code, failure.reason, None)
        self._see_it_recorded(failure)
        os._exit(failure.exit_code)

    def _see_it_recorded(self, failure: Failure) -> None:
        """Wait until process 0 has recorded the failure; if that is not to be expected, record it here."""
        try:
            if self._rank == 0:
                return self._store.set("recorded", "")
            began = monotonic()
            while failure.lost != 0 and not self._main_has_ended() and monotonic() - began < PATIENCE:
                if self._store.check(["recorded"]):
                    return None
                self._looks += 1  # the store answers
                sleep(EVERY / 3)
        except RuntimeError:
            failure = replace(failure, lost=self._store_lost("is gone").lost)
        return self._record_for_main(failure)

    def _record_for_main(self, failure: Failure) -> None:
        """Record the failure in place of process 0, which is killed first if it does not answer."""
        main = self._processes.get(0) if failure.lost == 0 or self._main_has_ended() else None
        if main is not None:
            main.kill()
        self.on_failure(failure.exit_code, failure.reason, main)

    def _main_has_ended(self) -> bool:
        return 0 in self._processes and self._processes[0].has_ended

    def _store_lost(self, what: str) -> Failure:
        """The failure if the store is gone or does not answer: torchrun keeps it or, without torchrun, process 0."""
        if self._unanswered is not None:
            return self._unanswered
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            return Failure(1, f"torchrun {what}")
        return Failure(1, is_gone(0) if self._main_has_ended() else f"process 0 {what}", lost=0)


def is_gone(rank: int) -> str:
    """The reason for which a run ends whose process of that number is gone."""
    return f"process {rank} is gone: it was killed, or it crashed; `mixzoo resume` goes on"
