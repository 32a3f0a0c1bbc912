"""Plugins: found by entry point or as a file, each loaded on its own, and looked up by name.

A broken plugin is kept out and named with its distribution, its version and the reason; it never takes a command that
does not need it down. `load_zoo()` returns a fresh zoo that is passed on: there is no global registry. Installing a
plugin, or naming a file with `--plugin`, is running its code; nothing else loads any: a run file and a checkpoint only
name parts that are registered.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import distribution as installed
from pathlib import Path
from typing import Any, Generic, TypeVar

from mixzoo.errors import (
    ConfigError,
    MixzooError,
    OutOfMemoryError,
    PluginError,
    is_out_of_memory,
    listing,
    nearest,
    printable,
    shown,
)
from mixzoo.isolation import isolated
from mixzoo.offers import Entry, Plugin, RegisteredPart, collect_parts
from mixzoo.options import Option, Part, build, options_of, spec_of
from mixzoo.single_file import SingleFile, read_single_file
from mixzoo.spec import DISTRIBUTION, MAX_DEPTH, Spec, parse_spec
from mixzoo.spec_repairs import path_advice
from mixzoo.watchdog import watched

__all__ = ["Plugin", "RegisteredPart", "Zoo", "add_files", "add_plugin", "first_party", "load_zoo"]

E = TypeVar("E", bound=Entry)
GROUP = "mixzoo"
OWN = "mixzoo"  # the distribution of the first-party plugins
UNKNOWN = "unknown-distribution"
LONGEST_PROBLEM = 500  # characters shown of what a plugin raises
MOST_BROKEN = 3  # broken plugins named in a message about something else


@dataclass
class Lookup(Generic[E]):
    """Every plugin found and an entry for every part on offer, looked up by name."""

    plugins: list[Plugin] = field(default_factory=list)
    registered: list[E] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[E]:
        """The parts of one kind, by name."""
        return sorted((entry for entry in self.registered if entry.kind == kind), key=lambda entry: entry.name)

    def name_conflicts(self, entry: E) -> list[E]:
        """Other plugins' parts of the same kind and name; each of them has to be named in full."""
        return [o for o in self.of_kind(entry.kind) if o.name == entry.name and o != entry]

    def qualified_default(self, kind: str, name: str) -> str:
        """The name of mixzoo's own part: in full where a plugin claims it too, so that defaults keep working."""
        claimants = [o for o in self.of_kind(kind) if o.name == name]
        return f"{OWN}/{name}" if len(claimants) > 1 else name

    def find(self, kind: str, name: str, where: str = "") -> E:
        """The part of that name ('mixup', or 'distribution/mixup'); ConfigError when there is none, or two.

        PluginError where it is said to be in a distribution whose plugin is broken.
        """
        known = self.of_kind(kind)
        distribution, _, bare = name.rpartition("/")
        found = [o for o in known if o.name == bare and distribution in ("", o.plugin.distribution)]
        if len(found) == 1:
            return found[0]
        place = where or kind
        if found:
            full = listing(o.full_name for o in found)
            raise ConfigError(f"{place}: {shown(name)} is offered by {len(found)} plugins; say which: {full}")
        for plugin in self.broken:
            if plugin.distribution == distribution:
                raise PluginError(f"{place}: {shown(name)} cannot be used, {plugin} is broken: {plugin.problem}")
        names = {o.name for o in known}
        raise ConfigError(
            f"{place}: {shown(name)} is not on offer ({listing(names)})."
            f"{self._meant(kind, name) or nearest(bare, names)}{self._broken_note()}"
        )

    def _meant(self, kind: str, name: str) -> str:
        """What the name of a folder or file was meant as, if it is one; or ''."""
        if kind == "dataset" and ("/" in name or Path(name).exists()):
            return f" If it is a path: {path_advice(name, kind, self._known(kind))}"
        return ""

    def plugin_of(self, kind: str, name: str) -> str:
        """The plugin that offers the part, for a message about it; '' for mixzoo's own parts."""
        entries = [o for o in self.of_kind(kind) if name in (o.name, o.full_name)]
        return "" if not entries or entries[0].plugin.distribution == OWN else str(entries[0].plugin)

    def _known(self, kind: str) -> dict[str, list[str]]:
        """The options of every part of one kind, by its name."""
        return {entry.name: entry.option_names for entry in self.of_kind(kind)}

    @property
    def broken(self) -> list[Plugin]:
        """The plugins that are left out."""
        return [plugin for plugin in self.plugins if plugin.problem]

    def _broken_note(self) -> str:
        """Which plugins are broken, since one of them may be the one that has the part."""
        names = sorted({f"{plugin.distribution} {plugin.version}" for plugin in self.broken})
        more = f" and {len(names) - MOST_BROKEN} more" if len(names) > MOST_BROKEN else ""
        first = ", ".join(names[:MOST_BROKEN])
        return f" Left out as broken: {first}{more}; see `mixzoo plugins --errors`" if names else ""

    def add(self, plugin: Plugin, entries: Sequence[E]) -> None:
        """Add a plugin and all that it offers, or the plugin alone as broken if one of its names is taken.

        Two distributions may claim one name and are told apart by it; two plugins of one distribution could not be.
        """
        owners = {(o.kind, o.name): o.plugin for o in self.registered if o.plugin.distribution == plugin.distribution}
        for entry in entries:
            if owner := owners.get((entry.kind, entry.name)):
                taken = f"{entry.kind} {entry.name!r} is offered by plugin {owner.name!r} already"
                return self.plugins.append(replace(plugin, problem=taken))
        self.plugins.append(plugin)
        self.registered.extend(replace(entry, plugin=plugin) for entry in entries)


