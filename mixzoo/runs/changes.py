"""What a run file says otherwise than when the run was trained with it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from mixzoo.core.errors import CheckpointError, truncated_repr
from mixzoo.core.json_file import Fields
from mixzoo.registry.config import RunConfig, Train
from mixzoo.registry.options import options_of

# What a run may go on with otherwise: where and how it is computed and what is reported, but not what is trained.
FREE = {
    *("train.device", "train.engine", "train.data_on", "train.workers", "train.threads", "train.deterministic"),
    *("train.log_every", "train.evaluate_every", "train.checkpoint_every", "train.keep_checkpoints"),
    *("dataset.root", "dataset.path", "metrics"),  # of data that are elsewhere now, the fingerprint is compared
}
STEPS = "train.steps"
SHOWN = 8  # changes that a message names


@dataclass(frozen=True)
class Change:
    """A value of run.toml that is another one from a step on, as JSON texts; '' if there is none."""

    step: int
    key: str
    was: str
    now: str

    def __str__(self) -> str:
        was, now = self.was or "not there", self.now or "not there"
        return f"{self.key} was {shown_value(was)} and is {shown_value(now)}"

    def written(self) -> dict[str, object]:
        return asdict(self)


def shown_value(text: str) -> str:
    """A JSON text for a message, of a length that a person reads."""
    return text if len(text) < 80 else truncated_repr(text)


def recorded_changes(environment: Fields) -> list[Change]:
    """The changes that environment.json records; raises CheckpointError if it is damaged."""
    rows = environment.rows("changes", optional=True)
    return [Change(row.integer("step"), row.text("key"), row.text("was"), row.text("now")) for row in rows]


def changed(run: str, step: int, config: RunConfig, accepted: Sequence[Change], where: str) -> list[Change]:
    """What differs between the run file that a checkpoint of this step keeps, `run`, and the config now.

    Changes that were accepted at this step or later belong to the run already. The number of steps is among them.
    Raises CheckpointError if the checkpoint's run file cannot be read.
    """
    try:
        before = _flat(tomllib.loads(run))
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise CheckpointError(f"{where}: damaged: its run file is not valid TOML: {err}") from err
    for change in accepted:
        if change.step >= step:
            before[change.key] = change.now
    now, found = _flat(tomllib.loads(config.to_toml())), []
    defaults = {f"train.{option.name}": json.dumps(option.default, default=str) for option in options_of(Train)}
    for key in [*before, *(key for key in now if key not in before)]:
        was, is_ = before.get(key, ""), now.get(key, "")
        new_option = key not in before and defaults.get(key) == is_  # of a newer mixzoo
        if was != is_ and key not in FREE and not new_option:
            found.append(Change(step, key, was, is_))
    return found


def check_unchanged(changes: Sequence[Change], step: int, where: str) -> None:
    """Raises CheckpointError, with what differs, if there is any change."""
    if changes:
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        listed = "; ".join(map(str, changes[:SHOWN]))
        raise CheckpointError(
            f"{where}: not what the run was trained with up to step {step}: {listed}{more}. Put the file back, or add "
            "--allow-change to go on with it as it is, which environment.json records"
        )


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Dotted key -> value as a JSON text."""
    found: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value, default=str)
    return found
