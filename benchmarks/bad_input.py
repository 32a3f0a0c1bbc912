"""What mixzoo prints for bad input, and its exit code: python benchmarks/bad_input.py [AREA...] > results/bad_input.md

One row for each situation in the files bad_input_*.py of this folder. AREA selects files (`data`, `runs`, ...). Every
row has its own processes and an empty folder; --jobs rows run at a time. Exits with 1 if a row ends with a wrong exit
code, lacks its message, or shows a traceback.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
import warm  # noqa: E402

TINY = (  # a run of a few seconds on one core
    "--autoencoder", "acai:depth=4", "--discriminator", "acai:depth=4", "--batch-images", "8",
    "--evaluate-every", "2", "--steps", "2", "--threads", "1", "--device", "cpu",
)  # fmt: skip

HEADER = """# What bad input prints

Printed by `python benchmarks/bad_input.py`: the exit code and the last line of what mixzoo prints. FOLDER is the row's
folder. The last column is empty if both are as expected."""


@dataclass(frozen=True)
class Finished:
    """How a process ended and what it printed, standard output before standard error."""

    exit_code: int
    text: str


@dataclass(frozen=True)
class Row:
    """One situation: `run` sets it up in an empty folder and returns how mixzoo ended."""

    situation: str
    run: Callable[[Path], Finished]
    exit_code: int
    says: str  # a part of the output

    def problem(self, finished: Finished) -> str:
        """What is wrong with the exit code or output, or ''."""
        if finished.exit_code != self.exit_code:
            return f"exit code {finished.exit_code}, expected {self.exit_code}"
        if "Traceback (most recent call last)" in finished.text:
            return "a traceback"
        return "" if self.says in " ".join(finished.text.split()) else f"does not say {self.says!r}"


def mixzoo(folder: Path, *arguments: object, env: Mapping[str, str] | None = None, seconds: float = 600) -> Finished:
    """Run a command of mixzoo in the folder, in a process forked from one that has imported torch: it starts sooner.

    It is a new interpreter if `env` has variables that Python reads when it starts.
    """
    command = [sys.executable, "-m", "mixzoo", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400", **(env or {})}
    if not any(name.startswith(("PYTHON", "LC_")) for name in env or {}):
        warmed = warm.run(*command[1:], cwd=folder, env=environment, timeout=seconds)
        return Finished(warmed.returncode, warmed.stdout + warmed.stderr)
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=seconds, check=False)
    return Finished(ended.returncode, (ended.stdout + ended.stderr).decode(errors="replace"))


def areas() -> dict[str, list[Row]]:
    """The rows of each file, by the end of its name."""
    stems = sorted(path.stem for path in HERE.glob("bad_input_*.py"))
    return {stem.removeprefix("bad_input_"): import_module(stem).ROWS for stem in stems}


def ended(row: Row) -> Finished:
    """The result of the row in a temporary folder, whose path becomes FOLDER in the text."""
    with tempfile.TemporaryDirectory() as folder:
        finished = row.run(Path(folder))
    return Finished(finished.exit_code, finished.text.replace(folder, "FOLDER"))


def last_line(text: str) -> str:
    """The last line that is not empty: the message, for a command that failed. Speeds, which vary, become `N`.

    Of a message with a caret under the mistake it is the first of the three lines.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines[-1:] == ["^"]:
        lines = lines[:-2]
    return re.sub(r"\d+ images/s", "N images/s", lines[-1] if lines else "").replace("|", "\\|")[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description="What mixzoo prints for bad input, as a table for each area.")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(areas())}; all if none is given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rows at a time; one for each core")
    options = parser.parse_args()
    if unknown := sorted(set(options.areas) - areas().keys()):
        parser.error(f"unknown area {unknown[0]!r} (available: {', '.join(areas())})")

    wrong, total = 0, 0
    warm.address()  # starts the process that all rows are forked from
    print(HEADER)
    with ThreadPoolExecutor(options.jobs) as pool:
        for area in options.areas or areas():
            print(f"\n## {area}\n\n| situation | exit code | what is printed | |\n|---|---|---|---|")
            for row, finished in zip(areas()[area], pool.map(ended, areas()[area])):
                problem, line = row.problem(finished), last_line(finished.text)
                wrong, total = wrong + bool(problem), total + 1
                print(f"| {row.situation} | {finished.exit_code} | {line} | {problem} |", flush=True)
    print(f"\n{total - wrong} of {total} as expected.")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
