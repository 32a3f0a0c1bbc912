"""Runs in forked processes, to be killed: how one is begun, what a kill has left, and whether it is the unbroken run.

The process that forks has imported everything and trained once, and has one thread, so an attempt takes no more than
its training.
"""

import contextlib
import gc
import json
import os
import re
import select
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from kill_parts import kill_config, kill_zoo

from mixzoo.core.errors import CheckpointError, MixzooError
from mixzoo.runs.directory import NEW_PREFIX
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import read_whole, saved, step_of
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics

ZOO = kill_zoo()
TIMES = ("started", "ended", "seconds", "command", "sha256", "metrics_sha256")  # of environment.json and manifests
ALL = {"checkpoint_every": 1, "keep_checkpoints": 1000}
INTERVAL = 2  # steps between checkpoints
PATIENCE = 120.0  # seconds for a run that nobody kills


class Announcing(ProgressDisplay):
    """Writes the step that training goes on from to a pipe."""

    def __init__(self, pipe: int, step: int) -> None:
        os.write(pipe, b"from %d\n" % step)


class Attempt:
    """A forked process that begins or resumes a run; `prepare(pipe)` comes first in it.

    What it prints goes to a file, and what it announces into a pipe.
    """

    def __init__(
        self, run_dir: Path, case: str, prepare: Callable[[int], None] = lambda pipe: None, **numbers: object
    ) -> None:
        self._output, self.announced = run_dir.with_name("output.txt"), b""
        self._read, pipe = os.pipe()
        os.set_blocking(self._read, False)
        gc.freeze()  # a collection in the forked process would write to all of the memory that it shares
        assert len(os.listdir("/proc/self/task")) == 1, "a thread at the fork: its locks would stay locked in the child"
        self.began, self.pid = monotonic(), os.fork()
        if self.pid == 0:
            self._become(prepare, run_dir, case, pipe, numbers)
        os.close(pipe)
        self._ended = os.pidfd_open(self.pid)

    def _become(self, prepare: Callable[[int], None], run_dir: Path, case: str, pipe: int, numbers: Any) -> None:
        """The work of the forked process."""
        code = 1
        try:
            handle = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            prepare(pipe)
            code = self.work(run_dir, case, pipe, numbers)
        except SystemExit as err:
            code = err.code if isinstance(err.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    @staticmethod
    def work(run_dir: Path, case: str, pipe: int, numbers: dict[str, Any]) -> int:
        """Resume the run if it is there, begin it otherwise; returns the exit code of a command that does so."""
        torch.set_num_threads(1)
        try:
            if run_dir.exists():
                resume(ZOO, run_dir, lambda steps, step=0: Announcing(pipe, step))
            else:
                start(ZOO, kill_config(ZOO, case, **numbers), run_dir, lambda steps, step=0: Announcing(pipe, step))
        except MixzooError as err:
            print(f"mixzoo: {err}", file=sys.stderr)
            return err.exit_code
        return 0

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Whether it ends within these seconds."""
        return bool(select.select([self._ended], [], [], seconds)[0])

    def wait_for(self, line: bytes, times: int = 1) -> bool:
        """Whether it announces this line that many times before it ends."""
        while self.read().count(line) < times:
            if self._ended in select.select([self._read, self._ended], [], [], PATIENCE)[0]:
                return self.read().count(line) >= times
        return True

    def read(self) -> bytes:
        """What it has announced until now."""
        with contextlib.suppress(BlockingIOError):
            while found := os.read(self._read, 65536):
                self.announced += found
        return self.announced

    @property
    def resumed_from(self) -> int | None:
        """The step that its training went on from; None if it did not get so far."""
        found = re.search(rb"from (\d+)\n", self.announced)
        return int(found[1]) if found else None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Its exit code, the negative of a signal that killed it. It is killed if it does not end by itself."""
        if not self.wait():
            self.send(signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.seconds = monotonic() - self.began
        self.read()
        os.close(self._read)
        os.close(self._ended)
        return code

    @property
    def output(self) -> str:
        return self._output.read_text() if self._output.exists() else ""


@dataclass(frozen=True)
class Reference:
    """The unbroken run, and the same run with all of its checkpoints."""

    run: Path
    all: Path

    @cache  # noqa: B019 (there are as few of these as cases)
    def tensors(self, step: int) -> dict[str, bytes]:
        """The tensor files of its checkpoint of this step."""
        return tensors_in(self.all / "checkpoints" / f"step-{step:08d}")


def reference(folder: Path, case: str, **numbers: object) -> Reference:
    """Train both in this process, which so has all that a forked one needs."""
    torch.set_num_threads(1)
    made = Reference(folder / "whole", folder / "all")
    start(ZOO, kill_config(ZOO, case, **numbers), made.run)
    start(ZOO, kill_config(ZOO, case, **numbers | ALL), made.all)
    return made


@dataclass(frozen=True)
class Found:
    """What a kill has left."""

    committed: int  # step of the newest checkpoint; 0 if there is none
    stated: int | None  # step of the newest checkpoint, as status.json has it
    trained: int  # the last step in metrics.jsonl
    began: bool  # the run directory is there
    inside: set[str] = field(default_factory=set)  # writes that were cut: checkpoint, purge, picture, file, directory
    corrupt: list[str] = field(default_factory=list)  # files that are not whole
    different: list[str] = field(default_factory=list)  # tensors that are not those of the unbroken run


TEMPORARY = {
    "checkpoint": "run/checkpoints/.tmp-step-*",
    "purge": "run/checkpoints/.tmp-old-*",
    "picture": "run/pictures/.tmp-*",
    "file": "run/.tmp-*",
    "directory": f"{NEW_PREFIX}*",
}


def temporaries(folder: Path) -> set[tuple[str, str, int, int]]:
    """The kind and the identity of each thing under a temporary name."""
    found = [(kind, path, path.lstat()) for kind, pattern in TEMPORARY.items() for path in folder.glob(pattern)]
    return {(kind, str(path), state.st_ino, state.st_mtime_ns) for kind, path, state in found}


def look(folder: Path, whole: Reference, before: set[tuple[str, str, int, int]]) -> Found:
    """What a killed process has left of folder/run; `before` were the temporaries before that process."""
    run = folder / "run"
    inside, corrupt, different = {kind for kind, *_ in temporaries(folder) - before}, list[str](), list[str]()
    stated, trained = None, 0
    checkpoints = saved(run / "checkpoints")
    for checkpoint in checkpoints:
        try:
            read_whole(checkpoint)
        except CheckpointError as err:
            corrupt.append(str(err))
            continue
        there, here = whole.tensors(step_of(checkpoint)), tensors_in(checkpoint)
        different += [f"{checkpoint.name}/{n}" for n in sorted({*here, *there}) if here.get(n) != there.get(n)]

    # Files that are replaced as a whole are whole at every moment.
    if run.exists():
        for name in ("run.toml", "environment.json", "status.json"):
            if not (run / name).exists():
                corrupt.append(f"{name} is missing")
        try:
            status = json.loads((run / "status.json").read_text())
            stated = status["last_committed"]
        except (OSError, ValueError, KeyError) as err:
            corrupt.append(f"status.json: {err}")
    with contextlib.suppress(FileNotFoundError):
        for line in (run / "metrics.jsonl").read_bytes().split(b"\n")[:-1]:
            trained = json.loads(line)["step"]
    committed = step_of(checkpoints[-1]) if checkpoints else 0
    return Found(committed, stated, trained, run.exists(), inside, corrupt, different)


def tensors_in(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}


def differences(run: Path, whole: Path, *, older: bool = True) -> list[str]:
    """The files in which a run differs from the unbroken one, apart from times; [] if it is the same bit for bit.

    Without `older`, checkpoints but for the last may be of other steps: a signal makes one where none was due.
    """
    here, there = contents(run, older=older), contents(whole, older=older)
    return [
        f"{name} is missing" if name not in here else f"{name} is left over" if name not in there else name
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    ]


def contents(run: Path, *, older: bool = True) -> dict[str, object]:
    """Every file of a run by its path, without times and what they change: the lengths of lines in metrics.jsonl."""
    found: dict[str, object] = {}
    left_out = () if older else saved(run / "checkpoints")[:-1]
    for path in run.rglob("*"):
        name = str(path.relative_to(run))
        if path in left_out or path.parent in left_out:
            continue
        if path.is_dir():
            found |= {} if any(path.iterdir()) else {name: "empty folder"}
        elif path.name == "environment.json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.name == "metrics.jsonl":
            found[name] = [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(path)]
        elif path.name == "manifest.json":
            found[name] = manifest(path, (run / "metrics.jsonl").read_bytes())
        elif path.name not in (".lock", "manifest.sha256"):  # a process number; the hash of a length
            found[name] = path.read_bytes()
    return found


def timeless(values: dict[str, Any]) -> dict[str, Any]:
    """The values without times, and hashes of what has times, to the bottom."""
    return {
        key: timeless(value) if isinstance(value, dict) and key != "files" else value
        for key, value in values.items()
        if key not in TIMES
    }


def manifest(path: Path, metrics: bytes) -> dict[str, object]:
    """A manifest that counts lines of metrics, not bytes, and has no hash of lines with times."""
    values = timeless(json.loads(path.read_text()))
    for part in (values, values.get("longer", {})):
        if "metrics_bytes" in part:
            part["metrics_bytes"] = metrics[: part["metrics_bytes"]].count(b"\n")
    return values
