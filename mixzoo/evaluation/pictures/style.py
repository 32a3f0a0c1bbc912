"""The look of mixzoo's figures: colours that people of any colour vision tell apart, and matplotlib's settings.

matplotlib is imported when something is drawn, so that a run which draws nothing starts without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008, without the yellow, which is too light for a line; people of any colour vision tell them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DPI = 100
LAYOUTS = 2  # after which a constrained layout no longer moves; so a figure is the same each time it is saved
FORMS: dict[str, dict[str, Any]] = {  # ending -> metadata without the date
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e0e0e0",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "mixzoo",  # names of clip paths, which are random otherwise
}


@contextmanager
def figure_style() -> Iterator[None]:
    """matplotlib's own defaults and STYLE, not the user's; what was set before is set again afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def figure_bytes(figure: "Figure", ending: str) -> bytes:
    """The content of a PNG, SVG or PDF of the figure, by its ending; the same bytes for the same figure."""
    buffer = BytesIO()
    with figure_style(), catch_warnings():
        filterwarnings("ignore", message="Glyph .* missing")  # of a name in another script: drawn as a box
        for _ in range(LAYOUTS if figure.get_layout_engine() else 0):
            figure.draw_without_rendering()
        figure.savefig(buffer, format=ending[1:], dpi=DPI, metadata=FORMS[ending])
    return buffer.getvalue()
