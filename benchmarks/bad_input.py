"""What mixzoo prints for bad input, and its exit code: python benchmarks/bad_input.py [NAME...] > results/bad_input.md

One row for each situation in the files bad_input_*.py of this folder. NAME selects files (`data`, `runs`, ...). Every
row is a real process in an empty folder. Exits with 1 if a row ends with a wrong exit code, lacks its message, or shows
a traceback.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
TINY = (  # a run of a few seconds on one core
    "--autoencoder", "acai:depth=4", "--discriminator", "acai:depth=4", "--batch-images", "8",
    "--evaluate-every", "2", "--steps", "2", "--threads", "1", "--device", "cpu",
)  # fmt: skip


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


def mixzoo(folder: Path, *arguments: object, env: Mapping[str, str] | None = None, seconds: float = 120) -> Finished:
    """Run a command of mixzoo in the folder."""
    command = [sys.executable, "-m", "mixzoo", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400", **(env or {})}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=seconds, check=False)
    return Finished(ended.returncode, (ended.stdout + ended.stderr).decode(errors="replace"))


def rows(names: list[str]) -> list[Row]:
    """The rows of the named files, or of all files."""
    stems = sorted(path.stem for path in HERE.glob("bad_input_*.py"))
    selected = [stem for stem in stems if not names or stem.removeprefix("bad_input_") in names]
    return [row for stem in selected for row in import_module(stem).ROWS]


def ended(row: Row) -> Finished:
    """The result of the row in a temporary folder, whose path becomes FOLDER in the text."""
    with tempfile.TemporaryDirectory() as folder:
        finished = row.run(Path(folder))
    return Finished(finished.exit_code, finished.text.replace(folder, "FOLDER"))


def last_line(text: str) -> str:
    """The last line that is not empty: the message, for a command that failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "").replace("|", "\\|")[:300]


def main() -> None:
    wrong, total = 0, 0
    print("| situation | exit code | what is printed | |\n|---|---|---|---|")
    for row in rows(sys.argv[1:]):
        finished = ended(row)
        problem = row.problem(finished)
        wrong, total = wrong + bool(problem), total + 1
        print(f"| {row.situation} | {finished.exit_code} | {last_line(finished.text)} | {problem} |", flush=True)
    print(f"\n{total - wrong} of {total} as expected.")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
