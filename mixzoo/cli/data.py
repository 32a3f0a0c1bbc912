"""mixzoo data: what concerns data sets. Its one command so far is check."""

import json
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from
from mixzoo.core.errors import DataError

data = typer.Typer(help="Check data sets. First: mixzoo data check FOLDER", no_args_is_help=True, rich_markup_mode=None)


@data.callback()
def _group() -> None:
    pass  # without it, a group of one command would be that command


@data.command("check")
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|PATH",
            autocompletion=completion.part("dataset"),
            help="A data set, NAME[:KEY=VALUE,...], or the path of a folder or a file.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a list with one object for each data set found.")
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Check every file of a data set, and print a line for each bad one: what is wrong, what is allowed.

    Then print how many images, classes, sizes and modes there are. Exits with code 3 if a run would refuse the data.
    A path is a folder of images, or where files of a data set are: data, data/MNIST, train-images-idx3-ubyte.
    Example: mixzoo data check folder:path=photos
    """
    from mixzoo.data.checking import checks_of, line_of

    checks = checks_of(zoo_from(plugin, no_plugins), target, "data check")
    reports = []
    for _, run in checks:
        report = run(lambda file: typer.echo(line_of(file)) if file.problem and not as_json else None)
        reports.append(report)
        if not as_json:
            typer.echo("\n".join(report.summary))
    if as_json:
        typer.echo(json.dumps([report.to_json() for report in reports], indent=2, ensure_ascii=False))
    if not all(report.usable for report in reports):
        raise typer.Exit(DataError.exit_code)
