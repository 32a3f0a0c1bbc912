"""docs/scaling.md: Table 1 of the paper on one H100, on eight and on 64 times eight, by arithmetic from counts.

    python benchmarks/on_paper.py > docs/scaling.md

Steps come from the run files of the zoo; what a step does was counted (`mixzoo.benchmark.counting`, on a CPU, the
layers one after another as a GPU runs them). All that is said of a GPU is assumed and named as such.
"""

import tomllib
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from textwrap import fill

FILES = sorted((Path(__file__).parents[1] / "zoo_configs/paper").glob("table1_*.toml"))
SEEDS = 3
NODE, NODES = 8, 64  # cards of a node, nodes of the largest machine


@dataclass(frozen=True)
class Counted:
    """What one step of 64 images does, counted."""

    operations: int
    gflop: float
    gigabytes: float  # that convolutions read and write, in fp32


COUNTED = {  # by the objective of a run file
    "aegan": Counted(676, 18.79, 0.331),
    "amr": Counted(703, 26.76, 0.477),
    "acai": Counted(700, 26.76, 0.477),
}
WEIGHT_BYTES = 1_508_284  # of both players and the probe, fp32
CODE_BYTES, LABEL_BYTES = 128, 8  # of an image, fp32 and int64
ALL_REDUCES = 4  # of a step of AMR: both players' gradients, the probe's, that of the gathered codes
ALL_GATHERS = 2  # of codes, which mixes are made of, and of their labels, which any mixer is told


@dataclass(frozen=True)
class Card:
    """Assumed of one H100; none of it was measured."""

    flops: float = 400e12  # a second in TF32, of a peak of 495
    bytes: float = 3.0e12  # a second, of a peak of 3.35
    kernel: float = 2.2e-6  # seconds of a small kernel in a replayed graph
    eager: float = 6e-6  # seconds of host time for an operation that is launched by itself
    link: float = 450e9  # bytes a second to another card of the node
    network: float = 50e9  # bytes a second of a card to another node
    near: float = 25e-6  # seconds of a collective of nothing inside a node
    hop: float = 5e-6  # seconds more for each doubling of nodes, there and back


CARD = Card()
FUSED = 180  # kernels of a step, were norms, activations and spectral norm one kernel each; a target, not built


def step_seconds(counted: Counted, images: float = 64, kernels: int | None = None, *, eager: bool = False) -> float:
    """The largest of the times that launches, arithmetic and memory take: one of them is waited for."""
    scale = images / 64  # the counts are of a batch of 64
    launches = (counted.operations if kernels is None else kernels) * (CARD.eager if eager else CARD.kernel)
    return max(launches, scale * counted.gflop * 1e9 / CARD.flops, scale * counted.gigabytes * 1e9 / CARD.bytes)


def exchange_bytes(images: int) -> int:
    """What a step of AMR on a global batch of that many images sends round the ring: an all-reduce goes round twice."""
    return 2 * (WEIGHT_BYTES + CODE_BYTES * images) + (CODE_BYTES + LABEL_BYTES) * images


def exchange_seconds(cards: int, images: int) -> float:
    """All collectives of a step over that many cards: (n-1)/n of the bytes through the slowest link, and latencies."""
    if cards == 1:
        return 0.0
    nodes = ceil(cards / NODE)
    latency = CARD.near + 2 * CARD.hop * (log2(nodes) if nodes > 1 else 0)
    slowest = CARD.link if nodes == 1 else CARD.network
    return (ALL_REDUCES + ALL_GATHERS) * latency + (cards - 1) / cards * exchange_bytes(images) / slowest


@dataclass(frozen=True)
class Run:
    """One cell of Table 1, one seed of it."""

    data: str
    objective: str
    steps: int

    def hours(self, kernels: int | None = None) -> float:
        return self.steps * step_seconds(COUNTED[self.objective], kernels=kernels) / 3600


def table1() -> list[Run]:
    """Its runs, each seed one, from the run files that read the paper's text."""
    tables = [tomllib.loads(file.read_text(encoding="utf-8")) for file in FILES]
    runs = [Run(t["dataset"]["name"], t["objective"]["name"], t["train"]["steps"]) for t in tables]
    return [run for run in runs for _ in range(SEEDS)]


