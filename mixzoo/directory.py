"""A run's directory: made, locked, described, never half-written.

runs/<date>-<slug>/  run.toml  environment.json  status.json  metrics.jsonl  pictures/  checkpoints/  results.json
"""

import fcntl
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mixzoo.config import RunConfig
from mixzoo.errors import CheckpointError, ConfigError, LockedError, StorageError
from mixzoo.plugins import Zoo
from mixzoo.protocols import Dataset
from mixzoo.provenance import origins
from mixzoo.training.checkpoint import flush_entries, saved, write_flushed

ROOT = Path("runs")
RUN, FLEET = "run.toml", "fleet.json"  # the file by which a run, or a fleet of runs, is told


def refuse_existing(directory: Path | None) -> None:
    """ConfigError where the directory for a new run is there already."""
    if directory is None or not directory.exists():
        return
    kind = next((kind for kind, file in (("run", RUN), ("fleet", FLEET)) if (directory / file).exists()), "")
    hint = f"`mixzoo resume {directory}` continues a {kind}" if kind else "--out is for new runs"
    raise ConfigError(f"--out {directory}: exists already; {hint}, or choose another directory")


@contextmanager
def new_directory(directory: Path | None, slug: str) -> Iterator[Path]:
    """A fresh, locked directory: the one asked for, or runs/<date>-<slug> with a number where that is taken."""
    stem = ROOT / f"{datetime.now():%Y%m%d-%H%M%S}-{slug}"
    candidates = [directory] if directory else [stem, *(stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))]
    for home in candidates:
        try:
            home.mkdir(parents=True)
        except FileExistsError:
            refuse_existing(directory)  # made by another process meanwhile
            continue
        except OSError as err:
            raise StorageError(f"{home}: the run directory could not be made: {err.strerror}") from err
        with lock(home):
            yield home
        return
    raise StorageError(f"{stem}: every name for a run directory is taken")


@contextmanager
def lock(home: Path) -> Iterator[None]:
    """Hold the run directory for writing; the kernel lets go of it when the process ends, however it ends."""
    path = home / ".lock"
    try:
        file = path.open("a+")
    except OSError as err:
        raise StorageError(f"{path}: cannot be written: {err.strerror}") from err
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            holder = path.read_text().strip() or "another process"
            raise LockedError(f"{home}: {holder} is writing to it; wait for it to end, or stop it") from err
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def environment(
    zoo: Zoo, config: RunConfig, data: Dataset, device: torch.device, places: Sequence[str] = ()
) -> dict[str, Any]:
    """What a result may depend on beside the config; `places` is the machine and device of each process of the run."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in ("mixzoo", "torch", "numpy", "scikit-learn", "pillow")},
        "plugins": {f"{p.distribution}/{p.name}": p.version for p in zoo.plugins if not p.problem},
        "parts": origins(zoo, config),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "processes": len(places) or 1,
        "places": list(places),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "data": data.source,
        "data_fingerprint": data.fingerprint,
        "command": sys.argv[1:],
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any], home: Path) -> list[str]:
    """A line for all that differs since the run began: bit-equality is then not promised; other data is refused."""
    if before.get("data_fingerprint") != now["data_fingerprint"]:
        raise CheckpointError(f"{home}: the data set has changed since the run began ({now['data']}); start a new run")
    before = {"processes": 1, **before}  # runs of older versions had one
    compared = {"processes", "threads", "device", "device_name", "python"}
    differing = [key for key in sorted(compared) if before.get(key) != now[key]]
    lines = [
        f"{key} was {before.get(key)!r} and is {now[key]!r}; results may differ in the last bits" for key in differing
    ]
    for name, was in before.get("packages", {}).items():
        if now["packages"].get(name) != was:
            lines.append(f"{name} was {was} and is {now['packages'].get(name)}; results may differ in the last bits")
    return lines


def write_status(home: Path, state: str, exit_code: int = 0, reason: str = "") -> None:
    """status.json: running, completed, interrupted or failed, with the exit code and the last committed step."""
    write_json(
        home / "status.json",
        {"state": state, "exit": exit_code, "last_committed": last_committed(home), "reason": reason},
    )


def last_committed(home: Path) -> int | None:
    """The step of the run's newest checkpoint; None where there is none yet."""
    last = saved(home / "checkpoints")
    return int(last[-1].name[5:]) if last else None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of the run; CheckpointError where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path}: cannot be read ({err})") from err
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """The object as standard JSON: a NaN or an infinity is refused, never written."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all, power cuts included."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        write_flushed(temporary, text.encode())
        os.replace(temporary, path)
        flush_entries(path.parent)
    except OSError as err:
        raise StorageError(f"{path}: cannot be written: {err.strerror}") from err
