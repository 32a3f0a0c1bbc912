"""Which plugins a command sees: two flags, declared once, and the one place where the command line loads the zoo."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue
    from mixzoo.registry.zoo import Plugin, Zoo

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE.py", help="A plugin that is one file, for this command; runs its code."),
]
NoPlugins = Annotated[
    bool, typer.Option("--no-plugins", help="Leave installed plugins out: mixzoo's own parts, and those of --plugin.")
]


def zoo_from(files: list[Path] | None, no_plugins: bool) -> "Zoo":
    """The zoo that the two flags ask for. Raises PluginError or ConfigError if one of the files has no part."""
    from mixzoo.registry.zoo import add_files, first_party, load_zoo

    zoo = load_zoo(first_party()) if no_plugins else load_zoo()
    add_files(zoo, files or [])
    check_files_offer(zoo.plugins, {entry.plugin for entry in zoo.registered})
    return zoo


def catalogue_from(files: list[Path] | None, no_plugins: bool, *, keep_broken_files: bool = False) -> "Catalogue":
    """What the parts of that zoo are called and take, without loading the plugins that are known already."""
    from mixzoo.registry.catalogue import add_files_to, load_catalogue
    from mixzoo.registry.zoo import first_party

    catalogue = load_catalogue(first_party()) if no_plugins else load_catalogue()
    add_files_to(catalogue, files or [])
    if not keep_broken_files:
        check_files_offer(catalogue.plugins, {entry.plugin for entry in catalogue.registered})
    return catalogue


def check_files_offer(plugins: Iterable["Plugin"], offering: Collection["Plugin"]) -> None:
    """Raises PluginError if a file is broken, and ConfigError if it registers no part."""
    from mixzoo.core.errors import ConfigError, PluginError
    from mixzoo.registry.registered import NOTHING_MARKED

    for plugin in plugins:
        if plugin.file and plugin not in offering:
            error = ConfigError if plugin.problem in ("", NOTHING_MARKED) else PluginError
            raise error(
                f"--plugin {plugin.file}: {plugin.problem or 'it registers no part: its hooks return empty tables'}"
            )


def flags_of(files: list[Path] | None, no_plugins: bool) -> list[str]:
    """The two flags as a command line has them, for a command that starts another."""
    return [*(part for file in files or [] for part in ("--plugin", str(file))), *["--no-plugins"] * no_plugins]
