"""Any folder of images, with its sub-folders as classes."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps, TiffImagePlugin
from torch import Tensor

from mixzoo import (
    CheckedFile,
    DataError,
    Dataset,
    PictureError,
    Split,
    canonical,
    escaped,
    open_picture,
    picture_bytes,
)
from mixzoo_datasets.files import BadFiles, ImageFiles, check_files, hold_in_memory, read_each
from mixzoo_datasets.reading import is_folder, reason, resolve_path
from mixzoo_datasets.splits import PHOTOS, TrainImages, build_dataset, select, shuffle_and_split

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
ORIENTATION, QUARTER_TURNS = 0x0112, (5, 6, 7, 8)  # the rotation tag, and the values that swap width and height
REVERSING = (
    (2, 3, 7, 8),
    (3, 4, 6, 7),
)  # values of the tag that mirror the stored image, left to right and top to bottom
EXACT, FAST = "exact", "fast"  # how JPEG files are decoded
NAMED = 5  # sizes that one message names
LISTED = 20  # classes that one message lists
ADVICE = "; `mixzoo data check` lists them all, and --skip-bad N leaves out up to N"
SPLITS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}  # sub-folders with these names are splits, not classes


Decode: TypeAlias = Annotated[
    Literal["exact", "fast"], "fast decodes JPEG files at 1/2, 1/4 or 1/8 if that is still twice `size`"
]
FilesBySplit: TypeAlias = dict[str, list[tuple[Path, str]]]  # split -> its files with the names of their classes


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images under a folder; each sub-folder is a class, and a folder without sub-folders is a single class.

    80 % train, 10 % validation, 10 % test, by the fixed shuffle of the files in alphabetical order. Sub-folders train/,
    valid/ (or validation/, val/) and test/ are splits that hold the classes; a split without a folder is a tenth of
    train/. Hidden files and folders are skipped.

    With `size` an image is cropped to its central square and resized. 16-bit images are scaled to 8 bits,
    floating-point images are refused, transparent pixels become black, rotation tags are applied, and an animation
    gives its first frame. Images are grey if every file is grey and in colour otherwise, unless `mode` is given.
    `decode=fast` reads large JPEG files in less time, with slightly other pixels (docs/large_data.md).

    Images that do not fit in memory can be streamed (`--data-on stream`); then a start reads only their headers. With
    `skip_bad` up to that many files that cannot be read are left out, and every start decodes all files to find them.
    """

    path: Annotated[str, "the folder"]
    size: Annotated[int, Ge(4), Le(1024), "side in pixels; without it all images must have one size"] | None = None
    mode: Annotated[Literal["auto", "grey", "rgb"], "channels"] = "auto"
    train_images: TrainImages | None = None
    decode: Decode = "exact"
    skip_bad: Annotated[int, Ge(0), "files that may be left out because they cannot be read"] = 0

    run_defaults: ClassVar[Mapping[str, Any]] = PHOTOS

    def __post_init__(self) -> None:
        check_decode(self.decode, self.size)

    def load(self, seed: int) -> Dataset:
        root, found = self._find_files()
        bad = BadFiles(self.skip_bad)
        images = stack_images(list(read_each(files_of(found), root, self._decode, bad, ADVICE)), root)
        channels, height, width = images.shape[1:]
        return hold_in_memory(self._data(root, found, bad, (channels, height, width), seed), images)

    def stream(self, seed: int) -> Dataset:
        """The same data: headers are read now, images when they are needed; with `skip_bad` all are decoded now."""
        root, found = self._find_files()
        bad = BadFiles(self.skip_bad)
        measure = partial(image_size, size=self.size, mode=self.mode)
        if self.skip_bad:
            measure = partial(decoded_size, size=self.size, mode=self.mode)
        size = common_size(list(read_each(files_of(found), root, measure, bad, ADVICE)), root)
        return self._data(root, found, bad, size, seed)

    def check_files(self) -> Iterator[CheckedFile]:
        """Every image, decoded; then whether they have one size, if that is needed."""
        root, found = self._find_files()
        sizes = Counter[str]()
        classes = {file: name for pairs in found.values() for file, name in pairs}
        look = partial(size_and_mode, mode=self.mode)
        for checked in check_files(classes, root, look, skippable=True):
            sizes.update(checked.sizes)
            yield checked
        if len(sizes) > 1 and self.size is None:
            raise DataError(different_sizes(sizes, root))

    @property
    def _decode(self) -> Callable[[Path], np.ndarray]:
        return partial(read_pixels, size=self.size, mode=self.mode, decode=self.decode)

    def _find_files(self) -> tuple[Path, FilesBySplit]:
        """The folder, and the files of each split."""
        root = resolve_path(self.path)
        return root, {split: list_images(folder, root) for split, folder in find_split_folders(root).items()}

    def _data(self, root: Path, found: FilesBySplit, bad: BadFiles, size: tuple[int, int, int], seed: int) -> Dataset:
        """The data set without the bad files, with its images still in their files."""
        left = {split: [pair for pair in pairs if pair[0] not in bad.reasons] for split, pairs in found.items()}
        class_names = tuple(sorted({name for _, name in left["train"]}))
        if gone := sorted({name for _, name in found["train"]} - set(class_names)):
            raise DataError(f"{root}: no train image of class {gone[0]!r} can be read{ADVICE}")
        files = files_of(left)
        source = ImageFiles(files, root, self._decode, size, torch.arange(len(files)))
        classes = {split: [name for _, name in pairs] for split, pairs in left.items()}
        whole = Split(source, class_numbers(classes, class_names, root))
        return build_dataset(
            train_validation_test(whole, {split: len(pairs) for split, pairs in left.items()}),
            class_names=class_names,
            source=f"folder {root}",
            needed="at least 10, so that a tenth can be held out",
            train_images=self.train_images,
            seed=seed,
            skipped=bad.named(root),
        )


