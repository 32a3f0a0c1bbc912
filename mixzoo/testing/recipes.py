"""What every part that is named by options promises: they survive a spec string and a run file."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from mixzoo.registry.options import Part, Resolve, build, options_of, spec_of, to_table
from mixzoo.registry.spec import parse_spec


def has_options(part: Any) -> str:
    """Why the option checks do not apply to a part, or ''."""
    return "" if is_dataclass(part) else "it is no dataclass of options"


def check_options_survive_a_spec(part: Any) -> None:
    """The part that its own spec string names, every option explicit, is equal to it."""
    spec = spec_of("part", part)
    again = build(type(part), parse_spec(str(spec)).options, str(spec), _rebuilding(part))
    assert again == part, f"{spec} built {again}, not {part}"


def check_options_survive_a_run_file(part: Any) -> None:
    """The part that its own table of a run file names is equal to it."""
    import tomli_w

    table = tomllib.loads(tomli_w.dumps(to_table(part)))
    again = build(type(part), table, "run file", _rebuilding(part))
    assert again == part, f"the table {table} built {again}, not {part}"


def _rebuilding(part: Any) -> Resolve:
    """Finds the parts that options name among those inside `part`, wherever they were offered."""
    inside = {
        (option.kind, option.name): option.recipe
        for option in (getattr(part, f.name) for f in fields(part))
        if isinstance(option, Part)
    }

    def resolve(kind: str, name: str, options: Mapping[str, object], where: str) -> Part[Any]:
        recipe = inside[kind, name]
        return Part(kind, name, build(type(recipe), options, where, _rebuilding(recipe)))

    return resolve


def check_options_are_explained(part: Any) -> None:
    """Every option has a line of help, and the part a line about itself."""
    silent = [option.name for option in options_of(type(part)) if not option.help]
    assert not silent, f"no line of help: {', '.join(silent)}"
    assert (type(part).__doc__ or "").strip(), "the part has no docstring"
    assert not (type(part).__doc__ or "").startswith(f"{type(part).__name__}("), "the part has no docstring of its own"
