r"""Spec strings: how a part and its options are named on the command line, `dirichlet:k=4,alpha=0.5`.

    spec   = name [":" option ("," option)*]
    name   = [distribution "/"] identifier         identifier = [a-z][a-z0-9_]*
    option = identifier "=" value
    value  = bare | quoted
    bare   = one or more printable ASCII characters other than  space , = " ( ) [ ] { }
    quoted = '"' any printable characters, with \" and \\ for a quote and a backslash '"'

A value stays text here; the option's declared type says later what it means (mixzoo.options). Brackets are
kept free for nested specs. `parse_spec(str(spec)) == spec` for every spec, and `str(spec)` is canonical: options in
alphabetical order, quotes only where they are needed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mixzoo.errors import ConfigError, printable

MAX_LENGTH = 4096  # characters; anything longer is no option list typed by a person

_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[a-z][a-z0-9_]*")
DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KEY = re.compile(r"[a-z][a-z0-9_]*")
_BARE = re.compile(r"[!#-'*+\-./0-9:;<>?@A-Z\\^_`a-z|~$%&]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\])*"')


@dataclass(frozen=True)
class Spec:
    """A part's name and its options, each value as it was written."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return self.name + ":" + ",".join(f"{key}={_written(self.options[key])}" for key in sorted(self.options))


def _written(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_spec(text: str, where: str = "spec") -> Spec:
    """The spec that `text` spells; a ConfigError, beginning with `where`, points a caret at the first misfit."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(
            f"{where}: {len(text)} characters, at most {MAX_LENGTH} are allowed; use a run file (--config)"
        )
    try:
        return _parsed(text)
    except _Misfit as misfit:
        raise ConfigError(f"{where}: {misfit}") from None


def _parsed(text: str) -> Spec:
    name = _NAME.match(text)
    if name is None:
        raise _Misfit(text, 0, "a name such as 'mixup' (lower-case letters, digits, '_')")
    at = name.end()
    if at == len(text):
        return Spec(name.group())
    if text[at] != ":":
        raise _Misfit(text, at, "':' and options, or the end")
    options: dict[str, str] = {}
    while at < len(text):  # at a ':' or ',' here
        at += 1
        key = KEY.match(text, at)
        if key is None:
            raise _Misfit(text, at, "an option such as 'k=4'")
        if key.group() in options:
            raise _Misfit(text, at, f"each option once ({key.group()!r} is given twice)")
        at = key.end()
        if not text.startswith("=", at):
            raise _Misfit(text, at, f"'=' after {key.group()!r}")
        value, at = _value(text, at + 1)
        options[key.group()] = value
        if at < len(text) and text[at] != ",":
            raise _Misfit(text, at, "',' or the end; put a value with other characters in double quotes")
    return Spec(name.group(), options)


def _value(text: str, at: int) -> tuple[str, int]:
    if quoted := _QUOTED.match(text, at):
        value = re.sub(r'\\(["\\])', r"\1", quoted.group()[1:-1])
        if not value.isprintable():
            raise _Misfit(text, at, "printable characters only")
        return value, quoted.end()
    if bare := _BARE.match(text, at):
        return bare.group(), bare.end()
    raise _Misfit(text, at, "a value, in double quotes if it holds spaces, commas, brackets or '='")


class _Misfit(Exception):
    """What was expected and where, then the text with a caret under the character at fault."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        shown = printable(text)
        start = max(0, at - 60)  # a long spec is shown around the fault
        window = shown[start : at + 20]
        super().__init__(f"expected {expected} at character {at + 1}\n  {window}\n  {' ' * (at - start)}^")
