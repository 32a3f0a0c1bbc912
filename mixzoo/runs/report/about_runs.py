"""What was run: for each run its parts, data, numbers, machine, and the command that trains it again."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from mixzoo.core.errors import CheckpointError, MixzooError
from mixzoo.core.json_file import Fields, read_object
from mixzoo.registry.options import as_text
from mixzoo.runs.changes import recorded_changes
from mixzoo.runs.comparing import Variant, variants_of
from mixzoo.runs.listing import PARTS, SWEEP, RunRecord, dotted
from mixzoo.runs.provenance import recorded
from mixzoo.runs.report.naming import Naming
from mixzoo.runs.report.rerun import rerun, typed

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue

LARGEST_HEADER = 16_000_000  # bytes of a safetensors header that are read


@dataclass(frozen=True)
class RunText:
    """A run as the page describes it."""

    name: str
    variant: str  # what sets its config apart from the other runs', without the seed
    seed: int
    state: str
    progress: str  # "2000 of 2000"
    seconds: str  # of training
    device: str
    weights: str  # how many numbers the auto-encoder has learned
    facts: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str]]  # run.toml, by dotted key
    command: Sequence[str]  # its words, quoted for a shell; none if the run file cannot be read
    notes: Sequence[str]


def run_texts(records: Sequence[RunRecord], naming: Naming) -> list[RunText]:
    """Each run in words, a damaged one with a note of what is wrong."""
    of = {run.path: variant for variant in variants_of(records) for run in variant.runs}
    return [_text(record, of[record.path], naming) for record in records]


def shared_parts(records: Sequence[RunRecord]) -> dict[str, str]:
    """Kind of part -> the one that all runs have in common."""
    found = {kind: {record.part(kind) for record in records if record.table} for kind in PARTS}
    return {kind: names.pop() for kind, names in found.items() if len(names) == 1 and any(names)}


def part_summaries(records: Sequence[RunRecord], catalogue: "Catalogue") -> list[tuple[str, str, str]]:
    """(kind, name, what it does in one line) of every part of these runs."""
    rows = []
    for kind in PARTS:
        for name in dict.fromkeys(str(record.value(kind)) for record in records if record.value(kind) is not None):
            known = [e for e in catalogue.of_kind(kind) if name in (e.name, e.full_name)]
            rows.append((kind, name, known[0].summary if len(known) == 1 else ""))
    return rows


def sweep_commands(records: Sequence[RunRecord], naming: Naming) -> list[tuple[str, list[str]]]:
    """(name, words of the command) of each sweep that some of the runs belong to, as it was typed."""
    found = []
    for sweep in dict.fromkeys(record.sweep for record in records if record.sweep):
        try:
            words = read_object(sweep / SWEEP).text_list("command")
        except CheckpointError:  # its runs have their own commands
            continue
        if not words:  # started from Python
            continue
        found.append((naming.public(sweep.resolve().name), typed(words, naming.public)))
    return found


def duration(seconds: float) -> str:
    """A time as a person says it, such as "4 min 45 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _text(record: RunRecord, variant: Variant, naming: Naming) -> RunText:
    notes, facts, files = [], list[tuple[str, str]](), list[str]()
    seconds = device = ""
    if record.problem:
        what = "The status of this run" if record.table else "This run"
        notes.append(f"{what} cannot be read: {naming.public(record.problem)}.")
    elif record.state != "completed":
        notes.append(f"This run is {record.state}: it has taken {record.step} of {record.steps} steps.")
    notes += [f"Warning: {naming.public(warning)}." for warning in record.warnings]
    if record.stale:
        notes.append(f"Its scores are left out: {naming.public(record.stale)}.")
    try:
        if (record.path / "environment.json").is_file():
            environment = read_object(record.path / "environment.json")
            seconds = duration(environment.number("seconds")) if "seconds" in environment else ""
            device = _device(environment)
            facts = _facts(environment, naming.public)
            files = [origin.file for origin in recorded(environment) if origin.file]
            facts += [
                ("Changed", f"after step {c.step}: {naming.public(str(c))}") for c in recorded_changes(environment)
            ]
    except CheckpointError as err:
        notes.append(f"Its record of versions and machine cannot be read: {naming.public(str(err))}.")
    weights = _weights(record.path / "checkpoints" / f"step-{record.step:08d}" / "autoencoder.safetensors")
    return RunText(
        name=naming.names[record.path],
        variant=naming.public(variant.name) if any(variant.settings.values()) else "",
        seed=record.seed,
        state=record.state,
        progress=f"{record.step} of {record.steps}" if record.steps else "",
        seconds=seconds,
        device=device,
        weights=f"{weights:,}" if weights else "",
        facts=facts,
        settings=[(key, naming.public(_value(value))) for key, value in dotted(record.table).items()],
        command=rerun(record.table, naming.public, files) if record.table else [],
        notes=notes,
    )


