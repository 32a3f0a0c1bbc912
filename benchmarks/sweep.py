"""A sweep compared with the same runs one after another: bit-for-bit equality, and the time saved.

    python benchmarks/sweep.py [--seeds 1 2 3] [--jobs N] [--rounds 3] [--runs DIR] [-- FLAGS OF mixzoo train]

Each round trains a sweep with `mixzoo train --seeds`, then each of its runs alone: once as `mixzoo train --config
MEMBER/run.toml`, with one thread like the member, and once with torch's default number of threads, like a single run.
Whole commands are timed, including start-up. Prints Markdown; exits with 1 if metrics or weights differ.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import monotonic

CLOCK = ("elapsed_seconds", "images_per_second")
SMALL = ["--steps", "200", "--evaluate-every", "100", "--log-every", "20"]  # on digits, if no flags are given


def seconds(*arguments: str, env: Mapping[str, str] | None = None) -> float:
    """Seconds of a whole command. Raises RuntimeError with the last line that it printed if it fails."""
    start = monotonic()
    command = [sys.executable, "-m", "mixzoo", *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise RuntimeError(f"mixzoo {arguments[0]} ended with {done.returncode}: {last}")
    return monotonic() - start


def compared(one: Path, other: Path) -> str:
    """Which of metrics and weights differ between two runs, or ''."""
    lines = [[json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()] for home in (one, other)]
    metrics = [[{k: v for k, v in line.items() if k not in CLOCK} for line in found] for found in lines]
    newest = [sorted(home.glob("checkpoints/step-*"))[-1] for home in (one, other)]
    weights = [{file.name: file.read_bytes() for file in home.glob("*.safetensors")} for home in newest]
    assert weights[0], newest
    return " and ".join(
        name for name, (a, b) in {"metrics": metrics, "weights": weights}.items() if a != b
    )  # fmt: skip


def round_of(home: Path, seeds: list[int], jobs: list[str], flags: list[str]) -> tuple[list[float], list[str]]:
    """Seconds of the sweep, of its runs alone, and of those with torch's threads; and the differences."""
    names = [f"seed={seed}" for seed in seeds]
    sweep = seconds("train", *flags, "--seeds", ",".join(map(str, seeds)), *jobs, "--out", str(home / "sweep"))
    files = {name: str(home / "sweep" / name / "run.toml") for name in names}
    alone = [seconds("train", "--config", files[name], "--out", str(home / "alone" / name)) for name in names]
    usual = [
        seconds("train", "--config", files[name], "--threads", "0", "--out", str(home / "usual" / name))
        for name in names
    ]
    differing = [
        f"{name}: {what}" for name in names if (what := compared(home / "sweep" / name, home / "alone" / name))
    ]
    return [sweep, sum(alone), sum(usual)], differing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, help="runs at once; one per core if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="where to keep the runs; deleted if not given")
    parser.add_argument("flags", nargs="*", help="flags of mixzoo train, after --")
    given = parser.parse_args()
    flags, jobs = given.flags or SMALL, ["--jobs", str(given.jobs)] if given.jobs else []
    rows, differing = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for i in range(given.rounds):
            home = (given.runs or Path(temporary)) / f"round-{i + 1}"
            times, found = round_of(home, given.seeds, jobs, flags)
            rows.append(times)
            differing += found
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}; {date.today()}.\n")
    print(f"`mixzoo train {' '.join([*flags, '--seeds', ','.join(map(str, given.seeds)), *jobs])}`\n")
    print("| round | sweep, s | one after another, one thread, s | ratio | with torch's own threads, s | ratio |")
    print("|" + "---|" * 6)
    for i, (sweep, alone, usual) in enumerate(rows):
        print(f"| {i + 1} | {sweep:.1f} | {alone:.1f} | {alone / sweep:.2f} | {usual:.1f} | {usual / sweep:.2f} |")
    ratios = [median(row[column] / row[0] for row in rows) for column in (1, 2)]
    print(f"\nMedian ratio: {ratios[0]:.2f} to the same runs alone, {ratios[1]:.2f} to runs with torch's own threads.")
    print(f"Metrics and weights against the same runs alone: {'; '.join(differing) or 'equal bit for bit'}.")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
