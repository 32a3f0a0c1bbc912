"""A run is a directory: made from a config, trained, resumed, opened again.

runs/<date>-<slug>/  run.toml  environment.json  status.json  metrics.jsonl  pictures/  checkpoints/  results.json
"""

import contextlib
import fcntl
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch

from mixzoo.config import RunConfig, Train, resolve
from mixzoo.data.batches import on_device
from mixzoo.errors import (
    CheckpointError,
    ConfigError,
    Interrupted,
    LockedError,
    MixzooError,
    OutOfMemoryError,
    StorageError,
)
from mixzoo.pictures.grid import save_png, sheet
from mixzoo.pictures.mixes import mix_rows
from mixzoo.plugins import Zoo
from mixzoo.protocols import Dataset, FinishedRun
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import Progress, load_modules, modules_of, read, restore, saved
from mixzoo.training.logs import MetricsFile, Show
from mixzoo.training.loop import Loop, fresh
from mixzoo.training.step import Players

ROOT = Path("runs")


@dataclass(frozen=True)
class Result:
    """What a run came to; accuracies in [0, 1]."""

    directory: Path
    steps: int
    numbers: dict[str, float]
    picture: Path


@dataclass(frozen=True)
class Opened:
    """The parts of a run, from its newest checkpoint, for pictures and scores."""

    config: RunConfig
    data: Dataset
    players: Players
    device: str
    step: int


def start(
    zoo: Zoo, config: RunConfig, directory: Path | None = None, show_for: Callable[..., Show] | None = None
) -> Result:
    """Make a new run directory and train in it to the end."""
    _refuse_existing(directory)
    data = _load(config)
    device = pick_device(config.train.device)
    on_device(data.train, torch.device("cpu"), config.train.batch_images)
    with settings(config.train), contextlib.ExitStack() as stack:
        players = build_players(config, data, device)
        home = stack.enter_context(_new_directory(directory, config))  # only now that nothing more can be refused
        show = show_for(config.train.steps) if show_for else Show()
        if players.mixer.k > config.train.batch_images:
            show.note(
                f"warning: the mixer takes k={players.mixer.k} sources from batches of {config.train.batch_images} "
                "images, so every mix holds some image twice"
            )
        _write(home / "run.toml", config.to_toml())
        _write(home / "environment.json", _json(_environment(zoo, data, device)))
        return _train(home, config, data, players, fresh(), show, device)


def resume(zoo: Zoo, home: Path, show_for: Callable[..., Show] | None = None) -> Result:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped."""
    config = open_config(zoo, home)
    before = _recorded_environment(home)
    status = json.loads((home / "status.json").read_text()) if (home / "status.json").exists() else {}
    if status.get("state") == "completed":
        done = json.loads((home / "results.json").read_text())
        return Result(home, done["steps"], done["numbers"], home / done["picture"])
    data = _load(config)
    device = pick_device(config.train.device)
    with settings(config.train, before["threads"]), _lock(home):
        warnings = _differences(before, _environment(zoo, data, device), home)
        players = build_players(config, data, device)
        progress, damaged = restore(home / "checkpoints", players)
        show = show_for(config.train.steps, progress.step) if show_for else Show()
        for line in (*damaged, *warnings):
            show.note(f"warning: {line}")
        return _train(home, config, data, players, progress, show, device)


def open_run(zoo: Zoo, home: Path, device: str = "auto") -> Opened:
    """A run's parts with the weights of its newest checkpoint."""
    config = open_config(zoo, home)
    where = pick_device(device)
    found = saved(home / "checkpoints")
    if not found:
        raise CheckpointError(f"{home}: no checkpoint yet; train it first, or `mixzoo resume {home}`")
    state, progress = read(found[-1])
    data = _load(config)
    players = build_players(config, data, where)
    load_modules(state, modules_of(players), found[-1])
    return Opened(config, data, players, str(where), progress.step)


def open_config(zoo: Zoo, home: Path) -> RunConfig:
    """The config of the run in this directory; CheckpointError where it is none."""
    if not (home / "run.toml").is_file():
        reason = "has no run.toml, so it is no run" if home.is_dir() else "no such directory"
        raise CheckpointError(f"{home}: {reason}; `mixzoo train` makes one")
    return resolve(zoo, home / "run.toml", {}, {})


