"""mixzoo rm: remove runs, unless one of them is being trained."""

from pathlib import Path
from typing import Annotated

import typer


def rm(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of runs or sweeps.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove runs or sweeps with everything in them, after a question. One that a process is writing to is kept.

    Example: mixzoo rm runs/20260101-120000-digits-amr-mixup
    """
    from mixzoo.core.errors import printable
    from mixzoo.runs.removing import check_removable, remove

    for run in runs:  # all of them, before the first is gone
        count = check_removable(run)
        what = "the run" if count is None else f"the sweep of {count} runs"
        if not yes and not _confirmed(f"Remove {what} {printable(str(run))}?"):
            typer.echo("mixzoo: nothing was removed", err=True)
            return
    for run in runs:
        remove(run)
        typer.echo(f"removed {printable(str(run))}", err=True)


def _confirmed(question: str) -> bool:
    """The answer of a person. Raises ConfigError if there is nobody to ask."""
    from mixzoo.core.errors import ConfigError

    try:
        return typer.confirm(question, err=True)
    except typer.Abort as err:
        raise ConfigError(f"{question} There is no answer; give --yes to remove without a question") from err
