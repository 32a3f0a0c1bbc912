"""Kills a run at each of its calls of the file system in turn: open, make, rename, remove, cut."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kill_attempts import Attempt
from kill_loop import Killer, Tally, announce_commits, reference_once

CALLS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod")
SHORT = {"steps": 4, "evaluate_every": 3, "keep_checkpoints": 1}  # two commits, a purge, two evaluations


def kill_at(number: int, folder: Path) -> Callable[[int], None]:
    """Makes a process announce its calls about files in the folder, and kill itself before the one of that number."""

    def prepare(pipe: int) -> None:
        calls = Counter[str]()

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event not in CALLS or not _changes(event, arguments) or not _concerns(arguments[0], folder):
                return
            calls["all"] += 1
            os.write(pipe, f"{event} {Path(str(arguments[0])).name}\n".encode())
            if calls["all"] == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return prepare


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a call changes something, or opens a directory, as is done before it is flushed."""
    if event != "open":
        return True
    return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or os.path.isdir(arguments[0])


def _concerns(path: object, folder: Path) -> bool:
    """Whether a call is about a file in the folder. rmtree names files without a folder, a cut has a number."""
    return isinstance(path, int) or not os.path.isabs(str(path)) or str(path).startswith(str(folder))


def kills_at_calls(folder: Path, case: str, part: str, first: int = 1, every: int = 1) -> dict[str, Any]:
    """Kill `part` of a run, its "start" or a "resume" of it, at each call of the file system, and complete the run.

    Begins at call `first` and takes each `every`-th. The report also counts the calls by name.
    """
    tally, calls, number, reached = Tally(), Counter[str](), first, True
    whole = reference_once(folder, case, **SHORT)
    while reached and not tally.problems:
        label = f"{case}, {part}, call {number}"
        killer = Killer(folder / f"{number}", whole, case, tally, label, announce_commits, SHORT)
        if part == "resume":  # of a run that was killed while it wrote its second checkpoint
            killer.kill_after(lambda attempt: attempt.wait_for(b"mkdir\n", 2))
        killer.prepare = kill_at(number, killer.folder)
        reached = killer.kill_after(Attempt.wait)
        announced = killer.last.announced.decode().splitlines()
        if reached:
            calls[announced[-1]] += 1
            killer.finish()
        number += every
    return vars(tally) | {"calls": calls}
