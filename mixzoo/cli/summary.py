"""The table of scores at the end of a run, on standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mixzoo.core.errors import StorageError, escaped, one_line
from mixzoo.runs.comparison_text import is_accuracy, number

if TYPE_CHECKING:
    from mixzoo.runs.reading import Result


@contextmanager
def after_a_run(scores_path: object) -> Iterator[None]:
    """For printing after a run has ended: an error in writing does not change how the run ended."""
    try:
        yield
        sys.stdout.flush()
    except (StorageError, OSError, ValueError) as err:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for the flush at exit
        print(f"mixzoo: {one_line(err)}; the scores are in {scores_path}", file=sys.stderr)


def print_summary(result: "Result") -> None:
    """Print the scores, the path of the picture, and the command that draws more."""
    with after_a_run(result.directory / "results.json"):
        _print_summary(result)


def _print_summary(result: "Result") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    steps, scored = result.steps, result.scored_step
    title = (
        f"after {steps} steps" if scored == steps else f"scores of step {scored}, the best validation of {steps} steps"
    )
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in result.numbers.items():
        table.add_row(Text(escaped(name.replace("_", " ").replace(".", ": "))), formatted(name, value))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for line in result.warnings:
        console.print(f"warning  {escaped(line)}", markup=False)
    directory = escaped(str(result.directory))
    console.print(f"run      {directory}", markup=False)
    console.print(f"picture  {escaped(str(result.picture))}", markup=False)
    console.print(f"more     mixzoo interpolate {directory}", markup=False)


def formatted(name: str, value: float) -> str:
    """The number as `mixzoo compare` writes it, with the sign of a per cent."""
    return f"{number(name, value)} %" if is_accuracy(name) else number(name, value)
