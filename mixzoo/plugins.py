"""Plugins: found by entry point, each loaded on its own, and looked up by name.

A broken plugin is kept out and named with its distribution, its version and the reason; it never takes a command that
does not need it down. `load_zoo()` returns a fresh zoo that is passed on: there is no global registry.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from mixzoo import hookspecs
from mixzoo.errors import ConfigError, MixzooError, PluginError, listing, nearest, printable, shown
from mixzoo.options import Option, Part, build, options_of, spec_of
from mixzoo.spec import KEY, MAX_DEPTH, Spec, parse_spec

GROUP = "mixzoo"
UNKNOWN = "unknown distribution"
LONGEST_PROBLEM = 500  # characters shown of what a plugin raises
HOOKS = {
    "autoencoder": "mixzoo_autoencoders",
    "discriminator": "mixzoo_discriminators",
    "mixer": "mixzoo_mixers",
    "objective": "mixzoo_objectives",
    "dataset": "mixzoo_datasets",
    "metric": "mixzoo_metrics",
}
KINDS = tuple(HOOKS)


@dataclass(frozen=True)
class Plugin:
    """One entry point: where it comes from, and why it is not in use, if it is not."""

    name: str
    distribution: str
    version: str
    problem: str = ""

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Offer:
    """A recipe that a plugin offers under a name."""

    kind: str
    name: str
    plugin: Plugin
    recipe: type[Any]

    @property
    def summary(self) -> str:
        """The first line of the recipe's docstring."""
        return (self.recipe.__doc__ or "").strip().partition("\n")[0]


@dataclass
class Zoo:
    """Every plugin found and every part on offer."""

    plugins: list[Plugin] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Offer]:
        """The parts of one kind, by name."""
        return sorted((offer for offer in self.offers if offer.kind == kind), key=lambda offer: offer.name)

    def offer(self, kind: str, name: str, where: str = "") -> Offer:
        """The part of that name ('mixup', or 'distribution/mixup'); ConfigError when there is none, or two."""
        known = self.of_kind(kind)
        distribution, _, bare = name.rpartition("/")
        found = [o for o in known if o.name == bare and distribution in ("", o.plugin.distribution)]
        if len(found) == 1:
            return found[0]
        place = where or kind
        if found:
            full = listing(f"{o.plugin.distribution}/{o.name}" for o in found)
            raise ConfigError(f"{place}: {shown(name)} is offered by {len(found)} plugins; say which: {full}")
        names = [o.name for o in known]
        broken = [plugin for plugin in self.plugins if plugin.problem]
        note = f" ({len(broken)} plugin(s) failed to load: see `mixzoo plugins`)" if broken else ""
        raise ConfigError(f"{place}: {shown(name)} is not on offer ({listing(names)}).{nearest(bare, names)}{note}")

    def recipe(self, kind: str, spec: Spec | str, where: str = "") -> Any:
        """The recipe that a spec names, with its options checked and set."""
        spec = parse_spec(spec, where or kind) if isinstance(spec, str) else spec
        return self.recipe_from(kind, spec.name, spec.options, where)

    def recipe_from(self, kind: str, name: str, options: Mapping[str, object], where: str = "", depth: int = 0) -> Any:
        """The same from a name and a table of options, typed (a run file's) or as text (a spec's).

        The parts that options name are found in the same way, `depth` of them around this one already.
        """
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}: parts of parts at most {MAX_DEPTH} deep")
        recipe = self.offer(kind, name, where).recipe
        return build(recipe, options, where or f"{kind} {name!r}", partial(self.part, depth=depth + 1))

    def part(self, kind: str, name: str, options: Mapping[str, object], where: str = "", depth: int = 0) -> Part[Any]:
        """The same as a `Part`, which keeps the name: what an option that takes a part holds."""
        return Part(kind, name, self.recipe_from(kind, name, options, where, depth))

    def canonical(self, kind: str, spec: Spec | str) -> str:
        """The spec with every option explicit, defaults included: what a run directory and a report show."""
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        return str(spec_of(spec.name, self.recipe(kind, spec)))

    def options(self, kind: str, name: str) -> tuple[Option, ...]:
        """The options of a part, for `mixzoo show`."""
        return options_of(self.offer(kind, name).recipe)