def _device(environment: Fields) -> str:
    name = environment.text("device_name", "")
    processes, threads = environment.integer("processes", default=1), environment.integer("threads", default=0)
    words = [f"{environment.text('device', '')}{f' ({name})' if name else ''}"]
    if words[0].startswith("cpu") and threads:
        words.append(f"{threads} thread{'s' if threads > 1 else ''}")
    if processes > 1:
        words.append(f"{processes} processes")
    return ", ".join(words)


def _facts(environment: Fields, public: Callable[[str], str]) -> list[tuple[str, str]]:
    """What the record says of data and versions. The names of machines are in it too, and stay there."""
    packages = environment.texts("packages", {})
    versions = {"python": environment.text("python", ""), **packages, "system": environment.text("platform", "")}
    versions["system"] = versions["system"].partition("-")[0]  # the rest names a kernel that someone may have built
    plugins = sorted({f"{origin.distribution} {origin.version}".strip() for origin in recorded(environment)})
    found = [
        ("Data", public(environment.text("data", ""))),
        ("Fingerprint of the data", environment.text("data_fingerprint", "")),
        ("Files left out of the data", _skipped(environment, public)),
        ("Started", environment.text("started", "")),
        ("Ended", environment.text("ended", "")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("Parts come from", public(", ".join(plugins))),
    ]
    if "source" in environment and "commit" in (source := environment.part("source")):
        changed = " with changes" if source.flag("dirty", False) else ""
        found.append(("Source of mixzoo", f"commit {source.text('commit')}{changed}"))
    return [(name, value) for name, value in found if value]


def _skipped(environment: Fields, public: Callable[[str], str]) -> str:
    """How many files of the data could not be read and were left out, and the first ones; '' if there are none."""
    skipped = environment.part("data_skipped") if "data_skipped" in environment else None
    if skipped is None or not (count := skipped.integer("files")):
        return ""
    first = ", ".join(f"{name} ({reason})" for name, reason in skipped.texts("first").items())
    return f"{count}: {public(first)}{' and others' if count > len(skipped.texts('first')) else ''}"


def _weights(file: Path) -> int:
    """The numbers in a safetensors file, from its header alone; 0 if it cannot be read."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, LARGEST_HEADER)))
        return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError, MixzooError):
        return 0


def _value(value: object) -> str:
    return ", ".join(map(as_text, value)) if isinstance(value, list) else as_text(value)


def best_of_each(records: Sequence[RunRecord], score: str, sign: Mapping[str, int]) -> list[RunRecord]:
    """Of each variant the run with the best score, or its first run that has a checkpoint."""
    found = []
    for variant in variants_of(records):
        having = [run for run in variant.runs if run.step]
        if having:
            direction = sign.get(having[0].better.get(score, "more"), 1)
            found.append(
                max(having, key=lambda run: direction * run.numbers[score] if score in run.numbers else -1e300)
            )
    return found
