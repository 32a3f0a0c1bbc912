"""Removing runs: what is no run, or is being written to, is kept."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mixzoo.core.errors import ConfigError, LockedError, StorageError, path_excerpt
from mixzoo.runs.listing import RUN_FILE, SWEEP_FILE, find_runs


def check_removable(directory: Path) -> int | None:
    """The number of a sweep's runs, None for a run.

    Raises ConfigError if it is neither, LockedError if a process is writing to it.
    """
    is_sweep = (directory / SWEEP_FILE).is_file()
    if directory.is_symlink() or not (is_sweep or (directory / RUN_FILE).is_file()):
        raise ConfigError(f"{path_excerpt(directory)}: it is no run and no sweep, so it is not removed")
    with _locked(directory):
        return len(find_runs([directory])) if is_sweep else None


def remove(directory: Path) -> None:
    """Remove the run or sweep whole. Raises as `check_removable`, and StorageError if the disk refuses."""
    check_removable(directory)
    with _locked(directory):
        aside = directory.with_name(f".tmp-removed-{directory.name}")  # so that a kill leaves no half of a run
        try:
            directory.rename(aside)
            shutil.rmtree(aside)
        except OSError as err:
            raise StorageError(f"{path_excerpt(directory)}: cannot be removed: {err.strerror or err}") from err


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the locks of the directory and of every run in it. Raises LockedError if a process holds one of them."""
    with ExitStack() as stack:
        for path in dict.fromkeys((directory, *(record.path for record in find_runs([directory])))):
            file = path / ".lock"
            if not file.is_file():
                continue
            handle = os.open(file, os.O_RDWR)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                raise LockedError(f"{path_excerpt(path)}: a process is writing to it; stop it first") from err
        yield
