"""The table of `mixzoo bench`: per run the time of a step, its counts, and the least time on this machine."""

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from importlib.metadata import version

import torch

from mixzoo.benchmark.ceiling import Ceiling, ceiling, floor
from mixzoo.benchmark.counting import Counts, counted, kernels, peak_on_gpu
from mixzoo.benchmark.steps import Stepper, eager, read, stepper
from mixzoo.benchmark.timing import Spread, Times, interleaved, spread
from mixzoo.data.placement import LoadedData
from mixzoo.registry.config import RunConfig
from mixzoo.registry.zoo import Zoo
from mixzoo.training.devices import pick_device
from mixzoo.training.engine import precision_of

TRACE = 3  # steps before measuring: the first ones compile or capture the step


@dataclass(frozen=True)
class Row:
    """Measurements of one run's step. Rates use the median step by `Times.clock`; counts are of the eager step."""

    label: str  # the row's name, such as its objective and mixer
    batch_images: int
    engine: str  # the engine that ran
    note: str  # why `auto` fell back to this engine; '' if it did not
    precision: str
    wall_ms: Spread
    cpu_ms: Spread  # of this process, over all of its threads
    images_per_second: float
    launched: int  # operations on a CPU, kernels on a GPU
    gflop: float  # of one step, counted
    gflop_per_second: float
    ceiling: Ceiling
    floor_ms: float
    floor_limit: str
    of_floor: float  # floor / median; above 1 only if bytes stay in a cache
    peak_mb: float  # 10^6 bytes of the eager step's tensors, without weights and data; on a GPU including them


def measured(zoo: Zoo, configs: Iterable[tuple[str, RunConfig]], *, repeats: int) -> Iterator[Row]:
    """A row for each labelled config, as soon as it is measured. Configs that share data load them once."""
    loaded: dict[object, LoadedData] = {}
    for label, config in configs:
        train = config.train
        key = (config.parts["dataset"], train.seed, train.data_on, train.workers, train.image_cache, train.device)
        if key not in loaded:
            loaded[key] = read(config, pick_device(train.device))
        yield row(zoo, label, config, loaded[key], repeats)


def row(zoo: Zoo, label: str, config: RunConfig, placed: LoadedData, repeats: int) -> Row:
    cycle = config.train.d_steps  # steps per update of the auto-encoder
    with stepper(zoo, eager(config), placed) as step:
        for _ in range(TRACE):
            step()
        counts = _mean([counted(step) for _ in range(cycle)])
        if step.device.type == "cuda":  # measured here: a captured step allocates its memory beforehand
            counts = replace(counts, peak_bytes=max(peak_on_gpu(step, step.device) for _ in range(cycle)))
    with stepper(zoo, config, placed) as step:
        each = cycle * (1 if step.device.type == "cpu" else 20)
        times = interleaved({"step": step}, step.device, repeats=repeats, each=each, warm_up=cycle * TRACE)["step"]
        on_cpu = step.device.type == "cpu"
        launched = counts.operations if on_cpu else sum(kernels(step) for _ in range(cycle)) // cycle
        return _row(label, config, step, counts, times, launched)


def _row(label: str, config: RunConfig, step: Stepper, counts: Counts, times: Times, launched: int) -> Row:
    precision = precision_of(config.train, step.device)
    limits = ceiling(step.device, precision, torch.get_num_threads())
    best, median = floor(counts, limits, launched), spread(times.clock(step.device)).median
    batch = config.train.batch_images
    return Row(
        label=label,
        batch_images=batch,
        engine=engine_of(config.train.engine, step),
        note=" ".join(step.notes),
        precision=precision,
        wall_ms=_ms(spread(times.wall)),
        cpu_ms=_ms(spread(times.cpu)),
        images_per_second=batch / median,
        launched=launched,
        gflop=counts.flops / 1e9,
        gflop_per_second=counts.flops / 1e9 / median,
        ceiling=limits,
        floor_ms=1e3 * best.seconds,
        floor_limit=best.limit,
        of_floor=best.seconds / median,
        peak_mb=counts.peak_bytes / 1e6,
    )


def engine_of(requested: str, step: Stepper) -> str:
    """The engine that ran if `requested` was asked for."""
    if requested != "auto":
        return requested
    if step.device.type != "cuda":
        return "eager"
    return ("graph+compile", "graph", "eager")[min(len(step.notes), 2)]  # with each note it falls back by one


def machine(device: torch.device, threads: int) -> dict[str, object]:
    """The machine and versions, for the heading of a table."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    packages = {name: version(name) for name in ("torch", "mixzoo")}
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **packages,
    }


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    return [asdict(row) | {"wall_ms": row.wall_ms._asdict(), "cpu_ms": row.cpu_ms._asdict()} for row in rows]


def _ms(times: Spread) -> Spread:
    return Spread(*(1e3 * seconds for seconds in times))


def _mean(steps: list[Counts]) -> Counts:
    """The mean over the steps of one cycle, some of which may update D alone."""
    return Counts(*(sum(column) // len(steps) for column in zip(*(astuple(counts) for counts in steps))))
