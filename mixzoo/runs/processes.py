"""Many processes, some at a time: started, watched, stopped together.

Each writes to a log file of its own, which is read while it grows: nothing of this process can block it, and if this
process is killed outright the others go on to their end. A signal that asks to stop (STOPS) is passed on, so that each
of them commits and stops.
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

LOOK_EVERY_SECONDS = 0.05
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Watch:
    """What a person sees of processes in progress; this one shows nothing."""

    def started(self, name: str) -> None:
        pass

    def line(self, name: str, text: str) -> None:
        """A line that the process has printed."""

    def ended(self, name: str, state: str) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Process:
    """A command that runs, and its log from where it began."""

    name: str
    popen: subprocess.Popen[bytes]
    log: IO[bytes]
    told: int = 0  # of the signals received, how many were passed on to it
    torn: bytes = b""  # the beginning of a line that is not whole yet

    def lines(self) -> Iterator[str]:
        """The whole lines that it has printed since it was last asked."""
        *whole, self.torn = (self.torn + self.log.read()).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)

    def tell(self, received: Sequence[int]) -> None:
        """Pass signals on; the first as SIGTERM, at which a run commits and one that has not begun just ends."""
        for i in range(self.told, len(received)):
            self.popen.send_signal(received[i] if i and received[i] != signal.SIGHUP else signal.SIGTERM)
        self.told = len(received)


def run_all(
    commands: Mapping[str, Sequence[str]],
    logs: Mapping[str, Path],
    at_once: int,
    watch: Watch,
    ended: Callable[[str, int, bool], str],
    variables: Callable[[str], Mapping[str, str]] = lambda name: {},
) -> str:
    """Run every command, `at_once` at a time; the name of the signal that stopped them, or ''.

    `ended` is told a name, its exit status (negative for a signal) and whether a stop was asked for; it says its state.
    `variables`, asked as a process starts, are set in its environment beside those of this one.
    """
    waiting, running = list(commands), list[Process]()
    with _signals() as received:
        try:
            while running or (waiting and not received):
                while waiting and len(running) < at_once and not received:
                    name = waiting.pop(0)
                    running.append(_start(name, commands[name], logs[name], variables(name)))
                    watch.started(name)
                for process in list(running):
                    process.tell(received)
                    status = process.popen.poll()  # first, so that the lines after it are all there are
                    for line in process.lines():
                        watch.line(process.name, line)
                    if status is not None:
                        running.remove(process)
                        process.log.close()
                        watch.ended(process.name, ended(process.name, status, bool(received)))
                time.sleep(LOOK_EVERY_SECONDS)
        finally:
            _end(running)
            watch.close()
        return signal.Signals(received[0]).name if received else ""


def _start(name: str, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Process:
    """In a session of its own, so that a terminal's Ctrl-C comes once, from here."""
    try:
        with open(open_for_appending(log), "ab") as written:
            read = log.open("rb")
            read.seek(0, os.SEEK_END)
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=written,
                env={**os.environ, **variables},
                start_new_session=True,
            )
    except OSError as err:
        raise StorageError(f"{log}: cannot be written: {err.strerror}") from err
    return Process(name, popen, read)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals received so far that ask to stop; handlers are put back at the end.

    None are set outside the main thread, where Python allows none.
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
    """Stop what still runs, when this process itself is in trouble."""
    for process in running:
        process.popen.terminate()
    for process in running:
        process.popen.wait()
        process.log.close()
