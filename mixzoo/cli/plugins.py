"""mixzoo plugins: which plugins are installed, and which are broken."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli.zoo import NoPlugins, PluginFiles, catalogue_from

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue
    from mixzoo.registry.zoo import Plugin


def plugins(
    errors: Annotated[
        bool, typer.Option("--errors", help="Only broken plugins, with the reason why each is left out.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print JSON: a list of objects with name, distribution, version, problem, changed, parts."
        ),
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """List the installed plugins, their parts, and why broken ones are left out.

    Installing a plugin means running its code. The exit code is 0 even if one is broken.

    Example: mixzoo plugins --errors
    """
    catalogue = catalogue_from(plugin, no_plugins, keep_broken_files=True)
    listed = catalogue.broken if errors else catalogue.plugins
    if as_json:
        rows = [
            {**asdict(p), "parts": [f"{o.kind} {o.name}" for o in catalogue.registered if o.plugin == p]}
            for p in listed
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for each in listed:
        typer.echo(f"{each.name}  ({each.distribution} {each.version})  {_state(catalogue, each)}")
    if errors and not listed:
        typer.echo(f"none of {len(catalogue.plugins)} plugins is broken", err=True)


def _state(catalogue: "Catalogue", plugin: "Plugin") -> str:
    changed = f"  (changed {', '.join(plugin.changed)} while it loaded; restored)" if plugin.changed else ""
    if plugin.problem:
        return f"BROKEN, left out: {plugin.problem}{changed}"
    parts = []
    for entry in (o for o in catalogue.registered if o.plugin == plugin):
        others = ", ".join(other.plugin.distribution for other in catalogue.name_conflicts(entry))
        full = f" (write {entry.full_name}: {others} has it too)" if others else ""
        parts.append(f"{entry.kind} {entry.name}{full}")
    return (", ".join(parts) or "no parts") + changed
