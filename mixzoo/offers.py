"""What a plugin's module offers, checked part by part when it is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter, iscoroutinefunction, isgeneratorfunction, signature
from typing import Any

import pluggy

from mixzoo import hookspecs
from mixzoo.errors import PluginError, listing, nearest, printable, shown
from mixzoo.kinds import KINDS
from mixzoo.options import options_of
from mixzoo.recipes import HasRunDefaults
from mixzoo.spec import KEY

NOTHING_MARKED = "it offers nothing: is @hookimpl missing above its hook?"


@dataclass(frozen=True)
class Plugin:
    """One entry point or file: where it comes from, and why it is not in use, if it is not."""

    name: str
    distribution: str  # a file's name, for a plugin that is one
    version: str  # the beginning of its SHA-256, for a file
    problem: str = ""
    changed: tuple[str, ...] = ()  # what it changed of the process while it loaded; all of it was put back
    file: str = ""  # the path that --plugin gave, absolute
    sha256: str = ""  # of that file

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Entry(ABC):
    """A name under which a plugin offers a part."""

    kind: str
    name: str
    plugin: Plugin

    @property
    def full_name(self) -> str:
        """The name that no other plugin has: 'distribution/name'."""
        return f"{self.plugin.distribution}/{self.name}"

    @property
    @abstractmethod
    def option_names(self) -> list[str]:
        """What its options are called."""


@dataclass(frozen=True)
class RegisteredPart(Entry):
    """A recipe that a plugin offers under a name."""

    recipe: type[Any]

    @property
    def summary(self) -> str:
        """The first line of the recipe's docstring."""
        return printable((self.recipe.__doc__ or "").strip().partition("\n")[0])

    @property
    def option_names(self) -> list[str]:
        """What the fields of the recipe are called."""
        return [option.name for option in options_of(self.recipe)]


def collect_parts(plugin: Plugin, module: Any) -> list[RegisteredPart]:
    """What the module offers through its hooks; PluginError, or what the module raises, where any of it is amiss."""
    api = getattr(module, "MIXZOO_API", hookspecs.API_VERSION)
    if api != hookspecs.API_VERSION:
        raise PluginError(
            f"written for plugin API {api!r}, this mixzoo has {hookspecs.API_VERSION}; change one of them"
        )
    manager = pluggy.PluginManager("mixzoo")  # one each, so that a half-registered plugin leaves nothing behind
    manager.add_hookspecs(hookspecs)
    _check_hooks(manager, module)
    manager.register(module)
    _check_hook_names(manager, module)
    if not _implemented(manager, module):
        raise PluginError(NOTHING_MARKED)
    return [
        _registered(kind.name, name, plugin, recipe)
        for kind in KINDS.values()
        for table in getattr(manager.hook, kind.hook)()
        for name, recipe in _items(table, kind.hook)
    ]


def _items(table: Any, hook: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(table, Mapping):
        raise PluginError(f"{hook} must return a table, name -> recipe, not {shown(table)}")
    for name in table:
        if not isinstance(name, str):
            raise PluginError(f"{hook} must name each part with text, not {shown(name)}")
    return table.items()


def _check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Raises PluginError for a hook that pluggy would refuse in many words, or of which a table could not come."""
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


def _registered(kind: str, name: str, plugin: Plugin, recipe: Any) -> RegisteredPart:
    if not KEY.fullmatch(name):
        raise PluginError(
            f"{shown(name)} is no name for a {kind}: lower-case letters a to z, digits and '_' only, a letter first"
        )
    if not (isinstance(recipe, type) and hasattr(recipe, "__dataclass_fields__")):
        raise PluginError(f"{kind} {name!r} must be a dataclass of options, not {shown(recipe)}")
    if not isinstance(recipe.__doc__, str | None):
        raise PluginError(f"{kind} {name!r}: its docstring must be text, not {shown(recipe.__doc__)}")
    if isinstance(recipe, HasRunDefaults) and not isinstance(recipe.run_defaults, Mapping):
        raise PluginError(f"{kind} {name!r}: run_defaults must be a table, not {shown(recipe.run_defaults)}")
    for option in options_of(recipe):
        if not KEY.fullmatch(option.name) or option.name == "name":  # `name` is the part's own key in a run file
            raise PluginError(
                f"{kind} {name!r}: an option cannot be called {option.name!r}; "
                "lower-case letters, digits and '_' only, and not 'name'"
            )
    return RegisteredPart(kind, name, plugin, recipe)
