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

from mixzoo.errors import ConfigError

MAX_LENGTH = 4096  # characters; anything longer is no option list typed by a person

_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[a-z][a-z0-9_]*")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
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


def parse_spec(text: str) -> Spec:
    """The spec that `text` spells; a ConfigError with a caret under the first character that does not fit."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"spec: {len(text)} characters, at most {MAX_LENGTH} are allowed; use a run file (--config)")
    name = _NAME.match(text)
    if name is None:
        raise _misfit(text, 0, "a name such as 'mixup' (lower-case letters, digits, '_')")
    at = name.end()
    if at == len(text):
        return Spec(name.group())
    if text[at] != ":":
        raise _misfit(text, at, "':' and options, or the end")
    options: dict[str, str] = {}
    while at < len(text):  # at a ':' or ',' here
        at += 1
        key = _KEY.match(text, at)
        if key is None:
            raise _misfit(text, at, "an option such as 'k=4'")
        if key.group() in options:
            raise _misfit(text, at, f"each option once ({key.group()!r} is given twice)")
        at = key.end()
        if not text.startswith("=", at):
            raise _misfit(text, at, f"'=' after {key.group()!r}")
        value, at = _value(text, at + 1)
        options[key.group()] = value
        if at < len(text) and text[at] != ",":
            raise _misfit(text, at, "',' or the end; put a value with other characters in double quotes")
    return Spec(name.group(), options)


def _value(text: str, at: int) -> tuple[str, int]:
    if quoted := _QUOTED.match(text, at):
        value = re.sub(r'\\(["\\])', r"\1", quoted.group()[1:-1])
        if not value.isprintable():
            raise _misfit(text, at, "printable characters only")
        return value, quoted.end()
    if bare := _BARE.match(text, at):
        return bare.group(), bare.end()
    raise _misfit(text, at, "a value, in double quotes if it holds spaces, commas, brackets or '='")


def _misfit(text: str, at: int, expected: str) -> ConfigError:
    """One line that says what was expected, then the text with a caret under the character at fault."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    start = max(0, at - 60)  # a long spec is shown around the fault
    window = shown[start : at + 20]
    return ConfigError(f"spec: expected {expected} at character {at + 1}\n  {window}\n  {' ' * (at - start)}^")
