"""Bits of a run's files flipped, and files cut short: found by whatever reads the run, or without effect on it.

`Patient.look` reads the damaged run in this process as `mixzoo resume`, `load`, `evaluate`, `interpolate` and `runs`
do, without training on.
"""

import contextlib
import os
import random
from collections import Counter
from pathlib import Path

import jobs
import torch

from mixzoo.core.errors import MixzooError
from mixzoo.registry.config import resolve
from mixzoo.runs.listing import find_runs
from mixzoo.runs.opening import open_config, open_run
from mixzoo.runs.reading import known_environment, known_result
from mixzoo.runs.resuming import plan_resume
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import restore, state_of
from toys import ToyData

FOUND = ("refused", "fallen back from", "rebuilt", "warned of")
EVERY = 8  # of the flips in a checkpoint are looked at by all readers; the others by a resume alone
KINDS = {  # of files, by what is after the last folder
    "tensors, header": "safetensors",
    "tensors, data": "safetensors",
    "manifest.json": "manifest.json",
    "manifest.sha256": "manifest.sha256",
    "status.json": "status.json",
    "environment.json": "environment.json",
    "results.json": "results.json",
    "run.toml": "run.toml",
    "metrics.jsonl": "metrics.jsonl",
}


class Patient:
    """A completed run of which files are damaged, one at a time, and put back."""

    def __init__(self, folder):
        self.home = Path(folder) / "run"
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
            assert jobs.main([*jobs.TRAIN, "--out", "run"], folder) == 0
        self.zoo, self.sound = jobs.the_zoo(), {}
        self.config = resolve(self.zoo, self.home / "run.toml", {}, {})
        self.data = ToyData().load(0)
        self.players = build_players(self.zoo, self.config, self.data, torch.device("cpu"), restored=True)
        self.sound = self.look()
        assert self.sound.warnings == [], self.sound.warnings
        self.before = {path: path.read_bytes() for path in self.files()}

    def files(self):
        """Those of the run and of its newest checkpoint; nobody reads an older one that is not needed."""
        newest = max((self.home / "checkpoints").iterdir())
        found = [*self.home.iterdir(), *newest.iterdir()]
        return sorted(path for path in found if path.is_file() and path.name != ".lock")

    def look(self):
        """What each reader of the run finds."""
        return Look(self)

    def quick_look(self):
        """What a resume alone takes from the checkpoints."""
        return Quick(self)

    def damaged(self, path, content, *, quick=False):
        """What comes of this content of a file: one of FOUND, "the same" or "missed", and a line."""
        path.write_bytes(content)
        try:
            return self.judged(self.quick_look() if quick else self.look())
        except MixzooError as err:
            line, *shown = str(err).split("\n")  # a spec is shown below, with a caret at the character
            return ("refused", line) if not shown or shown[-1].strip() == "^" else ("missed", f"two lines: {err}")
        except Exception as err:
            return "missed", f"a traceback: {type(err).__name__}: {err}"
        finally:
            path.write_bytes(self.before[path])

    def judged(self, found):
        line = (found.warnings or [""])[0]
        if found.values == self.sound.values:
            return ("the same", "") if not found.warnings else (found.how, line)
        return (found.how, line) if found.warnings else ("missed", "other values, and nothing was said")


class Quick:
    """The checkpoint that a resume goes on from."""

    def __init__(self, patient):
        metrics = patient.home / "metrics.jsonl"
        progress, self.warnings = restore(
            patient.home / "checkpoints", patient.players, metrics, patient.config.train.steps
        )
        self.how = "fallen back from"
        self.values = patient.sound.values if progress.step == patient.config.train.steps else None


