"""The options of a part, as its dataclass declares them: told to a person, and checked at the edge.

A part is a plain frozen dataclass; an option is a field. `Annotated` carries its range (annotated_types) and its
one-line help (a string):

    k: Annotated[int, Ge(2), Le(64), "sources of one mix"] = 2

Nothing of a validation library shows in a part: pydantic checks types and ranges here, from those annotations alone.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types

from mixzoo.errors import ConfigError, listing, nearest, shown

T = TypeVar("T")

REQUIRED = MISSING
_INT = re.compile(r"-?[0-9]{1,19}")  # ASCII only: int() would take '٤', '1_0' and ' 4'
_FLOAT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Option:
    """One option of a part: what it is called, what it takes, what it is when not given."""

    name: str
    type: str  # 'integer', 'number', 'text', 'true|false' or the choices
    allowed: str  # 'an integer >= 2', the words of an error message
    default: Any  # REQUIRED where there is none
    help: str

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


def options_of(cls: type) -> tuple[Option, ...]:
    """The options that the dataclass `cls` declares, in its order."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_option(f.name, hints[f.name], _default(f)) for f in fields(cls) if f.init)


def build(cls: type[T], given: Mapping[str, object], where: str) -> T:
    """An instance of the dataclass `cls` from `given`; raises ConfigError that begins with `where`.

    A value may be text from a spec string ("4") or a TOML value (4): text is read by the option's declared type.
    """
    declared = {option.name: option for option in options_of(cls)}
    values = {}
    for key, value in given.items():
        if key not in declared:
            raise ConfigError(
                f"{where}: {shown(key)} is no option here (allowed: {listing(declared)}).{nearest(key, declared)}"
            )
        values[key] = _checked(cls, declared[key], value, where)
    for option in declared.values():
        if option.required and option.name not in values:
            raise ConfigError(f"{where}: {option.name}= is needed, {option.allowed}: {option.help}")
    try:
        return cls(**values)
    except ValueError as err:  # what the part itself refuses, such as two options that do not go together
        raise ConfigError(f"{where}: {err}") from err


def to_table(instance: object) -> dict[str, Any]:
    """Every option of a built part with its value, defaults included; None is left out (TOML has no null)."""
    pairs = {option.name: getattr(instance, option.name) for option in options_of(type(instance))}
    return {key: value for key, value in pairs.items() if value is not None}


def as_text(value: object) -> str:
    """The value as a spec string has it: true and false in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checked(cls: type, option: Option, value: object, where: str) -> object:
    from pydantic import ValidationError

    adapter = _adapter(cls, option.name)
    candidates = [value] if not isinstance(value, str) else [value, _from_text(value)]
    for candidate in candidates:
        try:
            return adapter.validate_python(candidate)
        except ValidationError:
            continue
    choices = re.findall(r"'([^']*)'", option.type)
    hint = nearest(value, choices) if isinstance(value, str) else ""
    raise ConfigError(f"{where}: {option.name}={shown(value)} must be {option.allowed}.{hint}")


@cache
def _adapter(cls: type, name: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    hint = get_type_hints(cls, include_extras=True)[name]
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _from_text(text: str) -> int | float | bool | str | None:
    if text in ("true", "false"):
        return text == "true"
    if text == "none":
        return None
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _default(f: Any) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _option(name: str, hint: Any, default: Any) -> Option:
    bare, extras = _unwrapped(hint)
    kind = _kind(bare)
    bounds = [text for extra in extras if (text := _bound(extra))]
    helps = [extra for extra in extras if isinstance(extra, str)]
    article = {"integer": "an integer", "number": "a number", "text": "text", "true|false": "true or false"}
    bounded = f" {' and '.join(bounds)}" if bounds else ""
    allowed = article.get(kind, f"one of {kind}") + bounded
    if NoneType in get_args(bare):
        allowed += " (or not given)"
    return Option(name, kind + bounded, allowed, default, helps[0] if helps else "")


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The plain type of a hint and all that Annotated adds to it, inside an optional too."""
    if get_origin(hint) is Annotated:
        bare, *found = get_args(hint)
        return bare, tuple(found)
    if get_origin(hint) in (Union, UnionType):
        return hint, tuple(extra for h in get_args(hint) for extra in _unwrapped(h)[1])
    return hint, ()


def _kind(bare: Any) -> str:
    if get_origin(bare) in (Union, UnionType):
        return " or ".join(_kind(_unwrapped(h)[0]) for h in get_args(bare) if h is not NoneType)
    if get_origin(bare) is Literal:
        return ", ".join(repr(choice) for choice in get_args(bare))
    return {int: "integer", float: "number", str: "text", bool: "true|false"}.get(bare, str(bare))


def _bound(extra: object) -> str:
    match extra:
        case annotated_types.Ge(ge=low):
            return f">= {low}"
        case annotated_types.Gt(gt=low):
            return f"> {low}"
        case annotated_types.Le(le=high):
            return f"<= {high}"
        case annotated_types.Lt(lt=high):
            return f"< {high}"
        case annotated_types.MultipleOf(multiple_of=step):
            return f"a multiple of {step}"
    return ""
