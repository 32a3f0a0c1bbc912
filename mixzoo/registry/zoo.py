"""Plugins: found by entry point or as a file, each loaded on its own, and looked up by name.

A broken plugin is left out and listed with its distribution, its version and the reason; commands that do not need it
still work. `load_zoo()` returns a fresh zoo that is passed on: there is no global registry. Installing a plugin, or
naming a file with `--plugin`, runs its code. Nothing else does: run files and checkpoints only name registered parts.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import distribution as installed
from pathlib import Path
from typing import Any, Generic, TypeVar

from mixzoo.core.errors import (
    ConfigError,
    MixzooError,
    OutOfMemoryError,
    PluginError,
    is_out_of_memory,
    listing,
    nearest,
    printable,
    truncated_repr,
)
from mixzoo.registry.isolation import isolated
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.options import Option, Part, build, options_of, spec_of
from mixzoo.registry.registered import Entry, Plugin, RegisteredPart, collect_parts, name_of_older_api, older_api
from mixzoo.registry.session import NAME as SESSION
from mixzoo.registry.session import is_registered_here, registered_here
from mixzoo.registry.single_file import SingleFile, read_single_file
from mixzoo.registry.spec import DISTRIBUTION, MAX_DEPTH, Spec, parse_spec
from mixzoo.registry.spec_repairs import path_advice
from mixzoo.registry.watchdog import watched

__all__ = ["Plugin", "RegisteredPart", "Zoo", "add_files", "add_plugin", "first_party", "load_zoo"]

E = TypeVar("E", bound=Entry)
GROUP = "mixzoo"
OWN = "mixzoo"  # the distribution that the first-party plugins come with
UNKNOWN = "unknown-distribution"
LONGEST_PROBLEM = 500  # characters shown of a plugin's error
SHORTEST_WORD = 3  # letters of an unknown name that is looked for in the parts' descriptions
FILE_NOTE = " If it is in a file, give --plugin FILE."
MOST_DESCRIBED = 3  # parts with that word that a message names
MOST_BROKEN = 3  # broken plugins that a message about something else names


@dataclass
class Lookup(Generic[E]):
    """Every plugin found, and an entry for every registered part, looked up by name."""

    plugins: list[Plugin] = field(default_factory=list)
    registered: list[E] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[E]:
        """The parts of one kind, sorted by name."""
        return sorted((entry for entry in self.registered if entry.kind == kind), key=lambda entry: entry.name)

    def name_conflicts(self, entry: E) -> list[E]:
        """Other plugins' parts of the same kind and name; all of them need their full name."""
        return [o for o in self.of_kind(entry.kind) if o.name == entry.name and o != entry]

    def name_to_write(self, entry: E) -> str:
        """The name that a user has to write: the full one if another plugin has a part of the same name."""
        return entry.full_name if self.name_conflicts(entry) else entry.name

    def qualified_default(self, kind: str, name: str) -> str:
        """The name of mixzoo's own part, in full if a plugin uses that name too, so that defaults keep working."""
        claimants = [o for o in self.of_kind(kind) if o.name == name]
        return f"{OWN}/{name}" if len(claimants) > 1 else name

    def find(self, kind: str, name: str, where: str = "") -> E:
        """The part called `name`, such as 'mixup' or 'distribution/mixup'; `where` begins an error message.

        Raises ConfigError if there is none or more than one, and PluginError if its distribution's plugin is broken.
        """
        # A full name says which distribution; a bare name is enough as long as only one plugin has it.
        known = self.of_kind(kind)
        distribution, _, bare = name.rpartition("/")
        found = [o for o in known if o.name == bare and distribution in ("", o.plugin.distribution)]
        if len(found) == 1:
            return found[0]

        # Not found, or ambiguous: say what to write instead, and which broken plugin may have the part.
        place = f"{where}: " if where else ""
        noun = KINDS[kind].noun
        if found:
            full = listing(o.full_name for o in found)
            raise ConfigError(
                f"{place}{noun} {truncated_repr(name)} is offered by {len(found)} plugins; say which: {full}"
            )
        for plugin in self.broken:
            if plugin.distribution == distribution:
                raise PluginError(
                    f"{place}{noun} {truncated_repr(name)} cannot be used, {plugin} is broken: {plugin.problem}"
                )
        names = {o.name for o in known}
        meant = self._meant(kind, name) or self._described(kind, bare) or nearest(bare, names)
        meant = meant or (FILE_NOTE if kind == "launcher" else "")  # no run file says where it came from
        raise ConfigError(
            f"{place}unknown {noun} {truncated_repr(name)} (available: {listing(names)}).{meant}{self._broken_note()}"
        )

    def _described(self, kind: str, word: str) -> str:
        """The parts whose one-line description has the word, such as `fidelity` for "fid"; '' if there is none."""
        if not word.isalnum() or len(word) < SHORTEST_WORD:
            return ""
        word = word.lower()
        found = [o.name for o in self.of_kind(kind) if word in re.findall("[a-z0-9]+", o.summary.lower())]
        if not 0 < len(found) <= MOST_DESCRIBED:
            return ""
        meant = " or ".join(map(repr, found))
        return f" Did you mean {meant}? The word is in its description: `mixzoo show {found[0]}`"

    def _meant(self, kind: str, name: str) -> str:
        """What to write instead if the name is that of a folder or file; '' if not."""
        if kind == "dataset" and ("/" in name or Path(name).exists()):
            return f" If it is a path: {path_advice(name, kind, self._known(kind))}"
        return ""

    def plugin_of(self, kind: str, name: str) -> str:
        """The plugin that the part comes from, for an error message; '' for mixzoo's own parts."""
        entries = [o for o in self.of_kind(kind) if name in (o.name, o.full_name)]
        return "" if not entries or entries[0].plugin.distribution == OWN else str(entries[0].plugin)

    def _known(self, kind: str) -> dict[str, list[str]]:
        """The options of every part of one kind, by its name."""
        return {entry.name: entry.option_names for entry in self.of_kind(kind)}

    @property
    def broken(self) -> list[Plugin]:
        """The plugins that were left out."""
        return [plugin for plugin in self.plugins if plugin.problem]

    def _broken_note(self) -> str:
        """Which plugins are broken: the missing part may come from one of them."""
        names = sorted({f"{plugin.distribution} {plugin.version}" for plugin in self.broken})
        more = f" and {len(names) - MOST_BROKEN} more" if len(names) > MOST_BROKEN else ""
        first = ", ".join(names[:MOST_BROKEN])
        return f" Left out as broken: {first}{more}; see `mixzoo plugins --errors`" if names else ""

    def add(self, plugin: Plugin, entries: Sequence[E]) -> None:
        """Register a plugin and all its parts, or the plugin alone, as broken, if one of its names is taken.

        Plugins of two distributions may share a name, as the full names differ; those of one distribution may not.
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
    """Every plugin found, and the recipe of every registered part."""

    def recipe(self, kind: str, spec: Spec | str, where: str = "") -> Any:
        """The recipe that a spec names, its options checked and set."""
        spec = self.spec(kind, spec, where) if isinstance(spec, str) else spec
        return self.recipe_from(kind, spec.name, spec.options, where)

    def spec(self, kind: str, text: str, where: str = "") -> Spec:
        """The spec in this text. The ConfigError for a malformed one suggests parts of that kind."""
        return parse_spec(text, where or kind, kind, partial(self._known, kind))

    def recipe_from(self, kind: str, name: str, options: Mapping[str, object], where: str = "", depth: int = 0) -> Any:
        """The recipe of that name with these options: typed values from a run file, or text from a spec.

        Options may name other parts, which may again; `depth` is how deep this one is.
        """
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}: parts inside parts are nested more than {MAX_DEPTH} deep")
        recipe = self.find(kind, name, where).recipe
        place = where or f"{kind} {truncated_repr(name)}"
        return build(recipe, options, place, partial(self.part, depth=depth + 1), kind, self._known)

    def part(self, kind: str, name: str, options: Mapping[str, object], where: str = "", depth: int = 0) -> Part[Any]:
        """The same as a `Part`, which keeps the name: the value of an option that takes a part."""
        return Part(kind, name, self.recipe_from(kind, name, options, where, depth))

    def canonical(self, kind: str, spec: Spec | str) -> str:
        """The spec with every option written out, defaults included, as run directories and reports show it."""
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        return str(spec_of(spec.name, self.recipe(kind, spec)))

    def options(self, kind: str, name: str) -> tuple[Option, ...]:
        """The options that a part declares."""
        return options_of(self.find(kind, name).recipe)


def load_zoo(found: Iterable[EntryPoint] | None = None) -> Zoo:
    """The zoo of all installed plugins and of what `mixzoo.register` added; a broken plugin is left out, with why."""
    zoo = Zoo()
    for point in entry_points(group=GROUP) if found is None else found:
        add_plugin(zoo, plugin_at(point), point.load)
    for part in registered_here():
        zoo.add(part.plugin, [part])
    return zoo


def with_registered_since(zoo: Zoo) -> Zoo:
    """The zoo with what `mixzoo.register` has added or replaced since it was loaded; a name that is taken stays so."""
    fresh = Zoo(
        [plugin for plugin in zoo.plugins if plugin.distribution != SESSION],
        [entry for entry in zoo.registered if not is_registered_here(entry)],
    )
    taken = {(entry.kind, entry.name) for entry in fresh.registered}
    for part in registered_here():
        if (part.kind, part.name) not in taken:
            fresh.add(part.plugin, [part])
    return fresh


def first_party() -> list[EntryPoint]:
    """The plugins that come with mixzoo itself."""
    return list(installed(OWN).entry_points.select(group=GROUP))


def add_files(zoo: Zoo, paths: Sequence[Path]) -> None:
    """Load plugins that are single files. Raises ConfigError if one cannot be a plugin, or two have the same name."""
    files = [(path, read_single_file(path)) for path in paths]
    names = [file.path.name for _, file in files]
    for path, file in files:
        if names.count(file.path.name) > 1:
            raise ConfigError(
                f"--plugin {path}: two files are called {file.path.name}; rename one, as full names begin with it"
            )
        add_plugin(zoo, _plugin_in(file), file.load)


def _plugin_in(file: SingleFile) -> Plugin:
    path, digest = file.path, file.sha256
    return Plugin(path.stem, path.name, digest[:12], file=str(path), sha256=digest)


def plugin_at(point: EntryPoint) -> Plugin:
    """The plugin of this entry point, with what its distribution's metadata say about it."""
    try:
        metadata: Any = point.dist.metadata if point.dist else {"Name": None, "Version": None}
        name, version = metadata["Name"] or "", metadata["Version"] or "?"
    except Exception:  # metadata may be damaged in any way, and the plugin still work
        name, version = "", "?"
    return Plugin(printable(point.name), name if DISTRIBUTION.fullmatch(name) else UNKNOWN, printable(version))


def add_plugin(zoo: Zoo, plugin: Plugin, load: Callable[[], Any]) -> None:
    """Load one plugin and register its parts: all of them or, if anything is wrong, none."""
    changed: list[str] = []
    entries: list[RegisteredPart] = []
    problem = ""
    try:
        with isolated() as changed, watched():
            entries = collect_parts(plugin, load())
    except KeyboardInterrupt:
        raise
    except BaseException as err:  # a plugin may raise anything when it is imported, even SystemExit
        if is_out_of_memory(err):
            raise OutOfMemoryError(f"out of memory while plugin {plugin.name!r} was loading") from err
        old = name_of_older_api(err)
        problem, entries = str(older_api(f"it imports mixzoo.{old}, of plugin API 1")) if old else reason_of(err), []
    zoo.add(replace(plugin, problem=problem, changed=tuple(changed)), entries)


def reason_of(err: BaseException) -> str:
    """Why a plugin is left out, in one line, even if its exception cannot be printed."""
    try:
        message = printable(str(err).replace("\n", " "))[:LONGEST_PROBLEM]
    except Exception:
        message = ""
    return message if message and isinstance(err, MixzooError) else f"{type(err).__name__}: {message}"