def check_decode(decode: str, size: int | None) -> None:
    """Raises ValueError if images would not be decoded as asked for."""
    if decode == FAST and size is None:
        raise ValueError("decode=fast has no effect without size; give size=, or leave it out")


def files_of(found: FilesBySplit) -> list[Path]:
    """The files of all splits."""
    return [file for pairs in found.values() for file, _ in pairs]


def find_split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split, train first; the whole folder is the train split if its sub-folders are classes."""
    if not is_folder(root):
        raise DataError(f"{root}: no such folder; give path=FOLDER")
    try:
        names = sorted(p.name for p in root.iterdir() if is_folder(p) and not _hidden(p.name))
    except OSError as err:
        raise DataError(f"{root}: cannot be listed ({reason(err)})") from err
    given = [name for name in names if name in SPLITS]
    if "train" not in given or (len(given) == 1 < len(names)):  # a class may be called "train", like "car"
        return {"train": root}
    if len(given) < len(names):
        others = ", ".join(name for name in names if name not in SPLITS)
        raise DataError(
            f"{root}: folders of splits ({', '.join(given)}) next to other folders ({others}); move the others"
        )
    if len({SPLITS[name] for name in given}) < len(given):
        raise DataError(f"{root}: more than one folder of validation images ({', '.join(given)}); keep one")
    return {split: root / name for split in ("train", "validation", "test") for name in given if SPLITS[name] == split}


def list_images(folder: Path, root: Path) -> list[tuple[Path, str]]:
    """The image files in alphabetical order, each with its class name."""
    files = sorted(p for p in walk_files(folder) if p.suffix.lower() in ENDINGS)
    inside = [(file, file.relative_to(folder).parts) for file in files]
    if not inside:
        raise DataError(f"{folder}: contains no images (looked for {', '.join(sorted(ENDINGS))})")
    loose = [file for file, parts in inside if len(parts) == 1]
    if 0 < len(loose) < len(inside):
        raise DataError(
            f"{folder}: {len(loose)} images outside the class folders, such as {loose[0].name}; move them into one"
        )
    if loose:
        return [(file, escaped(root.absolute().name)) for file in loose]
    folders = {parts[0] for _, parts in inside}
    same_name = [name for name, count in Counter(map(escaped, folders)).items() if count > 1]
    if same_name:
        raise DataError(f"{folder}: two class folders are both displayed as {same_name[0]}; rename one")
    return [(file, escaped(parts[0])) for file, parts in inside]


def walk_files(folder: Path) -> Iterator[Path]:
    """The files under the folder, except hidden ones; links to folders are not followed.

    Raises DataError if a folder cannot be listed.
    """

    def fail(err: OSError) -> None:
        raise DataError(f"{err.filename}: cannot be listed ({reason(err)})") from err

    try:
        for place, folders, names in os.walk(folder, onerror=fail):
            folders[:] = [name for name in folders if not _hidden(name)]
            yield from (Path(place, name) for name in names if not _hidden(name))
    except RecursionError as err:
        raise DataError(f"{folder}: folders nested too deeply") from err


def class_numbers(
    classes: Mapping[str, Sequence[str]], class_names: tuple[str, ...], where: Path | str
) -> Int[Tensor, " n"]:
    """The number of each image's class, given the names by split. Raises DataError if a class has no train images."""
    for split, names in classes.items():
        if unknown := sorted(set(names) - set(class_names)):
            known = ", ".join(class_names[:LISTED]) + (", ..." if len(class_names) > LISTED else "")
            raise DataError(f"{where}: class {unknown[0]!r} of {split} has no images in train ({known})")
    numbers = {name: i for i, name in enumerate(class_names)}
    return torch.tensor([numbers[name] for names in classes.values() for name in names])


def train_validation_test(whole: Split, counts: dict[str, int]) -> list[Split]:
    """Train, validation and test; a split missing from `counts` gets a tenth of the train images, shuffled."""
    numbers = torch.arange(len(whole)).split(list(counts.values()))
    parts = {name: select(whole, piece) for name, piece in zip(counts, numbers)}
    train, missing = parts["train"], [name for name in ("validation", "test") if name not in parts]
    tenth = len(train) // 10
    parts["train"], *held, _ = shuffle_and_split(train, len(train) - tenth * len(missing), *[tenth] * len(missing))
    parts |= dict(zip(missing, held))
    return [parts["train"], parts["validation"], parts["test"]]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


