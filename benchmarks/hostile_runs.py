"""What commands make of hostile run directories: python benchmarks/hostile_runs.py [WORD...] [--rows FILE]

A row for each case of tests/faults/hostile.py: the exit code of each command and the line of `mixzoo resume`, written
to results/hostile_runs.md. WORD selects cases; rows that are in FILE are not tried again. Exits with 1 if a command
hangs, ends with a traceback, or takes other weights or numbers than the unbroken run without a word.
"""

import argparse
import json
import platform
import re
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests" / "faults"), str(HERE.parent / "tests")]
import hostile  # noqa: E402
from forked import Server, build_shim  # noqa: E402

HEADER = """# Hostile run directories

Printed by `python benchmarks/hostile_runs.py`, {versions}.
Each row is one change of a run that was stopped after step 4 of 6; values of manifests, of JSON and of tensors are
changed with the hashes that go with them. Every command has its own copy, and 60 seconds. A resume that ends with 0 is
compared with the unbroken run: tensors, pictures, metrics and scores; `mixzoo.load` with its weights at that step.
{total} cases, {commands} commands: {tracebacks} tracebacks, {hangs} hangs, {silent} silent differences, {other} other
problems."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--rows", type=Path, default=Path(tempfile.gettempdir()) / "hostile_runs.jsonl", metavar="FILE")
    given = parser.parse_args()
    had = {row["name"] for row in read(given.rows)}
    wanted = [
        name for name in hostile.CASES if name not in had and (not given.words or any(w in name for w in given.words))
    ]
    if wanted:
        tried(wanted, given.rows)

    rows = read(given.rows)
    problems = [problem for row in rows for problem in row["problems"]]
    words = {"tracebacks": "Traceback", "hangs": "it hung", "silent": "silently"}
    counts = {name: sum(word in problem for problem in problems) for name, word in words.items()}
    versions = (
        f"mixzoo {version('mixzoo')}, Python {platform.python_version()}, torch {version('torch')}, "
        f"{platform.machine()}, {datetime.now(UTC):%Y-%m-%d}"
    )
    other = len(problems) - sum(counts.values())
    text = [
        HEADER.format(
            versions=versions, total=len(rows), commands=len(hostile.COMMANDS) * len(rows), other=other, **counts
        )
    ]
    text += [
        "",
        f"| case | {' | '.join(hostile.COMMANDS)} | the line of `resume` |",
        f"|---|{'---|' * (len(hostile.COMMANDS) + 1)}",
    ]
    for row in sorted(rows, key=lambda row: list(hostile.CASES).index(row["name"])):
        codes = " | ".join(str(row["codes"][command]) for command in hostile.COMMANDS)
        text.append(f"| {cell(row['name'])} | {codes} | {cell(row['lines']['resume'])} |")
    printed = "\n".join(text) + "\n"
    print(printed, *problems, sep="\n")
    (HERE / "results" / "hostile_runs.md").write_text(printed)
    sys.exit(bool(problems))


def tried(names: list[str], file: Path) -> None:
    """Try the cases, and append a row for each to the file."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder,
        file.open("a") as out,
    ):
        library = build_shim(folder)
        if library is None:
            raise SystemExit("there is no C compiler for tests/faults/shim.c, which makes the run that was stopped")
        with Server(library) as server:
            trials = hostile.Trials(server, Path(folder))
            for name in names:
                out.write(json.dumps(vars(trials.try_case(name))) + "\n")
                out.flush()


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def cell(text: str) -> str:
    """The text for a cell of a table, on one line and of a length that is read."""
    text = re.sub(r"[^\x20-\x7eÀ-ɏ\N{REPLACEMENT CHARACTER}]", lambda found: repr(found[0])[1:-1], text).replace(
        "|", "\\|"
    )
    return text if len(text) <= 240 else f"{text[:240]}..."


if __name__ == "__main__":
    main()
