"""Two processes with half of each batch compared with one that has all of it: python benchmarks/ranks.py [--steps N]

On the CPU with gloo, one thread per process, and the same global batch and draws. First the differences of gradients
and of the terms reported over 20 steps, in float64, on the cases of tests/two_processes.py; then the time per step of
both, interleaved.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext
from two_processes import CASES, all_cases, alone, in_two, twenty_steps

TIMED = "the networks of amr"
WARM = 4  # untimed steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=40, help="of each timing")
    parser.add_argument("--batch-images", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        equality(Path(folder))
        pace(Path(folder), given.steps, given.batch_images, given.turns)


def equality(folder: Path) -> None:
    """The largest differences of each case: gradients relative to the player's largest, reports each to itself."""
    assert in_two(all_cases, folder, tuple(CASES)) == [0, 0]
    print("| case | gradients of the first step | reports of 20 steps |\n|---|---|---|")
    for name in CASES:
        one, two = alone(name), load_file(folder / f"{name}.safetensors")
        gradients = max(of_player(one, two, player) for player in ("autoencoder", "discriminator", "probe"))
        reports = max(apart(one, two, key, one[key]) for key in one if key.startswith("report/"))
        print(f"| {name} | {gradients:.1e} | {reports:.1e} |", flush=True)


def of_player(one: dict[str, Tensor], two: dict[str, Tensor], player: str) -> float:
    own = [key for key in one if key.startswith(f"gradient/{player}/")]
    largest = max((one[key].abs().max() for key in own), default=torch.tensor(1.0))
    return max((apart(one, two, key, largest) for key in own), default=0.0)


def apart(one: dict[str, Tensor], two: dict[str, Tensor], key: str, size: Tensor) -> float:
    return float((one[key] - two[key]).abs().max() / size.abs().max().clamp(min=1e-12))


def pace(folder: Path, steps: int, batch_images: int, turns: int) -> None:
    """Seconds per step of one process and of two, interleaved, in float32."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(turns):
        seconds[1].append(a_step(SINGLE_PROCESS, steps, batch_images))
        assert in_two(timed, folder / "timed", steps, batch_images) == [0, 0]
        seconds[2].append(load_file(folder / "timed")["seconds"].item())
    one, two = (statistics.median(seconds[processes]) for processes in (1, 2))
    print(f"\n{TIMED}, batch {batch_images}, {steps} steps, medians of {turns} turns, {os.cpu_count()} cores")
    print(f"one process  {1000 * one:.1f} ms a step\ntwo          {1000 * two:.1f} ms a step")
    print(f"two / one    {statistics.median(b / a for a, b in zip(seconds[1], seconds[2])):.2f} of the time")


def timed(distributed: DistributedContext, file: Path, steps: int, batch_images: int) -> None:
    took = a_step(distributed, steps, batch_images)
    if distributed.is_main:
        save_file({"seconds": torch.tensor(took, dtype=torch.float64)}, file)


def a_step(distributed: DistributedContext, steps: int, batch_images: int) -> float:
    """Seconds per step without the first WARM steps; every other step updates D alone."""
    clock: list[float] = []
    twenty_steps(distributed, TIMED, torch.float32, batch_images, WARM + steps, clock)
    return (clock[-1] - clock[WARM - 1]) / steps


if __name__ == "__main__":
    main()
