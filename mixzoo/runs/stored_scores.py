"""The scores of a run that were computed after it: one JSON file for each metric, in the run's own directory.

    scores/<name>-<hash>.json  {"metric": spec, "step": 400, "numbers": {...}, "definition": ..., "seconds": ..., ...}

Reading them imports no torch.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mixzoo.core.errors import CheckpointError
from mixzoo.core.json_file import read_object, write_json
from mixzoo.core.storage import storage_errors
from mixzoo.registry.spec import parse_spec

FOLDER = "scores"


@dataclass(frozen=True)
class Score:
    """What one metric says of a run at one step."""

    metric: str  # the spec as it was asked for, in canonical order
    step: int  # of the checkpoint
    numbers: Mapping[str, float]
    better: Mapping[str, str] = field(default_factory=dict)  # "less" or "more" of each number that has a better end
    settings: str = ""  # the spec with every option written out
    definition: str = ""  # the first line of the metric's docstring
    samples: Mapping[str, int] = field(default_factory=dict)  # split -> images
    versions: Mapping[str, str] = field(default_factory=dict)
    plugin: str = ""  # the distribution that the metric comes from, and its version
    plugin_version: str = ""
    seconds: float = 0.0


def score_file(run_dir: Path, metric: str) -> Path:
    """The file of a metric's score."""
    return run_dir / FOLDER / _file_name(metric)


@lru_cache(1024)  # the runs of a list have mostly the same metrics
def _file_name(metric: str) -> str:
    spec = parse_spec(metric)
    digest = hashlib.blake2b(str(spec).encode(), digest_size=4).hexdigest()
    return f"{spec.name.replace('/', '-')}-{digest}.json"


def read_score(run_dir: Path, metric: str) -> Score | None:
    """The score of this metric; None if there is none. Raises CheckpointError if its file is damaged."""
    path = score_file(run_dir, metric)
    return _read(path) if path.is_file() else None


def read_scores(run_dir: Path) -> list[Score]:
    """Every score of the run, by name. Raises CheckpointError if a file is damaged."""
    return [_read(path) for path in sorted((run_dir / FOLDER).glob("*.json"))]


def kept_scores(
    run_dir: Path,
    metrics: Iterable[str],
    step: int | None,
    version_of: Callable[[Score], str] = lambda score: installed_version(score.plugin),
) -> dict[str, Score]:
    """The scores of these metrics that need not be computed again, by spec as given.

    They are of this step, that of the weights that the run is opened with, and of the version of the metric's plugin
    that there is now.
    """
    found = {spec: read_score(run_dir, spec) for spec in metrics}
    return {
        spec: score
        for spec, score in found.items()
        if score is not None and score.step == step and score.plugin_version == version_of(score)
    }


def installed_version(distribution: str) -> str:
    """The version of an installed distribution; '' if there is none of that name, as of a part from a file."""
    try:
        return version(distribution)
    except (PackageNotFoundError, ValueError):
        return ""


def write_score(run_dir: Path, score: Score) -> None:
    """Write the score's file, whole or not at all. Raises StorageError if the disk refuses."""
    path = score_file(run_dir, score.metric)
    with storage_errors(path.parent, "the folder of scores could not be made"):
        path.parent.mkdir(exist_ok=True)
    write_json(path, {name: getattr(score, name) for name in Score.__dataclass_fields__})


def _read(path: Path) -> Score:
    found = read_object(path)
    if path.name != _file_name(found.text("metric")):
        raise CheckpointError(f"{path}: damaged: it is of metric {found.text('metric')!r}")
    samples = found.part("samples")
    return Score(
        metric=found.text("metric"),
        step=found.integer("step"),
        numbers=found.numbers("numbers"),
        better=found.texts("better", {}),
        settings=found.text("settings", ""),
        definition=found.text("definition", ""),
        samples={name: samples.integer(name) for name in samples.names()},
        versions=found.texts("versions", {}),
        plugin=found.text("plugin", ""),
        plugin_version=found.text("plugin_version", ""),
        seconds=found.number("seconds", 0),
    )
