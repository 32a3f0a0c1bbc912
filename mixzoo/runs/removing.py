"""Removing runs: what is no run, or is being written to, is kept."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mixzoo.core.errors import ConfigError, StorageError, path_excerpt
from mixzoo.runs.directory import lock
from mixzoo.runs.listing import RUN, SWEEP, find_runs


def check_removable(directory: Path) -> int | None:
    """The number of a sweep's runs, None for a run.

    Raises ConfigError if it is neither, LockedError if a process is writing to it.
    """
    is_sweep = (directory / SWEEP).is_file()
    if directory.is_symlink():
        raise ConfigError(f"{path_excerpt(directory)}: it is a link, so it is not removed; name the run itself")
    if not (is_sweep or (directory / RUN).is_file()):
        raise ConfigError(f"{path_excerpt(directory)}: it is neither a run nor a sweep, so it is not removed")
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


def distinct(directories: Iterable[Path]) -> list[Path]:
    """The directories without those that are named twice, or are in another of them."""
    places = {directory.parent.resolve() / directory.name: directory for directory in reversed(list(directories))}
    return [places[place] for place in reversed(places) if not places.keys() & set(place.parents)]


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the locks of the directory and of every run in it. Raises LockedError if a process holds one of them."""
    with ExitStack() as stack:
        for path in dict.fromkeys((directory, *(record.path for record in find_runs([directory])))):
            stack.enter_context(lock(path))
        yield
