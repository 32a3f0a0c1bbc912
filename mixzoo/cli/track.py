"""mixzoo track: sends the numbers and pictures of runs to a logger."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from select import select
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.selection import Runs
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from

Logs = Annotated[
    Path | None,
    typer.Option("--logs", metavar="DIR", help="Folder of all logs. [default: logs]"),
]


def track(
    runs: Runs,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME[:KEY=VALUE,...]",
            autocompletion=completion.part("logger"),
            help="The logger; see `mixzoo list loggers`.",
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until every run has ended.")] = False,
    logs: Logs = None,
    supervised: Annotated[bool, typer.Option("--while-stdin-is-open", hidden=True)] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Log the losses, accuracies, pictures, settings and scores of runs. A second call adds only what is new.

    Each run's log is in logs/LOGGER/RUN; the run's directory is only read.
    Example: mixzoo track runs --to tensorboard && tensorboard --logdir logs/tensorboard
    """
    from mixzoo.core.errors import one_line, printable

    if not supervised:
        for run, folder in _tracked(runs, to, follow, logs, plugin, no_plugins):
            typer.echo(printable(f"{run}: logged in {folder}"))
        return
    os.nice(10)  # this process was started by a run, which comes first
    try:
        _tracked(runs, to, True, logs, plugin, no_plugins, goes_on=_stdin_is_open)
    except Exception as err:  # of any type: a traceback beside the training would seem to be of the training
        later = f"the run is not affected; `mixzoo track {runs[0]} --to {to}` logs it later"
        print(printable(f"mixzoo: warning: {one_line(err) or type(err).__name__}; {later}"), file=sys.stderr)


def _stdin_is_open() -> bool:
    """Whether whatever started this process still holds the other end; nothing is ever written to it."""
    return not select([0], [], [], 0)[0]


def _tracked(
    runs: list[Path],
    to: str,
    follow: bool,
    logs: Path | None,
    plugin: list[Path] | None,
    no_plugins: bool,
    goes_on: Callable[[], bool] | None = None,
) -> list[tuple[Path, Path]]:
    """Log the runs; the path of each with the folder of its log."""
    from mixzoo.core.errors import ConfigError, path_excerpt
    from mixzoo.runs.listing import find_runs

    records = find_runs(runs)
    if not records:
        raise ConfigError(
            f"{', '.join(map(path_excerpt, runs))}: no runs found; `mixzoo runs FOLDER` lists the runs in a folder"
        )
    zoo = zoo_from(plugin, no_plugins)
    from mixzoo.runs.tracking import LOGS, track_runs

    folders = track_runs(zoo, records, to, LOGS if logs is None else logs, follow=follow, goes_on=goes_on)
    return [(record.path, folder) for record, folder in zip(records, folders)]
