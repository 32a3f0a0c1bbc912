"""How long a step takes: medians and quartiles over repeats, with several steps interleaved in one process.

On a CPU both wall time and this process's CPU time are measured. Other programs hardly lengthen CPU time, so it is the
one to trust at one thread. On a GPU, wall time is that of CUDA events.
"""

from collections.abc import Callable, Mapping
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import NamedTuple

import torch


class Spread(NamedTuple):
    """Lower quartile, median and upper quartile of repeats."""

    low: float
    median: float
    high: float


class Times(NamedTuple):
    """Seconds per step, one number for each repeat."""

    wall: list[float]  # on a GPU by CUDA events
    cpu: list[float]  # of this process, over all of its threads

    def clock(self, device: torch.device) -> list[float]:
        """The times to trust: on a CPU at one thread CPU time, which other programs hardly lengthen; else wall time."""
        return self.cpu if device.type == "cpu" and torch.get_num_threads() == 1 else self.wall


def spread(values: list[float]) -> Spread:
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Spread(low, median(values), high)


def interleaved(
    steps: Mapping[str, Callable[[], object]], device: torch.device, *, repeats: int, each: int = 1, warm_up: int = 3
) -> dict[str, Times]:
    """Times of the steps, which take turns. A turn is `each` calls, and the order is reversed after every repeat.

    A temporary slowdown of the machine then affects every step: compare times of the same repeat.
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
    """Seconds per call over `each` consecutive calls: wall time and CPU time of this process."""
    if device.type == "cuda":
        return _timed_by_events(step, each)
    wall, cpu = perf_counter(), process_time()
    for _ in range(each):
        step()
    return (perf_counter() - wall) / each, (process_time() - cpu) / each


def _timed_by_events(step: Callable[[], object], each: int) -> tuple[float, float]:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    cpu = process_time()
    start.record()
    for _ in range(each):
        step()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / each, (process_time() - cpu) / each


def ratios(of: list[float], to: list[float]) -> Spread:
    """The spread of of / to, repeat by repeat."""
    return spread([a / b for a, b in zip(of, to)])