@dataclass
class Zoo(Lookup[RegisteredPart]):
    """Every plugin found and the recipe of every part on offer."""

    def recipe(self, kind: str, spec: Spec | str, where: str = "") -> Any:
        """The recipe that a spec names, with its options checked and set."""
        spec = self.spec(kind, spec, where) if isinstance(spec, str) else spec
        return self.recipe_from(kind, spec.name, spec.options, where)

    def spec(self, kind: str, text: str, where: str = "") -> Spec:
        """The spec that the text spells; the ConfigError for one that is malformed knows the parts of that kind."""
        return parse_spec(text, where or kind, kind, partial(self._known, kind))

    def recipe_from(self, kind: str, name: str, options: Mapping[str, object], where: str = "", depth: int = 0) -> Any:
        """The same from a name and a table of options, typed (a run file's) or as text (a spec's).

        The parts that options name are found in the same way, `depth` of them around this one already.
        """
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}: parts of parts at most {MAX_DEPTH} deep")
        recipe = self.find(kind, name, where).recipe
        place = where or f"{kind} {shown(name)}"
        return build(recipe, options, place, partial(self.part, depth=depth + 1), kind, self._known)

    def part(self, kind: str, name: str, options: Mapping[str, object], where: str = "", depth: int = 0) -> Part[Any]:
        """The same as a `Part`, which keeps the name: what an option that takes a part holds."""
        return Part(kind, name, self.recipe_from(kind, name, options, where, depth))

    def canonical(self, kind: str, spec: Spec | str) -> str:
        """The spec with every option explicit, defaults included: what a run directory and a report show."""
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        return str(spec_of(spec.name, self.recipe(kind, spec)))

    def options(self, kind: str, name: str) -> tuple[Option, ...]:
        """The options of a part, for `mixzoo show`."""
        return options_of(self.find(kind, name).recipe)


def load_zoo(found: Iterable[EntryPoint] | None = None) -> Zoo:
    """The zoo of all installed plugins; a broken one is kept out and says why."""
    zoo = Zoo()
    for point in entry_points(group=GROUP) if found is None else found:
        add_plugin(zoo, plugin_at(point), point.load)
    return zoo


def first_party() -> list[EntryPoint]:
    """The plugins that come with mixzoo itself."""
    return list(installed(OWN).entry_points.select(group=GROUP))


def add_files(zoo: Zoo, paths: Sequence[Path]) -> None:
    """Load plugins that are single files; ConfigError for one that is none, or that cannot be told from another."""
    files = [(path, read_single_file(path)) for path in paths]
    names = [file.path.name for _, file in files]
    for path, file in files:
        if names.count(file.path.name) > 1:
            raise ConfigError(
                f"--plugin {path}: {file.path.name} is given twice; a file's name tells its parts from others'"
            )
        add_plugin(zoo, _plugin_in(file), file.load)


def _plugin_in(file: SingleFile) -> Plugin:
    path, digest = file.path, file.sha256
    return Plugin(path.stem, path.name, digest[:12], file=str(path), sha256=digest)


def plugin_at(point: EntryPoint) -> Plugin:
    """Whose entry point it is, as far as its distribution's metadata say."""
    try:
        metadata: Any = point.dist.metadata if point.dist else {"Name": None, "Version": None}
        name, version = metadata["Name"] or "", metadata["Version"] or "?"
    except Exception:  # damaged in any way: the plugin itself may still work
        name, version = "", "?"
    return Plugin(printable(point.name), name if DISTRIBUTION.fullmatch(name) else UNKNOWN, printable(version))


def add_plugin(zoo: Zoo, plugin: Plugin, load: Callable[[], Any]) -> None:
    """Load one plugin and add what it offers to the zoo, whole or not at all."""
    changed: list[str] = []
    entries: list[RegisteredPart] = []
    problem = ""
    try:
        with isolated() as changed, watched():
            entries = collect_parts(plugin, load())
    except KeyboardInterrupt:
        raise
    except BaseException as err:  # a plugin may raise anything at import, SystemExit too
        if is_out_of_memory(err):
            raise OutOfMemoryError(f"out of memory while plugin {plugin.name!r} loads") from err
        problem, entries = reason_of(err), []
    zoo.add(replace(plugin, problem=problem, changed=tuple(changed)), entries)


def reason_of(err: BaseException) -> str:
    """Why a plugin is left out, on one line, whatever its exception does."""
    try:
        said = printable(str(err).replace("\n", " "))[:LONGEST_PROBLEM]
    except Exception:
        said = ""
    return said if said and isinstance(err, MixzooError) else f"{type(err).__name__}: {said}"
