"""Training curves of objectives: their terms at some steps, from the metrics.jsonl of ordinary runs.

    python benchmarks/curves.py > benchmarks/results/curves.md
    python benchmarks/curves.py --steps 40 --at 20 40 -- "--objective amr --mixer dirichlet:k=3"

A run that exists in `--runs` already is read, not trained again.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

RUNS = (
    "--objective vae --autoencoder vae",
    "--objective vae:likelihood=bernoulli --autoencoder vae",
    "--objective gaia --discriminator autoencoding --mixer mixup:law=gaia",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print tables of the terms of runs at some steps.")
    parser.add_argument("flags", nargs="*", default=RUNS, help="flags of `mixzoo train`, one string per run")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--at", type=int, nargs="+", default=[20, 100, 200, 300])
    parser.add_argument("--runs", type=Path, default=Path("runs/curves"))
    given = parser.parse_args()
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}; {date.today()}.")
    print("\nPrinted by `benchmarks/curves.py`. Each number is of the single batch of that step.")
    for flags in given.flags:
        command = f"train --data digits {flags} --steps {given.steps} --threads 1"
        home = given.runs / re.sub(r"[^a-z0-9]+", "-", command).strip("-")
        if not (home / "results.json").exists():
            subprocess.run([sys.executable, "-m", "mixzoo", *shlex.split(command), "--out", home], check=True, stdout=2)
        print(f"\n## mixzoo {command}\n\n{table(home, given.at)}")


def table(home: Path, at: list[int]) -> str:
    """A row for each term and mean score, a column for each step; the run's final scores below."""
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    by_step = {line["step"]: line for line in lines if line["kind"] == "train" and line["step"] in at}
    names = [name for name in next(iter(by_step.values())) if "/" in name or name.startswith("D(")]
    rows = [f"| term | {' | '.join(f'step {step}' for step in by_step)} |", "|---" * (len(by_step) + 1) + "|"]
    rows += [f"| {name} | {' | '.join(f'{line[name]:.4g}' for line in by_step.values())} |" for name in names]
    numbers = json.loads((home / "results.json").read_text())["numbers"]
    final = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items() if not name.startswith("probe.best"))
    return "\n".join([*rows, "", f"At the end: {final}."])


if __name__ == "__main__":
    main()
