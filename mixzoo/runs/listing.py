"""Every run and sweep under some folders, from the files that they keep: no plugin is loaded, and no torch.

A directory is a run if it has run.toml, and a sweep if it has sweep.json; a sweep's members are runs inside it.
"""

import os
import platform
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from time import time
from typing import Any

from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    MixzooError,
    listing,
    nearest,
    one_line,
    path_excerpt,
    truncated_repr,
)
from mixzoo.core.json_file import read_object
from mixzoo.core.storage import read_regular
from mixzoo.runs.stored_scores import FOLDER, read_scores

STATES = ("waiting", "running", "completed", "interrupted", "failed")
OUTPUTS = (".png", ".svg", ".pdf", ".webp", ".gif", ".html", ".npz", ".safetensors", ".md", ".tex", ".csv", ".json")
KILLED = "killed"  # stored "running", and no process of this machine has the lock
LOCK = ".lock"  # in a run's directory, locked by the process that writes there, and with its name
RUN, SWEEP = "run.toml", "sweep.json"  # the file that marks a directory as a run, or as a sweep of runs
PARTS = ("dataset", "autoencoder", "discriminator", "mixer", "objective")
SAME_RUN = (  # they are no variant
    *("train.seed", "train.device", "train.threads", "train.workers", "train.data_on", "train.image_cache"),
)
LARGEST_RUN_FILE = 1_000_000  # bytes
DEEPEST = 3  # folders below the one given in which runs are looked for
HEADLINE = "probe.test_accuracy_at_best_validation"
PROBE_BETTER = {  # what is better of the probe's scores, which no metric declares
    "probe.best_validation_accuracy": "more",
    "probe.test_accuracy_at_best_validation": "more",
    "probe.last_validation_accuracy": "more",
    "probe.last_test_accuracy": "more",
}


@dataclass(frozen=True)
class RunRecord:
    """What the files of a run say of it, without its parts being loaded."""

    path: Path
    state: str  # one of STATES, or killed; damaged if its files cannot be read
    step: int  # of the newest checkpoint
    table: Mapping[str, Any]  # run.toml as a table; empty if it cannot be read
    numbers: Mapping[str, float] = field(default_factory=dict)  # results.json and scores/ together
    better: Mapping[str, str] = field(default_factory=dict)  # "less" or "more" of each number of which a metric says it
    modified: float = 0.0  # seconds since 1970
    sweep: Path | None = None
    problem: str = ""  # why it is damaged; if it has a table, that is its status alone, and the rest can be used
    scored_step: int = 0  # whose weights are scored: of the newest checkpoint, or those that a completed run ended with
    stale: str = ""  # why its results are not among its numbers, if it has older ones
    warnings: tuple[str, ...] = ()  # what its results came with: a line for each number of a run that learned nothing

    @property
    def seed(self) -> int:
        return self._number("seed")

    @property
    def steps(self) -> int:
        """The steps that it is to take."""
        return self._number("steps")

    def _number(self, name: str) -> int:
        """A number of [train]; 0 if it is missing."""
        value = self.value(f"train.{name}")
        return value if type(value) is int else 0

    def value(self, key: str) -> Any:
        """The value at "mixer" (the part's name), "mixer.k", "train.lr", "state", "step", or a score by its name."""
        if key in ("state", "step", "steps", "seed"):
            return getattr(self, key)
        if key in self.numbers:
            return self.numbers[key]
        if key == "score":
            return self.numbers.get(HEADLINE)
        part, _, option = key.partition(".")
        found = self.table.get(part)
        if not isinstance(found, Mapping):
            return None
        return found.get(option or "name")

    def part(self, kind: str) -> str:
        """The part's name, with its k if it takes several sources."""
        name, k = self.value(kind), self.value(f"{kind}.k")
        return "" if name is None else f"{name}:k={k}" if k not in (None, 2) else str(name)


def find_runs(folders: Iterable[Path]) -> list[RunRecord]:
    """The runs in these folders, or that these are, sweeps' members among them, by path (numbers in it by size).

    Files with an ending of OUTPUTS are passed over if there are folders among the paths: a pattern such as runs/2026*
    matches the pictures and pages of runs, too. Raises ConfigError if a folder is not there.
    """
    found: dict[tuple[int, int], RunRecord] = {}  # by device and inode: a link leads to the same run
    folders = list(folders)
    some_folder = any(folder.is_dir() for folder in folders)
    for folder in folders:
        if not folder.is_dir():
            if some_folder and folder.is_file() and folder.suffix.lower() in OUTPUTS:
                continue
            what = "it is a file" if folder.exists() else "no such folder"
            raise ConfigError(f"{path_excerpt(folder)}: {what}; give a run, a sweep, or a folder of them")
        for path, sweep in _runs_in(folder, DEEPEST, folder if (folder / SWEEP).is_file() else None):
            status = path.stat()
            if (status.st_dev, status.st_ino) not in found:
                found[status.st_dev, status.st_ino] = _record(path, sweep)
    records = with_killed(list(found.values()))
    return sorted(records, key=lambda record: _by_number(record.path))


