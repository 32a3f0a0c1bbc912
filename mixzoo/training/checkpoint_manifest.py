"""The manifest of a checkpoint: all that is saved except tensors, and the size and hash of every tensor file.

    manifest.json    {"format": 2, "step": 400, "metrics_bytes": 5120, "probe": {...}, "files": {...}, "run": ..., ...}
    manifest.sha256  the hash of manifest.json, in the format of `sha256sum -c`

Checkpoints of format 1 have no manifest.sha256, no sizes and no run file. They can still be read.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mixzoo.core.errors import CheckpointError, printable
from mixzoo.core.json_file import Fields, parse_object
from mixzoo.core.storage import read_regular
from mixzoo.evaluation.probe import ProbeRecord

FORMAT = 2
MANIFEST, HASH = "manifest.json", "manifest.sha256"
MOST_BYTES = 1_000_000  # of a manifest; a longer one is damaged
MOST_STEPS = 10**18
_FILE = re.compile(r"[A-Za-z0-9_-]+\.safetensors")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Progress:
    """How far a run has come: what a checkpoint has in addition to tensors."""

    step: int  # optimisation steps done
    metrics_bytes: int  # length of metrics.jsonl at that step
    probe: ProbeRecord
    # Set if the last step was evaluated only because it is the last: the progress of a run with more steps here.
    longer: "Progress | None" = None
    metrics_sha256: str = ""  # of those bytes of metrics.jsonl; '' in checkpoints of older versions


@dataclass(frozen=True)
class File:
    """The hash and size of a tensor file."""

    sha256: str  # 64 hexadecimal digits
    bytes: int | None  # None in format 1


@dataclass(frozen=True)
class Manifest:
    """A manifest with every value checked."""

    progress: Progress
    files: dict[str, File]  # by file name
    run: str  # the run.toml that the steps so far were trained with; '' in format 1
    format: int = FORMAT
    environment: Fields | None = None  # environment.json as of the run's start; None in those of older versions


def manifest_files(
    progress: Progress, files: dict[str, bytes], run: str, environment: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """The contents of manifest.json and manifest.sha256, by name; `files` are the contents of the tensor files."""
    table = {name: asdict(File(hashlib.sha256(content).hexdigest(), len(content))) for name, content in files.items()}
    values = {"format": FORMAT, **_as_dict(progress), "files": table, "run": run}
    if environment:
        values["environment"] = dict(environment)
    if progress.longer is not None:
        values["longer"] = _as_dict(progress.longer)
    content = json.dumps(values, indent=2, allow_nan=False).encode()
    return {MANIFEST: content, HASH: f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()}


def read_manifest(checkpoint: Path) -> Manifest:
    """The manifest of a checkpoint. Raises CheckpointError if it is damaged, or belongs to another checkpoint."""
    where = printable(str(checkpoint / MANIFEST))
    try:
        # The format comes before the hash, because format 1 has no file with a hash.
        content = read_regular(checkpoint / MANIFEST, MOST_BYTES)
        fields = parse_object(content, where)
        format_ = fields.integer("format")
        if format_ not in (1, FORMAT):
            raise CheckpointError(f"{where}: format {format_}; this version of mixzoo reads formats 1 and {FORMAT}")
        if format_ > 1:
            _check_hash(checkpoint, content)
    except OSError as err:
        raise CheckpointError(f"{where}: cannot be read: {err.strerror or err}") from err

    # A copy of another checkpoint's manifest has a valid hash, and only its step gives it away.
    longer = _progress(fields.part("longer")) if "longer" in fields else None
    progress = _progress(fields, longer)
    if checkpoint.name != f"step-{progress.step:08d}":
        raise CheckpointError(f"{where}: damaged: it records step {progress.step}")
    run = fields.lines("run") if format_ > 1 else ""
    environment = fields.part("environment") if "environment" in fields else None
    return Manifest(progress, _files(fields.part("files"), format_), run, format_, environment)


def _check_hash(checkpoint: Path, content: bytes) -> None:
    recorded = read_regular(checkpoint / HASH, 1000).decode(errors="replace").split()
    if recorded[:1] != [hashlib.sha256(content).hexdigest()]:
        raise CheckpointError(
            f"{printable(str(checkpoint / MANIFEST))}: damaged (its SHA-256 is not the one in {HASH})"
        )


def _as_dict(progress: Progress) -> dict[str, Any]:
    values = {"step": progress.step, "metrics_bytes": progress.metrics_bytes, "probe": asdict(progress.probe)}
    return {**values, "metrics_sha256": progress.metrics_sha256} if progress.metrics_sha256 else values


def _progress(fields: Fields, longer: Progress | None = None) -> Progress:
    step = fields.integer("step", most=MOST_STEPS)
    record = fields.part("probe")
    not_evaluated = record.number("best_validation", -1, 1) == -1  # the value before the first evaluation
    probe = ProbeRecord(
        best_validation=record.number("best_validation", -1 if not_evaluated else 0, 1),
        best_step=record.integer("best_step", most=step),
        test_at_best=record.number("test_at_best", 0, 1),
        last_validation=record.number("last_validation", 0, 1),
        last_test=record.number("last_test", 0, 1),
    )
    digest = fields.text("metrics_sha256", "")
    if digest and not _DIGEST.fullmatch(digest):
        raise CheckpointError(f"{fields.where}: damaged: 'metrics_sha256' is not a SHA-256")
    return Progress(step, fields.integer("metrics_bytes"), probe, longer, digest)


def _files(fields: Fields, format_: int) -> dict[str, File]:
    """The tensor files by name. A name must be that of a file in the checkpoint's folder, never a path."""
    files = {}
    for name in fields.names():
        if not _FILE.fullmatch(name):
            raise CheckpointError(f"{fields.where}: damaged: {printable(repr(name))} is not the name of a tensor file")
        entry = fields.part(name) if format_ > 1 else fields
        digest = entry.text("sha256" if format_ > 1 else name)
        if not _DIGEST.fullmatch(digest):
            raise CheckpointError(f"{fields.where}: damaged: the hash of {name} is not a SHA-256")
        files[name] = File(digest, entry.integer("bytes") if format_ > 1 else None)
    return files
