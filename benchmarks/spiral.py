"""The spiral of AMR section 7.3: how far decoded mixes are from the data as the consistency loss grows (Figure 12).

    python benchmarks/spiral.py [--seeds 0 1 2] [--runs DIR] [--picture docs/spiral.png] > benchmarks/results/spiral.md

Each run is `mixzoo train --data spiral --objective amr:lam=10,beta=B --seed S`. A run that exists already is read,
not repeated; a stopped one is resumed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

BETAS = ("0", "0.1", "10", "100")
SCORES = ("mean", "reconstructions", "blends")


def run(home: Path, beta: str, seed: int) -> dict[str, float]:
    """The distances of one run, and its seconds of training."""
    objective = f"amr:lam=10,beta={beta}"
    new = ["train", "--data", "spiral", "--objective", objective, "--seed", str(seed), "--out", str(home)]
    arguments = ["resume", str(home)] if (home / "run.toml").exists() else new
    subprocess.run([sys.executable, "-m", "mixzoo", *arguments], check=True, stdout=sys.stderr)
    numbers = json.loads((home / "results.json").read_text())["numbers"]
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["elapsed_seconds"] for line in lines if line["kind"] == "train"][-1]
    return {score: numbers[f"mix_distance.{score}"] for score in SCORES} | {"seconds": seconds}


def draw(homes: dict[str, Path], picture: Path) -> None:
    """A panel per β: decoded mixes over the data."""
    from mixzoo.evaluation.pictures.grid import save_png
    from mixzoo.evaluation.pictures.scatter import picture_of, random_panel, scatter_plot
    from mixzoo.registry.zoo import load_zoo
    from mixzoo.runs.opening import open_run

    panels = []
    for beta, home in homes.items():
        opened = open_run(load_zoo(), home, "cpu")
        networks = opened.players
        panels.append(random_panel(f"beta = {beta}", networks.autoencoder, networks.mixer, opened.data.test, "cpu"))
    save_png(picture_of(scatter_plot(panels)), picture)


def row(beta: str, runs: list[dict[str, float]]) -> str:
    """Mean and standard deviation over seeds, and every seed's own distance."""
    cells = [f"{mean(r[score] for r in runs):.4f} ± {stdev(r[score] for r in runs):.4f}" for score in SCORES[:2]]
    own = ", ".join(f"{r['mean']:.4f}" for r in runs)
    return f"| {beta} | {' | '.join(cells)} | {own} | {max(r['seconds'] for r in runs):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="at least two")
    parser.add_argument("--runs", type=Path, default=Path("runs/spiral"))
    parser.add_argument("--picture", type=Path, default=Path("docs/spiral.png"))
    given = parser.parse_args()
    homes = {(beta, seed): given.runs / f"beta{beta}-s{seed}" for beta in BETAS for seed in given.seeds}
    runs = {key: run(home, *key) for key, home in homes.items()}
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"# Spiral: the consistency loss and where mixes lie, {date.today()}\n")
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}.")
    print("Printed by `benchmarks/spiral.py`: `mixzoo train --data spiral --objective amr:lam=10,beta=B`.\n")
    print(f"![Decoded mixes in orange over the data in blue, seed {given.seeds[0]}](../../{given.picture})\n")
    blends = mean(r["blends"] for r in runs.values())
    print("Distance of decoded random mixes, and of reconstructions, to the nearest data point, mean ± standard")
    seeds = ", ".join(map(str, given.seeds))
    print(f"deviation over seeds {seeds}. Linear mixes of the points are {blends:.4f} away. Seconds are wall time,")
    print(f"on a machine whose load was {os.getloadavg()[2]:.1f} when this was printed.\n")
    print("| β | mixes | reconstructions | mixes, each seed | seconds, at most |")
    print("|" + "---|" * 5)
    for beta in BETAS:
        print(row(beta, [runs[beta, seed] for seed in given.seeds]), flush=True)
    draw({beta: homes[beta, given.seeds[0]] for beta in BETAS}, given.picture)


if __name__ == "__main__":
    main()