@contextmanager
def open_supported(file: Path | bytes) -> Iterator[Image.Image]:
    """The image, with its header read but nothing decoded. Raises PictureError for floating-point images."""
    with open_picture(file) as image:
        if image.mode == "F":
            raise PictureError("floating-point pixels have no known range", "save it with 8 or 16 bits")
        yield image


def image_size(file: Path | bytes, size: int | None, mode: str) -> tuple[int, int, int]:
    """Channels, height and width that `pixels` will give of the file, from its header."""
    with open_supported(file) as image:
        channels = 1 if is_grey(image, mode) else 3
        if size is not None:
            return (channels, size, size)
        width, height = _stored(image)
        turned = image.getexif().get(ORIENTATION, 1) in QUARTER_TURNS
        return (channels, width, height) if turned else (channels, height, width)


def _stored(image: Image.Image) -> tuple[int, int]:
    """Width and height of the image as stored, before its rotation tag is applied."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # its `size` depends on Pillow's version
        return image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
    return image.size


def is_grey(image: Image.Image, mode: str) -> bool:
    """Whether the image is read as grey."""
    return mode == "grey" or (mode == "auto" and (image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16")))


def decoded_size(file: Path | bytes, size: int | None, mode: str) -> tuple[int, int, int]:
    """Channels, height and width of the file's image, decoded."""
    height, width, channels = read_pixels(file, size, mode).shape
    return channels, height, width


def size_and_mode(file: Path | bytes, mode: str) -> tuple[str, str]:
    """The size of the file's image, upright, and the mode that it is stored in; it is decoded."""
    with open_supported(file) as found:
        stored = found.mode
        image = ImageOps.exif_transpose(found)
    picture_bytes(image, grey=is_grey(image, mode))
    return f"{image.width}x{image.height}", stored


def read_pixels(file: Path | bytes, size: int | None, mode: str, decode: str = EXACT) -> np.ndarray:
    """One image, as bytes [height, width, 1 or 3]."""
    with open_supported(file) as image:
        if decode == FAST and size is not None and image.format == "JPEG":
            image = decode_smaller(image, size)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # a copy of a large picture takes as long as to decode it
    return picture_bytes(image, grey=is_grey(image, mode), size=None if size is None else (size, size))


def decode_smaller(image: Image.Image, size: int) -> Image.Image:
    """The central square of a JPEG file, not upright yet, resized to `size`.

    The decoder divides the sides by 2, 4 or 8, as far as the shorter one stays at least twice `size`. The image itself
    is returned if that is not possible.
    """
    sides, side = image.size, min(image.size)
    image.draft(None, (-(-sides[0] * 2 * size // side), -(-sides[1] * 2 * size // side)))
    by = next(by for by in (1, 2, 4, 8) if -(-max(sides) // by) == max(image.size))
    if by == 1:
        return image

    # Where the square of the upright image begins, in the stored one: an odd margin is one pixel longer at its end.
    turn = image.getexif().get(ORIENTATION, 1)
    margins = [length - side for length in sides]
    start = [margin - margin // 2 if turn in turns else margin // 2 for margin, turns in zip(margins, REVERSING)]

    # The square may begin and end within pixels of the smaller image.
    x, y = start[0] // by, start[1] // by
    around = image.crop((x, y, -(-(start[0] + side) // by), -(-(start[1] + side) // by)))
    box = (start[0] / by - x, start[1] / by - y, (start[0] + side) / by - x, (start[1] + side) / by - y)
    return around.resize((size, size), Image.Resampling.BILINEAR, box=box)


def common_size(sizes: list[tuple[int, int, int]], where: Path | str) -> tuple[int, int, int]:
    """Channels, height and width shared by all images; grey images among coloured ones count as coloured.

    Raises DataError if heights or widths differ.
    """
    sides = Counter(f"{width}x{height}" for _, height, width in sizes)
    if len(sides) > 1:
        raise DataError(different_sizes(sides, where))
    return (max(channels for channels, _, _ in sizes), *sizes[0][1:])


def different_sizes(sides: Counter[str], where: Path | str) -> str:
    """The message about images of several sizes, most common first."""
    shown = ", ".join(f"{side} ({count})" for side, count in sides.most_common(NAMED))
    return f"{where}: images of {len(sides)} sizes: {shown}; give size= to resize them"


def stack_images(arrays: list[np.ndarray], where: Path | str) -> UInt8[Tensor, "n channels height width"]:
    """The images as one tensor; a grey image among coloured ones repeats its channel."""
    channels, _, _ = common_size([(a.shape[2], *a.shape[:2]) for a in arrays], where)
    whole = np.stack([np.broadcast_to(a, (*a.shape[:2], channels)) for a in arrays])
    # numpy's ascontiguousarray would keep the stride of a single channel, which `canonical` does not.
    return canonical(torch.from_numpy(whole).permute(0, 3, 1, 2))
