"""docs/scaling.md: Table 1 of the paper on one H100, on eight and on 64 times eight, by arithmetic from counts.

    python benchmarks/on_paper.py > docs/scaling.md

Steps come from the run files of the zoo; the work of a step was counted (`mixzoo.benchmark.counting`, on a CPU, the
layers one after another as a GPU runs them), its kernels by the rules of gpu_kernels.py. All figures of a GPU are
assumptions and named as such.
"""

import tomllib
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from textwrap import fill

FILES = sorted((Path(__file__).parents[1] / "zoo_configs/paper").glob("table1_*.toml"))
SEEDS = 3
NODE, NODES = 8, 64  # GPUs of a node, nodes of the largest machine


@dataclass(frozen=True)
class Counted:
    """Counts of one step of 64 images."""

    operations: int  # each costs the host time outside a graph
    kernels: int  # of these operations on a GPU, by rules
    gflop: float
    gigabytes: float  # read and written by convolutions, in fp32


COUNTED = {  # by the objective of a run file
    "aegan": Counted(302, 660, 18.85, 0.338),
    "amr": Counted(334, 690, 26.82, 0.484),
    "acai": Counted(331, 687, 26.82, 0.484),
}
WEIGHT_BYTES = 1_508_284  # of both players and the probe, fp32
CODE_BYTES, LABEL_BYTES = 128, 8  # per image, fp32 and int64
ALL_REDUCES = 4  # per step of AMR: gradients of both players, of the probe, and of the gathered codes
ALL_GATHERS = 2  # per step: codes, which are mixed, and their labels, which are passed to every mixer


@dataclass(frozen=True)
class Gpu:
    """Assumptions about one H100; none was measured."""

    flops: float = 400e12  # per second in TF32, of a peak of 495
    bytes: float = 3.0e12  # per second, of a peak of 3.35
    kernel: float = 2.2e-6  # seconds per small kernel in a replayed graph
    eager: float = 6e-6  # seconds of host time per operation outside a graph
    link: float = 450e9  # bytes per second to another GPU of the node
    network: float = 50e9  # bytes per second from a GPU to another node
    near: float = 25e-6  # seconds of an empty collective inside a node
    hop: float = 5e-6  # further seconds for each doubling of nodes, each way


H100 = Gpu()
MPS_RUNS = 4  # at once on one GPU
FUSED = 180  # kernels per step if norms, activations and spectral norm were one kernel each; a target, not implemented


def step_seconds(counted: Counted, images: float = 64, kernels: int | None = None, *, eager: bool = False) -> float:
    """The largest of the times of launches, arithmetic and memory, which limits the step."""
    scale = images / 64  # the counts are of a batch of 64
    replayed = (counted.kernels if kernels is None else kernels) * H100.kernel
    launches = max(replayed, counted.operations * H100.eager) if eager else replayed
    return max(launches, scale * counted.gflop * 1e9 / H100.flops, scale * counted.gigabytes * 1e9 / H100.bytes)


def exchange_bytes(images: int) -> int:
    """Bytes that a step of AMR on a global batch sends round the ring; an all-reduce goes round twice."""
    return 2 * (WEIGHT_BYTES + CODE_BYTES * images) + (CODE_BYTES + LABEL_BYTES) * images


def exchange_seconds(gpus: int, images: int) -> float:
    """Time of all collectives of a step over n GPUs: (n-1)/n of the bytes through the slowest link, and latencies."""
    if gpus == 1:
        return 0.0
    nodes = ceil(gpus / NODE)
    latency = H100.near + 2 * H100.hop * (log2(nodes) if nodes > 1 else 0)
    slowest = H100.link if nodes == 1 else H100.network
    return (ALL_REDUCES + ALL_GATHERS) * latency + (gpus - 1) / gpus * exchange_bytes(images) / slowest


@dataclass(frozen=True)
class Run:
    """One cell of Table 1, one seed of it."""

    data: str
    objective: str
    steps: int

    def hours(self, kernels: int | None = None) -> float:
        return self.steps * step_seconds(COUNTED[self.objective], kernels=kernels) / 3600


def table1() -> list[Run]:
    """The runs of Table 1, one per seed, from the run files that follow the paper's text."""
    tables = [tomllib.loads(file.read_text(encoding="utf-8")) for file in FILES]
    runs = [Run(t["dataset"]["name"], t["objective"]["name"], t["train"]["steps"]) for t in tables]
    return [run for run in runs for _ in range(SEEDS)]


