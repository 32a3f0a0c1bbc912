"""What the checks of a step cost: python benchmarks/checks.py [--device cuda] [--quick] > benchmarks/results/checks.md

    the check     terms, gradients, weights and buffers, before the optimisers move (mixzoo.training.finite)
    clipping      --clip-grad, at a norm that every gradient exceeds
    a checkpoint  written and flushed to the disk, with the test that all of its state is finite

Steps of one run are timed in turns (mixzoo.benchmark.timing): the ratio is the median, with quartiles, over repeats, to
a step without the check in the same repeat. The second step without a check shows the noise. On a CPU the clock is this
process's CPU time, at one thread; a checkpoint's is wall time, as it waits for the disk.
"""

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from torch import Tensor

from cases import ZOO
from mixzoo.benchmark.steps import Stepper, read, stepper
from mixzoo.benchmark.table import machine
from mixzoo.benchmark.timing import Spread, interleaved, ratios, spread
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.training.checkpoint import commit, non_finite
from mixzoo.training.finite import FiniteCheck, Seen
from mixzoo.training.loop import fresh
from mixzoo.training.players import Players

SIZES: dict[str, tuple[dict[str, str], int]] = {  # networks and batch, largest first
    "amr:depth=16, 64 images": ({"autoencoder": "amr:depth=16", "discriminator": "amr:depth=16"}, 64),
    "amr:depth=4, 16 images": ({"autoencoder": "amr:depth=4", "discriminator": "amr:depth=4"}, 16),
    "mlp, 64 images": ({"autoencoder": "mlp", "discriminator": "mlp"}, 64),
    "mlp, 16 images": ({"autoencoder": "mlp", "discriminator": "mlp"}, 16),
}
UNCHECKED, AGAIN, CHECKED, CLIPPED = "no check", "no check, again", "the check", "the check and clipping"
EVERY = 100  # steps between checkpoints, by default


class NoCheck(FiniteCheck):
    """A step as it would be without the check."""

    def look(self, report: Mapping[str, Tensor], moving: object) -> Seen:
        return Seen(torch.zeros(0), 0, {})

    def may_move(self, optimisers: object) -> bool:
        return True


@dataclass(frozen=True)
class Row:
    """Steps at one size."""

    size: str
    step_ms: float  # without the check
    of_unchecked: dict[str, Spread]
    checkpoint_ms: Spread
    checkpoint_mb: float


def measured(size: str, device: str, engine: str, repeats: int, each: int) -> Row:
    """Times of the steps of a run of this size, in turns, and of its checkpoint."""
    networks, batch = SIZES[size]
    numbers: dict[str, object] = {"batch_images": batch, "device": device, "engine": engine, "threads": 1}
    config = resolve(ZOO, None, {"mixer": "dirichlet:k=3", **networks}, numbers)
    placed = read(config, torch.device(device))

    def built(stack: ExitStack, config: RunConfig, *, checked: bool) -> Stepper:
        step = stack.enter_context(stepper(ZOO, config, placed))
        if not checked:
            unchecked = NoCheck(step.players.modules, step.players.optimisers)
            unchecked.deferred = True
            object.__setattr__(step.players, "finite", unchecked)  # of a dataclass that is frozen, and shared
        return step

    with ExitStack() as stack:
        clipped = replace(config, train=replace(config.train, clip_grad=1e-3))
        steps: dict[str, Callable[[], object]] = {
            UNCHECKED: built(stack, config, checked=False),
            AGAIN: built(stack, config, checked=False),
            CHECKED: (checked := built(stack, config, checked=True)),
            CLIPPED: built(stack, clipped, checked=True),
        }
        times = interleaved(steps, torch.device(device), repeats=repeats, each=each)
        clocks = {name: found.clock(torch.device(device)) for name, found in times.items()}
        written = [checkpoint(checked.players) for _ in range(max(3, repeats // 4))]
    return Row(
        size,
        1e3 * spread(clocks[UNCHECKED]).median,
        {name: ratios(clock, clocks[UNCHECKED]) for name, clock in clocks.items() if name != UNCHECKED},
        spread([1e3 * seconds for seconds, _ in written]),
        written[0][1] / 1e6,
    )


def checkpoint(players: Players) -> tuple[float, int]:
    """Seconds that a checkpoint takes, and its bytes."""
    with TemporaryDirectory() as folder:
        started = perf_counter()
        assert not non_finite(players)
        path = commit(Path(folder) / "checkpoints", players, replace(fresh(), step=1), keep=2)
        return perf_counter() - started, sum(file.stat().st_size for file in path.iterdir())


def markdown(rows: list[Row]) -> str:
    names = (AGAIN, CHECKED, CLIPPED)
    lines = [
        "| networks and batch | ms of a step | "
        + " | ".join(f"{name}, of no check" for name in names)
        + f" | ms of a checkpoint | MB | of {EVERY} steps |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        of = [three(row.of_unchecked[name], 4) for name in names]
        share = f"{100 * row.checkpoint_ms.median / (EVERY * row.step_ms):.2f} %"
        cells = (row.size, f"{row.step_ms:.1f}", *of, three(row.checkpoint_ms, 1), f"{row.checkpoint_mb:.2f}", share)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def three(values: Spread, digits: int) -> str:
    """A median and its quartiles."""
    low, median, high = (f"{value:.{digits}f}" for value in values)
    return f"{median} [{low}, {high}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", default="eager")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="two repeats of the smallest size")
    given = parser.parse_args()
    sizes, repeats = ([list(SIZES)[-1]], 2) if given.quick else (given.sizes, given.repeats)
    rows = [  # small steps are timed eight at a time
        measured(size, given.device, given.engine, repeats, 1 if i < 1 else 8)
        for i, size in enumerate(SIZES)
        if size in sizes
    ]
    found = machine(torch.device(given.device), 1)
    print("# What the checks of a step cost\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, " + ", ".join(f"{name} {value}" for name, value in found.items()), end="")
    print(f", {given.engine}, {repeats} repeats. `python benchmarks/checks.py` says how it is measured.\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
