"""Decides whether a run is resumed, and from where, by its directory, its run.toml and the steps that are asked for."""

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mixzoo.core.errors import CheckpointError, ConfigError, excerpt, nearest
from mixzoo.registry.config import DEFAULT_PARTS, RunConfig, Train
from mixzoo.registry.options import build
from mixzoo.runs.changes import FREE, STEPS, Change, changed, check_allowed, covers
from mixzoo.runs.listing import RUN, dotted
from mixzoo.runs.reading import known_result, known_status, read_past_environment
from mixzoo.training.checkpoint import last_readable, saved


@dataclass(frozen=True)
class ResumePlan:
    """What a resume has to do."""

    completed: bool  # there is nothing to do
    has_checkpoint: bool = False  # continue from a checkpoint; if False, start at step 0
    changes: list[Change] = field(default_factory=list)  # of run.toml, all of them allowed
    notes: list[str] = field(default_factory=list)  # what was edited without need of permission, or allowed in vain
    warnings: list[str] = field(default_factory=list)  # a line for each damaged file that is written anew


def checked_steps(steps: int) -> int:
    """Returns `steps`; raises ConfigError if a run cannot have that number of steps."""
    return build(Train, {"steps": steps}, "--steps").steps


def plan_resume(
    run_dir: Path, config: RunConfig, written_steps: int, *, allowed: Collection[str] = (), meant: Collection[str] = ()
) -> ResumePlan:
    """Plan the resume of a run with this config, whose number of steps was `written_steps` in run.toml before --steps.

    Raises CheckpointError if the config, apart from its number of steps and the keys in `meant` and `allowed`, is not
    what the run was trained with, and ConfigError if the run has already done more steps.
    """
    (status, problem), manifest = known_status(run_dir), last_readable(run_dir / "checkpoints")
    completed = status is not None and status.state == "completed"
    has_checkpoint, steps, done = bool(saved(run_dir / "checkpoints")), config.train.steps, 0
    changes, warnings, free = list[Change](), [f"{problem}; it is written anew"] if problem else [], list[Change]()

    # A run that was completed is scored again if its results are damaged, and has not done more than its checkpoint.
    results, problem = known_result(run_dir) if completed else (None, "")
    if problem and has_checkpoint:
        completed = False
        warnings.append(f"{problem}; the run is scored again")
    elif problem:
        raise CheckpointError(problem)

    # The newest checkpoint keeps the run file that it was trained with.
    if manifest is not None:
        done, (before, _) = manifest.progress.step, read_past_environment(run_dir)
        if manifest.run:
            accepted = before.changes if before else []
            changes = changed(manifest.run, done, config, accepted, f"{run_dir}: its run.toml")
            free = changed(manifest.run, done, config, [], f"{run_dir}: its run.toml", free=True)
        unforeseen = [change for change in changes if change.key not in (STEPS, *meant)]
        check_allowed(unforeseen, allowed, done, f"{run_dir / RUN}")
    without_effect = [key for key in allowed if not any(covers(key, change.key) for change in changes)]
    notes = [f"{run_dir / RUN}: {change}" for change in free if change.key not in meant]
    notes += [f"--allow-change {excerpt(key)}: {_no_effect(key, config)}" for key in without_effect]

    # A new number of steps is a change like any other, but needs no permission.
    if completed and results is not None:
        done = results.steps
    if steps != written_steps and not any(change.key == STEPS for change in changes):
        changes.append(Change(done, STEPS, str(written_steps), str(steps)))
    _check_enough(run_dir, steps, written_steps, done, changes, completed=completed)
    if completed and steps > done and not has_checkpoint:
        raise CheckpointError(f"{run_dir}: it has no checkpoint left to continue from; start again with `mixzoo train`")
    return ResumePlan(completed and steps <= done, has_checkpoint, changes, notes, warnings)


def _no_effect(key: str, config: RunConfig) -> str:
    """Why a key of --allow-change allows nothing."""
    known = [*DEFAULT_PARTS, "train", *dotted(tomllib.loads(config.to_toml()))]
    if key in FREE:
        return "it may change without this flag"
    if key in known:
        return "it has not changed, or the change is recorded already"
    return f"run.toml has no such key; give one like train.lr, or a part like mixer.{nearest(key, known)}"


def _check_enough(
    run_dir: Path, steps: int, written_steps: int, done: int, changes: Sequence[Change], *, completed: bool
) -> None:
    """Raises ConfigError if the new last step is not after the steps that the run has done."""
    given = "--steps" if steps != written_steps else "steps in run.toml:"
    steps_changed = any(change.key == STEPS for change in changes)
    if steps < done or (steps == done and steps_changed and not completed):
        raise ConfigError(f"{run_dir}: {given} {steps}: the run has done {done} steps; give more than that")
