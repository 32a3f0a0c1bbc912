"""Learning curves as JSON for the page: numbers rounded and thinned to what a screen shows, NaN as null."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixzoo.core.errors import MixzooError
from mixzoo.runs.curves import Curve, Panel, curves_of, is_accuracy, panel_title, variant_label
from mixzoo.runs.listing import RunRecord
from mixzoo.runs.report.naming import Naming

MOST_VARIANTS, MOST_POINTS, DIGITS = 28, 500, 6  # lines in a panel; points of a line; significant digits


@dataclass(frozen=True)
class PanelText:
    """A panel of the page: its title, and the last value of each line."""

    title: str
    last: Sequence[str]  # by variant; '' where it has no line


@dataclass(frozen=True)
class Charts:
    """The curves of some runs."""

    variants: Sequence[str] = ()
    panels: Sequence[PanelText] = ()
    data: dict[str, Any] = field(default_factory=dict)  # what the script draws
    bands: bool = False  # whether some line is a mean over seeds
    notes: Sequence[str] = ()


def charts(records: Sequence[RunRecord], naming: Naming) -> Charts:
    """The curves of these runs; without panels, and with the reason, if there are none."""
    try:
        curves = curves_of(records)
    except MixzooError as err:
        return Charts(notes=(naming.public(str(err)),))
    notes = [naming.public(note) for note in curves.notes]
    if len(curves.variants) > MOST_VARIANTS:
        notes.append(f"Only the first {MOST_VARIANTS} of {len(curves.variants)} variants are drawn.")
    variants = [naming.public(variant_label(variant)) for variant in curves.variants[:MOST_VARIANTS]]
    lines = [curve for panel in curves.panels for curve in panel.curves.values()]
    if any(len(curve.steps) > MOST_POINTS for curve in lines):
        notes.append(f"Long curves are drawn with {MOST_POINTS} of their points, evenly spaced.")
    return Charts(
        variants,
        [_text(panel, len(variants)) for panel in curves.panels],
        {"variants": variants, "panels": [_panel(panel, len(variants)) for panel in curves.panels]},
        any(curve.std is not None for curve in lines),
        notes,
    )


def _panel(panel: Panel, variants: int) -> dict[str, Any]:
    curves = {i: _thinned(curve) for i, curve in panel.curves.items() if i < variants and len(curve.steps)}
    means = [value for curve in curves.values() for value in curve.mean.tolist() if math.isfinite(value)]
    return {
        "title": panel_title(panel.name),
        "percent": is_accuracy(panel.name),
        "positive": bool(means) and min(means) > 0,  # so that a logarithmic axis can show it
        "curves": [
            {
                "variant": i,
                "steps": curve.steps.tolist(),
                "mean": _rounded(curve.mean),
                "std": None if curve.std is None else _rounded(curve.std),
            }
            for i, curve in curves.items()
        ],
    }


def _text(panel: Panel, variants: int) -> PanelText:
    last = []
    for i in range(variants):
        curve = panel.curves.get(i)
        last.append(_last(curve, is_accuracy(panel.name)) if curve is not None else "")
    return PanelText(panel_title(panel.name), last)


def _last(curve: Curve, percent: bool) -> str:
    finite = np.flatnonzero(np.isfinite(curve.mean))
    if not len(finite):
        return ""
    at = int(finite[-1])

    def text(value: float, digits: int) -> str:
        return f"{100 * value:.2f} %" if percent else f"{value:.{digits}g}"

    spread = f" ± {text(curve.std[at], 2)}" if curve.std is not None and math.isfinite(curve.std[at]) else ""
    return f"{text(curve.mean[at], 4)}{spread}"


def _thinned(curve: Curve) -> Curve:
    """At most MOST_POINTS of its points, the first and the last among them."""
    if len(curve.steps) <= MOST_POINTS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.steps) - 1, MOST_POINTS).round().astype(int))
    return Curve(curve.steps[kept], curve.mean[kept], None if curve.std is None else curve.std[kept])


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values.tolist()]
