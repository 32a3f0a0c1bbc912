"""2,000 steps on MNIST with AMR's networks (dh = 32, batch 64, one D-step per G-step): a row per objective.

    python benchmarks/mnist_2000.py --root DATA [--seeds 1] [--runs DIR] > benchmarks/results/mnist_2000.md

The settings are those of the reference column, measured with the authors' own classes on two CPU cores, seed 1: Adam
1e-4, betas (0.5, 0.99), decay 1e-5 for auto-encoder, discriminator and probe. A run that exists already is read,
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

ROWS = {  # name: objective, mixer, result of the authors' classes: probe %, logistic regression %, L1
    "aegan": ("aegan:lam=5", "mixup", "56.8 / 91.5 / 0.221"),
    "amr mixup k=2": ("amr:lam=10", "mixup", "27.2 / 83.8 / 0.263"),
    "amr dirichlet k=3": ("amr:lam=20", "dirichlet:k=3", "58.8 / 90.8 / 0.206"),
    "acai:variant=amr": ("acai:variant=amr,lam=2", "mixup", "70.6 / 94.7 / 0.135"),
}
SETTINGS = ["--steps", "2000", "--batch-images", "64", "--lr", "1e-4", "--probe-lr", "1e-4"]
EVERY = ["--evaluate-every", "500", "--log-every", "100", "--checkpoint-every", "500"]


def run(
    home: Path, root: Path, objective: str, mixer: str, autoencoder: str, D: str, seed: int
) -> tuple[dict[str, float], float]:
    """The numbers of one run, and its seconds of training."""
    if (home / "run.toml").exists():
        arguments = ["resume", str(home)]
    else:
        data = f'mnist:root="{root}"'
        parts = [
            "--data",
            data,
            "--objective",
            objective,
            "--mixer",
            mixer,
            "--autoencoder",
            autoencoder,
            "--discriminator",
            D,
        ]
        arguments = ["train", *parts, *SETTINGS, *EVERY, "--seed", str(seed), "--out", str(home)]
    subprocess.run([sys.executable, "-m", "mixzoo", *arguments], check=True, stdout=sys.stderr)
    numbers: dict[str, float] = json.loads((home / "results.json").read_text())["numbers"]
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    return numbers, [line["elapsed_seconds"] for line in lines if line["kind"] == "train"][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=Path, default=Path("runs/mnist_2000"))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--autoencoder", default="amr")
    parser.add_argument("--discriminator", default="amr")
    given = parser.parse_args()
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"# MNIST, 2,000 steps, {date.today()}\n")
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}.")
    print(f"Auto-encoder `{given.autoencoder}`, discriminator `{given.discriminator}`.")
    print("Printed by `benchmarks/mnist_2000.py`.\n")
    print("Probe: in unison, rate 1e-4, test accuracy after the last step and at the best validation. Regression: on")
    print("the final codes of 10,000 train images. L1: mean over all test images. Reference: the authors' classes,")
    print("seed 1 (their L1 is over 2,000 validation images).\n")
    print("| run | seed | probe, last % | probe, best % | regression % | L1 | seconds | reference |")
    print("|" + "---|" * 8)
    for name in given.rows:
        objective, mixer, reference = ROWS[name]
        for seed in given.seeds:
            home = given.runs / f"{name.replace(' ', '-').replace(':', '-').replace('=', '')}-s{seed}"
            numbers, seconds = run(home, given.root, objective, mixer, given.autoencoder, given.discriminator, seed)
            cells = [
                f"{100 * numbers['probe.last_test_accuracy']:.1f}",
                f"{100 * numbers['probe.test_accuracy_at_best_validation']:.1f}",
                f"{100 * numbers['logistic_regression.test_accuracy']:.1f}",
                f"{numbers['reconstruction.l1']:.3f}",
                f"{seconds:.0f}",
            ]
            print(f"| {name} | {seed} | {' | '.join(cells)} | {reference} |", flush=True)


if __name__ == "__main__":
    main()
