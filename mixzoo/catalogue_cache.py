"""What a plugin offered when it was loaded, kept in the user's cache folder: $XDG_CACHE_HOME/mixzoo or ~/.cache/mixzoo.

One JSON file for each plugin, with a fingerprint of all that it depends on: the versions of Python and of the plugin's
distribution, and path, size and times of every file of mixzoo, of the plugin's package and of its recipes' classes. A
file that is damaged, or whose fingerprint differs, counts as none, and a folder that cannot be written is no error.
Nothing is run or imported because of what a file says.

Not seen are changes outside of those files, such as a variable of the environment on which a plugin's hook depends.
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

from mixzoo.descriptions import Description, OptionText, PartText
from mixzoo.errors import CheckpointError, printable
from mixzoo.json_file import Fields, read_object
from mixzoo.offers import Plugin, RegisteredPart

FORMAT = 1  # raised when what is kept changes its form
MOST_FILES = 5_000  # of a package; one with more is not cached
LARGEST = 10_000_000  # bytes of a file that is read


@dataclass(frozen=True)
class Dependencies:
    """What the answers of a plugin depend on beside itself and mixzoo: packages as a whole, and single files."""

    packages: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class CachedPart:
    """A part in a file of the cache."""

    kind: str
    name: str
    text: PartText


@dataclass(frozen=True)
class CachedPlugin:
    """A file of the cache."""

    fingerprint: str
    dependencies: Dependencies
    changed: tuple[str, ...]  # of the process, as `Plugin.changed`
    parts: tuple[CachedPart, ...]


class PluginCache:
    """What is kept of one installed plugin."""

    def __init__(self, point: EntryPoint, plugin: Plugin) -> None:
        self.plugin = plugin
        self.package = point.module.partition(".")[0]
        self.identity = f"{FORMAT}\n{sys.version}\n{sys.flags.optimize}\n{plugin}\n{point.value}"
        where = [sys.prefix, point.name, point.value, plugin.distribution, *map(str, _roots(self.package))]
        self.name = f"{sha256(json.dumps(where).encode()).hexdigest()[:32]}.json"

    def fingerprint(self, beside: Dependencies | None = None) -> str:
        """A hash of all that the answers depend on, or '' if they are not to be kept."""
        packages = {"mixzoo", self.package, *(beside.packages if beside else ())}
        found = [_files_of(package) for package in sorted(packages)]
        if not all(found):
            return ""
        try:
            lines = [line for files in found for line in files]
            lines += [_line(file) for file in (beside.files if beside else ())]
        except OSError:
            return ""
        return sha256("\n".join([self.identity, *_sites(), *lines]).encode(errors="surrogateescape")).hexdigest()

    def read(self) -> CachedPlugin | None:
        """What the plugin offered, if nothing that it depends on has changed since."""
        folder = _folder()
        if folder is None:
            return None
        try:
            kept = read_object(folder / self.name, LARGEST)
            files = kept.part("dependencies")
            beside = Dependencies(tuple(files.text_list("packages")), tuple(files.text_list("files")))
            cached = CachedPlugin(
                fingerprint=kept.text("fingerprint"),
                dependencies=beside,
                changed=tuple(kept.text_list("changed")),
                parts=tuple(_part(row) for row in kept.rows("parts")),
            )
        except CheckpointError:  # missing or damaged
            return None
        return cached if cached.fingerprint == self.fingerprint(beside) else None

    def write(
        self, changed: Iterable[str], entries: Iterable[RegisteredPart], described: Iterable[Description]
    ) -> None:
        """Keep it, whole or not at all, if the folder can be written."""
        recipes = [entry.recipe for entry in entries]
        if any(f.init and f.default_factory is not MISSING for recipe in recipes for f in fields(recipe)):
            return  # a default that is computed may be another next time
        beside = _dependencies(recipes)
        parts = tuple(CachedPart(part.kind, part.name, part.text) for part in described)
        cached = CachedPlugin(self.fingerprint(beside), beside, tuple(changed), parts)
        folder = _folder()
        if folder is None or not cached.fingerprint:
            return
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
    """Where it is kept; None if there is no home."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(stated) if os.path.isabs(stated) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "mixzoo" / "plugins"


def _dependencies(recipes: Iterable[type[Any]]) -> Dependencies:
    """The packages in which recipes are defined, and the files of the classes that they derive from."""
    packages, files = set(), set()
    for recipe in recipes:
        packages.add(recipe.__module__.partition(".")[0])
        for base in recipe.__mro__[1:]:
            file = getattr(sys.modules.get(base.__module__), "__file__", None)  # built-in modules have none
            files.update([file] if isinstance(file, str) else [])
    return Dependencies(tuple(sorted(packages)), tuple(sorted(files)))


def _sites() -> Iterator[str]:
    """When something was last installed or removed: an optional dependency may decide on what a plugin offers."""
    for folder in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        yield _line(folder) if os.path.isdir(folder) else folder


def _roots(package: str) -> list[Path]:
    """The folders of a package, or the file of a module, found without importing it; none if there is no such."""
    try:
        spec = find_spec(package)
    except Exception:  # whatever a finder makes of it; importing it then says what is wrong
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(location) for location in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin and spec.has_location else []


def _files_of(package: str) -> list[str]:
    """A line for each file of the package; none if they cannot be listed or are too many."""
    if package in ("mixzoo", ""):
        return _files_of_mixzoo() if package else []
    return _lines_under(_roots(package))


@cache
def _files_of_mixzoo() -> list[str]:
    return _lines_under([Path(__file__).parent])


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
    """A part of a file of the cache; raises CheckpointError if it has another form."""
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
