"""The parts that a plugin's module registers, each checked when the plugin is loaded."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from inspect import Parameter, iscoroutinefunction, isgeneratorfunction, signature
from typing import Any

import pluggy

from mixzoo.core.errors import PluginError, listing, nearest, printable, truncated_repr
from mixzoo.registry import hookspecs
from mixzoo.registry.hookspecs import API_VERSION, CHANGES
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.options import options_of
from mixzoo.registry.recipes import HasRunDefaults
from mixzoo.registry.spec import KEY

_NAMES_OF_1 = ("Images", "Judgement", "Needs", "Resynthesis", "Setting", "evaluating")  # of `mixzoo`
_MEMBERS_OF_1 = {"checks_left_out": "skipped_checks", "refuse": "check_data", "autoencoder_terms": "losses"}
NOTHING_MARKED = "it registers no part: is @hookimpl missing above its hook?"


@dataclass(frozen=True)
class Plugin:
    """One entry point or file: where it comes from, and what is wrong with it if it is left out."""

    name: str
    distribution: str  # or the name of a --plugin file
    version: str  # or the beginning of the file's SHA-256
    problem: str = ""  # why it is left out
    changed: tuple[str, ...] = ()  # global state that it changed while it loaded; all of it was restored
    file: str = ""  # absolute path of a --plugin file
    sha256: str = ""  # of that file

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Entry(ABC):
    """The name of a part and the plugin that it comes from."""

    kind: str
    name: str
    plugin: Plugin

    @property
    def full_name(self) -> str:
        """'distribution/name', which no other plugin's part can have."""
        return f"{self.plugin.distribution}/{self.name}"

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line about it."""

    @property
    @abstractmethod
    def option_names(self) -> list[str]:
        """The names of its options."""


@dataclass(frozen=True)
class RegisteredPart(Entry):
    """A recipe and the name that a plugin registers it under."""

    recipe: type[Any]

    @property
    def summary(self) -> str:
        """The first line of the recipe's docstring."""
        return printable((self.recipe.__doc__ or "").strip().partition("\n")[0])

    @property
    def option_names(self) -> list[str]:
        """The names of the recipe's fields."""
        return [option.name for option in options_of(self.recipe)]


def collect_parts(plugin: Plugin, module: Any) -> list[RegisteredPart]:
    """The parts that the module's hooks return. Raises PluginError, or whatever the module raises, if one is wrong."""
    _check_api(getattr(module, "MIXZOO_API", API_VERSION))  # a module need not state it
    manager = pluggy.PluginManager("mixzoo")  # one for each plugin, so that a broken one leaves nothing behind
    manager.add_hookspecs(hookspecs)
    _check_hooks(manager, module)
    manager.register(module)
    _check_hook_names(manager, module)
    if not _implemented(manager, module):
        raise PluginError(NOTHING_MARKED)
    return [
        registered(kind.name, name, plugin, recipe)
        for kind in KINDS.values()
        for table in getattr(manager.hook, kind.hook)()
        for name, recipe in _items(table, kind.hook)
    ]


def _check_api(stated: object) -> None:
    """Raises PluginError if the plugin states that it was written for another version of the API."""
    if stated == API_VERSION:
        return
    if type(stated) is int and 0 < stated < API_VERSION:
        raise older_api(f"written for plugin API {stated}")
    raise PluginError(f"written for plugin API {truncated_repr(stated)}, this mixzoo has {API_VERSION}; update mixzoo")


def older_api(found: str) -> PluginError:
    """The error for a plugin of API 1; `found` is what shows that."""
    return PluginError(f"{found}, this mixzoo has plugin API {API_VERSION}: {CHANGES[API_VERSION]}")


def name_of_older_api(err: BaseException) -> str:
    """The name that API 1 had and that the plugin tries to import from mixzoo, or ''."""
    found = re.match(r"cannot import name '(\w+)' from 'mixzoo'", str(err)) if isinstance(err, ImportError) else None
    return found[1] if found and found[1] in _NAMES_OF_1 else ""


def _items(table: Any, hook: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(table, Mapping):
        raise PluginError(f"{hook} must return a table, name -> recipe, not {truncated_repr(table)}")
    for name in table:
        if not isinstance(name, str):
            raise PluginError(f"{hook} must name each part with text, not {truncated_repr(name)}")
    return table.items()


def _check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Raises PluginError for a hook that takes arguments (pluggy says so in many words) or cannot return a table."""
    for name in _implemented(manager, module):
        hook = getattr(module, name)
        given = [p.name for p in signature(hook).parameters.values() if p.default is Parameter.empty]
        if given:
            raise PluginError(f"hook {printable(name)!r} takes no arguments, not {printable(', '.join(given))}")
        if iscoroutinefunction(hook):
            raise PluginError(f"hook {printable(name)!r} must return a table: write `def`, not `async def`")
        if isgeneratorfunction(hook):
            raise PluginError(f"hook {printable(name)!r} must return a table: write `return`, not `yield`")


def _check_hook_names(manager: pluggy.PluginManager, module: Any) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        hooks = [kind.hook for kind in KINDS.values()]
        unknown = next(hook for hook in _implemented(manager, module) if hook not in hooks)
        raise PluginError(
            f"no hook is called {unknown!r} (hooks: {listing(hooks)}).{nearest(unknown, hooks)}"
        ) from None


def _implemented(manager: pluggy.PluginManager, module: Any) -> list[str]:
    return [name for name in dir(module) if manager.parse_hookimpl_opts(module, name) is not None]


def registered(kind: str, name: str, plugin: Plugin, recipe: Any) -> RegisteredPart:
    """The part under its name. Raises PluginError if either is malformed."""
    if not isinstance(name, str) or not KEY.fullmatch(name):
        raise PluginError(
            f"{truncated_repr(name)} cannot name a {kind}: use lower-case letters a to z, digits and '_', a "
            "letter first"
        )
    if not (isinstance(recipe, type) and is_dataclass(recipe)):
        raise PluginError(f"{kind} {name!r} must be a dataclass of options, not {truncated_repr(recipe)}")
    if not isinstance(recipe.__doc__, str | None):
        raise PluginError(f"{kind} {name!r}: its docstring must be text, not {truncated_repr(recipe.__doc__)}")
    members = dir(recipe)
    for old, new in _MEMBERS_OF_1.items():
        if old in members and new not in members and (old != "refuse" or kind == "metric"):
            raise older_api(f"{kind} {name!r} has {old}, of plugin API 1")  # it would be ignored
    if isinstance(recipe, HasRunDefaults) and not isinstance(recipe.run_defaults, Mapping):
        raise PluginError(f"{kind} {name!r}: run_defaults must be a table, not {truncated_repr(recipe.run_defaults)}")
    for option in options_of(recipe):
        if not KEY.fullmatch(option.name) or option.name == "name":  # `name` is the key of the part itself
            raise PluginError(
                f"{kind} {name!r}: an option cannot be called {option.name!r}; "
                "use lower-case letters, digits and '_', and not 'name'"
            )
    return RegisteredPart(kind, name, plugin, recipe)
