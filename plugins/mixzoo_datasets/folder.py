"""Any folder of images, classes from its sub-folders."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps, TiffImagePlugin
from torch import Tensor

from mixzoo import DataError, Dataset, Split
from mixzoo.errors import escaped
from mixzoo.strides import canonical
from mixzoo_datasets.files import ImageFiles, each, held, image_in
from mixzoo_datasets.reading import is_folder, located, reason
from mixzoo_datasets.splits import TrainImages, assembled, cut, taken

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
ORIENTATION, QUARTER_TURNS = 0x0112, (5, 6, 7, 8)  # the rotation tag, and its values that exchange width and height
NAMED = 5  # sizes named in one message
SPLITS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}  # sub-folders that are splits, not classes


Found: TypeAlias = dict[str, list[tuple[Path, str]]]  # of each split, its files and the names of their classes


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images under a folder; each sub-folder is a class, a folder without sub-folders is one class.

    80 % train, 10 % validation, 10 % test, by the fixed shuffle of the files in alphabetical order. Sub-folders train/,
    valid/ (or validation/, val/) and test/ are splits that hold the classes; a split without its folder is a tenth of
    train/. Hidden files and folders are skipped.

    With `size` an image is cropped to the square in its middle and resized. 16-bit images are scaled to 8 bits,
    floating-point ones refused, transparency is laid on black, rotation tags are followed, of an animation the first
    frame is taken; images are grey where every file is, colour otherwise, or as `mode` says.

    What does not fit in memory can be read as it is needed (`--data-on stream`); then a start reads headers only.
    """

    path: Annotated[str, "the folder"]
    size: Annotated[int, Ge(4), Le(1024), "side in pixels; without it all must be of one size"] | None = None
    mode: Annotated[Literal["auto", "grey", "rgb"], "channels"] = "auto"
    train_images: TrainImages | None = None

    def load(self, seed: int) -> Dataset:
        root, found, files = self._found()
        images = stacked(list(each(files, root, self._decode)), root)
        channels, height, width = images.shape[1:]
        return held(self._data(root, found, (channels, height, width), seed), images)

    def stream(self, seed: int) -> Dataset:
        """The same data, every file's header read now and its image when it is needed."""
        root, found, files = self._found()
        size = common_size(list(each(files, root, partial(measured, size=self.size, mode=self.mode))), root)
        return self._data(root, found, size, seed)

    @property
    def _decode(self) -> Callable[[Path], np.ndarray]:
        return partial(pixels, size=self.size, mode=self.mode)

    def _found(self) -> tuple[Path, Found, list[Path]]:
        """The folder, what is in each split, and all the files."""
        root = located(self.path)
        found = {split: listed(folder, root) for split, folder in split_folders(root).items()}
        return root, found, [file for pairs in found.values() for file, _ in pairs]

    def _data(self, root: Path, found: Found, size: tuple[int, int, int], seed: int) -> Dataset:
        """The data set, its images in their files."""
        files = [file for pairs in found.values() for file, _ in pairs]
        class_names = tuple(sorted({name for _, name in found["train"]}))
        source = ImageFiles(files, root, self._decode, size, torch.arange(len(files)))
        whole = Split(source, labelled(found, class_names, root))
        return assembled(
            divided(whole, {split: len(pairs) for split, pairs in found.items()}),
            class_names=class_names,
            source=escaped(f"folder {root}"),
            needed="at least 10 to give away a tenth",
            train_images=self.train_images,
            seed=seed,
        )


