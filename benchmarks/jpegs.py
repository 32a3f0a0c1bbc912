"""JPEG images a second of one worker: python benchmarks/jpegs.py [--rounds 5] [--quick]

Writes benchmarks/results/loader.md, with the differences of pixels of `decode=fast`.

The pictures are made of two photographs that come with scikit-learn (640x427), parts of them enlarged to the sizes of
the table. A row reads all pictures once in each round, in this process, as one worker does: rounds of all rows take
turns, a figure is the best round of its row, and time is that of the CPU, because other programs share the machine.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL
import sklearn.datasets
import torch
import torchvision
from PIL import Image, ImageOps, features
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import mixzoo
from mixzoo import open_picture
from mixzoo_datasets.folder import Folder

RESULTS = Path(__file__).parent / "results" / "loader.md"
CASES = [(500, 375, 64), (500, 375, 128), (1024, 768, 64), (1024, 768, 128), (2048, 1536, 64), (2048, 1536, 128)]
HEAD = """# JPEG images a second of one worker

Written by `python benchmarks/jpegs.py`, {date}: {versions}.

Images for each second of CPU time, best of {rounds} rounds that take turns, on a machine that other programs share:
ratios mean more than figures. Both readers decode, crop, resize and batch; torchvision is `ImageFolder` with `Resize`,
`CenterCrop` and a `DataLoader` without workers. *Before* is mixzoo's code before it stopped copying whole pictures; its
pixels and those of *exact*, the default, are equal. *Fast* is `decode=fast`; the last columns are the difference of its
pixels from the exact ones, of 255.
"""
PICTURES = 24
BATCH = 12


def make_pictures(folder: Path, width: int, height: int) -> None:
    """JPEG files of parts of photographs, of quality 90, with some noise, as a sensor has."""
    rng = np.random.default_rng(0)
    images = Path(sklearn.datasets.__file__).parent / "images"
    photographs = [Image.open(images / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
    (folder / "photographs").mkdir()
    for number in range(PICTURES):
        photograph = photographs[number % 2]
        left, top = (int(rng.integers(0, photograph.size[axis] - (400, 300)[axis])) for axis in (0, 1))
        part = photograph.crop((left, top, left + 400, top + 300)).resize((width, height), Image.Resampling.BICUBIC)
        noisy = np.asarray(part).astype(int) + rng.integers(-4, 5, (height, width, 3))
        file = folder / "photographs" / f"{number:03}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def read_with_copies(file: Path, size: int) -> np.ndarray:
    """The exact pixels as mixzoo read them before: with copies of the whole picture."""
    with open_picture(file) as found:
        image = ImageOps.exif_transpose(found).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def before(folder: Path, size: int) -> Callable[[], torch.Tensor]:
    files = sorted(folder.glob("*/*.jpg"))
    return lambda: torch.stack([torch.from_numpy(read_with_copies(f, size).copy()) for f in files]).permute(0, 3, 1, 2)


def mixzoo_now(folder: Path, size: int, decode: str) -> Callable[[], torch.Tensor]:
    images = Folder(path=str(folder), size=size, decode=decode).stream(0).train.images  # type: ignore[arg-type]
    everything = replace(images, numbers=torch.arange(PICTURES))  # type: ignore[type-var]  # in the order of the files
    return lambda: torch.cat([everything.read(index) for index in torch.arange(PICTURES).split(BATCH)])


def torchvision_loader(folder: Path, size: int) -> Callable[[], torch.Tensor]:
    transform = v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()])
    loader = DataLoader(ImageFolder(str(folder), transform), batch_size=BATCH)
    return lambda: torch.cat([images for images, _ in loader])


def measure(width: int, height: int, size: int, rounds: int) -> tuple[dict[str, float], float, int]:
    """CPU seconds an image by row, and the mean and greatest difference of the fast pixels from the exact ones."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, width, height)
        rows = {
            "before": before(folder, size),
            "exact": mixzoo_now(folder, size, "exact"),
            "fast": mixzoo_now(folder, size, "fast"),
            "torchvision": torchvision_loader(folder, size),
        }
        pixels = {row: read().int() for row, read in rows.items()}  # warms up, too
        if not torch.equal(pixels["before"], pixels["exact"]):
            raise SystemExit(f"{width}x{height} to {size}: the exact pixels are not those of before")
        best = dict.fromkeys(rows, float("inf"))
        for _ in range(rounds):
            for row, read in rows.items():
                start = time.process_time()
                read()
                best[row] = min(best[row], (time.process_time() - start) / PICTURES)
        apart = (pixels["exact"] - pixels["fast"]).abs()
        return best, float(apart.float().mean()), int(apart.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the first case alone, and no file is written")
    args = parser.parse_args()
    torch.set_num_threads(1)
    columns = "picture", "size", "before", "exact", "fast", "torchvision", "fast / exact", "fast / torchvision"
    lines = [
        HEAD.format(
            rounds=args.rounds,
            versions=f"mixzoo {mixzoo.__version__}, Pillow {PIL.__version__}, libjpeg-turbo "
            f"{features.version('libjpeg_turbo')}, torchvision {torchvision.__version__}, Python "
            f"{platform.python_version()}, {platform.machine()}, one thread",
            date=date.today(),
        ),
        f"| {' | '.join(columns)} | mean | greatest |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for width, height, size in CASES[: 1 if args.quick else None]:
        seconds, mean, greatest = measure(width, height, size, args.rounds)
        rates = " | ".join(f"{1 / value:.0f}" for value in seconds.values())
        ratios = f"{seconds['exact'] / seconds['fast']:.2f} | {seconds['torchvision'] / seconds['fast']:.2f}"
        lines.append(f"| {width}x{height} | {size} | {rates} | {ratios} | {mean:.2f} | {greatest} |")
    print("\n".join(lines))
    if not args.quick:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
