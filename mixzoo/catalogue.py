"""The catalogue: what `mixzoo list`, `show` and `plugins` print, read from the cache for plugins that it knows.

Loading the plugins means loading torch, which takes seconds. So what a plugin offers is described once, when it is
loaded, and read back until the plugin or mixzoo changes (mixzoo.catalogue_cache). A broken plugin is tried again each
time, and a plugin that is one file is always loaded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from mixzoo.catalogue_cache import PluginCache
from mixzoo.descriptions import Description, describe
from mixzoo.offers import Plugin, RegisteredPart
from mixzoo.plugins import GROUP, Lookup, Zoo, add_files, add_plugin, plugin_at, reason_of


@dataclass
class Catalogue(Lookup[Description]):
    """Every plugin found and the description of every part on offer."""


def load_catalogue(found: Iterable[EntryPoint] | None = None) -> Catalogue:
    """The descriptions of all parts of the installed plugins, or of those found; loads only what the cache lacks."""
    catalogue = Catalogue()
    for point in entry_points(group=GROUP) if found is None else found:
        catalogue.add(*_described(point))
    return catalogue


def catalogue_of(zoo: Zoo) -> Catalogue:
    """The descriptions of all parts of a zoo."""
    return Catalogue(list(zoo.plugins), [describe(entry) for entry in zoo.registered])


def add_files_to(catalogue: Catalogue, paths: Sequence[Path]) -> None:
    """Load plugins that are single files and add what they offer; raises ConfigError as `add_files` does."""
    zoo = Zoo()
    add_files(zoo, paths)
    for plugin in zoo.plugins:
        catalogue.add(*_texts(plugin, [entry for entry in zoo.registered if entry.plugin == plugin]))


def _texts(plugin: Plugin, entries: Sequence[RegisteredPart]) -> tuple[Plugin, list[Description]]:
    """The plugin and what is printed of its parts; the plugin alone, as broken, if that cannot be told."""
    try:
        return plugin, [describe(entry) for entry in entries]
    except Exception as err:  # the text of a default may be any code
        return replace(plugin, problem=reason_of(err)), []


def _described(point: EntryPoint) -> tuple[Plugin, list[Description]]:
    """A plugin and its parts, from the cache if it holds them, else by loading it."""
    found = plugin_at(point)
    kept = PluginCache(point, found)
    if cached := kept.read():
        plugin = replace(found, changed=cached.changed)
        return plugin, [Description(part.kind, part.name, plugin, part.text) for part in cached.parts]
    before = kept.fingerprint()
    zoo = Zoo()
    add_plugin(zoo, found, point.load)
    plugin, described = _texts(zoo.plugins[0], zoo.registered)
    if not plugin.problem and before and before == kept.fingerprint():  # no file changed while it loaded
        kept.write(plugin.changed, zoo.registered, described)
    return plugin, described
