"""Command-line flags from the schema: each number of a run is declared once, in `mixzoo.config.Train`."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer

from mixzoo.config import Train
from mixzoo.options import Option, as_text, options_of

_TYPES = {"integer": int, "number": float, "text": str, "true|false": bool}


def with_train_flags(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for each field of `Train` in place of its `numbers` argument.

    A flag that is not given is None, so that what a run file says still counts; ranges are checked by the schema.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "numbers"]
    flags = [_flag(option) for option in options_of(Train)]

    def called(**given: Any) -> None:
        numbers = {flag.name: given.pop(flag.name) for flag in flags}
        command(**given, numbers={name: value for name, value in numbers.items() if value is not None})

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
    return called


def _flag(option: Option) -> inspect.Parameter:
    kind = _TYPES.get(option.type.split()[0], str)  # one of some words is text, which the schema checks
    name = f"--{option.name.replace('_', '-')}"
    declaration = f"{name}/--no-{name[2:]}" if kind is bool else name
    default = "" if option.default is None else f" [default: {as_text(option.default)}]"
    shown = typer.Option(declaration, help=f"{option.help[0].upper()}{option.help[1:]}.{default}")
    hint = Annotated[Optional[kind], shown]  # type: ignore[valid-type]  # noqa: UP045
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
