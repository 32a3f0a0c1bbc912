"""The figure of learning curves: a panel for each number, a colour and a line style for each variant.

It has its own style, whatever matplotlibrc says, and its files are the same bytes for the same runs.
"""

from collections.abc import Sequence
from itertools import count, groupby
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from mixzoo.core.arguments import path_of, texts_of
from mixzoo.core.errors import ConfigError, listing, path_excerpt, printable
from mixzoo.core.storage import write_whole
from mixzoo.evaluation.pictures.style import COLOURS, DPI, FORMS, figure_bytes, figure_style
from mixzoo.runs.comparing import Variant
from mixzoo.runs.curves import RATE, SCORES, Curve, Curves, Panel, curves_of, is_accuracy, panel_title, variant_label
from mixzoo.runs.listing import PARTS, RunRecord

STYLES: tuple[Any, ...] = ("-", "--", "-.", ":")
MOST_VARIANTS = len(COLOURS) * len(STYLES)  # no two have both the colour and the style in common
COLUMNS, MARKED = 4, 20  # panels beside one another, at most; points of a curve that are marked, at most
WIDTH, HEIGHT, ALONE = 3.4, 2.4, (7.0, 4.4)  # inches of a panel; of one that is alone
LABEL, CHARACTER = 84, 0.075  # characters in a line of the legend; inches of one


class LearningCurves(Figure):
    """A matplotlib Figure that knows what is left out of it, and writes the same bytes for the same runs."""

    notes: tuple[str, ...] = ()  # a line for each run that is left out or ends early, and for values not finite

    def save(self, path: str | Path) -> Path:
        """Write the figure as PNG, SVG or PDF, by the ending of the path; a file that is there is overwritten.

        Raises ConfigError for another ending, StorageError if the file cannot be written.
        """
        file = path_of(path, "path")
        check_form(file)
        write_whole(file, self._content(file.suffix.lower()))
        return file

    def _content(self, ending: str) -> bytes:
        return figure_bytes(self, ending)

    def _repr_png_(self) -> bytes:
        """What a notebook displays."""
        return self._content(".png")


def plot(
    records: Sequence[RunRecord],
    terms: str | Sequence[str] | None = None,
    *,
    log_scale: bool = False,
    smooth: int = 1,
) -> LearningCurves:
    """The learning curves of these runs: `curves_of` says which, and what it raises.

    With `log_scale` the axes of terms are logarithmic where all values are above 0. Raises ConfigError if there are
    more variants than a reader can tell apart.
    """
    curves = curves_of(records, None if terms is None else texts_of(terms, "terms"), smooth=smooth)
    if len(curves.variants) > MOST_VARIANTS:
        raise ConfigError(
            f"{len(curves.variants)} variants; a figure has {MOST_VARIANTS} at most, told apart by colour and style. "
            "Give fewer runs, or choose some with --where KEY=VALUE"
        )
    with figure_style():
        return _drawn(curves, log_scale)


def check_form(path: Path) -> None:
    """Raises ConfigError if the path's ending is none of a figure."""
    if path.suffix.lower() not in FORMS:
        raise ConfigError(f"{path_excerpt(path)}: a figure is a PNG, SVG or PDF; end the name in {listing(FORMS)}")


def free_path(runs: Sequence[Path], what: str = "curves", ending: str = ".png") -> Path:
    """A file that is not there yet: beside a single run, sweep or folder, in the current folder for several."""
    first = runs[0].resolve()
    stem = first.with_name(f"{first.name}-{what}") if len(runs) == 1 and first.name else Path(what)
    if stem.parent == Path.cwd():
        stem = Path(stem.name)
    names = (stem.with_name(f"{stem.name}{'' if i == 1 else f'-{i}'}{ending}") for i in count(1))
    return next(path for path in names if not path.exists())


