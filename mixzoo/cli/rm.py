"""mixzoo rm: removes runs, unless a process is writing to one of them."""

from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion


def rm(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", autocompletion=completion.run, help="Directories of runs or sweeps."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove runs or sweeps and everything in them, after asking. Fails if a process is writing to one of them.

    Example: mixzoo rm runs/20260101-120000-digits-amr-mixup
    """
    from mixzoo.core.errors import printable
    from mixzoo.runs.removing import check_removable, distinct, remove

    runs = distinct(runs)
    for run in runs:  # check all of them before removing the first
        count = check_removable(run)
        what = "the run" if count is None else f"the sweep of {count} runs"
        if not yes and not _confirmed(f"Remove {what} {printable(str(run))}?"):
            typer.echo("mixzoo: nothing was removed", err=True)
            return
    for run in runs:
        remove(run)
        typer.echo(f"removed {printable(str(run))}", err=True)


def _confirmed(question: str) -> bool:
    """Ask on the terminal. Raises ConfigError if nobody can answer."""
    from mixzoo.core.errors import ConfigError

    try:
        return typer.confirm(question, err=True)
    except typer.Abort as err:
        typer.echo(err=True)  # the question has no newline
        raise ConfigError(f"{question} There is no answer; give --yes to remove without asking") from err
