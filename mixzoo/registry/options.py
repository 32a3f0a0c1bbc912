"""The options of a part, as its dataclass declares them, and how given values are checked and set.

A part is a plain frozen dataclass; an option is a field. `Annotated` carries its range (annotated_types) and its
one-line help (a string):

    k: Annotated[int, Ge(2), Le(64), "sources of one mix"] = 2

An option may take another part, of the kind that its type names:

    a: Annotated[Part[Mixer], "the first"]            one_of:a=(dirichlet:k=3), or a table [mixer.a] of a run file

A part uses no validation library: pydantic checks types and ranges here, from those annotations alone.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache, partial
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types

from mixzoo.core.errors import ConfigError, PluginError, listing, nearest, printable, truncated_repr
from mixzoo.registry.contract import Contract, check_follows_protocol
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.recipes import part_of
from mixzoo.registry.spec import Spec, parse_spec
from mixzoo.registry.spec_repairs import with_plain_digits

T = TypeVar("T")
REQUIRED = MISSING
_INT = re.compile(r"[+-]?[0-9]{1,19}")  # ASCII only: int() would accept '٤', '1_0' and ' 4'
_FLOAT = re.compile(r"[+-]?([0-9]{1,18}\.?|[0-9]{0,18}\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
_EXACT = 2.0**53  # integers up to here are floats too
_SUFFIXES = {"k": 1_000, "K": 1_000, "m": 1_000_000, "M": 1_000_000}


@dataclass(frozen=True)
class Option:
    """One option of a part: its name, what it takes, and its default."""

    name: str
    type: str  # 'integer', 'number', 'text', 'true|false' or the choices
    allowed: str  # in the words of an error message, 'an integer >= 2'
    default: Any  # REQUIRED if there is none
    help: str
    part: str = ""  # the kind of part that it takes, if it takes one

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part that is an option of another part; `Part[Mixer]` is a mixer. `str` gives its spec with every option."""

    kind: str
    name: str
    recipe: Any

    def __str__(self) -> str:
        return str(spec_of(self.name, self.recipe))

    def build(self, context: Any) -> T:
        """The part itself. Raises ValueError if it does not fit the context, PluginError if it breaks its contract."""
        try:
            part: T = part_of(self.recipe, context)
        except ValueError as err:
            raise ValueError(f"{self.name}: {err}") from err
        check_follows_protocol(Contract(self.kind, self.name), part)
        return part


Registered = Callable[[str], Mapping[str, Collection[str]]]  # kind -> name of each of its parts -> its options
Resolve = Callable[[str, str, Mapping[str, object], str], Part[Any]]  # (kind, name, its options, where) -> the part


def options_of(cls: type) -> tuple[Option, ...]:
    """The options that the dataclass `cls` declares, in its order."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_option(f.name, hints[f.name], _default(f)) for f in fields(cls) if f.init)


def build(
    cls: type[T],
    given: Mapping[str, object],
    where: str,
    resolve: Resolve | None = None,
    kind: str = "",
    registered: Registered | None = None,
) -> T:
    """An instance of the dataclass `cls` from `given`; raises ConfigError that begins with `where`.

    A value may be text from a spec ("4") or a TOML value (4): text is parsed as the option's declared type. `resolve`
    finds the parts that options name; a dataclass without such options needs none. With `registered`, errors can
    suggest other parts, such as those of this `kind` that have the option which this one lacks.
    """
    declared = {option.name: option for option in options_of(cls)}
    values: dict[str, object] = {}

    # Each given value by itself: an unknown key first suggests a near one, else the parts that do have it.
    for key, value in given.items():
        if key not in declared:
            raise ConfigError(
                f"{where}: {truncated_repr(key)} is not an option (allowed: {listing(declared)})."
                f"{nearest(key, declared) or _having(cls, key, value, registered(kind) if registered else {})}"
            )
        option = declared[key]
        if option.part:
            values[key] = _part(option, value, where, resolve, registered)
        else:
            values[key] = checked_value(cls, option, value, where)

    # Then what only shows on the whole: options that are missing, and combinations that the part refuses.
    for option in declared.values():
        if option.required and option.name not in values:
            raise ConfigError(f"{where}: {option.name}= is required, {option.allowed}: {option.help}")
    try:
        return cls(**values)
    except ValueError as err:  # the part checks further, such as two options that exclude each other
        raise ConfigError(f"{where}: {printable(str(err))}") from err


def to_table(instance: object) -> dict[str, Any]:
    """Every option of a recipe with its value, defaults included, but for None, as TOML has no null.

    An option that is a part becomes a table of its own, with its `name`.
    """
    return {
        key: {"name": value.name, **to_table(value.recipe)} if isinstance(value, Part) else value
        for key, value in _values(instance).items()
    }


def spec_of(name: str, recipe: object) -> Spec:
    """The spec of the recipe with every option written out."""
    return Spec(
        name,
        {
            key: spec_of(value.name, value.recipe) if isinstance(value, Part) else as_text(value)
            for key, value in _values(recipe).items()
        },
    )


def as_text(value: object) -> str:
    """The value as text in a spec; true and false are in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(instance: object) -> dict[str, Any]:
    """Every option that is not None."""
    pairs = {option.name: getattr(instance, option.name) for option in options_of(type(instance))}
    return {key: value for key, value in pairs.items() if value is not None}


