"""mixzoo embed: writes the codes of images to a file."""

from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.evaluate import Device
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from


def embed(
    run: Annotated[Path, typer.Argument(metavar="RUN", autocompletion=completion.run, help="The run's directory.")],
    images: Annotated[
        str,
        typer.Option(
            "--images",
            autocompletion=completion.one_of("train", "validation", "test"),
            metavar="FOLDER|SPLIT",
            help="A folder of pictures, or train, validation or test.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="A file ending in .npz or .safetensors; overwritten if it exists."),
    ],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out pictures that cannot be read, with a line for each.")
    ] = False,
    device: Device = "auto",
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Write the codes of images to a file; for a split, the labels too.

    Example: mixzoo embed runs/my-run --images test --out codes.npz
    """
    from mixzoo.core.errors import escaped
    from mixzoo.runs.embedding import embed as write_codes
    from mixzoo.runs.trained_run import Run

    def note(line: str) -> None:
        typer.echo(escaped(f"mixzoo: {line}"), err=True)

    opened = Run(run, device=device, zoo=zoo_from(plugin, no_plugins))
    count = write_codes(opened, images, out, skip_bad=skip_bad, note=note)
    typer.echo(escaped(f"{count} codes in {out}"), err=True)