def makespan(hours: list[float], cards: int) -> float:
    """Hours until the last of the runs is done, the longest first, each on the card that is free first."""
    busy = [0.0] * cards
    for run in sorted(hours, reverse=True):
        first = busy.index(min(busy))
        busy[first] += run
    return max(busy)


def independent(runs: list[Run]) -> list[str]:
    lines = ["| machine | cards | kernels as they are: hours | fused: hours | cards in use |", "|---|---|---|---|---|"]
    for name, cards in {"one card": 1, "one node": NODE, f"{NODES} nodes": NODE * NODES}.items():
        hours = [makespan([run.hours(kernels) for run in runs], cards) for kernels in (None, FUSED)]
        lines.append(f"| {name} | {cards} | {hours[0]:.1f} | {hours[1]:.1f} | {min(cards, len(runs))} |")
    return lines


def parallel() -> list[str]:
    """Images a second of one AMR run over several cards, per card count and global batch; in brackets the gain.

    One card replays a graph; several run eager, since what processes send one another is not recorded.
    """
    batches = (64, 512, 4096, 32768)
    lines = ["| cards | exchange | " + " | ".join(f"batch {b}" for b in batches) + " |", "|" + "---|" * 6]
    amr = COUNTED["amr"]
    for cards in (1, 2, NODE, 8 * NODE, NODES * NODE):
        cells = []
        for batch in batches:
            if batch < cards:
                cells.append("no image for each")
                continue
            rate = batch / (step_seconds(amr, batch / cards, eager=cards > 1) + exchange_seconds(cards, batch))
            gain = rate / (batch / step_seconds(amr, batch))
            cells.append(f"{rate / 1e6:.3f} M/s (x{gain:.1f})")
        lines.append(f"| {cards} | {1e6 * exchange_seconds(cards, batches[0]):.0f} us | {' | '.join(cells)} |")
    return lines


def counts() -> list[str]:
    lines = ["| objective | operations | GFLOP | GB | launches | arithmetic | memory | step |", "|" + "---|" * 8]
    for name, c in COUNTED.items():
        times = [c.operations * CARD.kernel, c.gflop * 1e9 / CARD.flops, c.gigabytes * 1e9 / CARD.bytes]
        cells = [f"{1e3 * t:.2f} ms" for t in (*times, step_seconds(c))]
        lines.append(f"| {name} | {c.operations} | {c.gflop} | {c.gigabytes} | {' | '.join(cells)} |")
    return lines