def makespan(hours: list[float], gpus: int) -> float:
    """Hours until all runs have ended, if the longest start first and each takes the first free GPU."""
    busy_until = [0.0] * gpus
    for run in sorted(hours, reverse=True):
        first = busy_until.index(min(busy_until))
        busy_until[first] += run
    return max(busy_until)


def independent(runs: list[Run]) -> list[str]:
    lines = ["| machine | GPUs | kernels as they are: hours | fused: hours | GPUs in use |", "|---|---|---|---|---|"]
    for name, gpus in {"one GPU": 1, "one node": NODE, f"{NODES} nodes": NODE * NODES}.items():
        hours = [makespan([run.hours(kernels) for run in runs], gpus) for kernels in (None, FUSED)]
        lines.append(f"| {name} | {gpus} | {hours[0]:.1f} | {hours[1]:.1f} | {min(gpus, len(runs))} |")
    return lines


def parallel() -> list[str]:
    """Images per second of one AMR run over several GPUs, by number of GPUs and global batch; the gain in brackets.

    One GPU replays a graph; several run eager, since communication is not captured in a graph.
    """
    batches = (64, 512, 4096, 32768)
    lines = ["| GPUs | exchange | " + " | ".join(f"batch {b}" for b in batches) + " |", "|" + "---|" * 6]
    amr = COUNTED["amr"]
    for gpus in (1, 2, NODE, 8 * NODE, NODES * NODE):
        cells = []
        for batch in batches:
            if batch < gpus:
                cells.append("fewer images than GPUs")
                continue
            rate = batch / (step_seconds(amr, batch / gpus, eager=gpus > 1) + exchange_seconds(gpus, batch))
            gain = rate / (batch / step_seconds(amr, batch))
            cells.append(f"{rate / 1e6:.3f} M/s (x{gain:.1f})")
        lines.append(f"| {gpus} | {1e6 * exchange_seconds(gpus, batches[0]):.0f} us | {' | '.join(cells)} |")
    return lines


def counts() -> list[str]:
    lines = [
        "| objective | operations | kernels | GFLOP | GB | launches | arithmetic | memory | step |",
        "|" + "---|" * 9,
    ]
    for name, c in COUNTED.items():
        times = [c.kernels * H100.kernel, c.gflop * 1e9 / H100.flops, c.gigabytes * 1e9 / H100.bytes]
        cells = [f"{1e3 * t:.2f} ms" for t in (*times, step_seconds(c))]
        lines.append(f"| {name} | {c.operations} | {c.kernels} | {c.gflop} | {c.gigabytes} | {' | '.join(cells)} |")
    return lines


