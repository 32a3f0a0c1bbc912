"""What a launcher is: where the processes of runs are begun, on this machine or others."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeAlias, runtime_checkable

from mixzoo.core.errors import StorageError, escaped, truncated_repr
from mixzoo.core.storage import open_for_appending

LONGEST_REASON = 300  # characters kept of why a job was lost


@dataclass(frozen=True)
class Job:
    """A run whose directory is prepared, and the command that begins or continues it, as often as it is given."""

    name: str  # of the run, unique among those that are launched together
    directory: Path  # of the run, absolute; on storage that every machine sees under this path
    command: tuple[str, ...]  # `python -m mixzoo resume DIRECTORY ...`, with the exit codes of docs/runs.md
    log: Path  # to which its standard error is appended
    folder: Path  # in which the command is given, because paths of its data may be relative
    environment: Mapping[str, str] = field(default_factory=dict)  # variables that it needs beside a machine's own

    @property
    def arguments(self) -> list[str]:
        """`KEY=VALUE ... COMMAND`, for the program `env` of another machine."""
        return [*(f"{key}={value}" for key, value in self.environment.items()), *self.command]

    def open_log(self) -> IO[bytes]:
        """The log, opened for appending. Raises StorageError if it cannot be written."""
        try:
            return os.fdopen(open_for_appending(self.log), "ab")
        except OSError as err:
            raise StorageError(f"{self.log}: cannot be written: {err.strerror}") from err


@dataclass(frozen=True)
class Lost:
    """The end of a job that has no exit code: its machine failed, or nobody knows. The run's checkpoints are there."""

    reason: str
    again: bool = True  # whether it may be begun again, if the launcher has `retries`

    def __post_init__(self) -> None:
        if not isinstance(self.again, bool):
            raise TypeError(f"Lost(reason, again): again is a bool, not {truncated_repr(self.again)}")
        line = escaped(" ".join(str(self.reason).split()))  # it may be an exception
        object.__setattr__(self, "reason", line[:LONGEST_REASON] or "its launcher gives no reason")


End: TypeAlias = int | Lost  # an exit code, -n if signal n killed the process


@runtime_checkable
class Task(Protocol):
    """A job that was begun; `subprocess.Popen` is one."""

    def poll(self) -> End | None:
        """How it has ended, or None while it waits or runs. Called about twice a second, so it must not wait."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Ask it to stop; SIGTERM comes first. A run then writes a checkpoint and ends with exit code 75."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """Begins jobs, and says how each has ended.

    It may also have `here = True` if its jobs are processes of this machine, `slots`, the number of jobs that run at a
    time unless --jobs says (without it all are begun at once), `retries`, how often a job that was lost is begun again,
    `check()`, which raises ConfigError if it cannot be used, and `service()` (`HasService`).
    """

    def begin(self, job: Job) -> Task:
        """Begin it, and return at once."""
        ...


@runtime_checkable
class Queue(Protocol):
    """What a launcher has beside `begin` if its jobs wait in a queue of a cluster, and go on without this process."""

    def begin_all(self, jobs: Sequence[Job], at_once: int) -> Sequence[Task]:
        """Put them into the queue, of which at most `at_once` run at a time, and return at once."""
        ...

    def attach(self, job: Job) -> Task | None:
        """The job as an earlier process has begun it, if it still waits or runs."""
        ...


@runtime_checkable
class HasCheck(Protocol):
    """A launcher that can tell beforehand that it cannot be used."""

    def check(self) -> None:
        """Raises ConfigError, with what to install for example."""
        ...


@runtime_checkable
class HasService(Protocol):
    """A launcher with a program of its own that runs as long as its jobs do."""

    def service(self) -> AbstractContextManager[Mapping[str, str]]:
        """Starts the program; yields environment variables that every job gets; ends it after the last job.

        Raises ConfigError if it cannot be started.
        """
        ...
