"""Everything to measure on a GPU, in one command: whether it trains, how correctly and how fast. Needs no network.

    python benchmarks/gpu_day.py [--minutes 9] [--json FILE] [--only ROW,...] [--data-root DIR]
    python benchmarks/gpu_day.py --device cpu --quick      the same on a small scale without a GPU

Rows run in order of importance, each in its own process with a time limit, so one failure does not hide another. The
cells before a failure are kept, and rows for which no time is left are named at the end. Exits with 1 if anything
failed. Data are `digits`, or MNIST if --data-root (or the variable MIXZOO_DATA) has a folder MNIST.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any

from gpu_day_rows import ROWS, Row
from gpu_day_runs import Cell, Day

DONE, FAILED, NOT_RUN, LEFT_OUT = "done", "failed", "not run, out of time", "left out of --quick"
GRACE = 5.0  # seconds between being asked to stop and being killed


@dataclass
class Outcome:
    """The result of a row."""

    row: Row
    state: str
    seconds: float = 0.0
    cells: list[Cell] = field(default_factory=list)
    line: str = ""  # why it failed: the last line printed, or the first failed cell

    def as_json(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("state", "cells", "line")}
        return {"row": self.row.name, "title": self.row.title, "seconds": round(self.seconds, 1), **own}


def run(row: Row, day: Day, left: float) -> Outcome:
    """Run the row in its own process, stopped after its limit or the seconds left of the day."""
    limit, start = min(row.limit, left), monotonic()
    # files, not pipes: a killed process leaves its output, and no process waits for a reader
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        command = [sys.executable, __file__, "--row", row.name, *flags_of(day)]
        with subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True) as process:
            try:
                code: int | None = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:  # together with the runs that it started, also after Ctrl-C
                end(process)
        cells, last = cells_of(read(out)), (read(err) or [f"ended with {code}"])[-1]
    took = monotonic() - start
    if code is None and limit < row.limit:
        return Outcome(row, NOT_RUN, took, cells, f"stopped after {took:.0f} s, as the day ended")
    return with_state(
        Outcome(row, DONE, took, cells), {None: f"stopped after its limit of {limit:.0f} s", 0: ""}.get(code, last)
    )


def with_state(outcome: Outcome, line: str) -> Outcome:
    """The outcome with its state: failed if there is an error line or any failed cell."""
    failed = [str(cell["failed"]) for cell in outcome.cells if "failed" in cell]
    outcome.line = line or next(iter(failed), "")
    outcome.state = FAILED if outcome.line else DONE
    return outcome


def end(process: "subprocess.Popen[bytes]") -> None:
    """Stop the row's process group: first SIGINT, so that it can stop other processes it started, then SIGKILL."""
    for kind, grace in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)


def cells_of(lines: list[str]) -> list[Cell]:
    """The cells in a row's output; libraries print too, and a killed process can leave half a line."""
    cells = []
    for line in lines:
        with suppress(json.JSONDecodeError):
            cells.append(json.loads(line))
    return [cell for cell in cells if isinstance(cell, dict)]


def read(file: IO[str]) -> list[str]:
    file.seek(0)
    return [line for line in file.read().splitlines() if line.strip()]


def flags_of(day: Day) -> list[str]:
    root = [] if day.root is None else ["--data-root", str(day.root)]
    return ["--device", day.device, *(["--quick"] if day.quick else []), *root]


def outcomes(rows: list[Row], day: Day, minutes: float) -> Iterator[Outcome]:
    """The outcome of each row, as soon as it has ended."""
    end_of_day = monotonic() + 60 * minutes
    for row in rows:
        left = end_of_day - monotonic()
        if day.quick and not row.quick:
            yield Outcome(row, LEFT_OUT)
        else:
            yield run(row, day, left) if left > row.least else Outcome(row, NOT_RUN)


def section(outcome: Outcome) -> str:
    """A heading and the table of the row's cells."""
    lines = [f"## {outcome.row.title} (`{outcome.row.name}`, {outcome.seconds:.0f} s)", ""]
    heads = list(dict.fromkeys(name for cell in outcome.cells for name in cell))
    if heads:
        lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for cell in outcome.cells:
        lines.append("| " + " | ".join(str(cell.get(name, "")).replace("|", "\\|") for name in heads) + " |")
    if outcome.line:
        lines += ["", f"{outcome.state}: {outcome.line}"]
    return "\n".join(lines) + "\n"


def summary(results: list[Outcome]) -> str:
    lines = ["## Summary", "", "| row | | seconds |", "|---|---|---|"]
    for outcome in results:
        state = f"{outcome.state}: {outcome.line}" if outcome.line else outcome.state
        lines.append(f"| {outcome.row.name} | {state} | {outcome.seconds:.0f} |")
    return "\n".join(lines)


def chosen(only: str | None) -> list[Row]:
    """The rows named in full or by the part before a dash. Raises SystemExit if a name matches no row."""
    if only is None:
        return ROWS
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if not any(name in (row.name, row.name.partition("-")[0]) for row in ROWS):
            sys.exit(f"--only {name}: no such row; rows are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if row.name in names or row.name.partition("-")[0] in names]


def data_root(given: Path | None, quick: bool) -> Path | None:
    """The folder that has MNIST, if any; a quick day uses the digits."""
    root = given or (Path(os.environ["MIXZOO_DATA"]) if os.environ.get("MIXZOO_DATA") else None)
    if given is not None and not (given / "MNIST").is_dir():
        sys.exit(f"--data-root {given}: has no folder MNIST; leave it out to use the digits of scikit-learn")
    return root if root is not None and not quick and (root / "MNIST").is_dir() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--quick", action="store_true", help="small networks and few steps, to see whether it runs at all"
    )
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", metavar="ROW,...", help=f"rows to run: {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--row", help=argparse.SUPPRESS)  # what each process runs
    given = parser.parse_args()
    day = Day(given.device, given.quick, data_root(given.data_root, given.quick))
    if given.row:
        (row,) = (row for row in ROWS if row.name == given.row)
        for cell in row.cells(day):
            print(json.dumps(cell), flush=True)
        return
    rows, results = chosen(given.only), list[Outcome]()
    what = (
        " A small run on a CPU, which shows that the script works: **no figure here is from a GPU.**"
        if given.device == "cpu"
        else ""
    )
    print(f"# A day with a GPU: `gpu_day.py {' '.join(flags_of(Day(given.device, given.quick)))}`, {date.today()}\n")
    print(f"Printed by `benchmarks/gpu_day.py`.{what}\n")
    for outcome in outcomes(rows, day, given.minutes):
        results.append(outcome)
        if outcome.cells or outcome.line:
            print(section(outcome), flush=True)
        if given.json:  # after each row, so that an interrupted day keeps its results
            given.json.write_text(json.dumps([one.as_json() for one in results], indent=2) + "\n")
    print(summary(results))
    sys.exit(any(outcome.state == FAILED for outcome in results))


if __name__ == "__main__":
    main()
