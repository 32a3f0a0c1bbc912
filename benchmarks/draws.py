"""How much of a training step is spent on its draws: made in the training thread, and in a thread that is ahead.

    python benchmarks/draws.py                     what a GPU gains, as far as a CPU shows, and what a CPU would
    python benchmarks/draws.py --repeats 3 --only wait

"wait" rows: in place of a step the training thread sleeps, as it does while a GPU computes; the draws are real. "run"
rows: steps of a run on the CPU, where a run has no such thread outside this script. "before" and "after" take turns,
each from step 0, so the first block, which nobody has made ahead, is included.

% is the share of the training thread's time that it spends on getting its draws, waiting for them included. CPU ms are
what it computes itself for them in each step, which other programs hardly change. Brackets: quartiles over the turns.

Last, the time to seed a generator, best of the turns.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

import torch
from torch import Generator

from mixzoo.benchmark.steps import Stepper, stepper
from mixzoo.benchmark.table import machine
from mixzoo.benchmark.timing import spread
from mixzoo.core.random import DrawRequest, StepDraws, draw_step
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.training.blocks import Blocks, StepInputs
from mixzoo.training.memory import keep_freed_memory

CPU = torch.device("cpu")
BATCH = 64
ZOO = load_zoo()
WAITS: dict[str, tuple[str, dict[str, DrawRequest]]] = {  # the mixer, and what is drawn at each step
    "mixup": ("mixup", {"mix": DrawRequest("mix", (32, 4, 4))}),
    "channel, 256 maps": ("channel", {"mix": DrawRequest("mix", (256, 4, 4))}),
    "bernoulli k=3, 256 maps": ("bernoulli:k=3", {"mix": DrawRequest("mix", (256, 4, 4))}),
    "noise 3x64x64": ("mixup", {"noise/input": DrawRequest("normal", (3, 64, 64))}),
    "noise 3x128x128": ("mixup", {"noise/input": DrawRequest("normal", (3, 128, 128))}),
}
RUNS = {  # flags of runs on the CPU
    "digits, amr, mixup": {"objective": "amr", "mixer": "mixup"},
    "digits, amr, channel:k=3": {"objective": "amr", "mixer": "channel:k=3"},
    "digits, dae": {"objective": "dae", "mixer": "mixup"},
}
NETWORKS = {"dataset": "digits", "autoencoder": "amr:depth=4", "discriminator": "amr:depth=4"}


class Times(NamedTuple):
    """Seconds for each step, of a turn."""

    step: float  # all of it
    drawing: float  # of it, until the step has its draws
    cpu: float  # of the training thread meanwhile


Turn = Callable[[bool], Times]


def turn(blocks: Blocks, step: Callable[[int, StepInputs], object], steps: int, device: torch.device = CPU) -> Times:
    """The times of steps from 0 on; a GPU's last one is waited for."""
    drawing = cpu = 0.0
    start = time.perf_counter()
    with blocks:
        for number in range(steps):
            asked, asked_cpu = time.perf_counter(), time.thread_time()
            inputs = blocks.at(number)
            drawing += time.perf_counter() - asked
            cpu += time.thread_time() - asked_cpu
            step(number, inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return Times((time.perf_counter() - start) / steps, drawing / steps, cpu / steps)


def waiting(name: str, milliseconds: float, steps: int) -> Turn:
    """A turn of steps that only wait."""
    spec, requests = WAITS[name]
    mixer = ZOO.recipe("mixer", spec)

    def draw(step: int) -> StepDraws:
        return draw_step(0, step, requests, mixer, batch=BATCH)

    def wait(step: int, inputs: StepInputs) -> None:
        time.sleep(milliseconds / 1e3)

    return lambda ahead: turn(Blocks(draw, CPU, steps, ahead=ahead), wait, steps)


@contextmanager
def running(name: str, threads: int, steps: int) -> Iterator[Turn]:
    """A turn of steps of a run."""
    config = resolve(ZOO, None, flags=NETWORKS | RUNS[name], numbers={"threads": threads, "batch_images": BATCH})
    with stepper(ZOO, config) as step:
        yield turns_of(step, steps)


def turns_of(step: Stepper, steps: int) -> Turn:
    """A turn of steps that are ready to be taken, with or without a thread that makes their draws ahead."""
    loop, index, device = step.loop, step.loop.images.order.own, step.device
    return lambda ahead: turn(Blocks(loop.draw, device, steps, index, ahead=ahead), loop.step, steps, device)


def columns(one: Turn, repeats: int) -> dict[str, str]:
    """Measure both ways by turns: milliseconds of a step, and what its draws take, with quartiles."""
    found: dict[bool, list[Times]] = {False: [], True: []}
    for ahead in found:
        one(ahead)
    for repeat in range(repeats):
        for ahead in (False, True) if repeat % 2 else (True, False):
            found[ahead].append(one(ahead))
    before, after = found[False], found[True]
    cells = {"ms before": three([1e3 * times.step for times in before])}
    for when, turns in {"before": before, "after": after}.items():
        cells[f"% {when}"] = three([100 * times.drawing / times.step for times in turns])
    for when, turns in {"before": before, "after": after}.items():
        cells[f"CPU ms {when}"] = three([1e3 * times.cpu for times in turns], 2)
    return cells | {"ms after / before": three([two.step / one.step for one, two in zip(before, after)], 2)}


def row(name: str, threads: int, one: Turn, repeats: int) -> str:
    return f"| {name} | {threads} | {' | '.join(columns(one, repeats).values())} |"


def three(values: list[float], digits: int = 1) -> str:
    """A median and its quartiles."""
    low, median, high = (f"{value:.{digits}f}" for value in spread(values))
    return f"{median} [{low}, {high}]"


def microseconds(function: Callable[[int], object], calls: int = 1000, repeats: int = 7) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for number in range(calls):
            function(number)
        best = min(best, time.perf_counter() - start)
    return best / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=32, help="of a turn; a quarter of it, and at least 4, in runs")
    parser.add_argument("--wait", type=float, nargs="+", default=[5.0, 20.0], help="ms of a step that waits")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="of runs on the CPU")
    parser.add_argument("--only", choices=["wait", "run", "seed"], nargs="+", default=["wait", "run", "seed"])
    given = parser.parse_args()

    torch.set_num_threads(1)
    keep_freed_memory()  # as `mixzoo train` does
    details = ", ".join(f"{name} {value}" for name, value in machine(CPU, 1).items() if name != "threads")
    print(f"{date.today()}: {details}; batch {BATCH}; load {os.getloadavg()[0]:.1f} at the beginning.\n")
    print("| step | threads | ms before | % before | % after | CPU ms before | CPU ms after | ms after / before |")
    print("|" + "---|" * 8)
    for name in WAITS if "wait" in given.only else ():
        for milliseconds in given.wait:
            label = f"wait {milliseconds:g} ms, {name}"
            print(row(label, 1, waiting(name, milliseconds, given.steps), given.repeats), flush=True)
    for name in RUNS if "run" in given.only else ():
        for threads in given.threads:
            with running(name, threads, max(4, given.steps // 4)) as one:
                print(row(f"run {name}", threads, one, given.repeats), flush=True)
    if "seed" in given.only:
        torch.set_num_threads(1)
        kept = Generator()
        with torch.random.fork_rng(devices=[]):
            ways: dict[str, Callable[[int], object]] = {
                "a new generator": lambda step: torch.rand(BATCH, generator=Generator().manual_seed(step + 2**40)),
                "the same again": lambda step: torch.rand(BATCH, generator=kept.manual_seed(step + 2**40)),
                "torch.manual_seed": torch.manual_seed,
                "torch.default_generator.manual_seed": torch.default_generator.manual_seed,
            }
            times = {name: microseconds(way) for name, way in ways.items()}
        print("\nMicroseconds to seed a generator, for the first two with 64 numbers from it: ", end="")
        print(", ".join(f"{name} {value:.1f}" for name, value in times.items()) + ".")


if __name__ == "__main__":
    main()
