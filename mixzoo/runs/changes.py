"""Differences between run.toml now and the config that a run was trained with."""

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mixzoo.core.errors import CheckpointError, truncated_repr
from mixzoo.core.json_file import Fields, read_object
from mixzoo.registry.config import RunConfig, Train
from mixzoo.registry.options import options_of
from mixzoo.runs.listing import dotted

# Keys that may change before a resume: where and how the run is computed and what is reported, not what is trained.
FREE = {
    *("train.device", "train.engine", "train.data_on", "train.workers", "train.image_cache"),
    *("train.threads", "train.deterministic"),
    *("train.log_every", "train.evaluate_every", "train.checkpoint_every", "train.keep_checkpoints"),
    "train.select",
    *("dataset.root", "dataset.path", "metrics"),  # data may have moved: their fingerprint is compared
}
STEPS = "train.steps"
QUOTE = '"'
MAX_LISTED = 8  # changes in a message


@dataclass(frozen=True)
class Change:
    """A value of run.toml that changed after `step`. Values are JSON texts; '' if the key is missing."""

    step: int
    key: str
    was: str
    now: str
    mixer_follows: bool = False  # of train.steps: whether the mixer's law depends on the length of the run

    def __str__(self) -> str:
        was, now = self.was or "missing", self.now or "missing"
        return f"{self.key} was {value_excerpt(was)} and is {value_excerpt(now)}"

    def to_json(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if key != "mixer_follows" or value}


def value_excerpt(text: str) -> str:
    """A JSON text for a message, shortened if it is long."""
    return text if len(text) < 80 else truncated_repr(text)


def recorded_changes(environment: Fields) -> list[Change]:
    """The changes recorded in environment.json. Raises CheckpointError if they are damaged."""
    return [
        Change(
            step=row.integer("step"),
            key=row.text("key"),
            was=row.text("was"),
            now=row.text("now"),
            mixer_follows=row.flag("mixer_follows", default=False),
        )
        for row in environment.rows("changes", optional=True)
    ]


def changed(
    run: str, step: int, config: RunConfig, accepted: Sequence[Change], where: str, *, free: bool = False
) -> list[Change]:
    """The differences between `run`, the run file kept in the checkpoint of this step, and the config now.

    The number of steps counts; changes that were accepted at this step or later do not. With `free`, those of keys that
    may change are returned, and no others. Raises CheckpointError if the checkpoint's run file cannot be read.
    """
    try:
        before = _flat(tomllib.loads(run))
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise CheckpointError(f"{where}: damaged: its run file is not valid TOML: {err}") from err
    for change in accepted:
        if change.step >= step:
            before[change.key] = change.now
    now, differences = _flat(tomllib.loads(config.to_toml())), []
    defaults = {f"train.{option.name}": json.dumps(option.default, default=str) for option in options_of(Train)}
    for key in [*before, *(key for key in now if key not in before)]:
        was, is_ = before.get(key, ""), now.get(key, "")
        new_option = key not in before and defaults.get(key) == is_  # added by a newer mixzoo
        if was != is_ and (key in FREE) is free and not new_option:
            differences.append(Change(step, key, was, is_))
    return differences


def earlier_lengths(changes: Iterable[Change], done: int) -> list[tuple[int, int, str]]:
    """First step, last step and the run's number of steps in that time, up to step `done`, from all changes in order.

    The steps after the last change are left out: their run has the number of steps that it has now.
    """
    found, first = list[tuple[int, int, str]](), 1
    for change in changes:
        last = min(change.step, done)
        if change.key == STEPS and first <= last:
            found.append((first, last, change.was))
            first = last + 1
    return found


def earlier_settings(run_dir: Path, schedule: str) -> str:
    """What a run was trained with before its run.toml was as it is, such as "steps 8 up to step 8"; '' if nothing else.

    Another number of steps counts only if something follows it: the learning rate, by the run's `schedule`, or the
    mixer's law, which the change itself records.
    """
    try:
        rows = recorded_changes(read_object(run_dir / "environment.json"))
    except CheckpointError:  # such a run is as its run.toml says, and `mixzoo resume` says what is damaged
        return ""
    trained = [row for row in rows if row.step and row.key not in FREE]
    kept = [row for row in trained if row.key != STEPS or row.mixer_follows or schedule not in ("", "constant")]
    return "; ".join(f"{row.key.removeprefix('train.')} {row.was.strip(QUOTE)} up to step {row.step}" for row in kept)


def check_allowed(changes: Sequence[Change], allowed: Collection[str], step: int, where: str) -> None:
    """Raises CheckpointError, with the differences and the flags that allow them, if any change is not allowed."""
    refused = [change for change in changes if not any(covers(key, change.key) for key in allowed)]
    if refused:
        more = f" and {len(refused) - MAX_LISTED} more" if len(refused) > MAX_LISTED else ""
        listed = "; ".join(map(str, refused[:MAX_LISTED]))
        flags = " ".join(f"--allow-change {key}" for key in _keys_for(refused))
        this, it = ("this change", "it") if len(refused) == 1 else ("these changes", "them")
        raise CheckpointError(
            f"{where}: not what the run was trained with up to step {step}: {listed}{more}. Undo {this}, or add "
            f"{flags} to continue with {it}; environment.json then records {it}"
        )


def covers(key: str, changed_key: str) -> bool:
    """Whether --allow-change KEY allows the change of a key: "mixer" allows another mixer with options of its own."""
    return changed_key == key or changed_key.startswith(f"{key}.")


def _keys_for(changes: Sequence[Change]) -> list[str]:
    """The keys that allow these changes: a part, if it is another one, stands for all of its options."""
    parts = {change.key.removesuffix(".name") for change in changes if change.key.endswith(".name")}
    kinds = [change.key.partition(".")[0] for change in changes]
    return list(dict.fromkeys(k if k in parts else change.key for k, change in zip(kinds, changes)))


def _flat(table: Mapping[str, object]) -> dict[str, str]:
    """Dotted key -> value as a JSON text."""
    return {key: json.dumps(value, default=str) for key, value in dotted(table).items()}
