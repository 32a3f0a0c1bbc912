"""The catalogue: what `mixzoo list`, `show` and `plugins` print, read from the cache for plugins that it knows.

Loading the plugins means loading torch, which takes seconds. So the parts of a plugin are described once, when it is
loaded, and the descriptions are kept until the plugin or mixzoo changes (mixzoo.registry.catalogue_cache). A broken
plugin is loaded again each time, and so is a plugin that is a single file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from mixzoo.registry.catalogue_cache import PluginCache
from mixzoo.registry.descriptions import Description, describe
from mixzoo.registry.registered import Plugin, RegisteredPart
from mixzoo.registry.zoo import GROUP, Lookup, Zoo, add_files, add_plugin, plugin_at, reason_of


@dataclass
class Catalogue(Lookup[Description]):
    """Every plugin found, and the description of every registered part."""


def load_catalogue(found: Iterable[EntryPoint] | None = None) -> Catalogue:
    """The descriptions of the parts of all installed plugins, or of those in `found`; loads only what is not cached."""
    catalogue = Catalogue()
    for point in entry_points(group=GROUP) if found is None else found:
        catalogue.add(*_described(point))
    return catalogue


def cached_catalogue(found: Iterable[EntryPoint] | None = None) -> Catalogue:
    """What the cache says of these plugins, or of all that are installed, even if it is out of date; loads no plugin.

    A plugin that is not in the cache has no parts here.
    """
    catalogue = Catalogue()
    for point in entry_points(group=GROUP) if found is None else found:
        plugin = plugin_at(point)
        cached = PluginCache(point, plugin).read(even_if_changed=True)
        parts = cached.parts if cached else ()
        catalogue.add(plugin, [Description(part.kind, part.name, plugin, part.text) for part in parts])
    return catalogue


def catalogue_of(zoo: Zoo) -> Catalogue:
    """The descriptions of all parts of a zoo."""
    return Catalogue(list(zoo.plugins), [describe(entry) for entry in zoo.registered])


def add_files_to(catalogue: Catalogue, paths: Sequence[Path]) -> None:
    """Load plugins that are single files and add their parts; raises ConfigError as `add_files` does."""
    zoo = Zoo()
    add_files(zoo, paths)
    for plugin in zoo.plugins:
        catalogue.add(*_texts(plugin, [entry for entry in zoo.registered if entry.plugin == plugin]))


def _texts(plugin: Plugin, entries: Sequence[RegisteredPart]) -> tuple[Plugin, list[Description]]:
    """The plugin and the descriptions of its parts; the plugin alone, as broken, if one cannot be described."""
    try:
        return plugin, [describe(entry) for entry in entries]
    except Exception as err:  # the default of an option may run any code when it is printed
        return replace(plugin, problem=reason_of(err)), []


def _described(point: EntryPoint) -> tuple[Plugin, list[Description]]:
    """A plugin and the descriptions of its parts, from the cache or, if they are not there, by loading the plugin."""
    found = plugin_at(point)
    kept = PluginCache(point, found)
    if cached := kept.read():
        plugin = replace(found, changed=cached.changed)
        return plugin, [Description(part.kind, part.name, plugin, part.text) for part in cached.parts]
    before = kept.fingerprint()
    zoo = Zoo()
    add_plugin(zoo, found, point.load)
    plugin, described = _texts(zoo.plugins[0], zoo.registered)
    if not plugin.problem and before and before == kept.fingerprint():  # no file changed while it was loading
        kept.write(plugin.changed, zoo.registered, described)
    return plugin, described
