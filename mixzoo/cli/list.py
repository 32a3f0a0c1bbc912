"""mixzoo list: the registered parts."""

import json
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.zoo import NoPlugins, PluginFiles, catalogue_from
from mixzoo.registry.kinds import KINDS, kind_named


def list_parts(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            autocompletion=completion.one_of(*(kind.plural for kind in KINDS.values())),
            help=", ".join(kind.plural for kind in KINDS.values()) + ".",
        ),
    ],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON: a list of objects with name, write (the name to use), plugin, ..."),
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """List the parts of one kind, each with a one-line description and its plugin.

    Example: mixzoo list mixers
    """
    kind_name = kind_named(kind).name
    catalogue = catalogue_from(plugin, no_plugins)
    entries = catalogue.of_kind(kind_name)
    names = list(map(catalogue.name_to_write, entries))
    if as_json:
        rows = [
            {
                "name": o.name,
                "write": name,
                "plugin": o.plugin.name,
                "distribution": o.plugin.distribution,
                "summary": o.summary,
            }
            for o, name in zip(entries, names)
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(map(len, names), default=0)
    for o, name in zip(entries, names):
        others = ", ".join(other.plugin.distribution for other in catalogue.name_conflicts(o))
        conflict = f"  (write the full name: {others} has {o.name!r} too)" if others else ""
        typer.echo(f"{name:{width}}  {o.summary}  [{o.plugin.distribution}/{o.plugin.name}]{conflict}")
