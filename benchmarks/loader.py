"""Images/s and memory of a train split on the device, in host memory and in files.

    python benchmarks/loader.py                                300 generated PNGs of 64x64
    python benchmarks/loader.py --images 2000 --side 128 --json

Each row reads batches in the order of a run, in its own process. No network is trained, so this is the loader's peak
rate. The first batch, which starts the workers, is not timed. `load_s` is the time before the first batch; memory is
the growth of the resident set of the process and its workers from before the data are loaded.
"""

import argparse
import json
import multiprocessing
import os
from concurrent.futures import (
    ProcessPoolExecutor,
)  # its processes, unlike those of multiprocessing.Pool, may start workers
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
    """Measure one row."""
    import torch

    from mixzoo.data.placement import load_data, train_batches
    from mixzoo.registry.config import Train
    from mixzoo.registry.zoo import load_zoo

    recipe = load_zoo().recipe("dataset", f'folder:path="{folder}"')
    train = Train(data_on=data_on, workers=workers, batch_steps=batches + 1)  # type: ignore[arg-type]
    before, start = resident(os.getpid()), perf_counter()
    placed = load_data(recipe, "folder", train, torch.device(device))
    load_seconds = perf_counter() - start
    with train_batches(placed, train, torch.device(device)) as images:
        for step in range(batches + 1):
            images.batch(step)
            if step == 0:
                finish(device)
                start = perf_counter()
        finish(device)
        seconds = perf_counter() - start
        held = resident(os.getpid()) - before + sum(resident(child.pid) for child in multiprocessing.active_children())
    return {
        "data_on": data_on,
        "workers": workers,
        "images_per_second": round(batches * BATCH / seconds),
        "load_s": round(load_seconds, 3),
        "memory_mb": round(held / 1e6, 1),
    }


def finish(device: str) -> None:
    """Wait for the GPU, if there is one."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def resident(pid: int | None) -> int:
    """Private bytes of the process: pages that a forked worker shares with the run are not counted twice."""
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
