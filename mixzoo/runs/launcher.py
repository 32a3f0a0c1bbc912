"""Runs many jobs with a launcher, a few at a time: begins them, shows their output, and stops them together.

Each writes to its own log file, not to a pipe, so it never waits for this process, and runs on if this process is
killed. A signal to stop (STOPS) is passed on, so that each run writes a checkpoint and stops; jobs in the queue of a
cluster are left there.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from mixzoo.core.errors import StorageError
from mixzoo.core.launcher import End, Job, Lost, Task
from mixzoo.core.storage import open_for_appending
from mixzoo.runs.places import Place
from mixzoo.training.time_limit import TimeLimit

STILL = "warning: it has not stopped, and may go on; `mixzoo resume` says so while it does"
LOG = "output.log"  # in the directory of a run: what its process has printed
PASSED = ("MIXZOO_", "PYTHONPATH", "OMP_NUM_THREADS")  # beginnings of variables that a process elsewhere needs too
GIVE_UP = 3  # received signals after which jobs that do not end are left
END_SECONDS = 600.0  # for which stopped jobs are waited for after an error in this process
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Watch:
    """Shows the progress of processes. This class shows nothing."""

    def started(self, name: str) -> None:
        pass

    def line(self, name: str, text: str) -> None:
        """The process has printed a line."""

    def ended(self, name: str, state: str) -> None:
        pass

    def close(self) -> None:
        pass


def job_of(run_dir: Path, place: Place, flags: Sequence[str]) -> Job:
    """The job that begins or continues a run. `flags` are those of `mixzoo resume`."""
    command = (sys.executable, "-m", "mixzoo", "resume", str(run_dir), *flags)
    own = {} if place.here else {key: text for key, text in os.environ.items() if key.startswith(PASSED)}
    return Job(run_dir.name, run_dir.absolute(), command, run_dir.absolute() / LOG, Path.cwd(), own)


def run_flags(
    steps: int | None = None,
    allow_change: Sequence[str] | None = None,
    values: Sequence[str] | None = None,
    log_to: str | None = None,
) -> list[str]:
    """The flags of `mixzoo resume` that a run's process gets too."""
    several = {"--allow-change": allow_change or (), "--set": values or ()}
    one = {"--steps": steps, "--log-to": log_to}
    return [
        *(text for flag, texts in several.items() for each in texts for text in (flag, each)),
        *(text for flag, value in one.items() if value is not None for text in (flag, str(value))),
    ]


@dataclass
class Process:
    """A job that was begun, and its log, read from where this process starts."""

    job: Job
    task: Task
    log: IO[bytes]
    begun: int = 1  # times
    signals_sent: int = 0  # how many of the received signals were passed on to it
    partial: bytes = field(default=b"", repr=False)  # the beginning of a line that is not complete yet

    def lines(self) -> Iterator[str]:
        """The complete lines that it has printed since the last call."""
        *complete, self.partial = (self.partial + self.log.read()).split(b"\n")
        yield from (line.decode(errors="replace") for line in complete)

    def pass_on(self, received: Sequence[int], place: Place) -> None:
        """Send it the new signals, the first as SIGTERM: a run writes a checkpoint, or just ends if it is loading."""
        for i in range(self.signals_sent, len(received)):
            number = received[i] if i and received[i] != signal.SIGHUP else signal.SIGTERM
            place.send_signal(self.task, number)
            self.signals_sent += 1


