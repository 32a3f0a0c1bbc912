"""Storage that fails: python benchmarks/storage_faults.py [PART...] [--work FOLDER] [--amount N]

Parts: calls (each call that changes a file fails in turn), flips, truncations, processes, disk. Each part appends its
rows to FOLDER/PART.jsonl, and goes on where they end. Then results/storage_faults.md is written from all of them. Exits
with 1 if a row has a problem.
"""

import argparse
import json
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests" / "faults"), str(HERE.parent / "tests")]
import damage  # noqa: E402
import disks  # noqa: E402
import iofaults  # noqa: E402
import together  # noqa: E402
from forked import Server, build_shim  # noqa: E402

HEADER = """# Storage that fails

Printed by `python benchmarks/storage_faults.py`, {versions}.
The run is a toy auto-encoder with a discriminator, a probe and a mixer of three sources, of 6 steps, with checkpoints
after steps 2, 4 and 6 and evaluations after 3 and 6. "As it should" means: exit code 8 (or killed), one line and no
traceback, no half file, no status that says what is not so, and a resume that ends with the bytes of the unbroken run:
tensors of its checkpoints, pictures, metrics and scores."""
ROUNDS, FLIPS = 200, 10_000

Row = dict[str, Any]


def calls(folder: Path, done: list[Row], every: int) -> Iterator[Row]:
    """Every call of every command, in every way, first those with the same remainder of n: so a part is a sample."""
    library = build_shim(folder)
    if library is None:
        raise SystemExit("there is no C compiler for tests/faults/shim.c")
    had = {(row["command"], row["way"], row["n"]) for row in done}
    with Server(library) as server:
        bench = iofaults.Bench(server, folder)
        for first in range(1, every + 1):
            for scenario in iofaults.SCENARIOS:
                for way in iofaults.WAYS:
                    for n in range(first, iofaults.MOST, every):
                        if (scenario.name, way, n) in had:
                            continue
                        found = bench.attempt(scenario, n, way)
                        if not found.fired:
                            break
                        yield {"command": scenario.name, "way": way, "n": n, "step": found.step, "code": found.code,
                               "line": found.line, "problems": found.problems}  # fmt: skip


def calls_table(rows: list[Row]) -> list[str]:
    lines = ["## Every call fails in turn", "", "| command | way | calls | as it should |", "|---|---|---|---|"]
    ways = dict.fromkeys((row["command"], row["way"]) for row in rows)
    for command, way in ways:
        found = [row for row in rows if (row["command"], row["way"]) == (command, way)]
        lines.append(f"| {command} | {way} | {len(found)} | {sum(not row['problems'] for row in found)} |")
    lines += [
        "",
        "By what the call does (numbers of steps left out):",
        "",
        "| call | faults | as it should |",
        "|---|---|---|",
    ]
    total, right = Counter[str](), Counter[str]()
    for row in rows:
        total[row["step"]] += 1
        right[row["step"]] += not row["problems"]
    lines += [f"| {step} | {total[step]} | {right[step]} |" for step in sorted(total)]
    return lines


PARTS = {
    "calls": (calls, calls_table),
    "flips": (damage.flips, damage.flips_table),
    "truncations": (damage.truncations, damage.truncations_table),
    "processes": (together.rounds, together.rounds_table),
    "disk": (disks.fills, disks.fills_table),
}


def read(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "storage_faults", metavar="FOLDER")
    parser.add_argument("--amount", type=int, default=0, metavar="N", help="flips, rounds, or the stride of calls")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for name in given.parts:
        file = given.work / f"{name}.jsonl"
        amount = given.amount or {"calls": 16, "flips": FLIPS, "processes": ROUNDS}.get(name, 0)
        with (
            tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder,
            file.open("a") as out,
        ):
            for row in PARTS[name][0](Path(folder), read(file), amount):
                out.write(json.dumps(row) + "\n")
                out.flush()
                for problem in row["problems"]:
                    print({key: value for key, value in row.items() if key != "problems"}, problem, flush=True)

    versions = (
        f"mixzoo {version('mixzoo')}, Python {platform.python_version()}, torch {version('torch')}, safetensors "
        f"{version('safetensors')}, {platform.machine()}, {datetime.now(UTC):%Y-%m-%d}"
    )
    rows = {name: read(given.work / f"{name}.jsonl") for name in PARTS}
    text = [HEADER.format(versions=versions)]
    for name, (_, table) in PARTS.items():
        text += ["", *table(rows[name])] if rows[name] else []
    printed = "\n".join(text) + "\n"
    print(printed)
    (HERE / "results" / "storage_faults.md").write_text(printed)
    sys.exit(any(row["problems"] for found in rows.values() for row in found))


if __name__ == "__main__":
    main()
