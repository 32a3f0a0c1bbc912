"""mixzoo interpolate: strips of mixes between two test images, and a triangle of mixes of three."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.evaluate import Device
from mixzoo.cli.schema import integer, part_option
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from


def interpolate(
    run: Annotated[Path, typer.Argument(metavar="RUN", autocompletion=completion.run, help="The run's directory.")],
    mixer: Annotated[
        str | None,
        part_option("mixer", "A mixer other than the run's own."),
    ] = None,
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs",
            parser=integer("pairs", 1, 10_000),
            metavar="INTEGER",
            help="Pairs of test images, one strip each; fewer if the test split is smaller.",
        ),
    ] = 8,
    steps: Annotated[
        int,
        typer.Option(
            "--steps",
            parser=integer("steps", 2, 1_000),
            metavar="INTEGER",
            help="Mixes along a strip, both ends included.",
        ),
    ] = 9,
    side: Annotated[
        int,
        typer.Option(
            "--side", parser=integer("side", 2, 100), metavar="INTEGER", help="Mixes along an edge of the triangle."
        ),
    ] = 7,
    every_mixer: Annotated[
        bool, typer.Option("--every-mixer", help="Also draw a sheet of all mixers along one path between three images.")
    ] = False,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: an object, what each picture shows -> its file.")
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Draw decoded mixes in strips between two test images each, and in a triangle between three.

    The triangle needs a mixer of three or more sources. Example: mixzoo interpolate RUN --mixer bernoulli:k=3
    """
    from mixzoo.core.errors import escaped
    from mixzoo.runs.interpolate import draw_interpolations

    zoo = zoo_from(plugin, no_plugins)
    drawn = draw_interpolations(
        zoo, run, mixer, pairs=pairs, steps=steps, side=side, device=device, every_mixer=every_mixer
    )
    if as_json:
        typer.echo(json.dumps({name: str(path) for name, path in drawn.files.items()}, indent=2))
    else:
        for name, path in drawn.files.items():
            typer.echo(escaped(f"{name:11}  {path}"))
    for note in drawn.notes:
        typer.echo(escaped(note), err=True)
