"""The directory of a run: makes it, locks it, and reads and writes its status and environment.

runs/<date>-<slug>/  run.toml  environment.json  status.json  metrics.jsonl  pictures/  checkpoints/  results.json
"""

import errno
import fcntl
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import torch

from mixzoo.core.data import Dataset
from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    LockedError,
    MixzooError,
    StorageError,
    path_excerpt,
    printable,
)
from mixzoo.core.json_file import Fields, read_object, sealed_text, write_json
from mixzoo.core.process_id import ProcessId
from mixzoo.core.storage import flush_entries, open_for_appending, overwrite, storage_errors, write_all
from mixzoo.registry.config import RunConfig
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.changes import Change, recorded_changes
from mixzoo.runs.listing import LOCK, RUN, STATES, SWEEP, holder_text
from mixzoo.runs.provenance import Origin, origins, recorded, source_revision
from mixzoo.runs.stored_scores import FOLDER as SCORES
from mixzoo.training.checkpoint import last_readable
from mixzoo.training.checkpoint_manifest import MOST_STEPS

ROOT = Path("runs")
OLD_SWEEP = "fleet.json"  # the name of sweep.json in older versions
STATUS = "status.json"
NEW_PREFIX = ".tmp-new-"  # of the temporary name of a directory, until it has its first files
ABANDONED_SECONDS = 3600
LOCK_SECONDS = 10  # for which children of a process that was killed may keep its lock
SKIPPED_NAMED = 20  # files left out of the data that environment.json names


@dataclass(frozen=True)
class Status:
    """The contents of status.json."""

    state: str  # one of STATES
    exit: int = 0
    reason: str = ""
    last_committed: int | None = None


@dataclass(frozen=True)
class Environment:
    """The part of environment.json that a resume compares: how and with what the run was started."""

    data_fingerprint: str
    compared: dict[str, object]  # processes, threads, device, device_name, python
    packages: dict[str, str]
    parts: list[Origin] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def is_there(path: Path, where: str = "") -> bool:
    """Whether anything exists at the path, including a broken link. Raises ConfigError if the path is invalid."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as err:
        raise ConfigError(f"{where}{path_excerpt(path)}: {err.strerror or err}") from err
    except ValueError as err:
        raise ConfigError(f"{where}{path_excerpt(path)}: no path can have a NUL byte") from err
    return True


def check_directory_is_new(directory: Path | None) -> None:
    """Raises ConfigError if the directory for a new run exists already, or its path is invalid."""
    if directory is None or not is_there(directory, "--out "):
        return
    kind = next((kind for kind, file in (("run", RUN), ("sweep", SWEEP)) if (directory / file).exists()), "")
    prefix = f"--out {printable(str(directory))}: exists already"
    if kind:
        raise ConfigError(f"{prefix}; `mixzoo resume {directory}` continues a {kind}, or choose another directory")
    inside = directory / datetime.now().strftime("%Y%m%d")
    advice = f"give another name, such as {inside}" if directory.is_dir() else "give a name that is not taken"
    raise ConfigError(f"{prefix} and is not a run; --out names the new directory that a run makes: {advice}")


@contextmanager
def new_directory(directory: Path | None, slug: str, write_first_files: Callable[[Path], None]) -> Iterator[Path]:
    """Make and lock a new directory: `directory`, or else runs/<date>-<slug>, with a number if that is taken.

    `write_first_files` writes into a temporary directory, which is then renamed: the new directory has all of its first
    files or does not exist. Raises StorageError if it cannot be written.
    """
    stem = ROOT / f"{datetime.now():%Y%m%d-%H%M%S}-{slug}"
    candidates = [directory] if directory else [stem, *(stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))]
    run_dir = candidates[0]
    temporary = run_dir.parent / f"{NEW_PREFIX}{secrets.token_hex(8)}"
    with storage_errors(run_dir, "the run directory could not be made"):
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(run_dir.parent)
        temporary.mkdir()
    try:
        with lock(temporary):
            write_first_files(temporary)
            run_dir = _rename(temporary, candidates, directory)
            yield run_dir
    except StorageError as err:
        raise StorageError(str(err).replace(str(temporary), str(run_dir))) from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove temporary directories of runs that were killed at the start, an hour ago or more.

    A younger one may belong to a run that is starting now and has not locked it yet.
    """
    for abandoned in folder.glob(f"{NEW_PREFIX}*"):
        with suppress(OSError, StorageError, LockedError):
            if time() - abandoned.stat().st_mtime > ABANDONED_SECONDS:
                with lock(abandoned):
                    shutil.rmtree(abandoned)


