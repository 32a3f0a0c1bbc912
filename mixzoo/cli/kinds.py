"""Kinds of parts as a person writes them: mixer or mixers."""

from mixzoo.errors import ConfigError, nearest, shown
from mixzoo.plugins import KINDS


def kind_named(text: str) -> str:
    """The kind, from its name in the singular or the plural; ConfigError names the nearest."""
    kind = text.removesuffix("s")
    if kind not in KINDS:
        plurals = [f"{k}s" for k in KINDS]
        raise ConfigError(f"{shown(text)} is no kind of part ({', '.join(plurals)}).{nearest(text, plurals)}")
    return kind
