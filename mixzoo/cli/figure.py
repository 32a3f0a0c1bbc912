"""mixzoo figure: draws pictures of runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.evaluate import Device
from mixzoo.cli.schema import integer
from mixzoo.cli.selection import Runs, Where
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from


def figure(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND[:KEY=VALUE,...]",
            autocompletion=completion.part("figure"),
            help="What to draw, such as strips or codes:method=tsne; see `mixzoo list figures`.",
        ),
    ],
    runs: Runs,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="N,N,...|FILE,...",
            help="Numbers of test images, or picture files of your own, or a folder of them. [default: fixed test "
            "images of different classes]",
        ),
    ] = None,
    where: Where = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="A file ending in .png, .svg, .pdf or .webp, or .gif or .webp for a figure that moves; overwritten if "
            "it exists. [default: a new file beside a single run or sweep, or in this folder]",
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            parser=integer("scale", 1, 64),
            metavar="INTEGER",
            help="Size of a pixel of an image in the figure. [default: as is needed to read it]",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            parser=integer("seed", 0, 2**31),
            metavar="INTEGER",
            help="Of the images that are shown by default, and of what else is random.",
        ),
    ] = 0,
    device: Device = "auto",
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Draw a figure of runs: a row or a panel for each, from the same images. `mixzoo list figures` has all kinds.

    Example: mixzoo figure strips runs/A runs/B --images 3,17 --out strips.pdf
    """
    from mixzoo.core.errors import ConfigError, escaped, path_excerpt
    from mixzoo.registry.spec import parse_spec
    from mixzoo.runs.listing import chosen, find_runs

    records = chosen(find_runs(runs), where or [])
    if not records:
        raise ConfigError(
            f"{', '.join(map(path_excerpt, runs))}: no runs found; `mixzoo runs FOLDER` lists the runs in a folder"
        )
    from mixzoo.runs.chosen_images import images_from
    from mixzoo.runs.drawing import check_ending, draw
    from mixzoo.runs.figure import free_path

    if out is not None:
        check_ending(out)
    zoo = zoo_from(plugin, no_plugins)
    given = None if images is None else images_from(images)
    drawing = draw(zoo, kind, records, given, scale=scale, seed=seed, device=device)
    for note in drawing.notes:
        print(escaped(f"mixzoo: {note}"), file=sys.stderr)
    name = parse_spec(kind).name.rpartition("/")[2]
    typer.echo(escaped(str(drawing.save(out or free_path(runs, name, drawing.endings[0])))))
