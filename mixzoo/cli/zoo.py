"""Which plugins a command sees: two flags, declared once, and the one place where the command line loads the zoo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mixzoo.plugins import Zoo

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE.py", help="A plugin that is one file, for this command; runs its code."),
]
NoPlugins = Annotated[
    bool, typer.Option("--no-plugins", help="Leave installed plugins out: mixzoo's own parts, and those of --plugin.")
]


def zoo_from(files: list[Path] | None, no_plugins: bool, *, keep_broken_files: bool = False) -> "Zoo":
    """The zoo that the two flags ask for; PluginError where a file that was asked for is broken."""
    from mixzoo.errors import PluginError
    from mixzoo.plugins import add_files, first_party, load_zoo

    zoo = load_zoo(first_party()) if no_plugins else load_zoo()
    add_files(zoo, files or [])
    for plugin in zoo.broken:
        if plugin.file and not keep_broken_files:
            raise PluginError(f"--plugin {plugin.file}: {plugin.problem}")
    return zoo


def flags_of(files: list[Path] | None, no_plugins: bool) -> list[str]:
    """The two flags as a command line has them, for a command that starts another."""
    return [*(part for file in files or [] for part in ("--plugin", str(file))), *["--no-plugins"] * no_plugins]
