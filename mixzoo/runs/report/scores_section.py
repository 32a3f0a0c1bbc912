"""The scores of a page: the comparison as rows of text, and what each metric measures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mixzoo.core.errors import CheckpointError, ConfigError, MixzooError
from mixzoo.registry.spec import parse_spec
from mixzoo.runs.comparing import BASELINES, Cell, Comparison, compare
from mixzoo.runs.comparison_text import P_NOTE, cell_text, head, notes, rows
from mixzoo.runs.listing import HEADLINE, RunRecord
from mixzoo.runs.paper import PAPER
from mixzoo.runs.report.naming import Naming
from mixzoo.runs.stored_scores import Score, read_scores

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue

BETTER = {"less": "lower is better", "more": "higher is better"}
PROBE = (
    "A linear classifier that learns the labels from the codes while the auto-encoder trains, without any effect on "
    "it. Its accuracy is the share of images whose label it gets right; the test accuracy is that of the step with the "
    "best validation accuracy."
)
PROBE_NUMBERS = {
    "best_validation_accuracy": "the highest over the run",
    "best_step": "the step at which that was",
    "test_accuracy_at_best_validation": "at that step",
    "last_validation_accuracy": "after the last step",
    "last_test_accuracy": "after the last step",
}
ENDINGS = {
    "_untrained": "the same number for the network before its first step",
    "_pixels": "the same number for the images themselves in place of their codes",
}
SIGNIFICANT = 0.05  # p of a paired t-test, not corrected for the number of tests


@dataclass(frozen=True)
class CellText:
    """A cell of the table."""

    text: str  # "88.59 ± 0.43"
    best: bool
    p: str  # "p=0.02", or ''


@dataclass(frozen=True)
class ScoreRow:
    """A score, and its cell of each column of the table; None where there is none."""

    name: str
    better: str  # "higher is better", or ''
    cells: Sequence[CellText | None]


@dataclass(frozen=True)
class ScoreTable:
    """The comparison, scores as rows: they are many, and a phone is narrow."""

    columns: Sequence[tuple[Sequence[str], int]]  # lines of its head, and how many runs; 0 of a baseline
    rows: Sequence[ScoreRow]
    left_out: Sequence[str]  # runs that are not in it, and why
    notes: Sequence[str] = ()  # on the paper's numbers, and on cells without p
    winner: str = ""  # which has the highest test accuracy of the probe, and whether that may be chance
    has_best: bool = False
    has_p: bool = False


@dataclass(frozen=True)
class MetricText:
    """A metric as the page explains it."""

    name: str
    definition: str
    about: str  # the docstring of the installed plugin; '' if there is none
    settings: str = ""
    facts: Sequence[str] = field(default=())
    numbers: Sequence[tuple[str, str]] = ()  # name, and what is better or what it is


def score_table(records: Sequence[RunRecord], naming: Naming) -> tuple[Comparison | None, ScoreTable]:
    """The comparison of the runs with the paper's numbers; without rows if none has scores."""
    try:
        comparison = compare(records, paper=True)
    except ConfigError as err:
        return None, ScoreTable((), (), (naming.public(str(err)),))
    table = list(rows(comparison))
    found = []
    for score in comparison.columns:
        texts = [_cell(score, own.get(score), count) for _, count, own in table]
        if any(texts):
            found.append(ScoreRow(_head(score), BETTER.get(comparison.better.get(score, ""), ""), texts))
    single = [naming.names[records[0].path]] if len(records) == 1 else []
    heads = [[f"{key}={value}" for key, value in v.settings.items() if value] or single for v in comparison.variants]
    columns = [
        ([naming.public(line) for line in own or [name]], count)
        for (name, count, _), own in zip(table, [*heads, *([[]] * (len(table) - len(heads)))])
    ]
    cells = comparison.cells.values()
    return comparison, ScoreTable(
        columns,
        found,
        [naming.public(line) for line in comparison.left_out],
        [naming.public(line) for line in notes(comparison) if line != P_NOTE],
        naming.public(_winner(comparison)),
        any(cell.best for cell in cells),
        any(cell.p is not None for cell in cells),
    )


def metric_texts(
    records: Sequence[RunRecord], comparison: Comparison | None, catalogue: "Catalogue", public: Callable[[str], str]
) -> list[MetricText]:
    """Every metric of the table with its definition and settings, and each of its numbers."""
    numbers: dict[str, list[str]] = {}
    for record in records if comparison else ():
        for name in record.numbers:
            label, _, number = name.rpartition(".")
            if number not in numbers.setdefault(label, []):
                numbers[label].append(number)
    better = {name: value for record in records for name, value in record.better.items()}
    stored = {score.metric: score for record in records for score in _stored(record)}
    return [
        _metric(label, own, stored.get(label), better, catalogue, public) for label, own in numbers.items()
    ]  # fmt: skip


