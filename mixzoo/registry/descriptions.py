"""A part as `mixzoo list` and `show` print it: text and numbers, so that no plugin has to be loaded."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeAlias

from mixzoo.core.errors import printable
from mixzoo.registry.options import Option, as_text, options_of
from mixzoo.registry.recipes import run_defaults
from mixzoo.registry.registered import Entry, RegisteredPart

Json: TypeAlias = Any  # null, true or false, a number, text, or a list or a table of these


@dataclass(frozen=True)
class OptionText:
    """An option as it is printed."""

    name: str
    type: str
    required: bool
    default: Json  # null if it is required
    default_text: str  # as in a spec
    help: str


@dataclass(frozen=True)
class PartText:
    """What is printed about a part."""

    summary: str
    about: str  # the docstring
    options: tuple[OptionText, ...]
    run_defaults: dict[str, Json]  # of a data set: the defaults of a run on it


@dataclass(frozen=True)
class Description(Entry):
    """A part as it is printed."""

    text: PartText

    @property
    def summary(self) -> str:
        """One line about the part."""
        return self.text.summary

    @property
    def option_names(self) -> list[str]:
        """The names of its options."""
        return [option.name for option in self.text.options]


def describe(entry: RegisteredPart) -> Description:
    """The description of a part, without characters that a terminal would take for a command."""
    about = "\n".join(map(printable, (inspect.getdoc(entry.recipe) or "").split("\n")))
    defaults = {printable(str(key)): _json(value) for key, value in dict(run_defaults(entry.recipe)).items()}
    options = tuple(map(_option, options_of(entry.recipe)))
    return Description(entry.kind, entry.name, entry.plugin, PartText(entry.summary, about, options, defaults))


def _option(option: Option) -> OptionText:
    default = None if option.required else _json(option.default)
    text = "" if option.required else printable(as_text(option.default))
    return OptionText(option.name, printable(option.type), option.required, default, text, printable(option.help))


def _json(value: object) -> Json:
    """The value if JSON can hold it, else its text."""
    match value:
        case str():
            return printable(value)
        case None | bool() | int():
            return value
        case float() if isfinite(value):
            return value
        case Mapping():
            return {printable(str(key)): _json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
    return printable(str(value))
