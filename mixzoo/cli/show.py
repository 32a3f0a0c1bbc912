"""mixzoo show: one part, its equation and its options."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from
from mixzoo.options import Option, Part, as_text


def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="autoencoder, discriminator, mixer, objective, ...")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The part's name, as `mixzoo list` gives it.")],
    as_json: Annotated[bool, typer.Option("--json", help="One object, its options in a list.")] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Show what a part does (its equation, its source) and its options with types, ranges and defaults.

    Example: mixzoo show mixer dirichlet
    """
    from mixzoo.cli.kinds import kind_named

    which = kind_named(kind)
    zoo = zoo_from(plugin, no_plugins)
    offer = zoo.offer(which, name)
    options = zoo.options(which, name)
    about = inspect.getdoc(offer.recipe) or ""
    suited = dict(getattr(offer.recipe, "run_defaults", {}))
    if as_json:
        rows = [
            {
                "name": o.name,
                "type": o.type,
                "required": o.required,
                "default": None if o.required else str(o.default) if isinstance(o.default, Part) else o.default,
                "help": o.help,
            }
            for o in options
        ]
        found: dict[str, object] = {
            "name": offer.name,
            "kind": which,
            "plugin": offer.plugin.name,
            "summary": offer.summary,
        }
        if suited:
            found["run_defaults"] = suited
        typer.echo(json.dumps({**found, "about": about, "options": rows}, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{which} {offer.name}  [{offer.plugin.distribution}/{offer.plugin.name}]\n\n{about}\n")
    if not options:
        typer.echo("It has no options.")
    for o in options:
        typer.echo(f"  {o.name}={_default(o)}  {o.type}\n      {o.help}")
    if suited:
        typer.echo("\nA run on these data takes, where neither a flag nor a run file says otherwise:")
    for key, value in suited.items():
        typer.echo(f"  {key}: {_listed(value)}")


def _listed(value: str | Sequence[str] | Mapping[str, object]) -> str:
    """A spec, a list of specs or a table of numbers, in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={as_text(number)}" for key, number in value.items())
    return value if isinstance(value, str) else ", ".join(value)


def _default(option: Option) -> str:
    if option.required:
        return "(needed)"
    return "(not given)" if option.default is None else as_text(option.default)
