"""Images/s and memory of a train split on the device, in host memory, in files, and in a full image cache.

    python benchmarks/loader.py                                300 generated PNGs of 64x64
    python benchmarks/loader.py --images 2000 --side 128 --json
    python benchmarks/loader.py --photo 1024x768 --side 64     JPEG files of that size, read at 64x64

Each row reads batches in the order of a run, in its own process. No network is trained, so this is the loader's peak
rate. The first batch, which starts the workers, is not timed. A full cache was filled by a pass before the rows.
`load_s` is the time before the first batch; memory is the growth of the resident set of the process and its workers
from before the data are loaded.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import (
    ProcessPoolExecutor,
)  # its processes, unlike those of multiprocessing.Pool, may start workers
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

PLACES = [("device", None, False), ("host", None, False)]
PLACES += [("stream", workers, cache) for workers in (0, 1, 2) for cache in (False, True)]
BATCH = 64


def make_images(folder: Path, images: int, size: tuple[int, int], ending: str) -> None:
    """Coloured files of smooth noise, which compress about as photographs do."""
    rng = np.random.default_rng(0)
    for number in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
        noisy = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:06}.{ending}")


def measure(
    spec: str, data_on: str, workers: int | None, batches: int, device: str, cache: str | None = None
) -> dict[str, Any]:
    """Measure one row."""
    import torch

    from mixzoo.data.placement import load_data, train_batches
    from mixzoo.registry.config import Train
    from mixzoo.registry.zoo import load_zoo

    recipe = load_zoo().recipe("dataset", spec)
    train = Train(data_on=data_on, workers=workers, steps=batches + 1, image_cache=cache)  # type: ignore[arg-type]
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
        "cache": cache is not None,
        "images_per_second": round(batches * BATCH / seconds),
        "load_s": round(load_seconds, 3),
        "memory_mb": round(held / 1e6, 1),
    }


def fill(spec: str, cache: str) -> None:
    """Put every image of the data set into the cache."""
    import torch

    from mixzoo.data.placement import load_data
    from mixzoo.registry.config import Train
    from mixzoo.registry.zoo import load_zoo

    train = Train(data_on="stream", workers=0, image_cache=cache)
    split = load_data(load_zoo().recipe("dataset", spec), "folder", train, torch.device("cpu")).data.train
    for index in torch.arange(len(split)).split(BATCH):
        split.read(index)


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
    parser.add_argument(
        "--photo", metavar="WIDTHxHEIGHT", help="JPEG files of this size, cropped and resized to --side"
    )
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with TemporaryDirectory() as folder, TemporaryDirectory() as cache:
        width, height = map(int, args.photo.split("x")) if args.photo else (args.side, args.side)
        make_images(Path(folder), args.images, (width, height), "jpg" if args.photo else "png")
        spec = f'folder:path="{folder}"' + (f",size={args.side}" if args.photo else "")
        in_process(fill, spec, cache)
        rows = [
            in_process(measure, spec, data_on, workers, args.batches, args.device, cache if cached else None)
            for data_on, workers, cached in PLACES
        ]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print("| data on | workers | cache | images/s | seconds to load | memory, MB |\n|---|---|---|---|---|---|")
    for row in rows:
        workers = "" if row["workers"] is None else row["workers"]
        figures = f"{row['images_per_second']} | {row['load_s']} | {row['memory_mb']}"
        print(f"| {row['data_on']} | {workers} | {'full' if row['cache'] else ''} | {figures} |")


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """The result of a call in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