class Look:
    """All that a resume, a listing and the readers of a run take from it, and what they say."""

    def __init__(self, patient):
        home, zoo, self.how = patient.home, patient.zoo, "warned of"
        _, config, changed = open_config(zoo, home)
        plan = plan_resume(home, config, config.train.steps)
        self.warnings = [*changed, *plan.warnings, *plan.notes, *map(str, plan.changes)]
        record, _ = known_environment(home)
        results, _ = known_result(home)
        (listed,) = find_runs([home])
        self.warnings += [listed.problem] if listed.problem and listed.problem not in self.warnings else []
        if plan.warnings or changed:
            self.how = "rebuilt"

        # The networks as a resume has them, and as the other readers do: both fall back alike.
        players = build_players(zoo, config, patient.data, torch.device("cpu"), restored=True)
        progress, damaged = restore(home / "checkpoints", players, home / "metrics.jsonl", config.train.steps)
        opened = open_run(zoo, home, "cpu")
        if [line for line in damaged if "metrics.jsonl: damaged, or edited" not in line]:
            self.how = "fallen back from"
        self.warnings += damaged
        self.warnings += [line for line in opened.changed if line not in self.warnings]
        if opened.step != progress.step and not any("metrics" in line for line in damaged):
            raise AssertionError(f"a resume goes on from step {progress.step}, and it is opened at {opened.step}")
        if self.how == "fallen back from":
            self.values = None  # of an older checkpoint
            return
        self.values = {
            "config": config.to_toml(),
            "environment": record and dict(record.values),
            "results": results and (results.steps, results.scored_step, results.numbers),
            "listed": (listed.state, listed.step, dict(listed.numbers)) if listed.table else None,
            "progress": (progress.step, progress.metrics_bytes, progress.probe),
            "state": {f"{name}.{key}": value.numpy().tobytes()
                      for name, tensors in state_of(players).items() for key, value in tensors.items()},
            "opened": {key: value.numpy().tobytes()
                       for key, value in opened.players.autoencoder.state_dict().items()},
            "metrics": (home / "metrics.jsonl").read_bytes()[: progress.metrics_bytes],
        }  # fmt: skip


def flips(folder, done, amount):
    """Rows of random flips, spread evenly over the kinds of files."""
    patient, rng = Patient(folder), random.Random(len(done))
    for number in range(len(done), amount):
        kind = list(KINDS)[number % len(KINDS)]
        path = rng.choice([path for path in patient.files() if path.name.endswith(KINDS[kind])])
        content = bytearray(patient.before[path])
        first, last = 0, len(content)
        if kind.startswith("tensors"):
            header = 8 + int.from_bytes(content[:8], "little")
            first, last = (0, header) if kind == "tensors, header" else (header, len(content))
        at, bit = rng.randrange(first, last), rng.randrange(8)
        content[at] ^= 1 << bit
        in_checkpoint, round_ = path.parent != patient.home, number // len(KINDS)
        what, line = patient.damaged(path, bytes(content), quick=in_checkpoint and round_ % EVERY > 0)
        yield row(patient, kind, path, what, line, f"byte {at}, bit {bit}")


def truncations(folder, done, amount):
    """Rows of each file cut to 0 to 16 bytes, and at every 64th byte."""
    patient, had = Patient(folder), {(row["file"], row["where"]) for row in done}
    for path in patient.files():
        content = patient.before[path]
        for length in [n for n in (*range(17), *range(64, len(content), 64)) if n < len(content)]:
            where = f"to {length} of {len(content)} bytes"
            if (str(path.relative_to(patient.home)), where) in had or (amount and length > 16 and length % amount):
                continue
            what, line = patient.damaged(path, content[:length])
            kind = next(kind for kind, ending in KINDS.items() if path.name.endswith(ending))
            yield row(patient, kind.partition(",")[0], path, what, line, where)


def row(patient, kind, path, what, line, where):
    unchanged = what == "the same" and harmless(path)
    problems = [] if what in FOUND or unchanged else [f"{what}: {line}"]
    file, line = (
        str(path.relative_to(patient.home)),
        line.replace(str(patient.home.parent), "").replace("/run/", "run/"),
    )
    return {"kind": kind, "file": file, "where": where, "what": what, "line": line, "problems": problems}


def harmless(path):
    """Whether a change of this file can leave all values as they were.

    White space of TOML, the e of 1e-05, the name of the file in manifest.sha256; in metrics.jsonl nothing can.
    """
    return path.name in ("manifest.sha256", "run.toml", *jobs.RECORDS)


def table(rows, title, column):
    kinds = dict.fromkeys(row["kind"] for row in rows)
    lines = [f"## {title}", "", f"| file | {column} | {' | '.join(FOUND)} | no value changed | missed |",
             f"|---|{'---|' * (len(FOUND) + 3)}"]  # fmt: skip
    for kind in kinds:
        found = Counter(row["what"] for row in rows if row["kind"] == kind)
        cells = [sum(found.values()), *(found[what] for what in FOUND), found["the same"], found["missed"]]
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    return lines


def flips_table(rows):
    return table(rows, "Flipped bits", "flips")


def truncations_table(rows):
    return table(rows, "Files cut short", "lengths")