def steps(runs: list[Run]) -> list[str]:
    lines = ["| data | objective | runs | steps each | hours each | fused |", "|" + "---|" * 6]
    for run in dict.fromkeys(runs):
        hours, fused = run.hours(), run.hours(FUSED)
        cells = (run.data, run.objective, runs.count(run), f"{run.steps:,}", f"{hours:.2f}", f"{fused:.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def filling_batch(kernels: int | None = None, *, eager: bool = False) -> float:
    """Images per GPU above which memory, not launches, limits a step of AMR."""
    amr = COUNTED["amr"]
    return 64 * step_seconds(amr, 0, kernels, eager=eager) / (amr.gigabytes * 1e9 / H100.bytes)


def shared_hours(runs: list[Run]) -> float:
    """Hours of all runs on one GPU, MPS_RUNS at once, if no launch or memory of one waits for another's."""
    together = [
        max(run.hours() / MPS_RUNS, run.steps * COUNTED[run.objective].gigabytes * 1e9 / H100.bytes / 3600)
        for run in runs
    ]
    return sum(together)


def page() -> str:
    runs, amr = table1(), COUNTED["amr"]
    million, gpus = sum(run.steps for run in runs) / 1e6, NODE * NODES
    slack = step_seconds(amr) / (amr.gigabytes * 1e9 / H100.bytes)
    fused_ms, full, full_fused = 1e3 * step_seconds(amr, kernels=FUSED), filling_batch(), filling_batch(FUSED)
    eager_ms, full_eager = 1e3 * step_seconds(amr, eager=True), filling_batch(eager=True)
    parts = [
        f"# Table 1 on one H100, on a node, on {NODES} nodes",
        """Printed by `python benchmarks/on_paper.py`. **Estimates by arithmetic, not measurements**: mixzoo was not run
        on a GPU for this page. Counts are marked as counted, the rest is assumed; expect times to be right within
        a factor of two.""",
        "## The work of a step",
        f"""Counted for 64 images of 32x32 with one channel and dh = 32 (`mixzoo bench` counts the same way; three
        channels add less than a hundredth), the layers one after another as a GPU runs them: operations, arithmetic in
        convolutions, and the bytes that these read and write in fp32. Assumed for the GPU: {H100.flops / 1e12:.0f}
        TFLOP/s in TF32, {H100.bytes / 1e12:.1f} TB/s, {1e6 * H100.kernel:.1f} us per kernel of a
        replayed graph. Kernels follow from the operations by the rules of benchmarks/gpu_kernels.py, which none has
        checked on a GPU: a convolution and its bias are two kernels, its gradients three, and copies bring the maps
        of f and g, which are not channels last, into the layout of tensor cores. A step then takes the longest of
        three times:""",
        counts(),
        f"""Launches limit the step: they take {slack:.0f} times as long as memory. "Fused" below is a step of {FUSED}
        kernels ({fused_ms:.2f} ms), a target that is not implemented. A GPU is fully used from about {full:.0f} images
        per step ({full_fused:.0f} fused), not from 64.""",
        "## Table 1",
        f"""5 methods x 3 data sets x {SEEDS} seeds = {len(runs)} runs. Steps from the run files in zoo_configs/paper:
        epochs x train images / 64, MNIST and KMNIST 2,000 x 50,000 / 64, SVHN 3,500 x 65,931 / 64; one D-step per
        step of the auto-encoder. {million:.0f} million steps in total. (The authors' scripts train KMNIST and SVHN
        for up to 6,000 epochs, with five D-steps for each step of the auto-encoder: zoo_configs/authors.)""",
        steps(runs),
        "## Separate runs: one run per GPU",
        f"""Runs do not communicate, so throughput grows with the number of GPUs until there is one per run. After that
        the longest run sets the time: of {gpus} GPUs, {gpus - len(runs)} are idle.""",
        independent(runs),
        f"""Since one run leaves a GPU mostly idle, put several runs on each GPU before adding GPUs: they take turns,
        and with `--on local:mps=true` they share it. If launches and memory of {MPS_RUNS} runs at once never waited
        for one another, one GPU would take {shared_hours(runs):.1f} hours with MPS, the least that can be hoped for.
        [launchers.md](launchers.md) says which launcher to use.""",
        "## One run over several GPUs",
        f"""Data parallel: each GPU takes a shard of the batch. A step of AMR then has {ALL_REDUCES + ALL_GATHERS}
        collectives, counted: {ALL_REDUCES} all-reduces (the gradients of both players and of the probe, together
        {WEIGHT_BYTES / 1e6:.2f} MB, and that of the codes, since a mix has gradients for all its sources) and
        {ALL_GATHERS} all-gathers (codes and labels, {CODE_BYTES + LABEL_BYTES} bytes an image). A ring sends (n-1)/n
        of the gathered bytes through its slowest link, and twice that of the reduced bytes: assumed
        {H100.link / 1e9:.0f} GB/s in a node and {H100.network / 1e9:.0f} GB/s between nodes, and for each collective
        {1e6 * H100.near:.0f} us, plus {2e6 * H100.hop:.0f} us for each doubling of nodes. Exchange is the time of
        all of them at a batch of 64. Communication is not captured in a graph, so several processes run
        `eager`, whatever `--engine auto` does on one GPU: assumed {1e6 * H100.eager:.0f} us of host time per
        operation, {eager_ms:.1f} ms per step where a replayed graph takes {1e3 * step_seconds(amr):.2f}. AMR, kernels
        as they are; in brackets, the gain in images per second over one GPU that replays a graph, at the same global
        batch:""",
        parallel(),
        f"""At the paper's batch of 64, data parallel is slower than one GPU: launches take as long for 8 images as for
        64, each takes longer than in a graph, and the exchange is added. It pays once the batch fully uses each of
        several GPUs even so ({full_eager:.0f} images each; {full:.0f} in a graph), and stops paying once a GPU's shard
        is smaller: at a global batch of 4,096 after about {4096 / full_eager:.0f} GPUs, at 32,768 after about
        {32768 / full_eager:.0f}. A larger batch changes the training, with fewer steps per epoch; Table 1 does not need
        one. So for the paper use separate runs, and data parallel for larger images or networks.""",
    ]
    return "\n\n".join("\n".join(p) if isinstance(p, list) else fill(" ".join(p.split()), 118) for p in parts)


if __name__ == "__main__":
    print(page())
