"""mixzoo report: writes a page about runs, one HTML file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

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
) -> None:
    """Write a page about runs: what was run, scores, curves, pictures; one HTML file to open, send or print.

    Example: mixzoo report runs/SWEEP -o report.html
    """
    from mixzoo.core.errors import printable
    from mixzoo.runs.listing import chosen, find_runs
    from mixzoo.runs.report import report as made
    from mixzoo.runs.report.page import check_ending, free_path

    if out is not None:
        check_ending(out)
    page = made(chosen(find_runs(runs), where or []))
    for note in page.notes:
        print(f"mixzoo: {printable(note)}", file=sys.stderr)
    typer.echo(str(page.save(out or free_path())))
