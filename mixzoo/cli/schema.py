"""Command-line flags from the schema: each number of a run is declared once, in `mixzoo.config.Train`."""

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, Optional

import typer

from mixzoo.config import Train
from mixzoo.errors import ConfigError
from mixzoo.options import Option, as_text, options_of

_TYPES = {"integer": int, "number": float, "text": str, "true|false": bool}


def with_train_flags(
    *, lists: Collection[str] = (), without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each field of `Train` in place of its `numbers` argument.

    A flag that is not given is None, so that what a run file says still counts; ranges are checked by the schema. The
    fields in `lists` take several values with commas between them, and come as tuples; those in `without` get no flag.
    """
    options = {option.name: option for option in options_of(Train) if option.name not in without}

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        return _with_flags(command, options, lists)

    return decorated


def _with_flags(
    command: Callable[..., None], options: dict[str, Option], lists: Collection[str]
) -> Callable[..., None]:
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "numbers"]
    flags = [_flag(option, several=name in lists) for name, option in options.items()]

    def called(**given: Any) -> None:
        stated = {name: value for name in options if (value := given.pop(name)) is not None}
        numbers = {name: _several(options[name], value) if name in lists else value for name, value in stated.items()}
        command(**given, numbers=numbers)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
    return called


def _flag(option: Option, *, several: bool) -> inspect.Parameter:
    kind = str if several else _kind(option)
    name = f"--{option.name.replace('_', '-')}"
    declaration = f"{name}/--no-{name[2:]}" if kind is bool else name
    default = "" if option.default is None else f" [default: {as_text(option.default)}]"
    more = "; several with commas between them" if several else ""
    shown = typer.Option(declaration, help=f"{option.help[0].upper()}{option.help[1:]}{more}.{default}")
    hint = Annotated[Optional[kind], shown]  # type: ignore[valid-type]  # noqa: UP045
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


def _kind(option: Option) -> type:
    return _TYPES.get(option.type.split()[0], str)  # one of some words is text, which the schema checks


def _several(option: Option, text: str) -> tuple[Any, ...]:
    kind = _kind(option)
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as err:
        flag = f"--{option.name.replace('_', '-')}"
        raise ConfigError(f"{flag} {text!r}: each must be {option.allowed}, with commas between them") from err
