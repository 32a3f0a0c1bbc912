"""Checks of what Python callers give: one line in place of a traceback from deep inside."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mixzoo.core.errors import ConfigError, MixzooError, truncated_repr

P = ParamSpec("P")
T = TypeVar("T")
OTHER_NAMES = {"score": "scores", "term": "terms", "metric": "metrics"}  # flag -> argument, of those that differ


def with_argument_names(function: Callable[P, T]) -> Callable[P, T]:
    """The function as Python calls it: its errors begin with an argument, scores=a, not with a flag, --score a."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except MixzooError as err:
            if err.args:
                err.args = (_with_argument_name(str(err.args[0])), *err.args[1:])
            raise

    return called


def _with_argument_name(message: str) -> str:
    """The message with the name of an argument in place of the flag that it begins with, if it does."""
    found = re.match(r"--([a-z][a-z-]*)(?=[ :])", message)
    if found is None:
        return message
    name, rest = found[1].replace("-", "_"), message[found.end() :]
    if rest.startswith(f": {name}="):
        return rest[2:]
    name = OTHER_NAMES.get(name, name)
    return f"{name}={rest[1:]}" if re.match(r" ('|\S*: )", rest) else f"{name}{rest}"


def texts_of(value: Any, name: str) -> list[str]:
    """The value, a text or several, as a list; a Path is its text.

    Raises ConfigError, naming the argument, if it is anything else.
    """
    if isinstance(value, str | Path):
        return [str(value)]
    listed = isinstance(value, Sequence) and not isinstance(value, bytes)
    if listed and all(isinstance(one, str | Path) for one in value):
        return [str(one) for one in value]
    raise ConfigError(f"{name}={truncated_repr(value)} must be a text or a list of texts")


def path_of(value: Any, name: str) -> Path:
    """The value as a path. Raises ConfigError, naming the argument, if it is none."""
    if isinstance(value, str | Path) and str(value):
        return Path(value)
    raise ConfigError(f"{name}={truncated_repr(value)} must be a path, a text that is not empty")


def integers_of(value: Any, name: str) -> list[int]:
    """The value as a list of integers >= 0. Raises ConfigError, naming the argument, if it is anything else."""
    if isinstance(value, Sequence | range) and not isinstance(value, str | bytes):
        found = list(value)
        if found and all(type(one) is int and one >= 0 for one in found):
            return found
    raise ConfigError(f"{name}={truncated_repr(value)} must be a list of integers >= 0, such as [0, 1, 2]")


def table_of(value: Any, name: str) -> dict[str, list[object]]:
    """The value as key -> list of values. Raises ConfigError, naming the argument, if it is anything else."""
    if isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(values, Sequence) and not isinstance(values, str | bytes) and len(values)
        for key, values in value.items()
    ):
        return {key: list(values) for key, values in value.items()}
    raise ConfigError(f'{name}={truncated_repr(value)} must map keys to lists, such as {{"objective.lam": [5, 10]}}')
