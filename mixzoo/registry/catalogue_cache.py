"""Descriptions of plugins' parts, kept in the user's cache folder: $XDG_CACHE_HOME/mixzoo or ~/.cache/mixzoo.

There is one JSON file for each plugin, with a fingerprint of all that it depends on: the versions of Python and of the
plugin's distribution, and the path, size and times of every file of mixzoo, of the plugin's package and of its recipes'
classes. A file that is damaged or has another fingerprint is ignored, and a folder that cannot be written is no error.
Nothing in a file is run or imported.

Changes outside those files go unnoticed, such as that of an environment variable which a plugin's hook reads.
"""

import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mixzoo.core.errors import CheckpointError, printable
from mixzoo.core.json_file import Fields, read_object
from mixzoo.registry.descriptions import Description, OptionText, PartText
from mixzoo.registry.registered import Plugin, RegisteredPart

FORMAT = 1  # raised when the form of the file changes
MOST_FILES = 5_000  # in a package; a larger one is not cached
LARGEST = 10_000_000  # bytes of a cache file; a larger one is ignored


@dataclass(frozen=True)
class Dependencies:
    """What the descriptions depend on besides the plugin and mixzoo: whole packages, and single files."""

    packages: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class CachedPart:
    """A part in a cache file."""

    kind: str
    name: str
    text: PartText


@dataclass(frozen=True)
class CachedPlugin:
    """The contents of a cache file."""

    fingerprint: str
    dependencies: Dependencies
    changed: tuple[str, ...]  # as `Plugin.changed`
    parts: tuple[CachedPart, ...]


class PluginCache:
    """The cache file of one installed plugin."""

    def __init__(self, point: EntryPoint, plugin: Plugin) -> None:
        self.plugin = plugin
        self.package = point.module.partition(".")[0]
        self.identity = f"{FORMAT}\n{sys.version}\n{sys.flags.optimize}\n{plugin}\n{point.value}"
        where = [sys.prefix, point.name, point.value, plugin.distribution, *map(str, _roots(self.package))]
        self.name = f"{sha256(json.dumps(where).encode()).hexdigest()[:32]}.json"

    def fingerprint(self, dependencies: Dependencies | None = None) -> str:
        """A hash of all that the descriptions depend on, or '' if they must not be cached."""
        packages = {"mixzoo", self.package, *(dependencies.packages if dependencies else ())}
        found = [_files_of(package) for package in sorted(packages)]
        if not all(found):
            return ""  # files that cannot be listed may change unnoticed
        try:
            lines = [line for files in found for line in files]
            lines += [_line(file) for file in (dependencies.files if dependencies else ())]
        except OSError:
            return ""
        return sha256("\n".join([self.identity, *_sites(), *lines]).encode(errors="surrogateescape")).hexdigest()

    def read(self, *, even_if_changed: bool = False) -> CachedPlugin | None:
        """The cached contents, if nothing that they depend on has changed."""
        folder = _folder()
        if folder is None:
            return None
        try:
            kept = read_object(folder / self.name, LARGEST, sealed=False)
            files = kept.part("dependencies")
            dependencies = Dependencies(tuple(files.text_list("packages")), tuple(files.text_list("files")))
            cached = CachedPlugin(
                fingerprint=kept.text("fingerprint"),
                dependencies=dependencies,
                changed=tuple(kept.text_list("changed")),
                parts=tuple(_part(row) for row in kept.rows("parts")),
            )
        except CheckpointError:  # the file is missing or damaged
            return None
        return cached if even_if_changed or cached.fingerprint == self.fingerprint(dependencies) else None

    def write(
        self, changed: Iterable[str], entries: Iterable[RegisteredPart], described: Iterable[Description]
    ) -> None:
        """Write the file, whole or not at all, if the folder can be written."""
        recipes = [entry.recipe for entry in entries]
        if any(f.init and f.default_factory is not MISSING for recipe in recipes for f in fields(recipe)):
            return  # a computed default may be another one next time

        dependencies = _dependencies(recipes)
        parts = tuple(CachedPart(part.kind, part.name, part.text) for part in described)
        cached = CachedPlugin(self.fingerprint(dependencies), dependencies, tuple(changed), parts)
        folder = _folder()
        if folder is None or not cached.fingerprint:
            return

        # Written under another name first: no reader ever sees half a file, and of two writers one wins.
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, written = tempfile.mkstemp(dir=folder, suffix=".tmp")
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    json.dump(asdict(cached), file)
                os.replace(written, folder / self.name)
            except OSError:
                os.unlink(written)
                raise
        except OSError:
            return


def _folder() -> Path | None:
    """The folder of the cache; None if there is no home directory."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(stated) if os.path.isabs(stated) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "mixzoo" / "plugins"


def _dependencies(recipes: Iterable[type[Any]]) -> Dependencies:
    """The packages that define the recipes, and the files of the classes that they derive from."""
    packages, files = set(), set()
    for recipe in recipes:
        packages.add(recipe.__module__.partition(".")[0])
        for base in recipe.__mro__[1:]:
            file = getattr(sys.modules.get(base.__module__), "__file__", None)  # built-in modules have none
            files.update([file] if isinstance(file, str) else [])
    return Dependencies(tuple(sorted(packages)), tuple(sorted(files)))


def _sites() -> Iterator[str]:
    """When something was last installed or removed: a plugin may have a part only if an optional package is there."""
    for folder in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        yield _line(folder) if os.path.isdir(folder) else folder


def _roots(package: str) -> list[Path]:
    """The folders of a package, or the file of a module, found without importing it; [] if there is none."""
    try:
        spec = find_spec(package)
    except Exception:  # a finder may raise anything; importing the package will say what is wrong
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(location) for location in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin and spec.has_location else []


def _files_of(package: str) -> list[str]:
    """A line for each file of the package; [] if they cannot be listed or are too many."""
    if package in ("mixzoo", ""):
        return _files_of_mixzoo() if package else []
    return _lines_under(_roots(package))


@cache
def _files_of_mixzoo() -> list[str]:
    return _lines_under([Path(__file__).parents[1]])


def _lines_under(roots: Iterable[Path]) -> list[str]:
    lines: list[str] = []
    try:
        for root in roots:
            for file in _walked(root):
                lines.append(_line(file))
                if len(lines) > MOST_FILES:
                    return []
    except OSError:
        return []
    return lines


def _walked(root: Path) -> Iterator[str]:
    if not root.is_dir():
        yield str(root)
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(names))


def _line(file: str) -> str:
    state = os.stat(file)
    return f"{file}\t{state.st_size}\t{state.st_mtime_ns}\t{state.st_ctime_ns}"


def _part(row: Fields) -> CachedPart:
    """A part in a cache file. Raises CheckpointError if the row has another form."""
    text = row.part("text")
    about = "\n".join(map(printable, text.lines("about").split("\n")))
    options = tuple(_option(option) for option in text.rows("options"))
    suited = dict(text.part("run_defaults").values)
    return CachedPart(row.text("kind"), row.text("name"), PartText(text.text("summary"), about, options, suited))


def _option(row: Fields) -> OptionText:
    return OptionText(
        name=row.text("name"),
        type=row.text("type"),
        required=row.flag("required"),
        default=row.values.get("default"),
        default_text=row.text("default_text"),
        help=row.text("help"),
    )
