"""The manifest of a checkpoint: what it knows beside tensors, and the size and hash of every file of them.

    manifest.json    {"format": 2, "step": 400, "metrics_bytes": 5120, "probe": {...}, "files": {...}, "run": ...}
    manifest.sha256  the manifest's own hash, as `sha256sum -c` reads it

Checkpoints of format 1 have no second file, no sizes and no run file; they are still read.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mixzoo.core.errors import CheckpointError, printable
from mixzoo.core.json_file import Fields, parse_object
from mixzoo.core.storage import read_regular
from mixzoo.evaluation.probe import ProbeRecord

FORMAT = 2
MANIFEST, HASH = "manifest.json", "manifest.sha256"
MOST_BYTES = 1_000_000  # of a manifest
MOST_STEPS = 10**18
_FILE = re.compile(r"[A-Za-z0-9_-]+\.safetensors")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Progress:
    """What a checkpoint knows beside tensors."""

    step: int  # optimisation steps done
    metrics_bytes: int  # length of metrics.jsonl at that step
    probe: ProbeRecord
    # At a last step that is evaluated only because it is the last: what a run of more steps has there.
    longer: "Progress | None" = None


@dataclass(frozen=True)
class File:
    """A file of tensors as it was written."""

    sha256: str
    bytes: int | None  # None in format 1


@dataclass(frozen=True)
class Manifest:
    """A manifest, every value checked."""

    progress: Progress
    files: dict[str, File]
    run: str  # run.toml of the steps that led here; '' in format 1
    format: int = FORMAT


def manifest_files(progress: Progress, files: dict[str, bytes], run: str) -> dict[str, bytes]:
    """The manifest of these files of tensors and the file with its hash, by name."""
    table = {name: asdict(File(hashlib.sha256(content).hexdigest(), len(content))) for name, content in files.items()}
    values = {"format": FORMAT, **_written(progress), "files": table, "run": run}
    if progress.longer is not None:
        values["longer"] = _written(progress.longer)
    content = json.dumps(values, indent=2, allow_nan=False).encode()
    return {MANIFEST: content, HASH: f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()}


def read_manifest(checkpoint: Path) -> Manifest:
    """The manifest of a checkpoint; raises CheckpointError if it is damaged, or not of this checkpoint."""
    where = printable(str(checkpoint / MANIFEST))
    try:
        content = read_regular(checkpoint / MANIFEST, MOST_BYTES)
        fields = parse_object(content, where)
        format_ = fields.integer("format")
        if format_ not in (1, FORMAT):
            raise CheckpointError(f"{where}: format {format_}, and this mixzoo reads formats 1 and {FORMAT}")
        if format_ > 1:
            _check_hash(checkpoint, content)
    except OSError as err:
        raise CheckpointError(f"{where}: cannot be read: {err.strerror or err}") from err
    longer = _progress(fields.part("longer")) if "longer" in fields else None
    progress = _progress(fields, longer)
    if checkpoint.name != f"step-{progress.step:08d}":
        raise CheckpointError(f"{where}: damaged: it is of step {progress.step}")
    run = fields.lines("run") if format_ > 1 else ""
    return Manifest(progress, _files(fields.part("files"), format_), run, format_)


def _check_hash(checkpoint: Path, content: bytes) -> None:
    recorded = read_regular(checkpoint / HASH, 1000).decode(errors="replace").split()
    if recorded[:1] != [hashlib.sha256(content).hexdigest()]:
        raise CheckpointError(
            f"{printable(str(checkpoint / MANIFEST))}: damaged (its SHA-256 is not the one in {HASH})"
        )


def _written(progress: Progress) -> dict[str, Any]:
    return {"step": progress.step, "metrics_bytes": progress.metrics_bytes, "probe": asdict(progress.probe)}


def _progress(fields: Fields, longer: Progress | None = None) -> Progress:
    step = fields.integer("step", most=MOST_STEPS)
    of_probe = fields.part("probe")
    none_yet = of_probe.number("best_validation", -1, 1) == -1  # the value before a first evaluation
    probe = ProbeRecord(
        best_validation=of_probe.number("best_validation", -1 if none_yet else 0, 1),
        best_step=of_probe.integer("best_step", most=step),
        test_at_best=of_probe.number("test_at_best", 0, 1),
        last_validation=of_probe.number("last_validation", 0, 1),
        last_test=of_probe.number("last_test", 0, 1),
    )
    return Progress(step, fields.integer("metrics_bytes"), probe, longer)


def _files(fields: Fields, format_: int) -> dict[str, File]:
    """The table of files; names are those of files in the checkpoint itself, and never paths."""
    found = {}
    for name in fields.names():
        if not _FILE.fullmatch(name):
            raise CheckpointError(f"{fields.where}: damaged: {printable(repr(name))} is no name of a file of tensors")
        entry = fields.part(name) if format_ > 1 else fields
        digest = entry.text("sha256" if format_ > 1 else name)
        if not _DIGEST.fullmatch(digest):
            raise CheckpointError(f"{fields.where}: damaged: the hash of {name} is no SHA-256")
        found[name] = File(digest, entry.integer("bytes") if format_ > 1 else None)
    return found
