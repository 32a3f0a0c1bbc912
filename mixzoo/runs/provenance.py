"""Which plugin each part of a run came from, so that a run is resumed with the same parts or names the missing one.

run.toml has only the names of parts; environment.json records their plugins. These records are compared and reported;
no code is loaded from them.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mixzoo.core.errors import CheckpointError
from mixzoo.core.json_file import Fields
from mixzoo.registry.config import RunConfig
from mixzoo.registry.options import Part
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import OWN, RegisteredPart, Zoo


@dataclass(frozen=True)
class Origin:
    """A part of a run and the plugin that it came from."""

    kind: str
    name: str
    distribution: str
    version: str
    file: str = ""
    sha256: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.name, self.distribution)

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def origins(zoo: Zoo, config: RunConfig) -> list[dict[str, str]]:
    """The parts of the run, including those inside other parts, in the form of environment.json."""
    named = [(kind, config.names[kind]) for kind in config.parts]
    named += [("metric", parse_spec(spec).name) for spec, _ in config.metrics]
    entries = [zoo.find(kind, name) for kind, name in named]
    for recipe in (*config.parts.values(), *(recipe for _, recipe in config.metrics)):
        entries += [zoo.find(part.kind, part.name) for part in _inside(recipe)]
    return [_origin(entry) for i, entry in enumerate(entries) if entry not in entries[:i]]


def recorded(environment: Fields) -> list[Origin]:
    """The run's parts as recorded in environment.json. Raises CheckpointError if the table is damaged."""
    try:
        rows = environment.rows("parts", optional=True)
        allowed = {f.name for f in fields(Origin)}
        if any(not set(row.names()) <= allowed for row in rows):
            raise CheckpointError("an unknown key")
        return [
            Origin(
                kind=row.text("kind"),
                name=row.text("name"),
                distribution=row.text("distribution"),
                version=row.text("version"),
                file=row.text("file", ""),
                sha256=row.text("sha256", ""),
            )
            for row in rows
        ]
    except CheckpointError as err:
        raise CheckpointError(f"{environment.where}: its table of parts is damaged") from err


@cache
def source_revision() -> dict[str, object]:
    """The commit of mixzoo's own source and whether files differ from it; empty outside a git checkout."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        result = subprocess.run(command, capture_output=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
        return result.stdout.decode(errors="replace").strip()

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--", "mixzoo", "plugins"))}
    except (OSError, subprocess.SubprocessError):  # git is missing, or fails
        return {}


def same_parts(zoo: Zoo, parts: list[Origin], where: str) -> Zoo:
    """The zoo in which the names of the run's parts belong to their original plugins, not to ones installed since.

    Raises CheckpointError if the plugin of a part is missing; the message says where it came from and what to do.
    """
    available = {(entry.kind, entry.name, entry.plugin.distribution) for entry in zoo.registered}
    for part in parts:
        if part.key not in available:
            raise CheckpointError(f"{where}: {part} came from {_missing(zoo, part)}")

    # Of all parts with a name that the run uses, only the run's own stays.
    used = {part.key for part in parts}
    claimed = {(part.kind, part.name) for part in parts}
    kept = [
        entry
        for entry in zoo.registered
        if (entry.kind, entry.name) not in claimed or (entry.kind, entry.name, entry.plugin.distribution) in used
    ]
    return Zoo(zoo.plugins, kept)


def changes(zoo: Zoo, parts: list[Origin]) -> list[str]:
    """A warning for each part whose plugin has another version than when the run was started."""
    now = {(o.kind, o.name, o.plugin.distribution): o.plugin for o in zoo.registered}
    lines = []
    for part in parts:
        plugin = now.get(part.key)
        if plugin is None or part.distribution == OWN:  # mixzoo's own version is compared as a package
            continue
        if (plugin.version, plugin.sha256) != (part.version, part.sha256):
            unit = "SHA-256 " if part.file else ""
            lines.append(
                f"{part} came from {part.distribution} {unit}{part.version}, which is now {unit}{plugin.version}; "
                "results may differ"
            )
    return lines


def _origin(entry: RegisteredPart) -> dict[str, str]:
    plugin = entry.plugin
    origin = {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
    }
    return origin | ({"file": plugin.file, "sha256": plugin.sha256} if plugin.file else {})


def _inside(recipe: Any) -> Iterator[Part[Any]]:
    """The parts among a recipe's options, at any depth."""
    for option in (getattr(recipe, f.name, None) for f in fields(recipe)) if is_dataclass(recipe) else ():
        if isinstance(option, Part):
            yield option
            yield from _inside(option.recipe)


def _missing(zoo: Zoo, part: Origin) -> str:
    """Where the part came from, why it is missing, and what to do."""
    if part.file:
        return f"the file {part.file}, which is not loaded; add --plugin {part.file}"
    origin = f"{part.distribution} {part.version}"
    for plugin in zoo.plugins:
        if plugin.distribution == part.distribution:
            reason = f"is broken: {plugin.problem}" if plugin.problem else f"has no such {part.kind}"
            return (
                f"{origin}, but the installed version {plugin.version} {reason}; "
                f"pip install {part.distribution}=={part.version}"
            )
    try:
        version(part.distribution)
    except (PackageNotFoundError, ValueError):
        return f"{origin}, which is not installed; pip install {part.distribution}=={part.version}"
    return f"{origin}, which is installed but not loaded; leave --no-plugins out"