def steps(runs: list[Run]) -> list[str]:
    lines = ["| data | objective | runs | steps each | hours each | fused |", "|" + "---|" * 6]
    for run in dict.fromkeys(runs):
        hours, fused = run.hours(), run.hours(FUSED)
        cells = (run.data, run.objective, runs.count(run), f"{run.steps:,}", f"{hours:.2f}", f"{fused:.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def filling_batch(kernels: int, *, eager: bool = False) -> float:
    """Images of one card above which memory, not launches, is waited for."""
    return 64 * kernels * (CARD.eager if eager else CARD.kernel) / (COUNTED["amr"].gigabytes * 1e9 / CARD.bytes)


def page() -> str:
    runs, amr = table1(), COUNTED["amr"]
    million, cards = sum(run.steps for run in runs) / 1e6, NODE * NODES
    slack = step_seconds(amr) / (amr.gigabytes * 1e9 / CARD.bytes)
    fused_ms, full, full_fused = (1e3 * step_seconds(amr, kernels=FUSED), *map(filling_batch, (amr.operations, FUSED)))
    eager_ms, full_eager = 1e3 * step_seconds(amr, eager=True), filling_batch(amr.operations, eager=True)
    parts = [
        f"# Table 1 on one H100, on a node, on {NODES} nodes",
        """Printed by `python benchmarks/on_paper.py`. **Estimates by arithmetic, not measurements**: mixzoo was not run
        on a GPU for this page. What is counted is said to be counted, the rest is assumed; take times as right to a
        factor of two.""",
        "## What a step does",
        f"""Counted for 64 images of 32x32 with one channel and dh = 32 (`mixzoo bench` counts the same way; three
        channels add less than a hundredth), the layers one after another as a GPU runs them: operations, arithmetic in
        convolutions, bytes that these read and write in fp32. Assumed of the card: {CARD.flops / 1e12:.0f} TFLOP/s in
        TF32, {CARD.bytes / 1e12:.1f} TB/s, {1e6 * CARD.kernel:.1f} us for each kernel of a replayed graph, an operation
        being a kernel. A step then takes the longest of three times:""",
        counts(),
        f"""Launches decide, {slack:.0f} times what memory takes. "Fused" below is a step of {FUSED} kernels
        ({fused_ms:.2f} ms), a target that is not built. One card has work for all of its units from about {full:.0f}
        images a step ({full_fused:.0f} fused), not from 64.""",
        "## Table 1",
        f"""5 methods x 3 data sets x {SEEDS} seeds = {len(runs)} runs. Steps from the run files in zoo_configs/paper:
        epochs x train images / 64, MNIST and KMNIST 2,000 x 50,000 / 64, SVHN 3,500 x 65,931 / 64; one D-step for each
        step of the auto-encoder. {million:.0f} million steps in all. (The authors' scripts train KMNIST and SVHN for up
        to 6,000 epochs, with five D-steps for each step of the auto-encoder: zoo_configs/authors.)""",
        steps(runs),
        "## Runs apart: one run a card",
        f"""Nothing passes between runs, so cards add up until there are as many as runs. From then on the longest run
        is what is waited for: of {cards} cards {cards - len(runs)} have nothing to do.""",
        independent(runs),
        """Since one run leaves a card mostly idle, several on each card come before more cards; how much that gains is
        not estimated here.""",
        "## One run over several cards",
        f"""Data parallel: each card takes its part of the batch. A step of AMR then has {ALL_REDUCES + ALL_GATHERS}
        collectives, counted: {ALL_REDUCES} all-reduces (the gradients of both players and of the probe, together
        {WEIGHT_BYTES / 1e6:.2f} MB, and that of the codes, since a mix teaches through all its sources) and
        {ALL_GATHERS} all-gathers (codes and labels, {CODE_BYTES + LABEL_BYTES} bytes an image). A ring sends (n-1)/n of
        what is gathered through its slowest link, and twice that of what is reduced: assumed {CARD.link / 1e9:.0f} GB/s
        inside a node and {CARD.network / 1e9:.0f} GB/s between nodes, and for each collective
        {1e6 * CARD.near:.0f} us, with {2e6 * CARD.hop:.0f} us more for each doubling of nodes. Exchange is the time of
        all of them at a batch of 64. What processes send one another is not recorded, so that several of them run
        `eager`, whatever `--engine auto` does on one card: assumed {1e6 * CARD.eager:.0f} us of the host for each
        operation, {eager_ms:.1f} ms a step where a replayed graph takes {1e3 * step_seconds(amr):.2f}. AMR, kernels as
        they are; in brackets, times the images a second of one card, which replays a graph, at the same global
        batch:""",
        parallel(),
        f"""At the paper's batch of 64 data parallel is slower than one card: launches take as long for 8 images as for
        64, each takes longer than in a graph, and the exchange comes on top. It pays from the batch on that gives each
        of several cards work for all of its units even so ({full_eager:.0f} images each; {full:.0f} in a graph), and
        stops paying where each card's part falls below that: at a global batch of 4,096 after about
        {4096 / full_eager:.0f} cards, at 32,768 after about {32768 / full_eager:.0f}. A larger batch is another
        training, with fewer steps an epoch; nothing in Table 1 asks for one. So for the paper: runs apart, and data
        parallel for larger images or networks.""",
    ]
    return "\n\n".join("\n".join(p) if isinstance(p, list) else fill(" ".join(p.split()), 118) for p in parts)


if __name__ == "__main__":
    print(page())