def run_all(
    jobs: Sequence[Job],
    place: Place,
    at_once: int,
    watch: Watch,
    on_end: Callable[[str, End, bool], str],
    on_start: Callable[[str], Mapping[str, str]] = lambda name: {},
    limit: TimeLimit | None = None,
) -> str:
    """Run every job, `at_once` at a time. Returns what stopped them, a signal or the time limit, or ''.

    `on_start(name)` returns additional environment variables for the process. `on_end(name, end, stopping)` returns its
    final state; stopping is whether all are being stopped. Jobs in a queue are not stopped: this function then returns
    at a signal, and they go on. After GIVE_UP signals it waits for no job.
    """
    running, out_of_time = list[Process](), False
    service: AbstractContextManager[Mapping[str, str]] = place.service() if jobs else nullcontext({})
    with _signals() as received, service as variables:
        waiting = [replace(job, environment={**job.environment, **variables}) for job in jobs]
        try:
            if place.has_queue:
                running, waiting = _in_queue(waiting, place, at_once, on_start), []
                for process in running:
                    watch.started(process.job.name)
            while running or (waiting and not received):
                if received and place.has_queue:
                    break
                if limit is not None and limit.is_over and not received:
                    out_of_time = True
                    received.append(signal.SIGTERM)  # which is passed on, as if it had been sent to this process
                while waiting and len(running) < at_once and not received:
                    running.append(_start(waiting.pop(0), place, on_start))
                    watch.started(running[-1].job.name)
                for process in list(running):
                    process.pass_on(received, place)
                    end = place.end_of(process.task)  # before the lines are read, so that none is missed
                    for line in process.lines():
                        watch.line(process.job.name, line)
                    if isinstance(end, Lost) and end.again and process.begun <= place.retries and not received:
                        watch.line(
                            process.job.name, f"warning: {end.reason}; it is begun again from its last checkpoint"
                        )
                        process.task, process.begun = place.begin(process.job), process.begun + 1
                    elif end is not None:
                        running.remove(process)
                        process.log.close()
                        watch.ended(process.job.name, on_end(process.job.name, end, bool(received)))
                if len(received) >= GIVE_UP:
                    for process in running:
                        process.log.close()
                        watch.line(process.job.name, STILL)
                    running = []
                    break
                time.sleep(place.poll_seconds)
        finally:
            _end(running, place, received, watch)
            watch.close()
        if limit is not None and out_of_time:
            return limit.name
        return signal.Signals(received[0]).name if received else ""


def _start(job: Job, place: Place, on_start: Callable[[str], Mapping[str, str]]) -> Process:
    log = _log_from_now(job.log)
    try:
        job = replace(job, environment={**job.environment, **on_start(job.name)})
        return Process(job, place.begin(job), log)
    except BaseException:
        log.close()
        raise


def _in_queue(
    jobs: Sequence[Job], place: Place, at_once: int, on_start: Callable[[str], Mapping[str, str]]
) -> list[Process]:
    """Every job in the queue: those that are there already, and the others, which are put there together."""
    there = {job.name: task for job in jobs if (task := place.attach(job)) is not None}
    new = [replace(job, environment={**job.environment, **on_start(job.name)}) for job in jobs if job.name not in there]
    logs = {job.name: _log_from_now(job.log) for job in jobs}
    try:
        there |= {job.name: task for job, task in zip(new, place.begin_all(new, at_once))}
    except BaseException:
        for log in logs.values():
            log.close()
        raise
    return [Process(job, there[job.name], logs[job.name]) for job in jobs]


def _log_from_now(log: Path) -> IO[bytes]:
    """The log, made if it is not there, for reading what is added from now on."""
    try:
        os.close(open_for_appending(log))
        reader = log.open("rb")
    except OSError as err:
        raise StorageError(f"{log}: cannot be written: {err.strerror}") from err
    reader.seek(0, os.SEEK_END)
    return reader


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the STOPS that this process receives in a list; the old handlers are restored at the end.

    Outside the main thread the list stays empty, because Python allows handlers only there.
    """
    received: list[int] = []
    stops = list(STOPS) if threading.current_thread() is threading.main_thread() else []
    if stops and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as under nohup
        stops.remove(signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in stops}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(running: Sequence[Process], place: Place, received: Sequence[int], watch: Watch) -> None:
    """Stop the jobs that still run, after an error in this process, and wait for them until a signal is received.

    Those in a queue go on. Those whose task fails at it may go on, and a line says so.
    """
    for process in running:
        process.log.close()
    if place.has_queue:
        return
    ends, signals, stopping = time.monotonic() + END_SECONDS, len(received), list[Process]()
    for process in running:
        with suppress(Exception):
            try:
                process.pass_on(received or [signal.SIGTERM], place)
            except Exception:  # the error that is on its way tells more
                watch.line(process.job.name, STILL)
                raise
            stopping.append(process)
    for process in stopping:
        with suppress(Exception):
            while place.end_of(process.task) is None and time.monotonic() < ends and len(received) == signals:
                time.sleep(place.poll_seconds)
