r"""Spec strings: how a part and its options are named on the command line, `dirichlet:k=4,alpha=0.5`.

    spec   = name [":" option ("," option)*]
    name   = [distribution "/"] identifier         identifier = [a-z][a-z0-9_]*
    option = identifier "=" value
    value  = bare | quoted | "(" spec ")"
    bare   = one or more printable ASCII characters other than  space , = " ( ) [ ] { }
    quoted = '"' any printable characters, with \" and \\ for a quote and a backslash '"'

Spaces around names, values and signs are ignored. A value stays text here, and a spec in brackets becomes a spec, such
as those in `one_of:a=(dirichlet:k=3),b=(mixup)`; what it means follows later from the option's declared type
(mixzoo.registry.options). Brackets nest MAX_DEPTH deep.
`parse_spec(str(spec)) == spec` for every spec, and `str(spec)` is canonical: options are in alphabetical order at every
depth, and only values that need quotes have them.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from mixzoo.core.errors import ConfigError, escaped, excerpt, listing, printable, truncated_repr
from mixzoo.registry.spec_repairs import Known, is_file_name, is_path, path_advice, repaired

MAX_LENGTH = 4096  # characters; nobody types a longer list of options
LONGEST_MEANT = 300  # characters of a malformed spec that an error message corrects; nobody types a longer one
MAX_DEPTH = 8  # of brackets in brackets; nobody can picture a deeper mix

_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[a-z][a-z0-9_]*")
DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KEY = re.compile(r"[a-z][a-z0-9_]*")
_BARE = re.compile(r"[!#-'*+\-./0-9:;<>?@A-Z\\^_`a-z|~$%&]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\])*"')


@dataclass(frozen=True)
class Spec:
    """A part's name and its options; each value is text as it was written, or the spec that was in brackets."""

    name: str
    options: Mapping[str, "str | Spec"] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return self.name + ":" + ",".join(f"{key}={_written(self.options[key])}" for key in sorted(self.options))


def _written(value: str | Spec) -> str:
    if isinstance(value, Spec):
        return f"({value})"
    if _BARE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class MalformedSpecError(ConfigError):
    """A malformed spec: the message has the spec on a second line and a caret under the mistake on a third."""

    def __str__(self) -> str:
        return "\n".join(map(escaped, Exception.__str__(self).split("\n")))


