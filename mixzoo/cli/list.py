"""mixzoo list: the parts on offer."""

import json
from typing import Annotated

import typer


def list_parts(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="autoencoders, discriminators, mixers, objectives, datasets or metrics."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects: name, plugin, summary.")] = False,
) -> None:
    """List the parts of one kind, each with its plugin and a line about it.

    Example: mixzoo list mixers
    """
    from mixzoo.cli.kinds import kind_named
    from mixzoo.plugins import load_zoo

    offers = load_zoo().of_kind(kind_named(kind))
    if as_json:
        rows = [
            {"name": o.name, "plugin": o.plugin.name, "distribution": o.plugin.distribution, "summary": o.summary}
            for o in offers
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max((len(o.name) for o in offers), default=0)
    for o in offers:
        typer.echo(f"{o.name:{width}}  {o.summary}  [{o.plugin.distribution}/{o.plugin.name}]")
