"""mixzoo plot: draws the learning curves of runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.schema import integer
from mixzoo.cli.selection import Runs, Where


def plot(
    runs: Runs,
    term: Annotated[
        list[str] | None,
        typer.Option(
            "--term",
            "--score",
            metavar="NAME",
            autocompletion=completion.term,
            help="A number to draw, or the beginning of several: discriminator, reconstruct, lr, images_per_second; "
            "repeatable. [default: all terms, raw scores, accuracies and learning rates]",
        ),
    ] = None,
    where: Where = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="A file ending in .png, .svg or .pdf; overwritten if it exists. [default: a new PNG beside a single "
            "run or sweep, or in this folder]",
        ),
    ] = None,
    log_scale: Annotated[
        bool, typer.Option("--log-scale", help="Logarithmic axes for terms whose values are all above 0.")
    ] = False,
    smooth: Annotated[
        int,
        typer.Option(
            "--smooth",
            parser=integer("smooth", 1, 100_000),
            metavar="INTEGER",
            help="Lines of the log in a running mean of terms and raw scores.",
        ),
    ] = 1,
) -> None:
    """Draw learning curves: a panel per number, a line per combination of settings that differ, mean ± std over seeds.

    Example: mixzoo plot runs/SWEEP --term discriminator --smooth 5
    """
    from mixzoo.core.errors import printable
    from mixzoo.runs.figure import check_form, free_path
    from mixzoo.runs.figure import plot as draw
    from mixzoo.runs.listing import chosen, find_runs

    if out is not None:
        check_form(out)
    figure = draw(chosen(find_runs(runs), where or []), term, log_scale=log_scale, smooth=smooth)
    for note in figure.notes:
        print(f"mixzoo: {printable(note)}", file=sys.stderr)
    typer.echo(str(figure.save(out or free_path(runs))))