def parse_spec(text: str, where: str = "spec", kind: str = "", known: Known | None = None) -> Spec:
    """The spec in `text`. Raises ConfigError, whose message begins with `where`, if it is malformed.

    The error says what was probably meant, or points a caret at the first mistake. With the `kind` of part and the
    registered names of that kind and their options, `known`, it can suggest more.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(
            f"{where}: {len(text)} characters, and at most {MAX_LENGTH} are allowed; use a run file (--config)"
        )
    try:
        return _Reader(text).spec()
    except _Misfit as misfit:
        if advice := _advice(text, kind, known):
            raise ConfigError(f"{where}{advice}") from None
        raise MalformedSpecError(f"{where}: {misfit.line(known)}") from None


def _advice(text: str, kind: str, known: Known | None) -> str:
    """What to write instead of a malformed spec, for a message; '' if that is unclear."""
    written = f" {excerpt(text)}"
    if text.startswith("--"):
        return f"{written}: a value is missing; {excerpt(text)} is a flag"
    if is_path(text) or (kind == "dataset" and ":" not in text and ("/" in text or is_file_name(text))):
        return f"{written}: {path_advice(excerpt(text), kind, known() if known else {})}"
    for rule, candidate in repaired(text, known) if len(text) <= LONGEST_MEANT else ():
        try:
            read = _Reader(candidate).spec()
        except _Misfit:
            continue
        if spec := _registered(read, known()) if known else read:
            return f"{written}: {rule}. Did you mean '{spec}'?"
    return ""


def _registered(spec: Spec, names: Collection[str]) -> Spec | None:
    """The spec, with the nearest registered name if it has none; None if none is near."""
    distribution, slash, name = spec.name.rpartition("/")
    close = [name] if name in names else get_close_matches(name, names, n=1)
    return Spec(distribution + slash + close[0], spec.options) if close else None


class _Reader:
    """Reads a text once, from left to right; `at` is the next character, `opened` the open brackets around it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.opened: list[int] = []

    def spec(self) -> Spec:
        """The spec from here to the end, or to the closing bracket."""
        self._pass_spaces()
        name = self._match(_NAME)
        if name is None:
            raise self._misfit("a name")
        if self._ended():
            return Spec(name)
        if not self._take(":"):
            raise self._misfit(f"':' and options, or {self._end()}")
        options: dict[str, str | Spec] = {}
        self._option(name, options)
        while not self._ended():
            if not self._take(","):
                rest = "a part with options goes in brackets, text with other characters in double quotes"
                raise self._misfit(f"',' or {self._end()}; {rest}")
            self._option(name, options)
        return Spec(name, options)

    def _option(self, name: str, options: dict[str, str | Spec]) -> None:
        start, key = self.at, self._match(KEY)
        if key is None:
            raise self._misfit("an option", name)
        if key in options:
            self.at = start
            raise self._misfit(f"each option once ({truncated_repr(key)} is given twice)")
        if not self._take("="):
            raise self._misfit(f"'=' after {truncated_repr(key)}")
        options[key] = self._value()

    def _value(self) -> str | Spec:
        if self.text.startswith("(", self.at):
            return self._nested()
        start = self.at
        if quoted := self._match(_QUOTED):
            value = re.sub(r'\\(["\\])', r"\1", quoted[1:-1])
            if not value.isprintable():
                self.at = start
                raise self._misfit("printable characters only")
            return value
        if bare := self._match(_BARE):
            return bare
        raise self._misfit("a value, in double quotes if it holds spaces, commas, brackets or '='")

    def _nested(self) -> Spec:
        if len(self.opened) == MAX_DEPTH:
            raise self._misfit(f"brackets in brackets at most {MAX_DEPTH} deep")
        self.opened.append(self.at)
        self.at += 1
        spec = self.spec()
        self.opened.pop()
        self.at += 1
        return spec

    def _ended(self) -> bool:
        self._pass_spaces()
        return self.text.startswith(")", self.at) if self.opened else self.at == len(self.text)

    def _end(self) -> str:
        """What ends the spec that is being read, for a message."""
        return f"the ')' of the '(' at character {self.opened[-1] + 1}" if self.opened else "the end"

    def _pass_spaces(self) -> None:
        while self.text.startswith(" ", self.at):
            self.at += 1

    def _take(self, character: str) -> bool:
        self._pass_spaces()
        found = self.text.startswith(character, self.at)
        self.at += found
        self._pass_spaces()
        return found

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def _misfit(self, expected: str, name: str = "") -> "_Misfit":
        return _Misfit(self.text, self.at, expected, name)


class _Misfit(Exception):
    """What was expected and where; `name` is the part whose option it is."""

    def __init__(self, text: str, at: int, expected: str, name: str) -> None:
        super().__init__(expected)
        self.text, self.at, self.expected, self.name = text, at, expected, name

    def line(self, known: Known | None) -> str:
        """What was expected, then the text with a caret under the wrong character."""
        text = printable(self.text)
        start = max(0, self.at - 60)  # of a long spec, the part around the mistake
        window = text[start : self.at + 20]
        expected = f"{self.expected}{self._example(known() if known else {})}"
        return f"expected {expected} at character {self.at + 1}\n  {window}\n  {' ' * (self.at - start)}^"

    def _example(self, known: Mapping[str, Collection[str]]) -> str:
        """A registered example of the name or option that is missing."""
        if self.expected == "a name":
            rule = "lower-case letters, digits, '_'"
            close = get_close_matches(self.text.lower(), known, n=1, cutoff=0.3) or sorted(known)[:1]
            return f" such as {close[0]!r} ({rule})" if close else f" ({rule})"
        if self.expected == "an option":
            options = known.get(self.name, ())
            return f" of {self.name} ({listing(options)}), as KEY=VALUE" if options else " such as 'k=4'"
        return ""
