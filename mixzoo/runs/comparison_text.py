"""A comparison as text: a table for the terminal or Markdown, LaTeX, CSV or JSON. The best of a column is bold."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping

from mixzoo.core.errors import ConfigError
from mixzoo.runs.comparing import Cell, Comparison
from mixzoo.runs.paper import PAPER
from mixzoo.runs.paper import notes as paper_notes

P_NOTE = (
    "p: paired t-test against the best of the column, over the seeds that both have; "
    "not corrected for the number of tests"
)
EQUAL_NOTE = "no p where the difference to the best is the same for every seed: a t-test needs differences that vary"
DATA_NOTE = "runs on different data are not compared: the best, and p, are those among the runs on the same data"
DIGITS = 4  # of a number that is no accuracy
LARGEST_COUNT = 1e6  # below it a whole number is written whole, as a step is
LATEX = {character: f"\\{character}" for character in "_%&#{}$"} | {
    "±": r"$\pm$", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def number(score: str, value: float) -> str:
    """An accuracy in per cent, a count whole, the rest to four significant digits, such as 1.235e+08."""
    if is_accuracy(score):
        return f"{100 * value:.2f}"
    whole = abs(value) < LARGEST_COUNT and value == int(value)
    return f"{value:.0f}" if whole else f"{value:.{DIGITS}g}"


def is_accuracy(score: str) -> bool:
    """Whether the score is shown in per cent."""
    return score.endswith("accuracy") or "_accuracy_" in score


def cell_text(score: str, cell: Cell | None, runs: int = 0) -> str:
    """Mean ± standard deviation, and p against the best; the mean alone of one run, "-" for no value.

    If the row is of another number of runs than have this score, that is said too, as n.
    """
    if cell is None:
        return "-"
    spread = "" if cell.std is None else f" ± {number(score, cell.std)}"
    more = [f"n={cell.count}"] if runs and cell.count != runs and not score.startswith(PAPER) else []
    more += [] if cell.p is None else [f"p={cell.p:.2g}"]
    return f"{number(score, cell.mean)}{spread}" + (f" ({', '.join(more)})" if more else "")


def head(score: str) -> str:
    """The score's name as the head of a column."""
    name = score.replace("_", " ").replace(".", ": ")
    return f"{name}, %" if is_accuracy(score) else name


def rows(comparison: Comparison) -> Iterator[tuple[str, int, dict[str, Cell]]]:
    """Name, number of runs and cells by score: the variants, then the baselines."""
    for i, variant in enumerate(comparison.variants):
        cells = {score: comparison.cells[i, score] for score in comparison.columns if (i, score) in comparison.cells}
        yield variant.name, len(variant.runs), cells
    baselines = comparison.baselines
    for name in dict.fromkeys(row for row, _ in baselines):
        yield name, 0, {score: baselines[name, score] for score in comparison.columns if (name, score) in baselines}


def markdown(comparison: Comparison) -> str:
    """A Markdown table, with notes below it."""
    lines = ["| | runs | " + " | ".join(map(head, comparison.columns)) + " |"]
    lines.append("|---|---:|" + "---:|" * len(comparison.columns))
    for name, runs, cells in rows(comparison):
        texts = [_bold(cell_text(s, cells.get(s), runs), cells.get(s), "**", "**") for s in comparison.columns]
        lines.append(f"| {_escaped(name)} | {runs or ''} | " + " | ".join(texts) + " |")
    below = [text for found in notes(comparison) for text in ("", found)]
    return "\n".join([*lines, *below]) + "\n"


def latex(comparison: Comparison) -> str:
    """A LaTeX tabular."""

    def safe(text: str) -> str:
        return "".join(LATEX.get(character, character) for character in text)

    lines = [r"\begin{tabular}{l" + "r" * len(comparison.columns) + "}", r"\hline"]
    lines.append(" & ".join(["", *(safe(head(score)) for score in comparison.columns)]) + r" \\ \hline")
    for name, runs, cells in rows(comparison):
        texts = [
            _bold(safe(cell_text(s, cells.get(s), runs)), cells.get(s), r"\textbf{", "}") for s in comparison.columns
        ]
        lines.append(" & ".join([safe(name), *texts]) + r" \\")
    lines += [r"\hline", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {found}" for found in notes(comparison))]) + "\n"


def comma_separated(comparison: Comparison) -> str:
    """CSV: for each score its mean, standard deviation, number of runs and p."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("mean", "std", "runs", "p")
    writer.writerow(["variant", *(f"{score} {end}" for score in comparison.columns for end in ends)])
    for name, _, cells in rows(comparison):
        values: list[object] = [name]
        for score in comparison.columns:
            cell = cells.get(score)
            values += (
                ["", "", "", ""] if cell is None else [cell.mean, _or_empty(cell.std), cell.count, _or_empty(cell.p)]
            )
        writer.writerow(values)
    return text.getvalue()


def as_json(comparison: Comparison) -> str:
    """JSON: a list of variants with their settings, runs, and scores (mean, std, count, best, p)."""
    found = []
    for i, (name, _, cells) in enumerate(rows(comparison)):
        variant = comparison.variants[i] if i < len(comparison.variants) else None
        settings: Mapping[str, str] = variant.settings if variant else {}
        paths = [str(run.path) for run in variant.runs] if variant else []
        scores = {score: vars(cell) for score, cell in cells.items()}
        found.append({"name": name, "settings": dict(settings), "runs": paths, "scores": scores})
    return json.dumps(found, indent=2) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "md": markdown,
    "latex": latex,
    "csv": comma_separated,
    "json": as_json,
}


def render(comparison: Comparison, form: str) -> str:
    """The comparison in one of the FORMATS. Raises ConfigError for another."""
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: give one of {', '.join(FORMATS)}")
    return FORMATS[form](comparison)


def notes(comparison: Comparison) -> list[str]:
    """Lines that explain p in the cells, or why some have none, several data sets, and the paper's numbers."""
    lines = [P_NOTE] if any(cell.p is not None for cell in comparison.cells.values()) else []
    if equal := comparison.equal_differences:
        without: dict[str, list[str]] = {}
        for i, score in equal:
            without.setdefault(comparison.variants[i].name, []).append(head(score).removesuffix(", %"))
        cells = "; ".join(f"{name} ({', '.join(scores)})" for name, scores in without.items())
        lines.append(f"{EQUAL_NOTE}: {cells}")
    lines += [DATA_NOTE] if len(comparison.by_data) > 1 else []
    if comparison.paper is not None:
        lines += paper_notes([(comparison.variants[i].name, found) for i, found in comparison.paper.items()])
    return lines


def _bold(text: str, cell: Cell | None, before: str, after: str) -> str:
    return f"{before}{text}{after}" if cell is not None and cell.best else text


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _or_empty(value: float | None) -> object:
    return "" if value is None else value
