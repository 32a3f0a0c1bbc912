"""Kills runs thousands of times and resumes them: python benchmarks/kills.py [--state FILE] [--table]

Prints the table of benchmarks/results/kills.md and writes it there. Each batch adds a line to the state file, and one
that is there is not done again: a run that was cut goes on, and --table prints what there is.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests/faults")]

from kill_loop import PROBLEMS, kills_at_the_start, kills_inside_commits, random_kills  # noqa: E402
from kill_parts import CASES  # noqa: E402
from kill_signals import second_interrupts, signals  # noqa: E402

RESULT = HERE / "results/kills.md"
NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
TWICE = "SIGINT twice"
PARTS = {  # name -> what it counts, how many in all, how many in a batch
    "random": ("kills", 5000, 125),
    "inside": ("checkpoint", 500, 25),
    "start": ("kills", 500, 25),
    **{name: ("signals", 50, 10) for name in (*NAMES, TWICE)},
}
WHAT = {
    "random": "kills at random instants of a run or of its resume",
    "inside": "kills inside the write of a checkpoint",
    "start": "kills of a new run, before or just after its first checkpoint",
}
HEADER = """# Killed, resumed, compared, {date}

Printed by `python benchmarks/kills.py` on {machine}:
{versions}. {sources}.

Runs of 60 steps ({cases}): an auto-encoder with batch norm and dropout, a
discriminator with spectral norm, a probe; a checkpoint every 2 steps, an evaluation with a picture every 5. A run is
forked from a process that has imported torch, killed with SIGKILL, resumed, and killed again until it completes. After
each kill every checkpoint is read and compared with the unbroken run's at that step; at the end every file of the run
is, apart from times. New runs of the third row have 20 steps, those that get signals 12 to 20.
"Lost": fewer steps are committed than before, or the last two steps trained and more are not.
Aimed at, in this order of rows: {aims}; {done} of {batches} batches are done.
"""
WRITES = """Of the writes that were cut, {checkpoint} were of a checkpoint, {purge} the removal of one, {picture}
of a picture, {file} of a small file, {directory} of a new run's directory. {before the directory} kills came before a
run had its directory, {before the first checkpoint} between that and its first checkpoint."""
SIGNALS = (
    "signal, at a random instant of a command", "sent", "committed: exit 75", "completed: 0",
    "ended at once: 130 or the signal",
    "seconds until 75: median", "longest", "resumed: bits different", "other problems",
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """A number of kills or signals in runs of one case, with a seed of their own."""

    part: str
    number: int

    @property
    def case(self) -> str:
        return list(CASES)[self.number % len(CASES)]

    def report(self) -> dict[str, Any]:
        folder, begun = Path(tempfile.mkdtemp(prefix="kills-")), perf_counter()
        found = self._work(folder, PARTS[self.part][2])
        if not found["problems"]:
            shutil.rmtree(folder)
        return {
            "part": self.part,
            "number": self.number,
            "source": source(),
            **found,
            "seconds": perf_counter() - begun,
        }

    def _work(self, folder: Path, count: int) -> dict[str, Any]:
        if self.part in NAMES:
            return signals(folder, self.case, self.part, self.number, count)
        if self.part == TWICE:
            return second_interrupts(folder, self.case, self.number, count)
        work = {"random": random_kills, "inside": kills_inside_commits, "start": kills_at_the_start}[self.part]
        return vars(work(folder, self.case, self.number, count))


def source() -> str:
    """The commit that is run, or MIXZOO_SOURCE."""
    asked = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return os.environ.get("MIXZOO_SOURCE") or asked.stdout.strip() or "unknown"


def batches() -> Iterator[Batch]:
    """All of them, in an order in which a cut leaves some of each part."""
    counts = {part: total // size for part, (_, total, size) in PARTS.items()}
    found = [(number / count, Batch(part, number)) for part, count in counts.items() for number in range(count)]
    return (batch for _, batch in sorted(found, key=lambda pair: pair[0]))


def table(lines: list[dict[str, Any]]) -> str:
    """The rows of all batches that there are."""
    kinds = [kind for kind in PROBLEMS if kind != "wrong end"]
    rows = [
        f"| | kills | inside a write | runs completed | {' | '.join(kinds)} |",
        "|---|---|---|---|" + "---|" * len(kinds),
    ]
    for part, text in WHAT.items():
        own = [line for line in lines if line["part"] == part]
        counts, problems = total(own)
        kills = [counts["kills"], counts["inside a write"], sum(line["runs"] for line in own)]
        rows.append(f"| {text} | {' | '.join(map(str, [*kills, *(problems[kind] for kind in kinds)]))} |")
    counts, _ = total([line for line in lines if line["part"] in WHAT])
    rows += ["", WRITES.format_map(counts), "", f"| {' | '.join(SIGNALS)} |", "|---" * len(SIGNALS) + "|"]
    for name in (*NAMES, TWICE):
        own = [line for line in lines if line["part"] == name]
        _, problems = total(own)
        codes = Counter[int]()
        for line in own:
            codes.update({int(code): count for code, count in line["codes"].items()})
        seconds = [value for line in own for value in line.get("seconds_to_end", [])]
        latency = [f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"] if seconds else ["", ""]
        other = sum(problems.values()) - problems["bits different"]
        at_once = sum(count for code, count in codes.items() if code not in (0, 75))
        cells = (name, sum(codes.values()), codes[75], codes[0], at_once, *latency, problems["bits different"], other)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def total(lines: list[dict[str, Any]]) -> tuple[Counter[str], Counter[str]]:
    """The counts of batches, and how many problems of each kind they have."""
    counts, problems = Counter[str](), Counter[str]()
    for line in lines:
        counts.update(line["counts"])
        problems.update({kind: len(found) for kind, found in line["problems"].items()})
    return counts, problems


def header(lines: list[dict[str, Any]]) -> str:
    kills = Counter[str]()
    for line in lines:
        if line["part"] in WHAT:
            kills[line["source"]] += line["counts"]["kills"]
    versions = ", ".join(f"{name} {version(name)}" for name in ("mixzoo", "torch", "safetensors", "pillow"))
    return HEADER.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=f"{os.cpu_count()} CPU cores ({platform.machine()}), load {os.getloadavg()[2]:.0f}",
        versions=f"{versions}, Python {platform.python_version()}",
        sources="Kills by commit: " + ", ".join(f"{count} at {name}" for name, count in kills.items()),
        cases="; ".join(CASES),
        aims=", ".join(f"{PARTS[part][1]:,}" for part in WHAT) + f", and {PARTS[TWICE][1]} of each signal",
        done=len(lines),
        batches=len(list(batches())),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "mixzoo-kills.jsonl")
    parser.add_argument("--table", action="store_true", help="print the table of what there is")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.state.read_text().splitlines()] if given.state.exists() else []
    done = {(line["part"], line["number"]) for line in lines}
    for batch in () if given.table else batches():
        if (batch.part, batch.number) not in done:
            lines.append(batch.report())
            with given.state.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(lines[-1], file=sys.stderr, flush=True)
    text = f"{header(lines)}\n{table(lines)}\n"
    print(text)
    RESULT.write_text(text)
    sys.exit(any(line["problems"] for line in lines))


if __name__ == "__main__":
    main()
