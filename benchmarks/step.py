"""One optimisation step of mixzoo compared with the plain trainer's (plain.py), interleaved in one process.

    python benchmarks/step.py --root DATA [--check] [--loop] [--memory] [--json FILE] > benchmarks/results/step.md
    python benchmarks/step.py --methods "AMR k=2" --variants ours bf16 "two passes back"

The same networks, weights, objective, batch and Adam settings; one D-step per step of the auto-encoder. The ratio is
the median over repeats, in each of which both take a step, by the clock of `mixzoo.benchmark.timing`: CPU time at one
thread, else wall time. Three numbers are a median and its quartiles. Variants are in cases.py.

--check exits before timing if a step's gradients differ from the plain trainer's, in float64 (which bf16 leaves alone).
--loop adds what surrounds a step: the plain trainer's loader, which reads images one by one (in this process, or in
--workers, whose CPU time is not counted), and mixzoo's lines of metrics; its draws and batch are always included.
Without --root the data are `digits`. --memory runs each side in its own process with its usual allocator: `mixzoo
train` keeps freed memory (mixzoo.training.memory), the plain trainer returns it.

On a GPU: --device cuda --variants "eager fp32" "graph tf32" ...; the plain trainer then has torch's own settings.
"""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agreement import TOLERANCE, disagreement
from cases import METHODS, PLAIN, VARIANTS, Case, Step, as_torch_is, ours, plain_step, wrapped
from mixzoo.benchmark.counting import counted
from mixzoo.benchmark.table import machine
from mixzoo.benchmark.timing import Times, interleaved, ratios, spread
from mixzoo.data.placement import LoadedData
from mixzoo.training.memory import keep_freed_memory


def check_same_step(case: Case, names: list[str], data: LoadedData) -> None:
    """Raises SystemExit if the gradients of a variant differ from the plain trainer's."""
    small = replace(case, batch=min(case.batch, 16))
    for name in names:
        with ours(small, name, data) as step, VARIANTS[name].around():
            found = disagreement(step, small.plain())
        worst = max(found.values())
        print(f"{case.method}, {name}: gradients within {worst:.1e}", file=sys.stderr)
        if not worst < TOLERANCE:
            sys.exit(f"{case.method}, {name}: gradients differ by {found} from the plain trainer's; nothing is timed")


def times_of(
    case: Case, names: list[str], data: LoadedData, repeats: int, workers: int | None, *, each: int = 1
) -> dict[str, Times]:
    """Times of the plain trainer and of the variants, interleaved in turns of `each` steps."""
    with ExitStack() as stack:
        steppers = {name: stack.enter_context(ours(case, name, data)) for name in names}
        first = next(iter(steppers.values()))
        steps: dict[str, Step] = {PLAIN: wrapped(plain_step(case, first, workers), as_torch_is)}
        for name, step in steppers.items():
            steps[name] = wrapped(step if workers is None else step.logged, VARIANTS[name].around)
        return interleaved(steps, first.device, repeats=repeats, each=each)


def rows_of(case: Case, times: dict[str, Times], device: torch.device) -> list[dict[str, Any]]:
    plain = times[PLAIN]
    return [
        {
            "method": case.method,
            "batch": case.batch,
            "step": name,
            "wall_ms": [1e3 * t for t in spread(found.wall)],
            "cpu_ms": [1e3 * t for t in spread(found.cpu)],
            "of_plain": list(ratios(found.clock(device), plain.clock(device))),
            "images_per_second": case.batch / spread(found.clock(device)).median,
        }
        for name, found in times.items()
    ]


def alone(case: Case, name: str, steps: int) -> dict[str, float]:
    """MB of this process before its first step and at its peak, and the peak of the tensors of one step."""
    if name != PLAIN:
        keep_freed_memory()  # as `mixzoo train` does
    data = case.data()
    with ours(case, "ours" if name == PLAIN else name, data) as step:
        take: Step = plain_step(case, step, None) if name == PLAIN else wrapped(step, VARIANTS[name].around)
        before = resident()["VmRSS"]
        for _ in range(steps):
            take()
        peak = resident()["VmHWM"]
        return {"before_mb": before, "peak_mb": peak, "tensors_mb": counted(take).peak_bytes / 1e6}


def resident() -> dict[str, float]:
    """MB of this process in memory now (VmRSS) and at its peak (VmHWM), from Linux."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {line[0][:-1]: int(line[1]) * 1024 / 1e6 for line in lines if line[0] in ("VmRSS:", "VmHWM:")}


def measured_in_a_process(name: str, case: Case) -> dict[str, float]:
    root = [] if case.root is None else ["--root", str(case.root)]
    sizes = ["--batch", str(case.batch), "--depth", str(case.depth), "--threads", str(case.threads)]
    command = [sys.executable, __file__, "--alone", name, "--methods", case.method, *sizes, *root]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| method | batch | step | ms, wall | ms, process | of plain | images/s |", "|" + "---|" * 7]
    for row in rows:
        wall, cpu, of = (three(row[key], digits) for key, digits in (("wall_ms", 0), ("cpu_ms", 0), ("of_plain", 2)))
        cells = (row["method"], row["batch"], row["step"], wall, cpu, of, f"{row['images_per_second']:.0f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def three(values: list[float], digits: int) -> str:
    """A median and its quartiles."""
    low, median, high = (f"{value:.{digits}f}" for value in values)
    return f"{median} [{low}, {high}]"


def memory_table(found: list[dict[str, Any]]) -> str:
    """`above` is the peak minus the memory before the first step, which is mostly libraries on both sides."""
    names = ("peak MB", "above MB", "tensors MB")
    lines = ["| method | batch | step | MB before |" + "".join(f" {name} | of plain |" for name in names)]
    lines.append("|" + "---|" * (4 + 2 * len(names)))
    found = [row | {"above_mb": row["peak_mb"] - row["before_mb"]} for row in found]
    plain = {(row["method"], row["batch"]): row for row in found if row["step"] == PLAIN}
    for row in found:
        other = plain[row["method"], row["batch"]]
        taken = [f"{row[key]:.0f} | {row[key] / other[key]:.2f}" for key in ("peak_mb", "above_mb", "tensors_mb")]
        cells = (row["method"], row["batch"], row["step"], f"{row['before_mb']:.0f}", *taken)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["ours"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = [
        Case(method, batch, given.root, given.depth, given.threads, given.device)
        for method in given.methods
        for batch in given.batch
    ]
    if given.alone:
        print(json.dumps(alone(cases[0], given.alone, given.repeats)))
        return
    data, device = cases[0].data(), torch.device(given.device)
    rows: list[dict[str, Any]] = []
    for case in cases:
        if given.check:
            check_same_step(case, given.variants, data)
        workers = given.workers if given.loop else None
        rows += rows_of(case, times_of(case, given.variants, data, given.repeats, workers), device)
    machine_info = machine(device, given.threads)
    print(", ".join(f"{name} {value}" for name, value in machine_info.items()) + ".\n")
    print(markdown(rows))
    memory: list[dict[str, Any]] = []
    if given.memory:
        memory = [
            {"method": case.method, "batch": case.batch, "step": name, **measured_in_a_process(name, case)}
            for case in cases
            for name in (PLAIN, *given.variants)
        ]
        print(f"\n{memory_table(memory)}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine_info, "rows": rows, "memory": memory}, indent=2) + "\n")


if __name__ == "__main__":
    main()