def _part(
    option: Option, value: object, where: str, resolve: Resolve | None, registered: Registered | None
) -> Part[Any] | None:
    """The part that a spec names ('mixup' or, in brackets, 'dirichlet:k=3'), or a table of a name and options."""
    assert resolve is not None, option
    # "[mixer]" becomes "[mixer.a]", the table of a run file; any other place becomes "... in a".
    inside = f"{where[:-1]}.{option.name}]" if where.endswith("]") else f"{where} in {option.name}"
    if isinstance(value, str):
        if value == "none" and option.default is None:
            return None
        value = parse_spec(value, inside, option.part, partial(registered, option.part) if registered else None)
    if isinstance(value, Spec):
        return resolve(option.part, value.name, value.options, inside)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {option.name}={truncated_repr(value)} must be {option.allowed}")
    options = dict(value)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{inside}: name={truncated_repr(name)} must be the name of a {option.part}")
    return resolve(option.part, name, options, inside)


def _having(cls: type, key: str, value: object, known: Mapping[str, Collection[str]]) -> str:
    """Which parts have the option that this one lacks, or ''; first the one that the part's own docstring names."""
    having = [name for name, options in known.items() if key in options]
    fixed = getattr(cls, key, None)
    always = f" Its {key} is always {fixed}." if type(fixed) is int else ""
    named = [name for name in having if re.search(rf"\b{name}\b", cls.__doc__ or "")]
    if named and isinstance(value, (str, int, float)):
        return f"{always} Did you mean '{printable(str(Spec(named[0], {key: as_text(value)})))}'?"
    return f"{always} It is an option of {', '.join(having)}" if having else always


def checked_value(cls: type, option: Option, value: object, where: str) -> object:
    """The value, converted to the option's type. Raises ConfigError, with what is allowed, if it does not fit."""
    from pydantic import ValidationError

    adapter = _adapter(cls, option.name)
    for candidate in readings(value):
        try:
            return adapter.validate_python(candidate)
        except ValidationError:
            continue
    written = printable(f"({value})") if isinstance(value, Spec) else truncated_repr(value)
    raise ConfigError(f"{where}: {option.name}={written} must be {option.allowed}.{_hint(option, value)}")


def readings(value: object) -> list[object]:
    """The values that this one may stand for, the likeliest first: itself, then its text parsed, 1e3 as an integer.

    A Path, from Python, stands for its text.
    """
    if isinstance(value, Path):
        return [str(value)]
    found = [value]
    if isinstance(value, str):
        found.append(_from_text(value))
    if isinstance(found[-1], float) and found[-1].is_integer() and abs(found[-1]) <= _EXACT:
        found.append(int(found[-1]))
    return found


