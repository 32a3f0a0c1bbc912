"""Progress of the runs of a sweep, on standard error."""

import sys
from typing import TYPE_CHECKING

from mixzoo.core.errors import printable
from mixzoo.runs.launcher import Watch

if TYPE_CHECKING:
    from rich.table import Table


class PlainLines(Watch):
    """Every line that a run prints, prefixed with the run's name: for logs, pipes and schedulers."""

    def line(self, name: str, text: str) -> None:
        print(printable(f"{name}: {text}"), file=sys.stderr, flush=True)

    def ended(self, name: str, state: str) -> None:
        self.line(name, state)


class LiveTable(Watch):
    """A row for each run that has started: its state and the latest line that it printed."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._rows: dict[str, tuple[str, str]] = {}
        self._live = Live(self._table(), console=Console(stderr=True), refresh_per_second=4)
        self._started = False

    def started(self, name: str) -> None:
        self._show(name, "running", "")

    def line(self, name: str, text: str) -> None:
        self._show(name, "running", printable(text))

    def ended(self, name: str, state: str) -> None:
        self._show(name, state, self._rows[name][1])

    def close(self) -> None:
        self._live.stop()

    def _show(self, name: str, state: str, text: str) -> None:
        self._rows[name] = (state, text)
        if not self._started:  # not earlier: an error before the first run should be the only line
            self._live.start()
            self._started = True
        self._live.update(self._table())

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None)
        for column in ("run", "state", "latest"):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for name, (state, text) in self._rows.items():
            table.add_row(*map(Text, (name, state, text)))
        return table
