"""metrics.jsonl, and the progress display of a run.

A line of metrics is a JSON object with "kind" (train or evaluate), "step" and numbers. Only the fields in CLOCK differ
between two runs of the same config.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from mixzoo.core.errors import CheckpointError, StorageError, one_line, printable, truncated_repr
from mixzoo.core.storage import open_for_appending, read_regular, storage_errors, write_all

MOST_BYTES = 1_000_000_000  # of a metrics file that is read
LARGEST = 1e300  # readers take no number from here on as finite: an edited file may have an integer that no float holds
LINE_SECONDS = 10.0  # at least, between two printed lines of losses
CLOCK = ("elapsed_seconds", "images_per_second")


class MetricsFile:
    """Appends lines to metrics.jsonl. The file is first cut to `keep_bytes`, so that a resumed run repeats no line.

    Raises StorageError if the file cannot be written, is shorter than that, or was deleted or replaced.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        self._path, self._length = path, keep_bytes
        with storage_errors(path):
            self._handle = open_for_appending(path)
            size = os.fstat(self._handle).st_size
            if size >= keep_bytes:
                os.ftruncate(self._handle, keep_bytes)
                self._hash = hashlib.sha256(os.pread(self._handle, keep_bytes, 0))
        if size < keep_bytes:
            self.close()
            raise StorageError(f"{path}: it has {size} bytes, but had {keep_bytes} at the checkpoint; restore it")

    def write(self, line: Mapping[str, Any]) -> None:
        """Append the line as JSON. A line that cannot be written completely is removed again."""
        content = json.dumps(line, allow_nan=False).encode() + b"\n"
        try:
            with storage_errors(self._path):
                write_all(self._handle, content)
        except StorageError:
            with suppress(OSError):
                os.ftruncate(self._handle, self._length)
            raise
        self._length += len(content)
        self._hash.update(content)

    def fsync(self) -> tuple[int, str]:
        """Flush to disk and return the length in bytes, and the SHA-256."""
        with storage_errors(self._path):
            os.fsync(self._handle)
            if not os.path.samestat(os.fstat(self._handle), os.stat(self._path)):
                raise OSError(errno.ESTALE, "another file has replaced it")
        return self._length, self._hash.hexdigest()

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


class NullMetricsFile:
    """A metrics file that writes nothing, for the processes of a run other than the main one."""

    def write(self, line: Mapping[str, Any]) -> None:
        pass

    def fsync(self) -> tuple[int, str]:
        return 0, ""

    def close(self) -> None:
        pass


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, without a last line that a kill has cut off.

    Raises CheckpointError if the file cannot be read, or a line is no JSON object with a step.
    """
    try:
        lines = read_regular(path, MOST_BYTES).decode().split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else one_line(err)
        raise CheckpointError(f"{path}: cannot be read: {reason}") from err
    found = []
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        step = line.get("step") if isinstance(line, dict) else None
        if not isinstance(line, dict) or type(step) is not int or not 0 <= step < 10**18:
            raise CheckpointError(
                f"{path}: cannot be read: line {number} is {truncated_repr(text)}, expected a JSON object with a step"
            )
        found.append(line)
    return found


class ProgressDisplay:
    """The display of a run in progress, on standard error. This one displays nothing, for use as a library."""

    def begin(self, facts: Sequence[str]) -> None:
        """Display lines about the run before its first step: its directory, data, parameters and device."""

    def train(self, line: Mapping[str, Any]) -> None:
        """Display a train line of the metrics."""

    def train_then_evaluate(self, line: Mapping[str, Any]) -> None:
        """The losses of a step that is evaluated next, for a display that shows both at once."""
        self.train(line)

    def evaluate(self, line: Mapping[str, Any]) -> None:
        """Display an evaluate line of the metrics."""

    def note(self, text: str) -> None:
        """Display one line of text."""

    def close(self) -> None:
        """End the display."""


class PlainLines(ProgressDisplay):
    """A line for each evaluation, and a line of losses at the first step and every LINE_SECONDS: for logs and pipes."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._latest: Mapping[str, Any] = {}
        self._printed = float("-inf")  # time of the last line, in seconds

    def begin(self, facts: Sequence[str]) -> None:
        for line in facts:
            self.note(line)

    def train(self, line: Mapping[str, Any]) -> None:
        self._latest = line
        if monotonic() - self._printed >= LINE_SECONDS:
            self._printed = monotonic()
            self.note(f"step {line['step']}/{self._steps}  {numbers(line)}")

    def train_then_evaluate(self, line: Mapping[str, Any]) -> None:
        self._latest = line  # its numbers are printed on the line of the evaluation

    def evaluate(self, line: Mapping[str, Any]) -> None:
        self._printed = monotonic()
        self.note(f"step {line['step']}/{self._steps}  {_accuracies(line)}  {numbers(self._latest)}".rstrip())

    def note(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a closed or full standard error must not end the run
            if sys.stderr is not None:
                print(printable(text), file=sys.stderr, flush=True)


class LiveProgress(ProgressDisplay):
    """For a terminal: a progress bar with the time left, and below it the probe, every term and D's mean raw scores."""

    def __init__(self, steps: int, start: int) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(),
        )  # fmt: skip
        self._task = self._progress.add_task("train", total=steps, completed=start)
        self._console = Console(stderr=True)
        self._probe = "probe: not evaluated yet"
        self._terms = ""
        self._live = Live(self._body(), console=self._console, refresh_per_second=4)
        with suppress(OSError, ValueError):
            self._live.start()

    def begin(self, facts: Sequence[str]) -> None:
        for line in facts:
            self.note(line)

    def train(self, line: Mapping[str, Any]) -> None:
        self._progress.update(self._task, completed=line["step"])
        self._terms = numbers(line, separator="\n")
        self._draw()

    def evaluate(self, line: Mapping[str, Any]) -> None:
        self._probe = _accuracies(line)
        self._draw()

    def note(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._console.print(printable(text), markup=False, highlight=False)

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._live.stop()

    def _draw(self) -> None:
        with suppress(OSError, ValueError):  # if the terminal is gone
            self._live.update(self._body())

    def _body(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(self._progress, Text(self._probe), Text(self._terms))


def display_for(steps: int, start: int = 0) -> ProgressDisplay:
    """A live display on a terminal or in a notebook, plain lines otherwise."""
    live = sys.stderr is not None and (sys.stderr.isatty() or in_notebook())
    return LiveProgress(steps, start) if live else PlainLines(steps)


def in_notebook() -> bool:
    """Whether this process is the kernel of a Jupyter notebook."""
    from rich.console import Console

    return Console().is_jupyter


def numbers(line: Mapping[str, Any], separator: str = "  ") -> str:
    """A train line as text: images/s, each player's terms, and D's mean raw scores; '' for an empty line."""
    if not line:
        return ""
    parts: dict[str, list[str]] = {}
    for name, value in line.items():
        player, slash, term = name.partition("/")
        if slash:
            parts.setdefault(player, []).append(f"{term} {value:.3f}")
        elif name.startswith("D("):
            parts.setdefault("mean raw score", []).append(f"{name} {value:+.2f}")
    rows = [f"{line['images_per_second']:.0f} images/s"]
    return separator.join(rows + [f"{player}: {' '.join(terms)}" for player, terms in parts.items()])


def _accuracies(line: Mapping[str, Any]) -> str:
    if "validation_accuracy" not in line:
        return "no probe: the data have no labels to classify"
    return (
        f"probe: validation {100 * line['validation_accuracy']:.1f} % "
        f"(best {100 * line['best_validation_accuracy']:.1f} %)  test {100 * line['test_accuracy']:.1f} %"
    )