def holder_text(pid: int, node: str) -> str:
    """What a lock file says of the process that has locked it."""
    return f"process {pid} on {node}"


def with_killed(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records, "killed" in place of "running" where the process was killed before it could write how it ended.

    Locks are looked up, not taken: a run that starts meanwhile must find its lock free. Where they cannot be looked up
    (Linux can), or the process was one of another machine, a run stays "running".
    """
    checked, locked = list(records), None
    for i, record in enumerate(records):
        if record.state != "running" or (holder := _holder_here(record.path)) is None:
            continue
        # After all states were read: a run that starts later is not among the "running" ones.
        locked = _locked_files() if locked is None else locked
        file = record.path / LOCK
        with suppress(MixzooError, OSError):  # removed meanwhile
            if locked and file.stat().st_ino not in locked and not _has_open(holder, file):
                ended = read_object(record.path / "status.json").text("state") != "running"  # since it was read
                checked[i] = _record(record.path, record.sweep) if ended else replace(record, state=KILLED)
    return checked


def _holder_here(run_dir: Path) -> int | None:
    """The number of the process of this machine that has, or had, locked the run; None if it is of another."""
    try:
        text = read_regular(run_dir / LOCK, 200).decode(errors="replace")
    except OSError:
        return None
    pid = text.removeprefix("process ").partition(" ")[0]
    return int(pid) if pid.isascii() and pid.isdigit() and text == holder_text(int(pid), platform.node()) else None


def _locked_files() -> set[int]:
    """Inode numbers of the files that processes of this machine have locked; empty if they are not known."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
        return {int(line.split()[-3].rpartition(":")[2]) for line in lines} | {0}
    except (OSError, ValueError, IndexError):
        return set()


def _has_open(pid: int, file: Path) -> bool:
    """Whether that process is alive and has the file open, or may have: a container can hide its locks."""
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.path.samefile(f"/proc/{pid}/fd/{fd}", file):
                    return True
    except OSError as err:
        return isinstance(err, PermissionError)
    return False


def _by_number(path: Path) -> list[tuple[str, int]]:
    """A key that sorts lam=5 before lam=10: the path's text and whole numbers in turn."""
    pieces = re.split("([0-9]+)", str(path))
    return [(text, int(number or 0)) for text, number in zip_longest(pieces[::2], pieces[1::2])]


def _runs_in(folder: Path, depth: int, sweep: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Directories of runs at or below a folder, each with the sweep that it belongs to."""
    if (folder / RUN).is_file():
        yield folder, sweep
        return
    if not depth:
        return
    inside = folder if (folder / SWEEP).is_file() else sweep
    try:
        entries = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for path in entries:
        if not os.path.basename(path).startswith("."):
            yield from _runs_in(Path(path), depth - 1, inside)


def _record(path: Path, sweep: Path | None) -> RunRecord:
    """What the files say; a file that cannot be read makes the run damaged, and hides no other run."""
    reading = path / RUN
    try:
        table = tomllib.loads(read_regular(reading, LARGEST_RUN_FILE).decode())
        for name in ("train", *PARTS):
            if name in table and not isinstance(table[name], dict):
                raise ValueError(f"its {name} is {truncated_repr(table[name])}, which is not a table")
            if name in PARTS and not isinstance(table.get(name, {}).get("name", ""), str):
                raise ValueError(
                    f"the name of its {name} is {truncated_repr(table[name]['name'])}, which is not a text"
                )
        train = table.get("train", {})
        for name in ("seed", "steps"):
            if name in train and type(train[name]) is not int:
                raise ValueError(f"its {name} is {truncated_repr(train[name])}, which is not an integer")
        state, step, problem = _status(path)

        # Results of an earlier end of the run are not those of the steps that it has now.
        numbers, better, stale, scored = dict[str, float](), dict[str, str](), "", step
        warnings: tuple[str, ...] = ()
        reading = path / "results.json"
        if reading.is_file():
            results = read_object(reading)
            if step is None or results.integer("steps") == step:
                numbers |= results.numbers("numbers")
                better |= {name: value for name, value in PROBE_BETTER.items() if name in numbers}
                better |= results.texts("better", {})
                warnings = tuple(results.text_list("warnings")) if "warnings" in results else ()
                if (state == "completed" or problem) and step is not None:
                    scored = results.integer("scored_step", default=step)
            else:
                stale = f"{state}, its scores are of step {results.integer('steps')}"
        reading = path / FOLDER
        for score in read_scores(path):
            if score.step == scored:
                numbers |= {f"{score.metric}.{name}": value for name, value in score.numbers.items()}
                better |= {f"{score.metric}.{name}": value for name, value in score.better.items()}
        modified = max((path / name).stat().st_mtime for name in (RUN, "status.json") if (path / name).exists())
        return RunRecord(
            path, state, step or 0, table, numbers, better, modified, sweep, problem, scored or 0, stale, warnings
        )
    except (MixzooError, OSError, ValueError, RecursionError) as err:
        reason = one_line(err) or type(err).__name__
        where = "" if str(path) in reason else f"{reading}: "
        return RunRecord(path, "damaged", 0, {}, {}, {}, path.stat().st_mtime, sweep, f"{where}{reason}")


def _status(path: Path) -> tuple[str, int | None, str]:
    """State and last committed step by status.json; if it is damaged, the step by the names of checkpoints, and why."""
    file = path / "status.json"
    if not os.path.lexists(file):
        return "waiting", None, ""
    try:
        status = read_object(file)
        state = status.text("state")
        if state not in STATES:
            raise CheckpointError(f"{file}: its state is {truncated_repr(state)}, expected one of {listing(STATES)}")
        return state, status.integer_or_none("last_committed", 0, 10**18), ""
    except CheckpointError as err:
        steps = [int(name[5:]) for name in _names_in(path / "checkpoints") if re.fullmatch("step-[0-9]{8,18}", name)]
        return "damaged", max(steps, default=None), f"{err}; `mixzoo resume {path_excerpt(path)}` writes it anew"


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def matching(records: Sequence[RunRecord], conditions: Iterable[str]) -> list[RunRecord]:
    """The runs for which every condition KEY=VALUE holds, as "objective=amr" or "train.lr=0.001".

    Raises ConfigError for a condition of another form, or a key that no run has.
    """
    kept = list(records)
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals or not key:
            raise ConfigError(f"--where {condition}: write KEY=VALUE, such as objective=amr or train.seed=1")
        check_key(records, key, "--where")
        kept = [record for record in kept if _is(record, key, value)]
    return kept


def chosen(records: Sequence[RunRecord], conditions: Sequence[str]) -> list[RunRecord]:
    """The runs for which every condition holds; raises ConfigError if that is none of them, too."""
    kept = matching(records, conditions)
    if records and not kept:
        raise ConfigError(none_matches(records, conditions))
    return kept


def none_matches(records: Sequence[RunRecord], conditions: Iterable[str]) -> str:
    """The line for runs of which none fulfils all the conditions."""
    return f"none of the {len(records)} runs has {' and '.join(conditions)}; `mixzoo runs` lists what they have"


def ordered(records: Sequence[RunRecord], key: str) -> list[RunRecord]:
    """The runs by the value of a key, smallest first; -KEY is largest first. Runs without a value come last."""
    descending, key = key.startswith("-"), key.removeprefix("-")
    if key in ("age", "path"):
        found = sorted(records, key=lambda r: (-r.modified if key == "age" else 0, str(r.path)))
        return found[::-1] if descending else found
    check_key(records, key, "--sort")
    having = [record for record in records if record.value(key) is not None]
    try:
        having.sort(key=lambda record: record.value(key), reverse=descending)
    except TypeError:  # numbers and words
        having.sort(key=lambda record: str(record.value(key)), reverse=descending)
    return [*having, *(record for record in records if record.value(key) is None)]


def check_key(records: Sequence[RunRecord], key: str, where: str) -> None:
    """Raises ConfigError if no run has this key."""
    known = known_keys(records)
    if records and key not in known:
        names = [k for k in known if "." not in k]
        raise ConfigError(
            f"{where} {key}: no run has it ({listing(names)}, or one of their options).{nearest(key, known)}"
        )


def known_keys(records: Sequence[RunRecord]) -> list[str]:
    """Every key that some run has: state, step, seed, parts, their options, scores."""
    keys = dict.fromkeys(("state", "step", "steps", "seed", "score"))
    for record in records:
        for name, value in record.table.items():
            if isinstance(value, Mapping):
                keys |= dict.fromkeys([name] if "name" in value else [])
                keys |= dict.fromkeys(f"{name}.{option}" for option in value)
        keys |= dict.fromkeys(record.numbers)
    return list(keys)


def dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A run file's values by dotted key, such as "mixer.k"."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def flat(table: Mapping[str, Any]) -> dict[str, str]:
    """A run file as key -> text, parts by their kind; the metrics are no part of what was trained."""
    values = {key.removesuffix(".name"): value for key, value in dotted(table).items() if key != "metrics"}
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in values.items()}


def age(record: RunRecord) -> str:
    """How long ago the run last changed, such as "3 h"."""
    seconds = max(0.0, time() - record.modified)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _is(record: RunRecord, key: str, text: str) -> bool:
    """Whether the run's value is what a person typed: 1e-3 for 0.001, True for true, dirichlet:k=3 for a part."""
    value = record.value(key)
    if isinstance(value, bool) or value is None:
        return str(value).lower() == text.lower()
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text in (str(value), record.part(key))
