"""What the files of a run say; one that is derived from others is read past if it is damaged, with a line on it."""

from dataclasses import dataclass
from pathlib import Path

from mixzoo.core.errors import CheckpointError, StorageError
from mixzoo.core.json_file import Fields, read_object
from mixzoo.runs.directory import Environment, Status, environment_of, is_there, last_committed, read_status
from mixzoo.training.checkpoint import last_readable, path_of

ENVIRONMENT, RESULTS = "environment.json", "results.json"


@dataclass(frozen=True)
class Result:
    """The result of a run. Only process 0 has `numbers`; accuracies are in [0, 1]."""

    directory: Path
    steps: int
    numbers: dict[str, float]
    picture: Path
    scored_step: int  # whose weights the numbers and the picture are of: the last, or the best
    warnings: tuple[str, ...] = ()  # a line for each number that only a run which has learned nothing has


def result(run_dir: Path) -> Result:
    """The result of a completed run; raises CheckpointError if results.json is damaged."""
    done = read_object(run_dir / RESULTS)
    picture = Path(done.text("picture"))
    if picture.is_absolute() or ".." in picture.parts:
        raise CheckpointError(f"{run_dir / RESULTS}: damaged: its picture {str(picture)!r} is not in the run")
    steps = done.integer("steps")
    scored = done.integer("scored_step", default=steps)
    warnings = done.text_list("warnings") if "warnings" in done else []
    return Result(run_dir, steps, done.numbers("numbers"), run_dir / picture, scored, tuple(warnings))


def known_result(run_dir: Path) -> tuple[Result | None, str]:
    """The result, or None and why it is not known: a run that has a checkpoint can be scored again."""
    try:
        return result(run_dir), ""
    except CheckpointError as err:
        return None, str(err)


def known_status(run_dir: Path) -> tuple[Status | None, str]:
    """The status, None if it is missing or damaged; and why it is damaged, or ''."""
    try:
        return read_status(run_dir), ""
    except CheckpointError as err:
        return None, str(err)


def gone_checkpoint(run_dir: Path) -> str:
    """A line if the checkpoint that status.json has is gone, and the newest that there is is older; else ''."""
    status, _ = known_status(run_dir)
    step, newest = status.last_committed if status else None, last_committed(run_dir)
    if step is None or newest is None or newest >= step or path_of(run_dir / "checkpoints", step).exists():
        return ""
    return f"{path_of(run_dir / 'checkpoints', step)}: it is gone, and was committed; the newest is of step {newest}"


def known_environment(run_dir: Path) -> tuple[Fields | None, str]:
    """What environment.json has or, if it is missing or damaged, what the newest checkpoint has of it.

    None if neither has it, as before the first step. The text says what is wrong with the file, or is ''.
    """
    path = run_dir / ENVIRONMENT
    manifest = last_readable(run_dir / "checkpoints")
    if manifest is None and not is_there(path):
        return None, ""
    try:
        record = read_object(path)
        environment_of(record)
        return record, ""
    except (CheckpointError, StorageError) as err:
        problem = str(err)
    kept = manifest.environment if manifest else None
    try:
        if kept is not None:
            environment_of(kept)
            return kept, f"{problem}; what the newest checkpoint has of it is used"
    except CheckpointError:
        pass
    return None, f"{problem}; whether data and versions are those that the run began with is not known"


def read_past_environment(run_dir: Path) -> tuple[Environment | None, str]:
    """`known_environment`, its values checked."""
    record, problem = known_environment(run_dir)
    return (None if record is None else environment_of(record)), problem


def scored_step(run_dir: Path) -> int | None:
    """The step whose weights a run is opened with: of its newest checkpoint, or those that a completed run ended with.

    None if there is no checkpoint. A damaged status or result is read past.
    """
    newest, (status, damaged) = last_committed(run_dir), known_status(run_dir)
    if newest is None or not (run_dir / RESULTS).is_file():
        return newest
    completed = damaged or (status is not None and status.state == "completed")
    found, _ = known_result(run_dir) if completed else (None, "")
    return found.scored_step if found is not None and found.steps == newest else newest