def _drawn(curves: Curves, log_scale: bool) -> LearningCurves:
    rows = _rows(curves.panels)
    columns = max(map(len, rows))
    alone = len(curves.panels) == 1
    width, height = ALONE if alone else (max(WIDTH * columns, ALONE[0]), HEIGHT * len(rows))

    labels = [_label(variant) for variant in curves.variants]
    beside = max(1, int(width / (CHARACTER * (max(len(line) for t in labels for line in t.split("\n")) + 8))))
    lines_above = sum(max(t.count("\n") + 1 for t in labels[i : i + beside]) for i in range(0, len(labels), beside))
    figure = LearningCurves(figsize=(width, height + 0.2 * lines_above + 0.65), dpi=DPI, layout="constrained")
    figure.notes = curves.notes

    grid = figure.add_gridspec(len(rows), columns)
    last = max((curve.steps[-1] for p in curves.panels for curve in p.curves.values() if len(curve.steps)), default=1)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            _draw_panel(axes, panel, log_scale)
            axes.set_xlim(0, 1.02 * last)
            if i == len(rows) - 1 or len(rows[i + 1]) <= j:
                axes.set_xlabel("step")

    handles = [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], linestyle=STYLES[i % len(STYLES)], label=label)
        for i, label in enumerate(labels)
    ]
    legend = figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(beside, len(labels)),
        handlelength=2.6,
        title=_common(curves.variants),
        title_fontsize=10.5,
        alignment="left",
    )
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)  # a "$" in a name is a "$"
    if remarks := _remarks(curves):
        figure.supxlabel(remarks, fontsize=8.5, x=0.01, ha="left", color="#444444")
    return figure


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The panels in rows of at most COLUMNS: what belongs together is in one row, or in several of about one length."""
    rows: list[list[Panel]] = [[]]
    for _, group in groupby(panels, key=lambda panel: _group(panel.name)):
        own = list(group)
        if len(rows[-1]) + len(own) <= COLUMNS:
            rows[-1] += own
        else:
            length = -(-len(own) // -(-len(own) // COLUMNS))
            rows += [own[i : i + length] for i in range(0, len(own), length)]
    return [row for row in rows if row]


def _draw_panel(axes: Axes, panel: Panel, log_scale: bool) -> None:
    title = panel_title(panel.name)
    means = np.concatenate([curve.mean for curve in panel.curves.values()])
    means = means[np.isfinite(means)]
    if log_scale and "/" in panel.name and not is_accuracy(panel.name):
        if len(means) and means.min() > 0:
            axes.set_yscale("log")
        else:
            title += " (linear: not all above 0)"
    alpha = 0.2 if len(panel.curves) < 4 else 0.12  # of a band, of which many lie over one another
    for i, curve in panel.curves.items():
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i % len(STYLES)]
        if curve.std is not None:
            low, high = curve.mean - curve.std, curve.mean + curve.std
            if axes.get_yscale() == "log":
                low = np.where(low > 0, low, means.min())  # no axis reaches 0
            axes.fill_between(curve.steps, low, high, color=colour, alpha=alpha, linewidth=0)
        axes.plot(
            curve.steps, curve.mean, color=colour, linestyle=style, marker="o", markersize=3, markevery=_marked(curve)
        )
    if axes.get_yscale() == "log":
        low_end, high_end = axes.get_ylim()
        narrow = high_end < 4 * low_end  # with few of 1, 2 and 5 inside it
        axes.yaxis.set_major_locator(MaxNLocator(6) if narrow else LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator() if narrow else LogLocator(subs=range(2, 10)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if is_accuracy(panel.name):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.set_title(title, loc="left").set_parse_math(False)


def _marked(curve: Curve) -> list[int]:
    """The points that get a dot: all of a short curve; of a long one those between two gaps, which no line shows."""
    if len(curve.steps) <= MARKED:
        return list(range(len(curve.steps)))
    seen = np.concatenate([[False], np.isfinite(curve.mean), [False]])
    return [int(i) for i in np.flatnonzero(seen[1:-1] & ~seen[:-2] & ~seen[2:])]


def _group(name: str) -> str:
    """What shares a row: the terms of a player, D's raw scores, the probe."""
    return SCORES if name.startswith(SCORES) else name.partition("/")[0]


def _label(variant: Variant) -> str:
    """What sets a variant apart, in words, and how many seeds it has, in lines of a legend."""
    return fill(variant_label(variant), LABEL)


def _common(variants: Sequence[Variant]) -> str:
    """The parts that all runs have in common, for the title."""
    runs = [run for variant in variants for run in variant.runs]
    shared = {kind: {run.part(kind) for run in runs} for kind in PARTS}
    return printable(
        ", ".join(f"{kind} {names.pop()}" for kind, names in shared.items() if len(names) == 1 and any(names))
    )


def _remarks(curves: Curves) -> str:
    """What a reader must know of the lines: what they are a mean of."""
    remarks = []
    if any(len(variant.runs) > 1 for variant in curves.variants):
        remarks.append("Lines are means over seeds, bands ± their sample standard deviation.")
    if curves.smooth > 1:
        rates = " and learning rates" if any(panel.name == RATE for panel in curves.panels) else ""
        remarks.append(f"All but accuracies{rates}: running mean over {curves.smooth} lines of the log.")
    return "\n".join(remarks)