def _rename(temporary: Path, candidates: Sequence[Path], directory: Path | None) -> Path:
    """Rename the temporary directory to the first candidate that does not exist, and return that path."""
    for run_dir in candidates:
        if is_there(run_dir):
            check_directory_is_new(directory)  # another process has made it in the meantime
            continue
        try:
            os.rename(temporary, run_dir)
            flush_entries(run_dir.parent)
        except OSError as err:
            if err.errno in (errno.ENOTEMPTY, errno.EEXIST) and not directory:
                continue
            raise StorageError(f"{run_dir}: the run directory could not be made: {err.strerror}") from err
        return run_dir
    raise StorageError(f"{candidates[0]}: every name for a run directory is taken")


@contextmanager
def lock(run_dir: Path) -> Iterator[None]:
    """Lock the run directory for writing. Raises LockedError if another process has it.

    The kernel releases the lock when the process ends, even if it is killed.
    """
    path = run_dir / LOCK
    with storage_errors(path):
        handle = open_for_appending(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            if err.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                raise StorageError(f"{path}: cannot be locked ({err.strerror}), so two runs might write there") from err
            holder = printable(os.pread(handle, 200, 0).decode(errors="replace").strip()) or "another process"
            raise LockedError(f"{run_dir}: {holder} is writing to it; wait for it to end, or stop it") from err
        with storage_errors(path):
            os.ftruncate(handle, 0)
            write_all(handle, holder_text(os.getpid(), platform.node()).encode())
        yield
    finally:
        os.close(handle)


def environment(
    zoo: Zoo, config: RunConfig, data: Dataset, device: torch.device, processes: Sequence[str] = ()
) -> dict[str, Any]:
    """The contents of environment.json: what results may depend on besides the config, and where the run came from.

    `processes` has the machine and device of each process of the run.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in ("mixzoo", "torch", "numpy", "scikit-learn", "pillow")},
        "source": source_revision(),
        "plugins": {f"{p.distribution}/{p.name}": p.version for p in zoo.plugins if not p.problem},
        "parts": origins(zoo, config),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "processes": len(processes) or 1,
        "places": list(processes),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "data": data.source,
        "data_fingerprint": data.fingerprint,
        "data_skipped": {"files": len(data.skipped), "first": dict(list(data.skipped.items())[:SKIPPED_NAMED])},
        "command": sys.argv[1:],
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def environment_of(record: Fields) -> Environment:
    """What environment.json says. Raises CheckpointError if a value is damaged."""
    return Environment(
        data_fingerprint=record.lines("data_fingerprint", ""),
        compared={
            "processes": record.integer("processes", default=1),  # older versions had one and did not record it
            "threads": record.integer("threads", default=0),
            **{key: record.text(key, "") for key in ("device", "device_name", "python")},
        },
        packages=record.texts("packages", {}),
        parts=recorded(record),
        changes=recorded_changes(record),
    )


def add_to_environment(run_dir: Path, changes: Sequence[Change] = (), seconds: float = 0.0) -> None:
    """Add changes of the config, and seconds of training, to environment.json."""
    record = read_object(run_dir / "environment.json")
    values = dict(record.values)
    if changes:
        values["changes"] = [row.to_json() for row in [*recorded_changes(record), *changes]]
    if seconds:
        before = record.number("seconds", 0) if "seconds" in record else 0.0
        values |= {"seconds": round(before + seconds, 3)}
        values |= {"ended": datetime.now().astimezone().isoformat(timespec="seconds")}
    write_json(run_dir / "environment.json", values)


def differences(before: Environment, now: dict[str, Any], run_dir: Path) -> list[str]:
    """A warning for each difference since the run was started, which may change the last bits of results.

    Raises CheckpointError if the data set has changed.
    """
    if before.data_fingerprint != now["data_fingerprint"]:
        raise CheckpointError(
            f"{run_dir}: the data set has changed since the run was started ({now['data']}); start a new run"
        )
    lines = [
        f"{key} was {was!r} and is {now[key]!r}; results may differ in the last bits"
        for key, was in sorted(before.compared.items())
        if was != now[key]
    ]
    for name, was in before.packages.items():
        if now["packages"].get(name) != was:
            lines.append(f"{name} was {was} and is {now['packages'].get(name)}; results may differ in the last bits")
    return lines


def write_status(run_dir: Path, state: str, exit_code: int = 0, reason: str = "") -> None:
    """Write status.json: the state, the exit code with its reason, and the step of the newest checkpoint."""
    write_json(run_dir / STATUS, _status(run_dir, state, exit_code, reason))


def _status(run_dir: Path, state: str, exit_code: int, reason: str) -> dict[str, Any]:
    return {"state": state, "exit": exit_code, "last_committed": last_committed(run_dir), "reason": reason}


def try_status(run_dir: Path, state: str, exit_code: int, reason: str) -> None:
    """Write the status if possible. A failure is ignored, because the caller is reporting another error.

    On a full disk it is written over the old one. If that is cut off, its hash tells, and a resume writes it anew.
    """
    try:
        write_status(run_dir, state, exit_code, reason)
    except StorageError:
        with suppress(OSError):
            overwrite(run_dir / STATUS, sealed_text(_status(run_dir, state, exit_code, reason)).encode())


def check_run_dir_exists(run_dir: Path, err: MixzooError) -> None:
    """Raises StorageError in place of the error about a file, if the whole run directory is gone."""
    if isinstance(err, CheckpointError | StorageError) and not run_dir.is_dir():
        raise StorageError(
            f"{run_dir}: the run directory is gone: it was moved or removed while the run wrote to it; `mixzoo resume` "
            "goes on with one that was moved, under its new name"
        ) from err


def record_for_gone(run_dir: Path, exit_code: int, reason: str, gone: ProcessId | None) -> None:
    """Set the status to "failed" in place of the process that was writing to an unfinished run, if that is gone.

    Any number of processes may call this: the one that gets the lock does it, and one that may not write leaves it to
    the others. `gone` is the process if it is known to be gone or not to answer. If it is on another machine, where
    nobody could kill it, its lock is ignored: it has been told to write no more.
    """

    def record() -> None:
        with suppress(CheckpointError):
            status = read_status(run_dir)
            if status is None or status.state in ("waiting", "running"):
                try_status(run_dir, "failed", exit_code, reason)

    ends = monotonic() + (LOCK_SECONDS if gone else 0)
    while True:
        try:
            with lock(run_dir):
                return record()
        except StorageError:
            return None
        except LockedError:
            if monotonic() >= ends:
                break
        sleep(0.1)
    if gone is not None and not gone.is_here:
        with suppress(OSError):
            if (run_dir / LOCK).read_text() == holder_text(gone.pid, gone.node):
                record()
    return None


@contextmanager
def storage_status(run_dir: Path) -> Iterator[None]:
    """Set the status to "failed" if the block raises StorageError.

    Any other MixzooError sets it only if it is "running": the process of that run was killed, and the run cannot go on.
    """
    try:
        yield
    except LockedError:
        raise
    except StorageError as err:
        try_status(run_dir, "failed", err.exit_code, str(err))
        raise
    except MixzooError as err:
        with suppress(CheckpointError):
            status = read_status(run_dir)
            if status is not None and status.state == "running":
                try_status(run_dir, "failed", err.exit_code, str(err))
        raise


def remove_leftovers(run_dir: Path) -> None:
    """Remove files that a killed process left half written. The caller holds the lock."""
    for folder in (run_dir, run_dir / "pictures", run_dir / SCORES):
        for leftover in folder.glob(".tmp-*"):
            with suppress(OSError):
                leftover.unlink()


def read_status(run_dir: Path) -> Status | None:
    """Read status.json; None if it is missing. Raises CheckpointError if it is damaged."""
    path = run_dir / STATUS
    if not is_there(path):
        return None
    record = read_object(path)
    state = record.text("state")
    if state not in STATES:
        raise CheckpointError(f"{path}: damaged: 'state' is {state!r}, expected one of {', '.join(STATES)}")
    committed = record.integer_or_none("last_committed", 0, MOST_STEPS) if "last_committed" in record else None
    return Status(state, record.integer("exit", most=255, default=0), record.text("reason", ""), committed)


def last_committed(run_dir: Path) -> int | None:
    """The step of the run's newest checkpoint; None if there is none yet."""
    last = last_readable(run_dir / "checkpoints")
    return last.progress.step if last else None
