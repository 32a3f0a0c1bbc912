"""How long a step takes: medians and quartiles of repeats, several steps by turns in one process.

A CPU's clock is wall time, and the time this process was on a core beside it, which other programs do not lengthen; at
one thread the second is the one to trust. A GPU's clock is its own events.
"""

from collections.abc import Callable, Mapping
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import NamedTuple

import torch


class Spread(NamedTuple):
    """Of repeats: the middle one, and what a quarter of them is below and above."""

    low: float
    median: float
    high: float


class Times(NamedTuple):
    """Seconds of one step, one number for each repeat."""

    wall: list[float]  # a GPU's by its own events
    cpu: list[float]  # of this process, all of its threads

    def clock(self, device: torch.device) -> list[float]:
        """The one to trust: on a CPU at one thread this process's own time, which neighbours hardly lengthen."""
        return self.cpu if device.type == "cpu" and torch.get_num_threads() == 1 else self.wall


def spread(values: list[float]) -> Spread:
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Spread(low, median(values), high)


def interleaved(
    steps: Mapping[str, Callable[[], object]], device: torch.device, *, repeats: int, each: int = 1, warm_up: int = 3
) -> dict[str, Times]:
    """Times of the steps, which take turns; a turn is `each` calls, and the order turns round from repeat to repeat.

    What slows the machine for a while so slows them all: compare what was timed in the same repeat.
    """
    for step in steps.values():
        for _ in range(warm_up):
            step()
    times = {name: Times([], []) for name in steps}
    for repeat in range(repeats):
        for name in reversed([*steps]) if repeat % 2 else steps:
            wall, cpu = timed(steps[name], each, device)
            times[name].wall.append(wall)
            times[name].cpu.append(cpu)
    return times


def timed(step: Callable[[], object], each: int, device: torch.device) -> tuple[float, float]:
    """Seconds of one of `each` calls in a row: wall time and this process's."""
    if device.type == "cuda":
        return _timed_by_events(step, each)
    wall, cpu = perf_counter(), process_time()
    for _ in range(each):
        step()
    return (perf_counter() - wall) / each, (process_time() - cpu) / each


def _timed_by_events(step: Callable[[], object], each: int) -> tuple[float, float]:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    cpu = process_time()
    begin.record()
    for _ in range(each):
        step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3 / each, (process_time() - cpu) / each


def ratios(of: list[float], to: list[float]) -> Spread:
    """How many times `to` each of `of` is, repeat by repeat."""
    return spread([a / b for a, b in zip(of, to)])
