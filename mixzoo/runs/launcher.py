"""Runs many processes, a few at a time: starts them, shows their output, and stops them together.

Each writes to its own log file, not to a pipe, so it never waits for this process, and runs on if this process is
killed. A signal to stop (STOPS) is passed on, so that each process writes a checkpoint and stops.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mixzoo.core.errors import StorageError
from mixzoo.core.storage import open_for_appending
from mixzoo.training.time_limit import TimeLimit

POLL_SECONDS = 0.05
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


@dataclass
class Process:
    """A running command and its log, read from where this process starts."""

    name: str
    popen: subprocess.Popen[bytes]
    log: IO[bytes]
    signals_sent: int = 0  # how many of the received signals were passed on to it
    partial: bytes = b""  # the beginning of a line that is not complete yet

    def lines(self) -> Iterator[str]:
        """The complete lines that it has printed since the last call."""
        *complete, self.partial = (self.partial + self.log.read()).split(b"\n")
        yield from (line.decode(errors="replace") for line in complete)

    def pass_on(self, received: Sequence[int]) -> None:
        """Send it the new signals, the first as SIGTERM: a run writes a checkpoint, or just ends if it is loading."""
        for i in range(self.signals_sent, len(received)):
            self.popen.send_signal(received[i] if i and received[i] != signal.SIGHUP else signal.SIGTERM)
        self.signals_sent = len(received)


def run_all(
    commands: Mapping[str, Sequence[str]],
    logs: Mapping[str, Path],
    at_once: int,
    watch: Watch,
    on_end: Callable[[str, int, bool], str],
    on_start: Callable[[str], Mapping[str, str]] = lambda name: {},
    limit: TimeLimit | None = None,
) -> str:
    """Run every command, `at_once` at a time. Returns what stopped them, a signal or the time limit, or ''.

    `on_start(name)` returns additional environment variables for the process. `on_end(name, exit_status, stopping)`
    returns its final state; exit_status is -n if signal n killed it, and stopping is whether all are being stopped.
    """
    waiting, running, out_of_time = list(commands), list[Process](), False
    with _signals() as received:
        try:
            while running or (waiting and not received):
                if limit is not None and limit.is_over and not received:
                    out_of_time = True
                    received.append(signal.SIGTERM)  # which is passed on, as if it had been sent to this process
                while waiting and len(running) < at_once and not received:
                    name = waiting.pop(0)
                    running.append(_start(name, commands[name], logs[name], on_start(name)))
                    watch.started(name)
                for process in list(running):
                    process.pass_on(received)
                    status = process.popen.poll()  # before the lines are read, so that none is missed
                    for line in process.lines():
                        watch.line(process.name, line)
                    if status is not None:
                        running.remove(process)
                        process.log.close()
                        watch.ended(process.name, on_end(process.name, status, bool(received)))
                time.sleep(POLL_SECONDS)
        finally:
            _end(running)
            watch.close()
        if limit is not None and out_of_time:
            return limit.name
        return signal.Signals(received[0]).name if received else ""


def _start(name: str, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Process:
    """Start a process in its own session, so that Ctrl-C in a terminal reaches it once, through this process."""
    try:
        with open(open_for_appending(log), "ab") as output:
            reader = log.open("rb")
            reader.seek(0, os.SEEK_END)
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env={**os.environ, **variables},
                start_new_session=True,
            )
    except OSError as err:
        raise StorageError(f"{log}: cannot be written: {err.strerror}") from err
    return Process(name, popen, reader)


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


def _end(running: Sequence[Process]) -> None:
    """Stop the processes that still run, after an error in this process."""
    for process in running:
        process.popen.terminate()
    for process in running:
        process.popen.wait()
        process.log.close()
