"""Resets each item of a checkpoint in turn: a run that goes on from it must be refused, or not be the unbroken one."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kill_attempts import Attempt, Reference, differences
from kill_loop import reference_once
from safetensors.torch import load_file
from test_checkpoint_faults import rewrite, seal

CASE = "label, best"  # has every kind of part: a mixer that learns, a head for labels, the best step
AT = 56  # the step of the checkpoint: two more commits and an evaluation follow
Reset = Callable[[Path], None]  # changes an item of a checkpoint


def kill_at_the_commit_of(step: int) -> Callable[[int], None]:
    """Makes a process kill itself when it begins to write the checkpoint of this step."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.mkdir" and str(arguments[0]).endswith(f".tmp-step-{step:08d}"):
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda pipe: sys.addaudithook(hook)


def resets(folder: Path, groups: Sequence[str]) -> dict[str, str]:
    """How each reset of the groups' items is noticed: "refused", "different", or "" for not at all.

    A group is a file of tensors, such as "adam-autoencoder", or "manifest".
    """
    whole, killed = reference_once(folder, CASE), folder / "killed"
    killed.mkdir()
    attempt = Attempt(killed / "run", CASE, kill_at_the_commit_of(AT + 2))
    assert attempt.end() == -signal.SIGKILL, attempt.output
    items: dict[str, Reset] = {"nothing": _none}
    for group in groups:
        found = _manifest_items() if group == "manifest" else _tensor_items(killed / "run", whole, group)
        items |= {f"{group} {name}": reset for name, reset in found}
    return {name: _noticed(folder / "reset", killed, reset, whole) for name, reset in items.items()}


def _none(checkpoint: Path) -> None:
    """Reset nothing."""


def _noticed(folder: Path, killed: Path, reset: Reset, whole: Reference) -> str:
    """How the reset is noticed in a copy of the killed run, with no other checkpoint but that of the best step."""
    shutil.copytree(killed, folder)
    for checkpoint in (folder / "run/checkpoints").glob("*"):
        if checkpoint.name not in (f"step-{AT:08d}", f"step-{_best(checkpoint.parent):08d}"):
            shutil.rmtree(checkpoint)
    reset(folder / f"run/checkpoints/step-{AT:08d}")
    attempt = Attempt(folder / "run", CASE)
    code = attempt.end()
    different = code == 0 and differences(folder / "run", whole.run)
    shutil.rmtree(folder)
    refused = code or attempt.resumed_from not in (AT, AT - 2)  # the best step's checkpoint is used
    return "refused" if refused else "different" if different else ""


def _best(checkpoints: Path) -> int:
    """The step whose weights the run would end with, which are kept too."""
    return json.loads((checkpoints / f"step-{AT:08d}/manifest.json").read_text())["probe"]["best_step"]


def _tensor_items(run: Path, whole: Reference, stem: str) -> Iterator[tuple[str, Reset]]:
    """Each tensor as it was at the first checkpoint; a moment, as if there had been one step without gradient."""
    now = load_file(run / f"checkpoints/step-{AT:08d}/{stem}.safetensors")
    before = load_file(whole.all / f"checkpoints/step-00000002/{stem}.safetensors")
    for name, tensor in now.items():
        fresh = before[name] if not stem.startswith("adam") else torch.full_like(tensor, float(name.endswith(".step")))
        assert not torch.equal(fresh, tensor), f"{stem} {name} does not change in training, so a reset is none"
        yield name, partial(rewrite, stem=stem, change=lambda all, name=name, fresh=fresh: {**all, name: fresh})


def _manifest_items() -> Iterator[tuple[str, Reset]]:
    """Each value of the manifest, as it is at the start or at an earlier step."""

    def edit(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        before = json.dumps(manifest)
        change(manifest)
        assert json.dumps(manifest) != before
        seal(checkpoint, manifest)

    def an_earlier_step(checkpoint: Path) -> None:
        """As if these were the weights of two steps before, with the lines of metrics that go with that."""
        lines = (checkpoint.parents[1] / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        length = sum(len(line) for line in lines if json.loads(line)["step"] <= AT - 2)
        edit(checkpoint, lambda manifest: manifest.update(step=AT - 2, metrics_bytes=length))
        checkpoint.rename(checkpoint.with_name(f"step-{AT - 2:08d}"))

    def without_run_text(checkpoint: Path) -> None:
        """Nobody would see that run.toml has been edited since."""
        edit(checkpoint, lambda manifest: manifest.update(run=""))
        toml = checkpoint.parents[1] / "run.toml"
        toml.write_text(toml.read_text().replace("\nlr = 0.001\n", "\nlr = 0.002\n"))
        assert "\nlr = 0.002\n" in toml.read_text()

    def without_hash_of_metrics(checkpoint: Path) -> None:
        """Nobody would see that a number has been edited since."""
        edit(checkpoint, lambda manifest: manifest.update(metrics_sha256=""))
        metrics = checkpoint.parents[1] / "metrics.jsonl"
        lines = metrics.read_text().replace('"validation_accuracy": 0.', '"validation_accuracy": 1.', 1)
        assert lines != metrics.read_text()
        metrics.write_text(lines)

    yield "metrics_bytes", partial(edit, change=lambda manifest: manifest.update(metrics_bytes=0))
    fresh = {"best_validation": -1.0, "best_step": 0, "test_at_best": 0.0, "last_validation": 0.0, "last_test": 0.0}
    for key, value in fresh.items():
        yield key, partial(edit, change=lambda manifest, key=key, value=value: manifest["probe"].update({key: value}))
    yield "step", an_earlier_step
    yield "run", without_run_text
    yield "metrics_sha256", without_hash_of_metrics
