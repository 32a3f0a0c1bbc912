"""Any folder of images, classes from its sub-folders."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mixzoo import DataError, Dataset, Split
from mixzoo_datasets.splits import TrainImages, assembled, cut

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
MAX_PIXELS = 50_000_000  # of one file, read from its header before it is decoded
NAMED = 5  # bad files named in one message


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images under a folder; each sub-folder is a class, a folder without sub-folders is one class.

    80 % train, 10 % validation, 10 % test, by the fixed shuffle of the files in alphabetical order. With `size` an
    image is cropped to the square in its middle and resized. 16-bit images are scaled to 8 bits, transparency is laid
    on black, rotation tags are followed; images are grey where every file is, colour otherwise, or as `mode` says.
    """

    path: Annotated[str, "the folder"]
    size: Annotated[int, Ge(4), Le(1024), "side in pixels; without it all must be of one size"] | None = None
    mode: Annotated[Literal["auto", "grey", "rgb"], "channels"] = "auto"
    train_images: TrainImages | None = None

    def load(self, seed: int) -> Dataset:
        root = Path(self.path).expanduser()
        files, class_names = listed(root)
        images = stacked(list(decoded(files, root, self.size, self.mode)), root)
        names = [file.relative_to(root).parts[0] if len(class_names) > 1 else class_names[0] for file in files]
        whole = Split(images, torch.tensor([class_names.index(name) for name in names]))
        tenth = len(whole) // 10
        splits = cut(whole, len(whole) - 2 * tenth, tenth)
        source = f"folder {root}"
        return assembled(splits, class_names=class_names, source=source, train_images=self.train_images, seed=seed)


def listed(root: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The image files in alphabetical order, and the class names."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give path=FOLDER")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not files:
        raise DataError(f"{root}: no images in it (looked for {', '.join(sorted(ENDINGS))})")
    loose = [file for file in files if file.parent == root]
    folders = sorted({file.relative_to(root).parts[0] for file in files if file.parent != root})
    if folders and loose:
        raise DataError(f"{root}: {len(loose)} images beside the class folders, such as {loose[0].name}; move them")
    return files, tuple(folders) or (root.name,)


def decoded(files: list[Path], root: Path, size: int | None, mode: str) -> Iterator[np.ndarray]:
    """Every image as bytes [height, width, channels]; one DataError names the files that cannot be read."""
    bad = []
    for file in files:
        try:
            yield pixels(file, size, mode)
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as err:
            bad.append(f"{file.relative_to(root)} ({str(err).partition(':')[0]})")
    if bad:
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise DataError(f"{root}: {len(bad)} of {len(files)} images cannot be read: {', '.join(bad[:NAMED])}{more}")


def pixels(file: Path, size: int | None, mode: str) -> np.ndarray:
    """One image as bytes [height, width, 1 or 3]."""
    with Image.open(file) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"{opened.width}x{opened.height} pixels, at most {MAX_PIXELS} are read")
        image = ImageOps.exif_transpose(opened)
        assert image is not None
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    grey = mode == "grey" or (mode == "auto" and image.mode in ("1", "L", "LA"))
    if "A" in image.mode or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        image = square(image).resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def square(image: Image.Image) -> Image.Image:
    """The largest square in the middle. (Pillow's own fit() lets pixels from beside it bleed in.)"""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def stacked(arrays: list[np.ndarray], root: Path) -> UInt8[Tensor, "n channels height width"]:
    """The images as one tensor; grey ones among coloured ones become grey colours."""
    sizes = Counter(f"{a.shape[1]}x{a.shape[0]}" for a in arrays)
    if len(sizes) > 1:
        shown = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(NAMED))
        raise DataError(f"{root}: images of {len(sizes)} sizes: {shown}; give size= to make them one")
    channels = max(a.shape[2] for a in arrays)
    whole = np.stack([np.broadcast_to(a, (*a.shape[:2], channels)) for a in arrays])
    return torch.from_numpy(np.ascontiguousarray(whole.transpose(0, 3, 1, 2)))
