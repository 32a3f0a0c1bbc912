"""mixzoo plugins: what is installed, and what of it is broken."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def plugins(
    as_json: Annotated[
        bool, typer.Option("--json", help="A list of objects: name, distribution, version, problem, parts.")
    ] = False,
) -> None:
    """List the plugins found, what each offers, and why a broken one is left out.

    Installing a plugin is running its code. Example: mixzoo plugins
    """
    from mixzoo.plugins import load_zoo

    zoo = load_zoo()
    parts = {p: [f"{o.kind} {o.name}" for o in zoo.offers if o.plugin == p] for p in zoo.plugins}
    if as_json:
        typer.echo(json.dumps([{**asdict(p), "parts": offered} for p, offered in parts.items()], indent=2))
        return
    for plugin, offered in parts.items():
        state = f"BROKEN, left out: {plugin.problem}" if plugin.problem else ", ".join(offered) or "offers nothing"
        typer.echo(f"{plugin.name}  ({plugin.distribution} {plugin.version})  {state}")
