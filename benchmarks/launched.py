"""A sweep of six runs that a launcher computes and that is disturbed, compared bit for bit with the same sweep here."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "launchers.md"
HEADER = """# Launchers

Sweeps of six runs of the tests' toy networks ({steps} steps, a checkpoint each {every}), computed by a launcher and
disturbed, and the same sweep by processes of this machine. "Equal" compares `run.toml`, `results.json`, every line of
`metrics.jsonl` without its clock, and every tensor of the newest checkpoint, byte for byte. Printed by
`python benchmarks/on_slurm.py` and `python benchmarks/on_ray.py`.
"""
SEEDS, STEPS, EVERY = range(1, 7), 600, 50
TESTS = Path(__file__).parents[1] / "tests"
PLUGIN = ["--plugin", str(TESTS / "toy_parts.py")]
SWEEP = [
    "--data", "toy_data", "--autoencoder", "toy_net", "--discriminator", "toy_judge", "--seeds", "1..6",
    "--steps", str(STEPS), "--batch-images", "16", "--log-every", "20", "--evaluate-every", "300",
    "--checkpoint-every", str(EVERY), *PLUGIN,
]  # fmt: skip
CLOCK = ("elapsed_seconds", "images_per_second")
PATIENCE = 1500.0  # seconds for the whole sweep


@dataclass
class Launched:
    """A command that computes the sweep with a launcher, and what is seen of it."""

    folder: Path
    environment: Mapping[str, str]
    began: float = field(default_factory=time.monotonic)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A mixzoo command in the folder; its standard error is added to err.txt."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS), **self.environment}
        with (self.folder / "err.txt").open("a") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "mixzoo", *arguments], cwd=self.folder, env=env, stdout=subprocess.DEVNULL,
                stderr=err, text=True,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """What the commands have written to standard error."""
        return (self.folder / "err.txt").read_text()

    def run_dir(self, seed: int) -> Path:
        return self.folder / "sweep" / f"seed={seed}"

    def state(self, seed: int) -> str:
        """The state in the run's status.json; '' before there is one."""
        try:
            return str(json.loads((self.run_dir(seed) / "status.json").read_text())["state"])
        except (OSError, ValueError):
            return ""

    def step(self, seed: int) -> int:
        """The step of the run's newest checkpoint."""
        steps = [
            int(path.name[5:]) for path in self.run_dir(seed).glob("checkpoints/step-*") if path.name[5:].isdecimal()
        ]
        return max(steps, default=0)

    def under_way(self) -> list[int]:
        """Seeds of the runs that have a checkpoint and are not completed."""
        return [seed for seed in SEEDS if self.state(seed) == "running" and 0 < self.step(seed) < STEPS - EVERY]

    def wait(self, what: str, ready: Callable[[], object], command: "subprocess.Popen[str]") -> None:
        """Wait until it is so; RuntimeError if the command ends before, or if it takes too long."""
        while not ready():
            if command.poll() is not None or time.monotonic() > self.began + PATIENCE:
                raise RuntimeError(f"no {what}; the command said:\n{self.said[-3000:]}")
            time.sleep(0.2)


def here(folder: Path) -> Launched:
    """The sweep by processes of this machine."""
    folder.mkdir(parents=True)
    local = Launched(folder, {})
    if local.start("train", *SWEEP, "--out", "sweep").wait() != 0:
        raise RuntimeError(f"the sweep here failed:\n{local.said[-3000:]}")
    return local


def unequal(one: Launched, other: Launched, seed: int) -> list[str]:
    """What differs between a run of two sweeps."""
    first, second = one.run_dir(seed), other.run_dir(seed)
    differences = [
        name for name in ("run.toml", "results.json") if (first / name).read_bytes() != (second / name).read_bytes()
    ]
    if _metrics(first) != _metrics(second):
        differences.append("metrics.jsonl")
    tensors = [
        {path.name: path.read_bytes() for path in (run_dir / "checkpoints" / f"step-{STEPS:08d}").glob("*.safetensors")}
        for run_dir in (first, second)
    ]
    if not tensors[0] or tensors[0] != tensors[1]:
        differences.append("checkpoint")
    return differences


def _metrics(run_dir: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def write_section(title: str, text: str, packages: list[str]) -> str:
    """Put a section into the file of results in place of an older one; returns the section."""
    versions = ", ".join(f"{name} {version(name)}" for name in ["mixzoo", "torch", *packages])
    cores = os.cpu_count()
    made = f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()}, {cores} cores, {versions}."
    section = f"## {title}\n\n{made}\n\n{text.strip()}\n"
    before = RESULTS.read_text() if RESULTS.exists() else ""
    others = [part for part in re.split(r"(?m)^(?=## )", before)[1:] if not part.startswith(f"## {title}\n")]
    parts = sorted([*(part.strip() + "\n" for part in others), section])
    RESULTS.write_text("\n".join([HEADER.format(steps=STEPS, every=EVERY), *parts]))
    return section
