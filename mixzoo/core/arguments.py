"""Checks of what Python callers give: one line in place of a traceback from deep inside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixzoo.core.errors import ConfigError, truncated_repr


def texts_of(value: Any, name: str) -> list[str]:
    """The value, a text or several, as a list. Raises ConfigError, naming the argument, if it is anything else."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, bytes) and all(isinstance(one, str) for one in value):
        return list(value)
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
