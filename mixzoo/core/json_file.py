"""JSON files of a run: every value is taken with its type checked, since anything may have happened to the file.

status = read_object(run_dir / "status.json")
status.text("state")                     # CheckpointError names the file, the key, what is there and what should be
status.integer("exit", most=255)

A file that `write_json` has written begins with "sha256", the hash of its other members: a flipped bit is found. Files
of older versions have none.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mixzoo.core.errors import CheckpointError, printable, truncated_repr
from mixzoo.core.storage import read_regular, write_text

MOST_BYTES = 64_000_000  # of a file
DEEPEST = 12  # objects and lists inside one another
SEAL = "sha256"  # the first member: the SHA-256 of the others, in the form of `_seal`
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_REQUIRED: Any = object()

T = TypeVar("T")


class Fields:
    """The members of an object in a JSON file.

    Each method returns one of them and raises CheckpointError if it is missing, or of another type or range. With a
    `default` it may be missing: that is what a file of an older version means.
    """

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self.values, self.where = values, where

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def names(self) -> list[str]:
        return list(self.values)

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """A text, made printable on one line."""
        return printable(self._take(key, str, "a text", default))

    def lines(self, key: str, default: str = _REQUIRED) -> str:
        """A text of many lines, as it is."""
        return self._take(key, str, "a text", default)

    def flag(self, key: str, default: bool = _REQUIRED) -> bool:
        return self._take(key, bool, "true or false", default)

    def integer(self, key: str, least: int = 0, most: int = 2**63 - 1, default: int = _REQUIRED) -> int:
        found = self._take(key, int, f"an integer from {least} to {most}", default)
        if not least <= found <= most:
            raise self._wrong(key, f"an integer from {least} to {most}")
        return found

    def integer_or_none(self, key: str, least: int, most: int) -> int | None:
        """An integer, or None for null."""
        return None if key in self.values and self.values[key] is None else self.integer(key, least, most)

    def number(self, key: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number from `least` to `most`."""
        found = self.values.get(key)
        expected = "a number" if (least, most) == (-math.inf, math.inf) else f"a number from {least} to {most}"
        if not isinstance(found, (int, float)) or isinstance(found, bool):
            raise self._wrong(key, expected)
        try:
            value = float(found)
        except OverflowError:  # an integer of hundreds of digits
            value = math.inf
        if not (math.isfinite(value) and least <= value <= most):
            raise self._wrong(key, expected)
        return value

    def part(self, key: str) -> "Fields":
        """An object inside this one."""
        return Fields(self._take(key, dict, "an object", _REQUIRED), f"{self.where}, {truncated_repr(key)}")

    def texts(self, key: str, default: Mapping[str, str] = _REQUIRED) -> dict[str, str]:
        """An object of texts."""
        found = self._take(key, dict, "an object of texts", dict(default) if default is not _REQUIRED else default)
        inside = Fields(found, f"{self.where}, {truncated_repr(key)}")
        return {printable(name): inside.text(name) for name in found}

    def numbers(self, key: str) -> dict[str, float]:
        """An object of finite numbers."""
        inside = self.part(key)
        return {printable(name): inside.number(name) for name in inside.values}

    def text_list(self, key: str) -> list[str]:
        found = self._take(key, list, "a list of texts", _REQUIRED)
        if not all(isinstance(value, str) for value in found):
            raise self._wrong(key, "a list of texts")
        return [printable(value) for value in found]

    def rows(self, key: str, *, optional: bool = False) -> "list[Fields]":
        """A list of objects; with `optional`, an empty one if there is none."""
        found = self._take(key, list, "a list of objects", [] if optional else _REQUIRED)
        if not all(isinstance(value, dict) for value in found):
            raise self._wrong(key, "a list of objects")
        return [Fields(value, f"{self.where}, {truncated_repr(key)} {i}") for i, value in enumerate(found, 1)]

    def _take(self, key: str, kind: type[T], expected: str, default: T) -> T:
        if key not in self.values and default is not _REQUIRED:
            return default
        found = self.values.get(key)
        if type(found) is not kind:  # exactly: True is an int, too
            raise self._wrong(key, expected)
        return found

    def _wrong(self, key: str, expected: str) -> CheckpointError:
        given = f"is {truncated_repr(self.values[key])}" if key in self.values else "is missing"
        return CheckpointError(f"{self.where}: damaged: {truncated_repr(key)} {given}, expected {expected}")


def read_object(path: Path, at_most: int = MOST_BYTES, *, sealed: bool = True) -> Fields:
    """The object in a file of a run, without its hash.

    Raises CheckpointError if the file cannot be read, is something else, or was changed since mixzoo wrote it. With
    sealed=False it is a file that `write_json` did not write, and has no hash.
    """
    where = printable(str(path))
    try:
        found = parse_object(read_regular(path, at_most), where)
    except OSError as err:
        raise CheckpointError(f"{where}: cannot be read: {err.strerror or err}") from err
    if not sealed:
        return found
    values = dict(found.values)
    if SEAL in values:
        intact = values.pop(SEAL) == _seal(values)
    else:  # a file of an older version, unless the bit that flipped is one of the name "sha256"
        first = next(iter(values.values()), None)
        intact = not (isinstance(first, str) and _DIGEST.fullmatch(first))
    if not intact:
        raise CheckpointError(
            f"{where}: damaged, or edited by hand: its SHA-256 is not that of its content; undo the edit or, if it is "
            f'meant, remove the line "{SEAL}"'
        )
    return Fields(values, where)


def parse_object(content: bytes, where: str) -> Fields:
    """The object in the text of a JSON file; raises CheckpointError if it is something else."""
    try:
        _check_depth(content)
        found = json.loads(content.decode(), object_pairs_hook=_each_key_once, parse_constant=_not_standard)
    except (ValueError, RecursionError) as err:
        raise CheckpointError(f"{where}: cannot be read: {printable(str(err))}") from err
    if not isinstance(found, dict):
        raise CheckpointError(f"{where}: cannot be read: it contains {truncated_repr(found)}, expected an object")
    return Fields(found, where)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write the object as standard JSON with its hash, whole or not at all; ValueError for a NaN or an infinity."""
    write_text(path, sealed_text(value))


def sealed_text(value: Mapping[str, Any]) -> str:
    """The text of a file with this object and its hash; raises ValueError for a NaN or an infinity."""
    as_read = json.loads(json.dumps(value, allow_nan=False))  # a tuple is a list then, and each key a text
    return json.dumps({SEAL: _seal(as_read), **value}, indent=2, allow_nan=False) + "\n"


def _seal(values: Mapping[str, object]) -> str:
    """The hash of an object, whatever the order of its members and the space between them."""
    return hashlib.sha256(_CANONICAL.encode(values).encode()).hexdigest()


def _check_depth(content: bytes) -> None:
    if (
        content.count(b"{") + content.count(b"[") <= DEEPEST
    ):  # as in most files, of which a list of runs reads thousands
        return
    depth = 0
    for bracket in re.finditer(rb"[][{}]", _STRING.sub(b"", content)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{truncated_repr(key)} occurs twice in an object")
        found[key] = value
    return found


def _not_standard(name: str) -> object:
    raise ValueError(f"{name} is not standard JSON")
