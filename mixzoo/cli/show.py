"""mixzoo show: a part's equation and options."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.zoo import NoPlugins, PluginFiles, catalogue_from
from mixzoo.registry.kinds import KINDS, kind_named

if TYPE_CHECKING:
    from mixzoo.registry.descriptions import Json, OptionText


def show(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", autocompletion=completion.one_of(*KINDS), help=", ".join(KINDS) + ".")
    ],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=completion.part_of_given_kind,
            help="The part's name, as `mixzoo list` gives it.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object, with its options in a list.")
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Show what a part does (its equation, its source) and its options with types, ranges and defaults.

    Example: mixzoo show mixer dirichlet
    """
    kind_name = kind_named(kind).name
    entry = catalogue_from(plugin, no_plugins).find(kind_name, name)
    about, options, defaults = entry.text.about, entry.text.options, entry.text.run_defaults
    if as_json:
        rows = [
            {"name": o.name, "type": o.type, "required": o.required, "default": o.default, "help": o.help}
            for o in options
        ]
        fields: dict[str, object] = {
            "name": entry.name,
            "kind": kind_name,
            "plugin": entry.plugin.name,
            "summary": entry.summary,
        }
        if defaults:
            fields["run_defaults"] = defaults
        typer.echo(json.dumps({**fields, "about": about, "options": rows}, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{kind_name} {entry.name}  [{entry.plugin.distribution}/{entry.plugin.name}]\n\n{about}\n")
    if not options:
        typer.echo("It has no options.")
    for o in options:
        typer.echo(f"  {o.name}={_default(o)}  {o.type}\n      {o.help}")
    if defaults:
        typer.echo("\nDefaults of a run on this data set, unless a flag or a run file overrides them:")
    for key, value in defaults.items():
        typer.echo(f"  {key}: {_listed(value)}")


def _listed(value: "Json") -> str:
    """A spec, a list of specs or a table of numbers as one line of text."""
    from mixzoo.registry.options import as_text

    if isinstance(value, dict):
        return ", ".join(f"{key}={as_text(number)}" for key, number in value.items())
    return ", ".join(map(as_text, value)) if isinstance(value, list) else as_text(value)


def _default(option: "OptionText") -> str:
    if option.required:
        return "(required)"
    return "(not given)" if option.default is None else option.default_text
