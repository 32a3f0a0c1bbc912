"""Compares the generated sprites with frames of the original dSprites, pixel by pixel.

    python benchmarks/sprites_agreement.py --frames reference_frames.npz [--all] > benchmarks/results/sprites.md

The frames are an npz of imgs [n, 64, 64] of 0 and 1 and latents_classes [n, 6], as in the original; the whole original
file works too. --all draws all 737,280 images and times it (3 GB of memory).
"""

import argparse
import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from mixzoo_datasets.sprites import FACTORS, SHAPES, TOTAL, VALUES, Sprites, draw_chunks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--all", action="store_true", help="draw all images, and time it")
    given = parser.parse_args()
    with np.load(given.frames, allow_pickle=False) as archive:
        real, classes = torch.from_numpy(archive["imgs"]), torch.from_numpy(archive["latents_classes"][:, 1:]).long()
    wrong = (draw_chunks(classes)[:, 0] // 255 != real).sum((1, 2))
    print(f"# dSprites: drawn against real, {date.today()}\n")
    versions = f"python {platform.python_version()}, torch {version('torch')}, {torch.get_num_threads()} thread(s)"
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}.")
    print("Printed by `benchmarks/sprites_agreement.py`.\n")
    print(f"{len(real)} real frames, {len(classes.unique(dim=0))} of them different in their factors.\n")
    print("| shape | frames | equal in every pixel | pixels that differ | of | at most in one frame |")
    print("|" + "---|" * 6)
    for number, shape in enumerate(SHAPES):
        of_shape = wrong[classes[:, 0] == number]
        pixels = len(of_shape) * real[0].numel()
        exact = int((of_shape == 0).sum())
        print(f"| {shape} | {len(of_shape)} | {exact} | {int(of_shape.sum())} | {pixels} | {int(of_shape.max())} |")
    print("\nThe frames that differ:\n")
    differing, counts = classes[wrong > 0].unique(dim=0, return_counts=True)
    for row, count in zip(differing, counts):
        values = ", ".join(f"{name} {v[place]:.3g}" for name, v, place in zip(FACTORS[1:], VALUES[1:], row[1:]))
        pixels = sorted(set(wrong[(classes == row).all(1)].tolist()))
        print(f"- {SHAPES[row[0]]}, {values}: {', '.join(map(str, pixels))} pixels, in {count} frame(s)")
    if given.all:
        start = perf_counter()
        data = Sprites(images=TOTAL).load(0)
        seconds = perf_counter() - start
        size = sum(len(split) for split in (data.train, data.validation, data.test)) * data.train.images[0].nbytes
        print(f"\nAll {TOTAL} images, {size / 1e9:.1f} GB, drawn and hashed in {seconds:.0f} seconds.")


if __name__ == "__main__":
    main()
