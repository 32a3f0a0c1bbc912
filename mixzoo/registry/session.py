"""Parts of this process alone, for a notebook: `mixzoo.register("mixer", "mine", Mine)` in place of a plugin."""

import inspect
from hashlib import sha256
from typing import Any

from mixzoo.core.errors import ConfigError, PluginError
from mixzoo.registry.kinds import kind_named
from mixzoo.registry.registered import Entry, Plugin, RegisteredPart, registered

NAME = "session"
_PARTS: dict[tuple[str, str], RegisteredPart] = {}  # for the life of the process


def register(kind: str, name: str, recipe: Any) -> None:
    """Make a part, the dataclass of its options, known by this name to everything in this process.

    A part registered again replaces the former one. A run records the SHA-256 of its source; to resume such a run,
    register the part first. Raises ConfigError for an unknown kind or the name of an installed part, PluginError if the
    name or the class does not fit.
    """
    from mixzoo.registry.catalogue import load_catalogue  # which imports this module

    kind = kind_named(kind).name
    for entry in load_catalogue().of_kind(kind):
        if entry.name == name:
            raise ConfigError(
                f"register: {kind} {name!r} is a part of {entry.plugin.distribution} already; choose another name, "
                f"such as 'my_{name}'"
            )
    digest = sha256(_source_of(recipe).encode()).hexdigest()
    try:
        _PARTS[kind, name] = registered(kind, name, Plugin(NAME, NAME, digest[:12]), recipe)
    except PluginError as err:
        raise PluginError(f"register: {err}") from err


def _source_of(recipe: Any) -> str:
    """What the part is written as: its source or, of one typed at a prompt, the code of its methods."""
    try:
        return inspect.getsource(recipe)
    except (OSError, TypeError):
        members = vars(recipe).items() if inspect.isclass(recipe) else ()
        codes = [(name, member.__code__) for name, member in members if inspect.isfunction(member)]
        return repr([(name, code.co_code, code.co_consts, code.co_names) for name, code in codes])


def registered_here() -> list[RegisteredPart]:
    """The parts that this process registered."""
    return list(_PARTS.values())


def is_registered_here(entry: Entry) -> bool:
    """Whether the part is known to this process alone."""
    return entry.plugin.distribution == NAME
