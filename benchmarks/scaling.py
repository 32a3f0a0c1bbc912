"""The cost of a step as one size grows: k, batch, code, or number of logged terms; and the cost of each mixer.

    python benchmarks/scaling.py [--only k batch] [--repeats 20] [--picture docs/scaling.png] [--json FILE]

The default run on digits (objective `amr`, batch 64) with one size changed, at one thread, by CPU time. The exponent p
is that of cost ~ size^p, by least squares on logarithms, over all sizes and over the largest two. The sizes of a table
take turns, so that a busy moment of the machine affects all of them.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import torch

from curves_png import Curve, log_log
from mixzoo.benchmark.steps import read, stepper
from mixzoo.benchmark.table import machine
from mixzoo.benchmark.timing import Spread, interleaved, spread
from mixzoo.core.objective import Batch, Losses, Objective
from mixzoo.core.parts import CodeShape
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.testing.cases import MixerCase, mixer_for
from mixzoo.training.build import build_players
from mixzoo.training.memory import keep_freed_memory

ZOO = load_zoo()
CPU = torch.device("cpu")
DEPTH = 16
EACH = 20  # draws or mixes per turn
NESTED = {
    "one_of": "one_of:a=(dirichlet:k=3),b=(cutmix:k=3)",
    "chain": "chain:a=mixup,b=(cutmix:k=2)",
    "schedule": "schedule:a=(dirichlet:k=3),b=(bernoulli:k=3)",
}
OWN_TERMS = 10  # in a line of metrics of `amr`: seven terms and three mean scores
SIZES: dict[str, tuple[int, ...]] = {
    "k": (2, 4, 8, 16),
    "batch": (16, 32, 64, 128, 256, 512, 1024),
    "latent": (2, 4, 16, 64, 256),
    "terms": (10, 20, 40, 80, 160, 320),
}
MEANING = {
    "k": "sources of one mix, `dirichlet`",
    "batch": "images of one batch",
    "latent": "feature maps of the code; dh is 16 times as much",
    "terms": "terms and mean scores in a line of metrics, one line per step",
}


def flags_for(name: str, size: int, depth: int) -> tuple[dict[str, str], dict[str, object]]:
    """The flags and numbers of the run of that size."""
    latent = size if name == "latent" else 2
    networks = {
        "autoencoder": f"amr:depth={depth},latent={latent}",
        "discriminator": f"amr:depth={depth}",
    }
    mixer = f"dirichlet:k={size}" if name == "k" else "mixup"
    numbers: dict[str, object] = {"batch_images": size if name == "batch" else 64, "threads": 1, "log_every": 1}
    return {**networks, "mixer": mixer}, numbers


class ExtraTerms:
    """An objective with extra constant terms of D: more to log, nothing more to learn."""

    def __init__(self, objective: Objective, extra: int) -> None:
        self._objective, self._extra = objective, extra

    def losses(self, batch: Batch) -> Losses:
        losses = self._objective.losses(batch)
        extra = {f"constant_{i}": batch.x.new_tensor(float(i)) for i in range(self._extra)}
        return replace(losses, discriminator=losses.discriminator | extra)


def costs(name: str, sizes: tuple[int, ...], repeats: int, depth: int = DEPTH) -> dict[int, Spread]:
    """Seconds per step at each size; with `terms`, including its line of metrics."""
    with ExitStack() as stack:
        steps = {str(size): stack.enter_context(step_of(name, size, depth)) for size in sizes}
        times = interleaved(steps, CPU, repeats=repeats)
        return {int(size): spread(found.clock(CPU)) for size, found in times.items()}


@contextmanager
def step_of(name: str, size: int, depth: int) -> Iterator[Callable[[], object]]:
    flags, numbers = flags_for(name, size, depth)
    config = resolve(ZOO, None, flags, numbers)
    placed = read(config, CPU)
    players = build_players(ZOO, config, placed.data, CPU)
    if name == "terms":
        players = replace(players, objective=ExtraTerms(players.objective, size - OWN_TERMS))
    with stepper(ZOO, config, placed, players) as step:
        yield step.logged if name == "terms" else step


def exponent(cost: Mapping[int, Spread]) -> float:
    """p of cost ~ size^p, by least squares on logarithms."""
    if len(cost) < 2:
        return float("nan")
    xs, ys = [log(size) for size in cost], [log(found.median) for found in cost.values()]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)


def mixer_costs(repeats: int) -> dict[str, dict[str, Spread]]:
    """Seconds of one draw, and of one mix with its backward pass, for every mixer with its default k."""
    found, latent, batch = {}, (2, 4, 4), 64
    for entry in ZOO.of_kind("mixer"):
        mixer = mixer_for(ZOO.recipe("mixer", NESTED.get(entry.name, entry.name)), latent)
        case = MixerCase(mixer, CodeShape(batch, latent), dtype=torch.float32)
        h, drawn = case.h().requires_grad_(), case.draw()
        workloads = {
            "draw": case.draw,
            "mix": lambda case=case, h=h, drawn=drawn: case.mix(h, drawn).h.sum().backward(),
        }
        times = interleaved(workloads, CPU, repeats=repeats, each=EACH)
        found[entry.name] = {work: spread(taken.clock(CPU)) for work, taken in times.items()}
    return found


def cost_table(name: str, cost: Mapping[int, Spread]) -> str:
    sizes, ends = list(cost), dict(list(cost.items())[-2:])
    cells = [f"{1e3 * found.median:.1f} [{1e3 * found.low:.1f}, {1e3 * found.high:.1f}]" for found in cost.values()]
    return "\n".join(
        [
            f"## {name}: {MEANING[name]}\n",
            f"| {name} | {' | '.join(map(str, sizes))} |",
            "|" + "---|" * (len(sizes) + 1),
            f"| ms per step | {' | '.join(cells)} |",
            f"\nExponent {exponent(cost):.2f} over all, {exponent(ends):.2f} from {min(ends)} to {max(ends)}.\n",
        ]
    )


def mixer_table(costs: dict[str, dict[str, Spread]]) -> str:
    lines = [
        "## Mixers: one draw, one mix with its backward pass, 64 codes of 2x4x4\n",
        "| mixer | draw, ms | mix, ms |",
    ]
    lines.append("|---|---|---|")
    for name, works in costs.items():
        cells = [f"{1e3 * works[work].median:.3f}" for work in ("draw", "mix")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*SIZES, "mixers"], default=[*SIZES, "mixers"])
    parser.add_argument("--up-to", type=int, default=10**9, help="leave larger sizes out")
    parser.add_argument("--depth", type=int, default=DEPTH)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    machine_info = machine(CPU, 1)
    print(", ".join(f"{name} {value}" for name, value in machine_info.items()) + ".\n")
    found: dict[str, Any] = {}
    for name in (name for name in given.only if name != "mixers"):
        sizes = tuple(size for size in SIZES[name] if size <= given.up_to)
        found[name] = costs(name, sizes, given.repeats, given.depth)
        print(cost_table(name, found[name]), flush=True)
    if given.picture and found:
        curves = [Curve(f"{name}, p = {exponent(cost):.2f}", points(cost)) for name, cost in found.items()]
        log_log(curves, "ms a step by").savefig(given.picture)
    if "mixers" in given.only:
        found["mixers"] = mixer_costs(given.repeats)
        print(mixer_table(found["mixers"]))
    if given.json:
        given.json.write_text(json.dumps({"machine": machine_info, "seconds": found}, indent=2) + "\n")


def points(cost: Mapping[int, Spread]) -> list[tuple[float, float]]:
    return [(float(size), 1e3 * found.median) for size, found in cost.items()]


if __name__ == "__main__":
    main()
