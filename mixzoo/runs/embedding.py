"""Codes of many images in one file, for other programs: npz or safetensors."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixzoo.core.errors import ConfigError, DataError, listing, path_excerpt
from mixzoo.core.storage import storage_errors, write_whole
from mixzoo.evaluation.codes import encode
from mixzoo.runs.trained_run import Run

SPLITS = ("train", "validation", "test")
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MOST_NAMED = 10  # unreadable files in an error
BATCH = 500  # files decoded at a time
FORMATS = (".npz", ".safetensors")


def embed(run: Run, images: str, out: Path, *, skip_bad: bool = False, note: Callable[[str], None] = print) -> int:
    """Write the codes of images to a file; returns how many.

    `images` is "train", "validation" or "test" of the run's own data ("dataset:test" too), or a folder of pictures,
    read in the order of their names. The file has `codes` [images, *latent] in float32 and, for a split, `labels` in
    int64; an npz of a folder has the `files`. With `skip_bad`, pictures that cannot be read are left out, and `note` is
    called with a line for each. Raises ConfigError if the file's name ends otherwise or if there are no such images,
    DataError, naming all of them, if some cannot be read, StorageError if the file cannot be written.
    """
    if out.suffix not in FORMATS:
        raise ConfigError(f"--out {path_excerpt(out)}: name a file that ends in {' or '.join(FORMATS)}")
    files: list[str] = []
    split = images.removeprefix("dataset:")
    if split in SPLITS:
        data = getattr(run.data, split)
        codes = encode(run.autoencoder, data.images, run.device)
        arrays: dict[str, Tensor] = {"codes": codes, "labels": data.labels}
    else:
        files, codes = _codes_of(run, _pictures(images), note if skip_bad else None)
        arrays = {"codes": codes}
    _write(out, arrays, files)
    return len(arrays["codes"])


def _codes_of(run: Run, files: list[str], skip: Callable[[str], None] | None) -> tuple[list[str], Tensor]:
    """The files that can be read, and their codes. Raises DataError if some cannot and there is no `skip` for them."""
    good: list[str] = []
    bad: list[str] = []
    parts: list[Tensor] = []
    for start in range(0, len(files), BATCH):
        read: list[Tensor] = []
        for file in files[start : start + BATCH]:
            try:
                read.append(run.prepare(file))
                good.append(file)
            except DataError as err:
                bad.append(str(err))
                if skip is not None:
                    skip(f"left out: {err}")
        if read and (skip is not None or not bad):  # the first bad one means an error, and the rest is read to find all
            parts.append(run.encode(torch.cat(read), value_range=(-1, 1)))
    if bad and (skip is None or not good):
        more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        raise DataError(
            f"{len(bad)} of {len(files)} pictures cannot be read: {'; '.join(bad[:MOST_NAMED])}{more}"
            + ("" if skip else ". Remove them, or leave them out with --skip-bad")
        )
    return good, torch.cat(parts)


def _pictures(folder: str) -> list[str]:
    """The pictures in a folder and the folders in it, by name."""
    root = Path(folder)
    if not root.is_dir():
        raise ConfigError(
            f"--images {path_excerpt(folder)}: no such folder; give a folder of pictures, or {listing(SPLITS)} of the "
            "run's own data"
        )
    files = sorted(os.path.join(at, name) for at, _, names in os.walk(root) for name in names)
    found = [file for file in files if file.lower().endswith(ENDINGS)]
    if not found:
        raise ConfigError(f"--images {path_excerpt(folder)}: no pictures in it ({', '.join(ENDINGS)})")
    return found


def _write(out: Path, arrays: dict[str, Tensor], files: list[str]) -> None:
    import io

    from safetensors.torch import save

    if out.suffix == ".npz":
        buffer = io.BytesIO()
        named: dict[str, Any] = {name: tensor.numpy() for name, tensor in arrays.items()}
        if files:
            named["files"] = np.array(files)
        np.savez(buffer, **named)
        content = buffer.getvalue()
    else:
        content = save({name: tensor.contiguous() for name, tensor in arrays.items()})
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, content)
