"""Learning curves: the numbers of metrics.jsonl of some runs by step, averaged over seeds.

A point is the mean over the seeds of a variant at a step that all of them have, with their sample standard deviation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixzoo.core.errors import CheckpointError, ConfigError, excerpt, listing, nearest, printable, truncated_repr
from mixzoo.runs.comparing import Variant, variants_of, without_older
from mixzoo.runs.listing import RunRecord
from mixzoo.training.logs import LARGEST, read_metrics

PLAYERS = ("autoencoder/", "discriminator/")
SCORES, PROBE, RATE, SPEED = "D(", "probe/", "lr", "images_per_second"  # names, or their beginnings
ACCURACIES = ("validation_accuracy", "test_accuracy", "best_validation_accuracy")  # in metrics.jsonl, without "probe/"
RATE_TITLE = f"learning rate ({RATE})"  # with the name that metrics.jsonl and --term have for it, as of raw scores
IF_ASKED = (f"{PROBE}best_validation_accuracy", SPEED)  # drawn only if they are named
LOGGED_LINES = 10  # of a run, with the --log-every that the advice names

Values = Mapping[int, float]  # step -> value; NaN if it is not finite


@dataclass(frozen=True)
class Curve:
    """A number of one variant by step."""

    steps: NDArray[np.int64]
    mean: NDArray[np.float64]  # NaN at a step where a seed's value is not finite
    std: NDArray[np.float64] | None  # sample standard deviation over seeds; None of a single run


@dataclass(frozen=True)
class Panel:
    """A number, and its curve of each variant that has it, by the variant's place."""

    name: str  # as in metrics.jsonl; accuracies as "probe/test_accuracy"
    curves: Mapping[int, Curve]


@dataclass(frozen=True)
class Curves:
    """The panels of a figure, the players' terms first."""

    variants: tuple[Variant, ...]
    panels: tuple[Panel, ...]
    smooth: int  # lines of the running mean
    notes: tuple[str, ...]  # a line for each run that is left out, or that ends early


def curves_of(records: Sequence[RunRecord], terms: Sequence[str] | None = None, *, smooth: int = 1) -> Curves:
    """The curves of these runs, of all terms, raw scores, accuracies and learning rates if none are named.

    Of two runs with the same config and seed the newer one counts. Raises ConfigError if there are no runs, none has
    metrics, or a named term is one that none of them has; CheckpointError if the only metrics cannot be read.
    """
    if not records:
        raise ConfigError("there are no runs to plot; give run directories, sweeps, or folders of them")
    if type(smooth) is not int or smooth < 1:
        raise ConfigError(f"smooth={truncated_repr(smooth)} must be an integer >= 1, the lines of a running mean")
    records, notes = without_older(records)
    having: list[RunRecord] = []
    values: dict[Path, dict[str, Values]] = {}
    damaged = False
    for record in records:
        try:
            values[record.path] = read_values(record)
            having.append(record)
        except CheckpointError as err:
            notes.append(str(err))
            damaged = True
        except ConfigError as err:
            notes.append(str(err))
    if not having:
        more = f"; and {len(notes) - 1} more" if len(notes) > 1 else ""
        raise (CheckpointError if damaged else ConfigError)(f"no run has metrics to plot ({notes[0]}{more})")

    known = sorted(dict.fromkeys(name for own in values.values() for name in own), key=_place)
    without = next((_why_no_losses(record) for record in having if _without_losses(values[record.path])), "")
    chosen = list(dict.fromkeys(name for wanted in terms or () for name in named(wanted, known, without)))
    chosen = chosen or [name for name in known if name not in IF_ASKED] or known

    variants = variants_of(having)
    panels = []
    for name in chosen:
        # An accuracy is of a whole split, without the noise of a batch, and the learning rate has none.
        over = 1 if is_accuracy(name) or name == RATE else smooth
        curves = {}
        for i, variant in enumerate(variants):
            runs = [smoothed(values[run.path][name], over) for run in variant.runs if name in values[run.path]]
            if runs:
                curves[i] = averaged(runs)
                if not len(curves[i].steps):
                    notes.append(f"{variant.name}: its runs have no step of {name} in common, so it has no line")
        panels.append(Panel(name, curves))
    for record in having:
        notes += _remarks(record, values[record.path], chosen)
        if _without_losses(values[record.path]) and not (terms and all(map(is_accuracy, chosen))):
            notes.append(_why_no_losses(record))
    return Curves(variants, tuple(panels), smooth, tuple(notes))


def read_values(record: RunRecord) -> dict[str, Values]:
    """Each number of a run's metrics.jsonl by step; of two lines with one step the later counts.

    Raises CheckpointError if the file cannot be read, ConfigError if it has no line yet.
    """
    if record.problem and not record.table:
        raise CheckpointError(record.problem)
    file = record.path / "metrics.jsonl"
    lines = read_metrics(file) if file.exists() else []
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        for key, value in line.items():
            name = f"{PROBE}{key}" if key in ACCURACIES else key
            if ("/" in name or name.startswith(SCORES) or name in (RATE, SPEED)) and type(value) in (int, float):
                number = float(value) if abs(value) < LARGEST else float("nan")  # NaN and infinity become NaN
                found.setdefault(name, {})[line["step"]] = number
    if not found:
        every = record.value("train.log_every")
        when = f"; a line is written every {every} steps" if every else ""
        raise ConfigError(f"{record.path}: {record.state}, its metrics.jsonl has no line yet{when}")
    return {name: dict(sorted(values.items())) for name, values in found.items()}


