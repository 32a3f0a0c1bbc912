"""mixzoo report: writes a page about runs, one HTML file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.selection import Runs, Where


def report(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A file ending in .html; overwritten if it exists. [default: a new report.html in this folder]",
        ),
    ] = None,
    where: Where = None,
    explore: Annotated[
        list[Path] | None,
        typer.Option(
            "--explore",
            metavar="RUN",
            autocompletion=completion.run,
            help="One of the runs, whose networks are put into the page, to mix images with; repeatable. [default: up "
            "to three runs; of a sweep, the best of each configuration]",
        ),
    ] = None,
    no_explorer: Annotated[
        bool, typer.Option("--no-explorer", help="Put no networks into the page; it is made faster, without torch.")
    ] = False,
) -> None:
    """Write a page about runs: what was run, scores, curves, pictures; one HTML file to open, send or print.

    Example: mixzoo report runs/SWEEP -o report.html
    """
    from mixzoo.core.errors import ConfigError, printable
    from mixzoo.runs.listing import chosen, find_runs
    from mixzoo.runs.report import report as made
    from mixzoo.runs.report.page import check_ending, free_path

    if out is not None:
        check_ending(out)
    if explore and no_explorer:
        raise ConfigError("--no-explorer with --explore: give one of them")
    tried = [record.path for record in find_runs(explore)] if explore else not no_explorer
    page = made(chosen(find_runs(runs), where or []), explore=tried)
    for note in page.notes:
        print(f"mixzoo: {printable(note)}", file=sys.stderr)
    typer.echo(str(page.save(out or free_path())))