def split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split, train first; the whole folder is "train" where its sub-folders are classes."""
    if not is_folder(root):
        raise DataError(f"{root}: no such folder; give path=FOLDER")
    try:
        names = sorted(p.name for p in root.iterdir() if is_folder(p) and not _hidden(p.name))
    except OSError as err:
        raise DataError(f"{root}: cannot be listed ({reason(err)})") from err
    given = [name for name in names if name in SPLITS]
    if "train" not in given or (len(given) == 1 < len(names)):  # a class may be called "train", beside "car"
        return {"train": root}
    if len(given) < len(names):
        others = ", ".join(name for name in names if name not in SPLITS)
        raise DataError(f"{root}: folders of splits ({', '.join(given)}) beside others ({others}); move those")
    if len({SPLITS[name] for name in given}) < len(given):
        raise DataError(f"{root}: more than one folder of validation images ({', '.join(given)}); keep one")
    return {split: root / name for split in ("train", "validation", "test") for name in given if SPLITS[name] == split}


def listed(folder: Path, root: Path) -> list[tuple[Path, str]]:
    """The image files in alphabetical order, each with the name of its class."""
    files = sorted(p for p in walked(folder) if p.suffix.lower() in ENDINGS)
    inside = [(file, file.relative_to(folder).parts) for file in files]
    if not inside:
        raise DataError(f"{folder}: no images in it (looked for {', '.join(sorted(ENDINGS))})")
    loose = [file for file, parts in inside if len(parts) == 1]
    if 0 < len(loose) < len(inside):
        raise DataError(f"{folder}: {len(loose)} images beside the class folders, such as {loose[0].name}; move them")
    if loose:
        return [(file, escaped(root.absolute().name)) for file in loose]
    folders = {parts[0] for _, parts in inside}
    alike = [name for name, count in Counter(map(escaped, folders)).items() if count > 1]
    if alike:
        raise DataError(f"{folder}: two class folders are both shown as {alike[0]}; rename one")
    return [(file, escaped(parts[0])) for file, parts in inside]


def walked(folder: Path) -> Iterator[Path]:
    """All that is under the folder and is no folder, hidden files and folders left out; links to folders are not
    followed. DataError if one cannot be listed."""

    def fail(err: OSError) -> None:
        raise DataError(f"{err.filename}: cannot be listed ({reason(err)})") from err

    try:
        for place, folders, names in os.walk(folder, onerror=fail):
            folders[:] = [name for name in folders if not _hidden(name)]
            yield from (Path(place, name) for name in names if not _hidden(name))
    except RecursionError as err:
        raise DataError(f"{folder}: folders nested too deeply") from err


def labelled(found: Found, class_names: tuple[str, ...], root: Path) -> Int[Tensor, " n"]:
    """The number of each file's class, which must be one of the train split."""
    for split, pairs in found.items():
        if unknown := sorted({name for _, name in pairs} - set(class_names)):
            raise DataError(
                f"{root}: class {unknown[0]!r} of {split} has no images in train ({', '.join(class_names)})"
            )
    numbers = {name: i for i, name in enumerate(class_names)}
    return torch.tensor([numbers[name] for pairs in found.values() for _, name in pairs])


def divided(whole: Split, counts: dict[str, int]) -> list[Split]:
    """Train, validation and test; one that is not counted is a tenth of the train images, by the fixed shuffle."""
    numbers = torch.arange(len(whole)).split(list(counts.values()))
    parts = {name: taken(whole, piece) for name, piece in zip(counts, numbers)}
    train, missing = parts["train"], [name for name in ("validation", "test") if name not in parts]
    tenth = len(train) // 10
    parts["train"], *held, _ = cut(train, len(train) - tenth * len(missing), *[tenth] * len(missing))
    parts |= dict(zip(missing, held))
    return [parts["train"], parts["validation"], parts["test"]]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The image with its header read and nothing decoded; ValueError for one that is not taken."""
    with image_in(file) as image:
        if image.mode == "F":
            raise ValueError("floating-point pixels have no known range, save it with 8 or 16 bits")
        yield image


def measured(file: Path, size: int | None, mode: str) -> tuple[int, int, int]:
    """Channels, height and width that `pixels` will give of the file, from its header."""
    with opened(file) as image:
        channels = 1 if is_grey(image, mode) else 3
        if size is not None:
            return (channels, size, size)
        width, height = _stored(image)
        turned = image.getexif().get(ORIENTATION, 1) in QUARTER_TURNS
        return (channels, width, height) if turned else (channels, height, width)


def _stored(image: Image.Image) -> tuple[int, int]:
    """Width and height of the image as it lies in its file, before its rotation tag is followed."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # whose `size` is before or after it, as Pillow's version goes
        return image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
    return image.size


def is_grey(image: Image.Image, mode: str) -> bool:
    """Whether the image is read as grey."""
    return mode == "grey" or (mode == "auto" and (image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16")))


def pixels(file: Path, size: int | None, mode: str) -> np.ndarray:
    """One image as bytes [height, width, 1 or 3]."""
    with opened(file) as found:
        image = ImageOps.exif_transpose(found)
        assert image is not None
    grey = is_grey(image, mode)
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
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


def common_size(sizes: list[tuple[int, int, int]], root: Path) -> tuple[int, int, int]:
    """Channels, height and width of all images, given those of each; grey ones may be among coloured ones."""
    sides = Counter(f"{width}x{height}" for _, height, width in sizes)
    if len(sides) > 1:
        shown = ", ".join(f"{side} ({count})" for side, count in sides.most_common(NAMED))
        raise DataError(f"{root}: images of {len(sides)} sizes: {shown}; give size= to make them one")
    return (max(channels for channels, _, _ in sizes), *sizes[0][1:])


def stacked(arrays: list[np.ndarray], root: Path) -> UInt8[Tensor, "n channels height width"]:
    """The images as one tensor; grey ones among coloured ones become grey colours."""
    channels, _, _ = common_size([(a.shape[2], *a.shape[:2]) for a in arrays], root)
    whole = np.stack([np.broadcast_to(a, (*a.shape[:2], channels)) for a in arrays])
    return canonical(
        torch.from_numpy(whole).permute(0, 3, 1, 2)
    )  # numpy's ascontiguousarray would leave a single channel
