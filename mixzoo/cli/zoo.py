"""The two flags that select plugins, and the one place where the command line loads the zoo."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli import sections

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue
    from mixzoo.registry.zoo import Plugin, Zoo

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        rich_help_panel=sections.PARTS,
        help="A single-file plugin for this command; its code is run.",
    ),
]
NoPlugins = Annotated[
    bool,
    typer.Option(
        "--no-plugins",
        rich_help_panel=sections.PARTS,
        help="Ignore installed plugins: only mixzoo's own parts and those of --plugin.",
    ),
]


def zoo_from(files: list[Path] | None, no_plugins: bool) -> "Zoo":
    """The zoo that the two flags select. Raises PluginError or ConfigError if a file registers no part."""
    from mixzoo.registry.zoo import add_files, first_party, load_zoo

    zoo = load_zoo(first_party()) if no_plugins else load_zoo()
    add_files(zoo, files or [])
    check_files_register(zoo.plugins, {entry.plugin for entry in zoo.registered})
    return zoo


def catalogue_from(files: list[Path] | None, no_plugins: bool, *, keep_broken_files: bool = False) -> "Catalogue":
    """Names and options of the parts in that zoo, without loading plugins that are already in the catalogue."""
    from mixzoo.registry.catalogue import add_files_to, load_catalogue
    from mixzoo.registry.zoo import first_party

    catalogue = load_catalogue(first_party()) if no_plugins else load_catalogue()
    add_files_to(catalogue, files or [])
    if not keep_broken_files:
        check_files_register(catalogue.plugins, {entry.plugin for entry in catalogue.registered})
    return catalogue


def check_files_register(plugins: Iterable["Plugin"], with_parts: Collection["Plugin"]) -> None:
    """Raises PluginError if a file is broken, and ConfigError if it registers no part."""
    from mixzoo.core.errors import ConfigError, PluginError
    from mixzoo.registry.registered import NOTHING_MARKED

    for plugin in plugins:
        if plugin.file and plugin not in with_parts:
            error = ConfigError if plugin.problem in ("", NOTHING_MARKED) else PluginError
            raise error(
                f"--plugin {plugin.file}: {plugin.problem or 'it registers no part: its hooks return empty tables'}"
            )


def flags_of(files: list[Path] | None, no_plugins: bool) -> list[str]:
    """The two flags as command-line arguments, for a process that the command starts."""
    return [*(part for file in files or [] for part in ("--plugin", str(file))), *["--no-plugins"] * no_plugins]