def load_zoo(found: Iterable[EntryPoint] | None = None) -> Zoo:
    """The zoo of all installed plugins; a broken one is kept out and says why."""
    zoo = Zoo()
    for point in entry_points(group=GROUP) if found is None else found:
        add_plugin(zoo, _plugin_at(point), point.load)
    return zoo


def _plugin_at(point: EntryPoint) -> Plugin:
    """Whose entry point it is, as far as its distribution's metadata say."""
    try:
        metadata: Any = point.dist.metadata if point.dist else {"Name": None, "Version": None}
        return Plugin(point.name, metadata["Name"] or UNKNOWN, metadata["Version"] or "?")
    except Exception:  # damaged in any way: the plugin itself may still work
        return Plugin(point.name, UNKNOWN, "?")


def add_plugin(zoo: Zoo, plugin: Plugin, load: Callable[[], Any]) -> None:
    """Load one plugin and add what it offers to the zoo, whole or not at all."""
    try:
        offers = _offers_of(plugin, load())
        _refuse_taken(zoo, offers)
    except KeyboardInterrupt:
        raise
    except BaseException as err:  # a plugin may raise anything at import, SystemExit too
        zoo.plugins.append(Plugin(plugin.name, plugin.distribution, plugin.version, problem=_reason(err)))
        return
    zoo.plugins.append(plugin)
    zoo.offers.extend(offers)


def _refuse_taken(zoo: Zoo, offers: list[Offer]) -> None:
    """Two distributions may claim one name and are told apart by it; two plugins of one distribution could not be."""
    for offer in offers:
        for other in zoo.of_kind(offer.kind):
            if (other.name, other.plugin.distribution) == (offer.name, offer.plugin.distribution):
                raise PluginError(f"{offer.kind} {offer.name!r} is offered by plugin {other.plugin.name!r} already")


def _reason(err: BaseException) -> str:
    """Why a plugin is left out, on one line, whatever its exception does."""
    try:
        said = printable(str(err).replace("\n", " "))[:LONGEST_PROBLEM]
    except Exception:
        said = ""
    return said if said and isinstance(err, MixzooError) else f"{type(err).__name__}: {said}"


def _offers_of(plugin: Plugin, module: Any) -> list[Offer]:
    api = getattr(module, "MIXZOO_API", hookspecs.API_VERSION)
    if api != hookspecs.API_VERSION:
        raise PluginError(
            f"written for plugin API {api!r}, this mixzoo has {hookspecs.API_VERSION}; change one of them"
        )
    manager = pluggy.PluginManager("mixzoo")  # one each, so that a half-registered plugin leaves nothing behind
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    _refuse_unknown_hooks(manager, module)
    return [
        _offer(kind, name, plugin, recipe)
        for kind, hook in HOOKS.items()
        for table in getattr(manager.hook, hook)()
        for name, recipe in table.items()
    ]


def _refuse_unknown_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        unknown = next(hook for hook in _implemented(manager, module) if hook not in HOOKS.values())
        known = listing(HOOKS.values())
        raise PluginError(
            f"no hook is called {unknown!r} (hooks: {known}).{nearest(unknown, HOOKS.values())}"
        ) from None


def _implemented(manager: pluggy.PluginManager, module: Any) -> list[str]:
    return [name for name in dir(module) if manager.parse_hookimpl_opts(module, name) is not None]


def _offer(kind: str, name: str, plugin: Plugin, recipe: Any) -> Offer:
    spec = parse_spec(name, f"{kind} {name!r}")
    if spec.options or "/" in name:
        raise PluginError(f"{name!r} is no name for a {kind}: lower-case letters, digits and '_' only")
    if not (isinstance(recipe, type) and hasattr(recipe, "__dataclass_fields__")):
        raise PluginError(f"{kind} {name!r} must be a dataclass of options, not {recipe!r}")
    for option in options_of(recipe):
        if not KEY.fullmatch(option.name) or option.name == "name":  # `name` is the part's own key in a run file
            raise PluginError(
                f"{kind} {name!r}: an option cannot be called {option.name!r}; "
                "lower-case letters, digits and '_' only, and not 'name'"
            )
    return Offer(kind, name, plugin, recipe)
