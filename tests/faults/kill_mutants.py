"""Faults planted in the process that trains, each of which the kill loop has to notice."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kill_loop import random_kills

from mixzoo.core.storage import write_flushed
from mixzoo.runs import run
from mixzoo.training import checkpoint, loop
from mixzoo.training.logs import MetricsFile


def forgotten_moment(pipe: int) -> None:
    """A resume begins with mean squares of zero for the discriminator's first parameter."""
    plain = checkpoint.load_moments

    def load_moments(moments: dict[str, Any], optimiser: Any) -> None:
        plain({name: value * (name != "0.exp_avg_sq") for name, value in moments.items()}, optimiser)

    checkpoint.load_moments = load_moments


def metrics_not_cut(pipe: int) -> None:
    """A resume appends to what is there, and counts from the checkpoint."""

    class Uncut(MetricsFile):
        def __init__(self, path: Path, keep_bytes: int = 0) -> None:
            super().__init__(path, path.stat().st_size if path.exists() else 0)

    run.MetricsFile = Uncut


def purge_before_commit(pipe: int) -> None:
    """The checkpoint before is removed first, as if to save room."""
    plain = loop.commit

    def commit(directory: Path, players: Any, progress: Any, **settings: Any) -> Path:
        for older in checkpoint.saved(directory):
            checkpoint._discard(older)
        return plain(directory, players, progress, **settings)

    loop.commit = commit


def in_place_writer(pipe: int) -> None:
    """Files are written under the checkpoint's own name."""

    def commit(directory: Path, players: Any, progress: Any, *, run: str = "", **keep: Any) -> Path:
        from safetensors.torch import save

        target = checkpoint.path_of(directory, progress.step)
        target.mkdir(parents=True, exist_ok=True)
        files = {f"{stem}.safetensors": save(tensors) for stem, tensors in checkpoint.state_of(players).items()}
        for name, content in {**files, **checkpoint.manifest_files(progress, files, run)}.items():
            write_flushed(target / name, content)
        checkpoint.remove_older(directory, progress.step, keep["keep"], keep_best=keep["keep_best"])
        return target

    loop.commit = commit


def step_counted_twice(pipe: int) -> None:
    """A resume begins a step later than it was saved."""
    plain = run.restore

    def restore(*arguments: Any) -> tuple[Any, list[str]]:
        progress, damaged = plain(*arguments)
        return replace(progress, step=progress.step + 1), damaged

    run.restore = restore


def statistics_not_saved(pipe: int) -> None:
    """A resume begins with the running statistics of a new batch norm."""
    plain = checkpoint.load_modules

    def load_modules(state: Any, modules: Any, where: Path) -> None:
        plain(state, modules, where)
        modules["autoencoder"].f[1].reset_running_stats()

    checkpoint.load_modules = load_modules


MUTANTS: dict[str, tuple[Callable[[int], None], set[str], dict[str, Any]]] = {  # name -> fault, found as, numbers
    "a forgotten moment": (forgotten_moment, {"bits different"}, {}),
    "metrics not cut back": (metrics_not_cut, {"bits different", "lost beyond one interval"}, {}),
    "a purge before a commit": (purge_before_commit, {"lost beyond one interval"}, {"keep_checkpoints": 1}),
    "an in-place writer": (in_place_writer, {"corrupt"}, {}),
    "a step counted twice": (step_counted_twice, {"lost beyond one interval"}, {}),
    "statistics not saved": (statistics_not_saved, {"bits different"}, {}),
}


def caught(folder: Path, name: str, kills: int) -> dict[str, Any]:
    """What at most that many random kills of a run with the fault come to."""
    fault, _, numbers = MUTANTS[name]
    return vars(random_kills(folder, "dirichlet", 7, kills, prepare=fault, numbers={"steps": 20, **numbers}))