def _hint(option: Option, value: object) -> str:
    """' Did you mean ...?' for a value that is not allowed, or what else may be wrong, or ''."""
    if isinstance(value, Spec):
        return " Put text with brackets in double quotes." if option.type == "text" else ""
    if isinstance(value, (list, tuple)):
        return " Give one value, not a list."

    # A number is checked for what people write in place of digits; other text, for a near choice.
    numeric = option.type.startswith(("integer", "number"))
    read = _from_text(value) if isinstance(value, str) else value
    if numeric and isinstance(read, float) and not isfinite(read):
        return " It is not a finite number."
    if not isinstance(value, str):
        return ""
    if numeric and (meant := _number_meant(value)):
        return f" Did you mean {meant}?"
    return nearest(value, choices_of(option.type))


def choices_of(type_: str) -> list[str]:
    """The values that an option may have, by its type; none for a number or a text."""
    return ["true", "false"] if type_ == "true|false" else re.findall(r"'([^']*)'", type_)


def _number_meant(text: str) -> str:
    """The number meant by 10k, 1_000, 1,000, 50% or digits other than 0-9, or ''."""
    plain = with_plain_digits(text).strip()
    plain = re.sub(r"(?<=[0-9])_(?=[0-9])", "", plain)
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", plain):
        plain = plain.replace(",", "")
    number, suffix = plain[:-1], plain[-1:]
    if isinstance(read := _from_text(number), (int, float)) and not isinstance(read, bool):
        if suffix == "%":
            return repr(read / 100)
        if suffix in _SUFFIXES:
            scaled = read * _SUFFIXES[suffix]
            return str(int(scaled)) if scaled == int(scaled) else repr(scaled)
    return plain if plain != text and isinstance(_from_text(plain), (int, float)) else ""


@cache
def _adapter(cls: type, name: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    hint = get_type_hints(cls, include_extras=True)[name]
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _from_text(text: str) -> int | float | bool | str | None:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() == "none":
        return None
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _default(f: Any) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _option(name: str, hint: Any, default: Any) -> Option:
    bare, extras = unwrapped(hint)
    kind = _kind(bare)
    bounds = [text for extra in extras if (text := _bound(extra))]
    helps = [extra for extra in extras if isinstance(extra, str)]
    article = {"integer": "an integer", "number": "a number", "text": "text", "true|false": "true or false"}
    bounded = f" {' and '.join(bounds)}" if bounds else ""
    allowed = article.get(kind, f"one of {kind}") + bounded
    part = kind if kind in KINDS else ""
    if part:
        allowed = f"{KINDS[part].with_article}, its name or its spec in brackets"
    if NoneType in get_args(bare):
        allowed += " (or not given)"
    return Option(name, kind + bounded, allowed, default, helps[0] if helps else "", part)


def unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The plain type of a hint and everything that Annotated adds to it, also inside an optional."""
    if get_origin(hint) is Annotated:
        bare, *found = get_args(hint)
        return bare, tuple(found)
    if get_origin(hint) in (Union, UnionType):
        return hint, tuple(extra for h in get_args(hint) for extra in unwrapped(h)[1])
    return hint, ()


def _kind(bare: Any) -> str:
    if get_origin(bare) in (Union, UnionType):
        return " or ".join(_kind(unwrapped(h)[0]) for h in get_args(bare) if h is not NoneType)
    if get_origin(bare) is Literal:
        return ", ".join(repr(choice) for choice in get_args(bare))
    if get_origin(bare) is Part:
        return _kind_of_part(get_args(bare)[0])
    return {int: "integer", float: "number", str: "text", bool: "true|false"}.get(bare, str(bare))


def _kind_of_part(protocol: Any) -> str:
    protocols = {kind.protocol_name: kind.name for kind in KINDS.values()}  # by name, as loading them loads torch
    name = getattr(protocol, "__name__", str(protocol))
    if name not in protocols:
        raise PluginError(f"an option of type Part[{name}]: Part[...] takes one of {listing(protocols)}")
    return protocols[name]


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
