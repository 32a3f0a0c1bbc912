"""A figure of curves on logarithmic axes, one panel each."""

from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

WIDTH, HEIGHT = 4.4, 3.4  # inches of a panel
LINE, FAINT = "#0072B2", "#dddddd"


class Curve(NamedTuple):
    """A caption and points (x, y), both above 0."""

    caption: str
    points: list[tuple[float, float]]


def log_log(curves: list[Curve], unit: str, columns: int = 2) -> Figure:
    """A panel per curve; a decade has the same length on both axes of a panel, so slopes can be read off."""
    columns = min(columns, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), dpi=150, layout="constrained")
    for number, curve in enumerate(curves, 1):
        axes = figure.add_subplot(rows, columns, number)
        xs, ys = zip(*curve.points)
        axes.loglog(xs, ys, color=LINE, marker="o", markersize=5)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(f"{unit} {curve.caption}", loc="left", fontsize=10)
        axes.set_xticks(xs)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(color=FAINT)
    return figure
