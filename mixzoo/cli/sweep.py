"""The display of a sweep: progress of its runs on standard error, the final table on standard output."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli.schema import integer
from mixzoo.cli.summary import after_a_run, formatted
from mixzoo.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

    from mixzoo.runs.launcher import Watch
    from mixzoo.runs.sweep import Average, Entry, Sweep

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        parser=integer("jobs", 1, 1000),
        metavar="INTEGER",
        help="Runs of a sweep to train at once. [default: one per core, 4 per GPU]",
    ),
]


def check_jobs(jobs: int | None) -> None:
    """Raises ConfigError if --jobs is given for a single run, where it has no effect."""
    if jobs is not None:
        raise ConfigError(
            f"--jobs {jobs}: a single run is one process; give --jobs with --seeds, --grid or a sweep's directory"
        )


def finish(sweep: "Sweep") -> None:
    """Print the table. Raises MixzooError if any member failed, naming it."""
    from mixzoo.runs.sweep import check_none_failed

    with after_a_run(sweep.directory / "sweep.json"):
        print_sweep(sweep)
    check_none_failed(sweep)


def print_sweep(sweep: "Sweep") -> None:
    """A table for each point of the grid: a column for each seed, a row for each score, and their mean ± std."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    several = len(sweep.averages) < len(sweep.members)
    for average in sweep.averages if several else [None]:
        members = [m for m in sweep.members if average is None or m.point == average.point]
        title = ", ".join(f"{key}={value}" for key, value in average.point.items()) if average else ""
        table = members_table(members, average, title)
        console.width = max(console.width, console.measure(table, options=_unbounded(console)).maximum)
        console.print(table)
    console.print(f"sweep    {sweep.directory}", markup=False)


def members_table(members: "list[Entry]", average: "Average | None", title: str) -> "Table":
    """State, steps and every score, '-' if a run lacks it; with an average, its mean and standard deviation."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left")
    table.add_column("", no_wrap=True)
    for member in members:
        table.add_column(Text(f"seed {member.seed}" if average else member.name), justify="right", no_wrap=True)
    if average:
        table.add_column(f"mean ± std of {average.runs}", justify="right", no_wrap=True)
    table.add_row("state", *(member.state for member in members))
    table.add_row("steps", *(str(member.steps) for member in members))
    for name in dict.fromkeys(name for member in members for name in member.numbers):
        cells = [formatted(name, m.numbers[name]) if name in m.numbers else "-" for m in members]
        table.add_row(name.replace("_", " ").replace(".", ": "), *cells, *([_spread(average, name)] if average else []))
    return table


def _spread(average: "Average", name: str) -> str:
    """Mean ± standard deviation; the mean alone if only one run has the score."""
    middle, spread = average.mean[name], average.std.get(name)
    if spread is None:
        return formatted(name, middle)
    if formatted(name, middle).endswith(" %"):
        return f"{100 * middle:.2f} ± {100 * spread:.2f} %"
    return f"{formatted(name, middle)} ± {formatted(name, spread)}"


def _unbounded(console: "Console") -> "ConsoleOptions":
    """A screen on which any table fits, so that a narrow terminal folds rows but never truncates a number."""
    return console.options.update(width=10_000)


def watch_for() -> "Watch":
    """A live table if standard error is a terminal, plain lines otherwise."""
    from mixzoo.cli.watch import LiveTable, PlainLines

    return LiveTable() if sys.stderr.isatty() else PlainLines()
