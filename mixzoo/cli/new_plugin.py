"""mixzoo new-plugin: writes a package to start a plugin from."""

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The part's name, such as stripes.")],
    mixer: Annotated[bool, typer.Option("--mixer", help="A mixing function. [default]")] = False,
    objective: Annotated[bool, typer.Option("--objective", help="The losses of both players.")] = False,
    autoencoder: Annotated[bool, typer.Option("--autoencoder", help="Encoder and decoder.")] = False,
    discriminator: Annotated[bool, typer.Option("--discriminator", help="A network that scores images.")] = False,
    dataset: Annotated[bool, typer.Option("--dataset", help="A data set.")] = False,
    metric: Annotated[bool, typer.Option("--metric", help="Numbers about a finished run.")] = False,
    logger: Annotated[bool, typer.Option("--logger", help="Where the numbers of a run are sent.")] = False,
    figure: Annotated[bool, typer.Option("--figure", help="A picture of runs.")] = False,
    launcher: Annotated[bool, typer.Option("--launcher", help="Where the processes of runs are begun.")] = False,
) -> None:
    """Write an installable package with one working part and its tests, ./mixzoo-NAME, to change into your own.

    Example: mixzoo new-plugin stripes --mixer
    """
    from mixzoo.cli.scaffold import distribution_of, train_commands, write_plugin
    from mixzoo.core.errors import ConfigError

    flags = {
        "mixer": mixer,
        "objective": objective,
        "autoencoder": autoencoder,
        "discriminator": discriminator,
        "dataset": dataset,
        "metric": metric,
        "logger": logger,
        "figure": figure,
        "launcher": launcher,
    }
    chosen = [kind for kind, on in flags.items() if on]
    if len(chosen) > 1:
        raise ConfigError(f"--{' and --'.join(chosen)}: a new package has one part; give one of them")
    kind = chosen[0] if chosen else "mixer"
    for path in write_plugin(name, kind, Path()):
        typer.echo(path)
    folder = distribution_of(name)
    commands = [
        f"pip install -e './{folder}[test]'",
        f"pytest {folder}",
        f"mixzoo check {name}",
        *train_commands(name, kind).split("\n"),
    ]
    typer.echo("\n".join(["\nnext:", *(f"  {command}" for command in commands)]))
