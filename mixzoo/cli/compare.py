"""mixzoo compare: one table of runs, averaged over seeds."""

import sys
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.selection import Runs, Where

if TYPE_CHECKING:
    from mixzoo.runs.comparing import Comparison

HEAD_WIDTH = 24  # characters of a line in the head of a column


def compare(
    runs: Runs,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="NAME",
            autocompletion=completion.score,
            help="A column: a score or its beginning, or a metric; repeatable.",
        ),
    ] = None,
    where: Where = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            autocompletion=completion.one_of("md", "latex", "csv", "json"),
            metavar="md|latex|csv|json",
            help="Print the table in this format.",
        ),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Add the paper's number of each row that is a cell of its tables.")
    ] = False,
) -> None:
    """Compare runs: a row per combination of settings that differ, a column per score, mean ± std over seeds.

    The best of each column is bold; p is that of a paired t-test against it, over the seeds that both rows have.
    Example: mixzoo compare runs --where objective=amr --score probe
    """
    from mixzoo.runs.comparing import compare as compare_runs
    from mixzoo.runs.comparison_text import render
    from mixzoo.runs.listing import chosen, find_runs

    comparison = compare_runs(chosen(find_runs(runs), where or []), score, paper=paper)
    if form is None:
        print_comparison(comparison)
    else:
        print_left_out(comparison)
        typer.echo(render(comparison, form), nl=False)


def print_left_out(comparison: "Comparison") -> None:
    """A line on standard error for each run that is not in the table."""
    from mixzoo.core.errors import printable

    for line in comparison.left_out:
        print(f"mixzoo: {printable(line)}", file=sys.stderr)


def print_comparison(comparison: "Comparison") -> None:
    """Print the comparison as a table, with notes below it, and what is left out before it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mixzoo.core.errors import escaped
    from mixzoo.runs.comparison_text import cell_text, head, notes, rows

    print_left_out(comparison)
    table = Table()
    table.add_column("", no_wrap=True)
    table.add_column("runs", justify="right")
    for score in comparison.columns:
        name = escaped(head(score)).replace(", %", ",\xa0%")  # "%" is no line of its own
        name = fill(name, HEAD_WIDTH).replace("\xa0", " ")
        table.add_column(Text(name), justify="right", no_wrap=True)
    for name, count, cells in rows(comparison):
        texts = []
        for score in comparison.columns:
            cell = cells.get(score)
            texts.append(Text(cell_text(score, cell, count), style="bold" if cell is not None and cell.best else ""))
        table.add_row(Text(escaped(name)), str(count or ""), *texts)
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)
    for text in notes(comparison):
        console.print(escaped(text), markup=False)