def lacks_definition(records: Sequence[RunRecord], catalogue: "Catalogue") -> bool:
    """Whether a metric of these runs is described neither in their scores nor in the catalogue."""
    known = {entry.name for entry in catalogue.of_kind("metric")} | {"probe"}
    known |= {score.metric for record in records for score in _stored(record) if score.definition}
    labels = {name.rpartition(".")[0] for record in records for name in record.numbers}
    return any(label not in known and _name(label) not in known for label in labels)


def _metric(
    label: str,
    numbers: Sequence[str],
    score: Score | None,
    better: dict[str, str],
    catalogue: "Catalogue",
    public: Callable[[str], str],
) -> MetricText:
    known = [entry for entry in catalogue.of_kind("metric") if _name(label) in (entry.name, entry.full_name)]
    about = known[0].text.about if len(known) == 1 else ""
    definition = PROBE if label == "probe" else (score.definition if score else "") or about.partition("\n")[0]
    facts = []
    if score:
        counts = ", ".join(f"{count:,} {split}" for split, count in score.samples.items())
        facts = [f"Data: {counts} images"] if counts else []
        facts += [f"Computed by {score.plugin} {score.plugin_version}".strip()] if score.plugin else []
    described = [(number, _described(number, better.get(f"{label}.{number}", ""))) for number in numbers]
    if label == "probe":
        described = [(number, PROBE_NUMBERS.get(number, text)) for number, text in described]
    return MetricText(
        name=label,
        definition=definition or "The plugin that has this metric is not installed here, so its definition is missing.",
        about=about if about.partition("\n")[0] == definition and "\n" in about.strip() else "",
        settings=public(score.settings) if score and score.settings else "" if label == "probe" else public(label),
        facts=[public(fact) for fact in facts],
        numbers=described,
    )


def _winner(comparison: Comparison) -> str:
    """Which configuration has the highest test accuracy, and how far the seeds support that it is better."""
    cells = {
        i: cell for i in range(len(comparison.variants)) if (cell := comparison.cells.get((i, HEADLINE))) is not None
    }
    best = [i for i, cell in cells.items() if cell.best]
    if len(best) != 1 or len(cells) == 1 or len(comparison.by_data) > 1:
        return ""
    cell = cells[best[0]]
    others = [other for i, other in cells.items() if i not in best]
    lower = sum(other.p is not None and other.p < SIGNIFICANT for other in others)
    if min(own.count for own in cells.values()) == 1:
        support = "With a single run of a configuration the difference may be chance; train several seeds."
    elif not lower:
        support = f"No other is lower with p < {SIGNIFICANT}, so the difference may be chance."
    else:
        which = (
            "the other is"
            if len(others) == 1
            else f"{lower} of the {len(others)} others {'is' if lower == 1 else 'are'}"
        )
        support = f"With p < {SIGNIFICANT}, {which} lower."
    name, runs = comparison.variants[best[0]].name, f", over {cell.count} runs" if cell.count > 1 else ""
    return f"{name} has the highest test accuracy of the probe: {cell_text(HEADLINE, cell)} %{runs}. {support}"


def _described(number: str, better: str) -> str:
    ending = next((ending for ending in BASELINES if number.endswith(ending)), "")
    return ENDINGS[ending] if ending else BETTER.get(better, "")


def _head(score: str) -> str:
    return f"the paper's {head(score.removeprefix(PAPER))}" if score.startswith(PAPER) else head(score)


def _cell(score: str, cell: Cell | None, runs: int) -> CellText | None:
    if cell is None:
        return None
    return CellText(
        cell_text(score, replace(cell, p=None), runs), cell.best, "" if cell.p is None else f"p={cell.p:.2g}"
    )


def _name(label: str) -> str:
    """The name of the metric in a spec such as "knn:images=5000"."""
    try:
        return parse_spec(label).name
    except MixzooError:
        return label


def _stored(record: RunRecord) -> list[Score]:
    """The scores of the weights that the run's numbers are of."""
    try:
        return [score for score in read_scores(record.path) if score.step == record.scored_step]
    except CheckpointError:  # the run is damaged, and the page says so
        return []