def pick_device(name: str) -> torch.device:
    """The device of that name; 'auto' is a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as err:
        reason = str(err).partition("\n")[0]
        raise ConfigError(f"--device {name!r} cannot be used here ({reason}); use auto or cpu") from err
    return device


@contextlib.contextmanager
def settings(train: Train, recorded_threads: int = 0) -> Iterator[None]:
    """torch's threads and determinism as the run asks, and as they were afterwards.

    Sums depend on the number of threads in their last bits, so a resumed run takes the number it began with.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic cuBLAS asks for
    torch.use_deterministic_algorithms(train.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow; it only finds bugs
    if train.threads or recorded_threads:
        torch.set_num_threads(train.threads or recorded_threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_num_threads(threads)


def _train(
    home: Path, config: RunConfig, data: Dataset, players: Players, progress: Progress, show: Show, device: torch.device
) -> Result:
    """Train from `progress` to the end and score the run; status.json says how it ended, whatever happens."""
    metrics = MetricsFile(home / "metrics.jsonl", progress.metrics_bytes)
    pictures = home / "pictures"

    def picture(step: int) -> None:
        rows = mix_rows(players.autoencoder, players.mixer, data.test, str(device))
        save_png(sheet(rows), pictures / f"step-{step:08d}.png")

    images = on_device(data.train, device, config.train.batch_images)
    loop = Loop(config.train, players, data, images, metrics, home / "checkpoints", show, picture)
    _status(home, "running")
    try:
        progress = loop.run(progress)
        show.close()
        result = _finish(home, config, data, players, progress, device)
    except MixzooError as err:
        _status(home, "interrupted" if isinstance(err, Interrupted) else "failed", err.exit_code, str(err))
        raise
    except (torch.OutOfMemoryError, MemoryError) as err:
        message = f"out of memory with batches of {config.train.batch_images} images; use a smaller --batch-images"
        _status(home, "failed", OutOfMemoryError.exit_code, message)
        raise OutOfMemoryError(message) from err
    except BaseException as err:
        _status(home, "failed", 130 if isinstance(err, KeyboardInterrupt) else 1, f"{type(err).__name__}: {err}")
        raise
    finally:
        show.close()
        metrics.close()
    _status(home, "completed")
    return result


def _finish(
    home: Path, config: RunConfig, data: Dataset, players: Players, progress: Progress, device: torch.device
) -> Result:
    probe = progress.probe
    numbers = {
        "probe.best_validation_accuracy": probe.best_validation,
        "probe.best_step": float(probe.best_step),
        "probe.test_accuracy_at_best_validation": probe.test_at_best,
        "probe.last_validation_accuracy": probe.last_validation,
        "probe.last_test_accuracy": probe.last_test,
    }
    finished = FinishedRun(players.autoencoder, players.mixer, data, config.train.seed, str(device))
    for spec, metric in config.metrics:
        numbers |= {f"{spec}.{name}": value for name, value in metric(finished).items()}
    picture = Path("pictures") / f"step-{progress.step:08d}.png"
    _write(home / "results.json", _json({"steps": progress.step, "numbers": numbers, "picture": str(picture)}))
    return Result(home, progress.step, numbers, home / picture)


def _load(config: RunConfig) -> Dataset:
    data: Dataset = config.parts["dataset"].load(config.train.seed)
    return data


def _refuse_existing(directory: Path | None) -> None:
    if directory is None or not directory.exists():
        return
    is_run = (directory / "run.toml").exists()
    hint = f"`mixzoo resume {directory}` continues a run" if is_run else "--out is for new runs"
    raise ConfigError(f"--out {directory}: exists already; {hint}, or choose another directory")


@contextlib.contextmanager
def _new_directory(directory: Path | None, config: RunConfig) -> Iterator[Path]:
    """A fresh, locked directory: the one asked for, or runs/<date>-<slug> with a number where that is taken."""
    stem = ROOT / f"{datetime.now():%Y%m%d-%H%M%S}-{config.slug}"
    candidates = [directory] if directory else [stem, *(stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))]
    for home in candidates:
        try:
            home.mkdir(parents=True)
        except FileExistsError:
            _refuse_existing(directory)  # made by another process meanwhile
            continue
        except OSError as err:
            raise StorageError(f"{home}: the run directory could not be made: {err.strerror}") from err
        with _lock(home):
            yield home
        return
    raise StorageError(f"{stem}: every name for a run directory is taken")


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Hold the run directory for writing; the kernel lets go of it when the process ends, however it ends."""
    path = home / ".lock"
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            holder = path.read_text().strip() or "another process"
            raise LockedError(f"{home}: {holder} is writing to it; wait for it to end, or stop it") from err
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError as err:
        raise StorageError(f"{path}: cannot be written: {err.strerror}") from err


def _environment(zoo: Zoo, data: Dataset, device: torch.device) -> dict[str, Any]:
    """What a result may depend on beside the config."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in ("mixzoo", "torch", "numpy", "scikit-learn", "pillow")},
        "plugins": {f"{p.distribution}/{p.name}": p.version for p in zoo.plugins if not p.problem},
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "data": data.source,
        "data_fingerprint": data.fingerprint,
        "command": sys.argv[1:],
    }


def _recorded_environment(home: Path) -> dict[str, Any]:
    path = home / "environment.json"
    try:
        recorded: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path}: cannot be read ({err})") from err
    return recorded


def _differences(before: dict[str, Any], now: dict[str, Any], home: Path) -> list[str]:
    """A line for all that differs since the run began: bit-equality is then not promised; other data is refused."""
    if before["data_fingerprint"] != now["data_fingerprint"]:
        raise CheckpointError(f"{home}: the data set has changed since the run began ({now['data']}); start a new run")
    compared = {"threads", "device", "device_name", "python"}
    differing = [key for key in sorted(compared) if before.get(key) != now[key]]
    lines = [
        f"{key} was {before.get(key)!r} and is {now[key]!r}; results may differ in the last bits" for key in differing
    ]
    for name, was in before.get("packages", {}).items():
        if now["packages"].get(name) != was:
            lines.append(f"{name} was {was} and is {now['packages'].get(name)}; results may differ in the last bits")
    return lines


def _status(home: Path, state: str, exit_code: int = 0, reason: str = "") -> None:
    last = saved(home / "checkpoints")
    committed = int(last[-1].name[5:]) if last else None
    _write(
        home / "status.json", _json({"state": state, "exit": exit_code, "last_committed": committed, "reason": reason})
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as err:
        raise StorageError(f"{path}: cannot be written: {err.strerror}") from err
