"""Images/s of a train split on the device, in host memory and in files, and the memory that it takes.

    python benchmarks/loader.py                                300 PNGs of 64x64, made for the occasion
    python benchmarks/loader.py --images 2000 --side 128 --json

Each row reads batches in the order of a run, in a process of its own; no network trains beside it, so this is what the
loader can give, not what a run takes. The first batch, which starts the workers, is not timed. `load_s` is what a start
spends before the first batch; memory is the resident set of the process and its workers, less that before the data.
"""

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor  # its processes may start workers of their own
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

PLACES = [("device", None), ("host", None), ("stream", 0), ("stream", 1), ("stream", 2)]
BATCH = 64


def make_images(folder: Path, images: int, side: int) -> None:
    """Coloured PNGs of smooth noise, which compress about as photographs do."""
    rng = np.random.default_rng(0)
    for number in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        noisy = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:06}.png")


def measure(folder: str, data_on: str, workers: int | None, batches: int, device: str) -> dict[str, Any]:
    """One row."""
    import torch

    from mixzoo.data.placement import load_data, train_batches
    from mixzoo.registry.config import Train
    from mixzoo.registry.zoo import load_zoo

    recipe = load_zoo().recipe("dataset", f'folder:path="{folder}"')
    train = Train(data_on=data_on, workers=workers, batch_steps=batches + 1)  # type: ignore[arg-type]
    before, began = resident(os.getpid()), perf_counter()
    placed = load_data(recipe, "folder", train, torch.device(device))
    spent = perf_counter() - began
    with train_batches(placed, train, torch.device(device)) as images:
        for step in range(batches + 1):
            images.batch(step)
            if step == 0:
                finish(device)
                began = perf_counter()
        finish(device)
        seconds = perf_counter() - began
        held = resident(os.getpid()) - before + sum(resident(child.pid) for child in multiprocessing.active_children())
    return {
        "data_on": data_on,
        "workers": workers,
        "images_per_second": round(batches * BATCH / seconds),
        "load_s": round(spent, 3),
        "memory_mb": round(held / 1e6, 1),
    }


def finish(device: str) -> None:
    """Wait for the GPU, where there is one."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def resident(pid: int | None) -> int:
    """Bytes of the process that are its own: what a forked worker shares with the run is not counted twice."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        make_images(Path(folder), args.images, args.side)
        rows = []
        for data_on, workers in PLACES:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                rows.append(pool.submit(measure, folder, data_on, workers, args.batches, args.device).result())
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print("| data on | workers | images/s | seconds to load | memory, MB |\n|---|---|---|---|---|")
    for row in rows:
        workers = "" if row["workers"] is None else row["workers"]
        print(f"| {row['data_on']} | {workers} | {row['images_per_second']} | {row['load_s']} | {row['memory_mb']} |")


if __name__ == "__main__":
    main()
