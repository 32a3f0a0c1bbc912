"""The cells of Tables 1 to 4 of "On Adversarial Mixup Resynthesis" (Beckham et al. 2019), and the runs that are one.

Each cell has its number and the settings of its run in two readings: what the text says, and what the published scripts
ran. paper_cells.json has them; `python benchmarks/paper_presets.py` writes it, with the run files of zoo_configs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mixzoo.runs.changes import FREE
from mixzoo.runs.listing import SAME_RUN, flat

PAPER = "paper."  # before a score: the name of the column with the paper's number of it
SOURCE = "paper: Beckham et al. 2019, Tables 1 to 4, mean ± deviation of three runs"
READINGS = {"paper": "in its text", "authors": "in the published scripts"}
CELL = (
    "dataset", "dataset.train_images", "autoencoder", "autoencoder.latent", "objective", "objective.lam",
    "objective.beta", "objective.variant", "mixer", "mixer.k", "mixer.law", "mixer.alpha",
)  # fmt: skip  # keys of a run file that say which cell a run is; all others may differ from the paper's run
MAX_LISTED = 12  # differences in a note


@dataclass(frozen=True)
class PaperCell:
    """A number of the paper's tables."""

    name: str  # of its run file in zoo_configs
    table: int
    score: str  # of a run, that is the same quantity
    mean: float  # in [0, 1], over three runs
    std: float
    readings: Mapping[str, Mapping[str, str]]  # reading -> key of the run file -> value


@dataclass(frozen=True)
class PaperMatch:
    """The cell that a run is, and what else differs in its settings."""

    cell: PaperCell
    reading: str  # of READINGS, the nearer one
    differences: Mapping[str, tuple[str, str]]  # key -> (the paper's or '', the run's)


def match(settings: Mapping[str, str]) -> PaperMatch | None:
    """The cell that a run with this flat run file is; None if it is no run of the paper's tables."""
    settings = _as_written(settings)
    found = [
        PaperMatch(cell, reading, _differences(own, settings))
        for cell in paper_cells()
        for reading, own in cell.readings.items()
        if all(own.get(key) == settings.get(key) for key in CELL if not _ignored(key, own))
    ]
    return min(found, key=lambda each: len(each.differences), default=None)


def notes(matches: Sequence[tuple[str, PaperMatch]]) -> list[str]:
    """What the paper's numbers are, and how its runs differ from the rows of these names."""
    if not matches:
        return [
            "paper: no row is a run of its tables (data set, code size, objective and mixer as in zoo_configs/paper)"
        ]
    rows: dict[tuple[str, str], list[str]] = {}
    for name, found in matches:
        rows.setdefault((found.reading, _listed(found.differences)), []).append(name)
    lines = [SOURCE]
    for (reading, differences), names in rows.items():
        of = f"{'; '.join(names)}: " if len(rows) > 1 else ""
        lines.append(f"{of}the paper's run, {READINGS[reading]}, {differences}")
    return lines


@cache
def paper_cells() -> tuple[PaperCell, ...]:
    """Every cell, in the order of the tables."""
    record = json.loads(Path(__file__).with_name("paper_cells.json").read_text(encoding="utf-8"))
    found = []
    for row in record["cells"]:
        readings = {reading: {**shared, **row[reading]} for reading, shared in record["shared"].items()}
        own = {r: flat({key: v for key, v in own.items() if v is not None}) for r, own in readings.items()}
        settings = {reading: _as_written(each) for reading, each in own.items()}
        found.append(PaperCell(row["name"], row["table"], row["score"], row["mean"], row["std"], settings))
    return tuple(found)


def _as_written(settings: Mapping[str, str]) -> Mapping[str, str]:
    """The settings with the paper's name of a mixer that has two: dirichlet of two sources, uniform, is its mixup."""
    mixer = (settings.get("mixer"), settings.get("mixer.k"), settings.get("mixer.alpha"))
    if mixer != ("dirichlet", "2", "1.0"):
        return settings
    others = {key: value for key, value in settings.items() if key not in ("mixer.k", "mixer.alpha")}
    return {**others, "mixer": "mixup", "mixer.law": "uniform"}


def _differences(own: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of the keys that the run's file has: one that it lacks is an option of a newer mixzoo."""
    pairs = {key: (own.get(key, ""), here) for key, here in settings.items() if not _ignored(key, own)}
    return {key: (theirs, here) for key, (theirs, here) in pairs.items() if theirs != here}


def _ignored(key: str, own: Mapping[str, str]) -> bool:
    """Whether a key says nothing of what is trained: where it is computed, or a part that the cell does not use."""
    kind = key.partition(".")[0]
    return key in FREE or key in SAME_RUN or key == "dataset.download" or (kind != "train" and kind not in own)


def _listed(differences: Mapping[str, tuple[str, str]]) -> str:
    if not differences:
        return "has the same settings"
    texts = [f"{key} {theirs or 'none'}, here {here}" for key, (theirs, here) in differences.items()]
    more = f"; and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return f"differs: {'; '.join(texts[:MAX_LISTED])}{more}"
