"""Where the parts of a run came from, so that a run goes on with the same parts or says which one is missing.

environment.json records it; run.toml names parts only. What is recorded is compared and reported, never loaded.
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
    """A part that a run uses and the plugin that it came from."""

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
    """The parts that the run uses, those inside other parts too, as environment.json has them."""
    named = [(kind, config.names[kind]) for kind in config.parts]
    named += [("metric", parse_spec(spec).name) for spec, _ in config.metrics]
    entries = [zoo.find(kind, name) for kind, name in named]
    for recipe in (*config.parts.values(), *(recipe for _, recipe in config.metrics)):
        entries += [zoo.find(part.kind, part.name) for part in _inside(recipe)]
    return [_origin(entry) for i, entry in enumerate(entries) if entry not in entries[:i]]


def recorded(environment: Fields) -> list[Origin]:
    """What environment.json says of the run's parts; raises CheckpointError if it says it in no such form."""
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
        raise CheckpointError(
            f"{environment.where}: its table of parts is damaged; copy the file back, or start a new run"
        ) from err


@cache
def source_revision() -> dict[str, object]:
    """The commit of mixzoo's own source, and whether files differ from it; empty if it is no git checkout."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
        return done.stdout.decode(errors="replace").strip()

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--", "mixzoo", "plugins"))}
    except (OSError, subprocess.SubprocessError):  # no git, or one that does not answer
        return {}


def same_parts(zoo: Zoo, parts: list[Origin], where: str) -> Zoo:
    """The zoo in which the run's names mean what they meant when it began, whatever else claims them since.

    CheckpointError for a part whose plugin is not there: where it came from, and what to do.
    """
    there = {(entry.kind, entry.name, entry.plugin.distribution) for entry in zoo.registered}
    for part in parts:
        if part.key not in there:
            raise CheckpointError(f"{where}: {part} came from {_missing(zoo, part)}")
    used = {part.key for part in parts}
    claimed = {(part.kind, part.name) for part in parts}
    kept = [
        entry
        for entry in zoo.registered
        if (entry.kind, entry.name) not in claimed or (entry.kind, entry.name, entry.plugin.distribution) in used
    ]
    return Zoo(zoo.plugins, kept)


def changes(zoo: Zoo, parts: list[Origin]) -> list[str]:
    """A line for each part whose plugin has another version than when the run began."""
    now = {(o.kind, o.name, o.plugin.distribution): o.plugin for o in zoo.registered}
    lines = []
    for part in parts:
        plugin = now.get(part.key)
        if plugin is None or part.distribution == OWN:  # mixzoo's own version is compared with the packages'
            continue
        if (plugin.version, plugin.sha256) != (part.version, part.sha256):
            what = "SHA-256 " if part.file else ""
            lines.append(
                f"{part} came from {part.distribution} {what}{part.version}, which is {what}{plugin.version} now; "
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
    """Where it came from, why it is not there, what to do."""
    if part.file:
        return f"the file {part.file}, which is not loaded; add --plugin {part.file}"
    origin = f"{part.distribution} {part.version}"
    for plugin in zoo.plugins:
        if plugin.distribution == part.distribution:
            why = f"is broken: {plugin.problem}" if plugin.problem else f"has no such {part.kind}"
            return f"{origin}, and version {plugin.version} here {why}; pip install {part.distribution}=={part.version}"
    try:
        version(part.distribution)
    except (PackageNotFoundError, ValueError):
        return f"{origin}, which is not installed; pip install {part.distribution}=={part.version}"
    return f"{origin}, which is installed and not loaded; leave --no-plugins out"
