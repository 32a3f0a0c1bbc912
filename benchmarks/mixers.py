"""The cost of each mixer: drawing and mixing a batch of 64, forward and backward, relative to one training step.

    python benchmarks/mixers.py [--rounds 15] [--specs cutmix:k=3 ...] > benchmarks/results/mixers.md

A step is AMR's (encode, mix, decode, discriminate, both players' gradients, Adam) on 32x32 images with a code of the
same shape, interleaved with the mixers in one process; each figure is a median over the rounds.
"""

import argparse
import os
import platform
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Any

import torch

import mixzoo
from mixer_table import NESTED
from mixzoo import CodeShape
from mixzoo.core.mixing import draw_for
from mixzoo.core.random import rng_for
from mixzoo.data.batches import on_device
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.training.build import build_players
from mixzoo.training.memory import keep_freed_memory
from mixzoo.training.step import train_step

BATCH = 64
NETWORKS = {  # latent shape: an auto-encoder with that shape
    (32, 4, 4): "amr:latent=32",
    (64, 16, 16): "amr:latent=64,scales=1,border=0",
}


def specs() -> list[str]:
    """Every mixer, with three sources if its k can be chosen."""
    zoo = load_zoo()
    entries = zoo.of_kind("mixer")
    threefold = {o.name for o in entries if any(option.name == "k" for option in zoo.options("mixer", o.name))}
    return [NESTED.get(o.name, f"{o.name}:k=3" if o.name in threefold else o.name) for o in entries]


def step_of(latent: tuple[int, ...]) -> Callable[[int], Any]:
    """One training step of AMR on digits with codes of this shape, as a function of its number."""
    zoo = load_zoo()
    network = NETWORKS[latent]
    scales = network.partition(",")[2]
    flags = {"autoencoder": network, "discriminator": "amr:latent=2" + (f",{scales}" if scales else "")}
    config = resolve(zoo, None, flags, {"batch_images": BATCH})
    data = config.parts["dataset"].load(0)
    players = build_players(zoo, config, data, torch.device("cpu"))
    images = on_device(data.train, torch.device("cpu"), BATCH)
    assert tuple(players.autoencoder.latent_shape) == latent

    def step(number: int) -> None:
        draws = players.draw(0, number, batch=BATCH)
        train_step(players, *images.batch(number), draws)

    return step


def mix_of(spec: str, latent: tuple[int, ...]) -> Callable[[int], Any]:
    """One draw, one mix and its backward pass, as a function of the step."""
    mixer = mixzoo.create("mixer", spec, latent_shape=latent, classes=10)
    h = torch.randn(mixer.k, BATCH, *latent, requires_grad=True)
    labels = torch.arange(mixer.k * BATCH).reshape(mixer.k, BATCH) % 10
    back = torch.ones(BATCH, *latent)

    def mix(number: int) -> None:
        draw = draw_for(mixer, CodeShape(BATCH, latent), rng_for(0, "mix", number), 0.5)
        torch.autograd.grad(mixer(h, draw, labels).h, h, back)

    return mix


def seconds(function: Callable[[int], Any], number: int) -> float:
    start = perf_counter()
    function(number)
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--specs", nargs="+", default=specs())
    given = parser.parse_args()
    keep_freed_memory()
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"# Draw and mix, relative to one training step, {date.today()}\n")
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads;")
    print(f"{versions}. Batch {BATCH}, median of {given.rounds} rounds. Printed by `benchmarks/mixers.py`.\n")
    print("| mixer | " + " | ".join(f"{'x'.join(map(str, shape))}: ms | of a step" for shape in NETWORKS) + " |")
    print("|" + "---|" * (1 + 2 * len(NETWORKS)))
    cells: dict[str, list[str]] = {spec: [] for spec in ["one step", *given.specs]}
    for latent in NETWORKS:
        functions = {"one step": step_of(latent)} | {spec: mix_of(spec, latent) for spec in given.specs}
        for function in functions.values():
            function(0)
        times: dict[str, list[float]] = {name: [] for name in functions}
        for number in range(given.rounds):
            for name, function in functions.items():
                times[name].append(seconds(function, number))
        whole = median(times["one step"])
        for name, taken in times.items():
            cells[name] += [f"{1000 * median(taken):.2f}", f"{100 * median(taken) / whole:.1f} %"]
    for name, row in cells.items():
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
