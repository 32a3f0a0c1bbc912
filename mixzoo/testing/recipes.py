"""What every part with options promises: a spec string and a run file keep them, and each is documented."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from mixzoo.registry.options import Part, Resolve, build, options_of, spec_of, to_table
from mixzoo.registry.spec import parse_spec


def has_options(part: Any) -> str:
    """'' if the part is a dataclass, whose fields are its options."""
    return "" if is_dataclass(part) else "it is not a dataclass with options"


def check_options_survive_a_spec(part: Any) -> None:
    """The part that is built from its own spec string, with every option explicit, is equal to it."""
    spec = spec_of("part", part)
    again = build(type(part), parse_spec(str(spec)).options, str(spec), _rebuilding(part))
    assert again == part, f"the spec {spec} builds {again}, expected {part}"


def check_options_survive_a_run_file(part: Any) -> None:
    """The part that is built from its own table in a run file is equal to it."""
    import tomli_w

    table = tomllib.loads(tomli_w.dumps(to_table(part)))
    again = build(type(part), table, "run file", _rebuilding(part))
    assert again == part, f"the table {table} builds {again}, expected {part}"


def _rebuilding(part: Any) -> Resolve:
    """Resolves the names of inner parts to those inside `part`, whether or not they are registered."""
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
    """The part has a docstring, and every option has a line of help."""
    missing = [option.name for option in options_of(type(part)) if not option.help]
    assert not missing, (
        f"no help for the options {', '.join(missing)}; annotate each as Annotated[type, ..., 'one line of help']"
    )
    assert (type(part).__doc__ or "").strip(), "the part has no docstring"
    assert not (type(part).__doc__ or "").startswith(f"{type(part).__name__}("), (
        "the part has only the docstring that dataclass writes; add one line about the part"
    )