def named(wanted: str, known: Sequence[str], without: str = "") -> list[str]:
    """The numbers of this name, with or without its player, or of this panel, or else those that begin with it.

    `without` says which run has no losses, for the message if there is no such number.
    """
    spelt = {name: (name, name.partition("/")[2]) for name in known}
    words, titles = _as_words(wanted), {name: _as_words(panel_title(name)) for name in known}
    found = [name for name, own in spelt.items() if wanted in own or titles[name] == words]
    if not found:
        found = [name for name, own in spelt.items() if any(text.startswith(wanted) for text in own)]
        found = found or [name for name in known if words and titles[name].startswith(words)]
        found = [name for name in found if name not in IF_ASKED] or found
    if not found or not wanted:
        closest = nearest(wanted, [text for own in spelt.values() for text in own])
        why = f" {without}." if without else ""
        if words in (RATE, "learning rate", RATE_TITLE):
            closest = ""
            why = " The learning rate is logged only for runs with --schedule or --warmup; in others it is constant."
        raise ConfigError(f"--term {excerpt(wanted)}: no run has it ({listing(known)}).{closest}{why}")
    return found


def _as_words(text: str) -> str:
    """The text by which the title of a panel is looked up: "learning_rate" is "Learning rate"."""
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())


def is_accuracy(name: str) -> bool:
    """Whether the number is a share of images, from 0 to 1."""
    return name.removeprefix(PROBE) in ACCURACIES


def panel_title(name: str) -> str:
    """A number's name as a reader takes it, such as "autoencoder: reconstruct"."""
    if name in (RATE, SPEED):
        return RATE_TITLE if name == RATE else "images per second"
    if name.startswith(SCORES):
        return printable(f"mean raw score {name}")
    player, _, term = name.partition("/")
    return printable(f"{player}: {term.replace('_', ' ') if is_accuracy(name) else term}")


def variant_label(variant: Variant) -> str:
    """What sets a variant apart, in words, and how many seeds it has; the name of its folder if it is the only run."""
    words = ", ".join(f"{key} {value}" for key, value in variant.settings.items() if value)
    runs = variant.runs
    if not words and len(runs) == 1:
        return printable(runs[0].path.resolve().name)
    seeds = f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0].seed}"
    return printable(f"{words}, {seeds}" if words else seeds)


def smoothed(values: Values, over: int) -> Values:
    """The mean of each value and those of the `over` - 1 lines before it, as far as they are finite."""
    if over == 1:
        return values
    numbers = np.array(list(values.values()))
    finite = np.isfinite(numbers)
    window = np.ones(min(over, len(numbers)))
    sums = np.convolve(np.where(finite, numbers, 0.0), window)[: len(numbers)]
    counts = np.convolve(finite.astype(float), window)[: len(numbers)]
    means = np.where(finite, sums / np.maximum(counts, 1), np.nan)
    return dict(zip(values, means.tolist()))


def averaged(runs: Sequence[Values]) -> Curve:
    """Mean and sample standard deviation over runs, at the steps that all of them have."""
    steps = sorted(set.intersection(*map(set, runs)))
    numbers = np.array([[run[step] for step in steps] for run in runs])  # [runs, steps]
    with np.errstate(over="ignore", invalid="ignore"):
        std = numbers.std(0, ddof=1) if len(runs) > 1 else None
        return Curve(np.array(steps, dtype=np.int64), numbers.mean(0), std)


def _place(name: str) -> int:
    """Where a number stands in the figure: the players' terms, D's raw scores, the probe, the rate, the speed."""
    order = (*PLAYERS, "", SCORES, PROBE, RATE, SPEED)  # "" is any other player
    if name in (RATE, SPEED):
        return order.index(name)
    return next((i for i, start in enumerate(order[:-2]) if start and name.startswith(start)), order.index(""))


def _remarks(record: RunRecord, values: Mapping[str, Values], chosen: Sequence[str]) -> list[str]:
    """What should be known of a run's curves: that it has not ended, and values of these names that are not finite."""
    last = max((step for own in values.values() for step in own), default=0)
    remarks = []
    if record.state != "completed":
        remarks.append(f"{record.path}: {record.state}, its metrics end at step {last} of {record.steps}")
    for name in chosen:
        own = values.get(name, {})
        if bad := [step for step, value in own.items() if value != value]:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            remarks.append(f"{record.path}: {name} is not finite at step {bad[0]}{more}: the line has a gap there")
    return remarks


def _without_losses(values: Mapping[str, Values]) -> bool:
    """Whether metrics.jsonl has lines of evaluations only, none of a training step."""
    return all(map(is_accuracy, values))


def _why_no_losses(record: RunRecord) -> str:
    """Why a run has lines of evaluations only, and how a run gets others."""
    every, steps = record.value("train.log_every"), record.steps
    if not (type(every) is int and steps and every > steps):
        return f"{record.path}: {record.state}, its metrics.jsonl has no line of a training step, so no losses"
    return (
        f"{record.path}: no losses, raw scores or learning rate, as it is shorter ({steps} steps) than --log-every "
        f"{every}; train it again with --log-every {max(1, steps // LOGGED_LINES)}: its numbers stay the same"
    )
