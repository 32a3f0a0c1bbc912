"""mixzoo track: sends the numbers and pictures of runs to a logger."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from

Logs = Annotated[
    Path | None,
    typer.Option("--logs", metavar="DIR", help="Folder of all logs. [default: logs]"),
]


def track(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", autocompletion=completion.run, help="Runs, sweeps, or folders of them."),
    ],
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
    while_parent: Annotated[int | None, typer.Option("--while-parent", hidden=True)] = None,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Log the losses, accuracies, pictures, settings and scores of runs. A second call adds only what is new.

    Each run's log is in logs/LOGGER/RUN; the run's directory is only read.
    Example: mixzoo track runs --to tensorboard && tensorboard --logdir logs/tensorboard
    """
    from mixzoo.core.errors import ConfigError, path_excerpt, printable
    from mixzoo.runs.listing import find_runs

    records = find_runs(runs)
    if not records:
        raise ConfigError(
            f"{', '.join(map(path_excerpt, runs))}: no runs found; `mixzoo runs FOLDER` lists the runs in a folder"
        )
    zoo = zoo_from(plugin, no_plugins)
    from mixzoo.runs.tracking import LOGS, track_runs

    folders = track_runs(
        zoo, records, to, LOGS if logs is None else logs, follow=follow,
        goes_on=lambda: while_parent in (None, os.getppid()),
    )  # fmt: skip
    for record, folder in zip(records, folders):
        typer.echo(printable(f"{record.path}: logged in {folder}"))
