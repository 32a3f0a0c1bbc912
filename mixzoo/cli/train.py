"""mixzoo train: a new run."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mixzoo.cli.schema import with_train_flags
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from

_SPEC = "NAME[:KEY=VALUE,...]"


@with_train_flags
def train(
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar=_SPEC, help="Data set; see `mixzoo list datasets`. [default: digits]"),
    ] = None,
    autoencoder: Annotated[
        str | None,
        typer.Option("--autoencoder", metavar=_SPEC, help="Encoder and decoder. [default: amr, or as fits the data]"),
    ] = None,
    discriminator: Annotated[
        str | None,
        typer.Option("--discriminator", metavar=_SPEC, help="Discriminator. [default: amr, or as fits the data]"),
    ] = None,
    mixer: Annotated[
        str | None, typer.Option("--mixer", metavar=_SPEC, help="Mixing function. [default: mixup]")
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", metavar=_SPEC, help="What both players descend on. [default: amr]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A run file (TOML); flags go before it.")
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option(
            "--data-root",
            metavar="DIR",
            help="Folder of data sets, in place of root= in a run file. [default: the variable MIXZOO_DATA, if set]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's directory, a new one. [default: runs/<date>-<parts>]"),
    ] = None,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
    numbers: Any = None,
) -> None:
    """Train a new run, and end with its scores and a picture of decoded mixes.

    Example: mixzoo train --mixer dirichlet:k=4 --objective amr:lam=10 --seed 1
    """
    from mixzoo.cli.summary import print_summary
    from mixzoo.config import resolve, under_data_root
    from mixzoo.training.distributed import joined

    parts = {
        "dataset": data,
        "autoencoder": autoencoder,
        "discriminator": discriminator,
        "mixer": mixer,
        "objective": objective,
    }
    with joined() as world:
        zoo = zoo_from(plugin, no_plugins)
        resolved = resolve(zoo, config, {kind: spec for kind, spec in parts.items() if spec is not None}, numbers)
        resolved = under_data_root(resolved, flag=data_root, environment=os.environ.get("MIXZOO_DATA"), data=data)

        from mixzoo.run import start
        from mixzoo.training.logs import show_for
        from mixzoo.training.memory import keep_freed_memory

        keep_freed_memory()
        result = start(zoo, resolved, out, show_for, world)
        if world.writes:
            print_summary(result)
