"""dSprites (Matthey et al. 2017), redrawn: white shapes on black whose factors are all known.

index = (((shape * 6 + scale) * 40 + orientation) * 32 + posX) * 32 + posY        of 737,280 images
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, prod
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mixzoo import CheckedFile, DataError, Dataset, Split, escaped, host_free, open_regular
from mixzoo_datasets.attributes import parse_attributes, select_attributes
from mixzoo_datasets.reading import GROWTH, bad_file, exists, is_folder, reason, resolve_path
from mixzoo_datasets.splits import TrainImages, build_dataset, shuffled_order

SIDE, WINDOW = 64, 32  # pixels, side of an image and of a square that contains any shape
CHUNK = 1024  # images drawn at a time; the allocator would return larger arrays to the system each time
COUNTS = (3, 6, 40, 32, 32)
TOTAL = 737_280
SHAPES = ("square", "ellipse", "heart")
FACTORS = ("shape", "scale", "orientation", "posX", "posY")
VALUES = (  # float64, as in the original's latents_values
    torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
    torch.linspace(0.5, 1, 6, dtype=torch.float64),
    torch.linspace(0, 2 * pi, 40, dtype=torch.float64),
    torch.linspace(0, 1, 32, dtype=torch.float64),
    torch.linspace(0, 1, 32, dtype=torch.float64),
)
ATTRIBUTES = ("square", "ellipse", "heart", "large", "turned", "right", "low")
ARCHIVE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


@dataclass(frozen=True, kw_only=True)
class Sprites:
    """dSprites: a square, ellipse or heart of 6 sizes, 40 orientations and 32 x 32 positions, 64x64, black and white.

    Drawn by formulas recovered from images of the original (benchmarks/results/sprites.md shows how well they agree),
    or read from the original npz with `path`. Factors: shape (1, 2, 3), scale (0.5 to 1), orientation (0 to 2π), posX,
    posY (0 to 1, left to right and top to bottom). Labels: the three shapes; or, with `attributes`, any of

        square, ellipse, heart   that shape        large   scale > 0.75     turned   orientation in (π/2, 3π/2)
        right   posX > 0.5       low   posY > 0.5

    The first `images` of the 737,280, in the order of the fixed shuffle, are 80 % train, 10 % validation and 10 % test.
    (AMR's authors trained and validated on all of them.) Orientations 0 and 2π give the same picture, so if all images
    are used, 1 in 25 of a held-out split is in the train split too.
    """

    images: Annotated[int, Ge(20), Le(TOTAL), "in all three splits; all 737280 take 3 GB"] = 20_000
    attributes: Annotated[str, "labels instead of the shapes, joined by +, such as square+large+right"] | None = None
    path: Annotated[str, "the original npz or its folder; without it images are drawn"] | None = None
    train_images: TrainImages | None = None

    def __post_init__(self) -> None:
        if self.attributes is not None:
            parse_attributes(self.attributes, ATTRIBUTES)

    def check_files(self) -> Iterator[CheckedFile]:
        """The archive, if there is one."""
        if self.path is None:
            return
        path = resolve_path(self.path)
        file = path / ARCHIVE if is_folder(path) else path
        try:
            read_archive(file, torch.arange(1))
        except DataError as err:
            yield bad_file(file.name, file.parent, err)
        else:
            yield CheckedFile(file=escaped(file.name), images=TOTAL, sizes={"64x64": TOTAL}, modes={"L": TOTAL})

    def load(self, seed: int) -> Dataset:
        numbers = shuffled_order(TOTAL)[: self.images]
        classes = factor_classes(numbers)
        images = draw_chunks(classes) if self.path is None else read_archive(resolve_path(self.path), numbers)
        factors = torch.stack([v[c] for v, c in zip(VALUES, classes.T)], 1)
        labels, attribute_names = classes[:, 0], tuple[str, ...]()
        if self.attributes is not None:
            attribute_names = parse_attributes(self.attributes, ATTRIBUTES)
            labels = select_attributes(attributes_of(factors), ATTRIBUTES, attribute_names)
        whole = Split(images, labels, factors.float())
        tenth = self.images // 10
        origin = f"from {self.path}" if self.path else "drawn anew"
        return build_dataset(
            consecutive_splits(whole, [self.images - 2 * tenth, tenth, tenth]),
            class_names=SHAPES if self.attributes is None else (),
            attribute_names=attribute_names,
            factor_names=FACTORS,
            source=f"dSprites, {self.images} of {TOTAL} images, {origin}",
            needed="20 images",
            train_images=self.train_images,
            seed=seed,
        )


def consecutive_splits(whole: Split, counts: list[int]) -> list[Split]:
    """Consecutive splits of `counts` images; views, since the images may take gigabytes."""
    assert whole.factors is not None
    return [Split(*parts) for parts in zip(*(t.split(counts) for t in (whole.held, whole.labels, whole.factors)))]


def factor_classes(numbers: Int[Tensor, " n"]) -> Int[Tensor, "n 5"]:
    """For each image, the index of its five factors in VALUES."""
    indices = []
    for count in reversed(COUNTS):
        indices.append(numbers % count)
        numbers = numbers // count
    return torch.stack(indices[::-1], 1)


def attributes_of(factors: Float[Tensor, "n 5"]) -> Int[Tensor, "n attributes"]:
    """0 or 1 for each of ATTRIBUTES."""
    shape, scale, orientation, x, y = factors.T
    turned = (orientation > pi / 2) & (orientation < 3 * pi / 2)
    return torch.stack([shape == 1, shape == 2, shape == 3, scale > 0.75, turned, x > 0.5, y > 0.5], 1).long()


def draw_chunks(classes: Int[Tensor, "n 5"]) -> UInt8[Tensor, "n 1 64 64"]:
    """The images with those factors, as 0 and 255, drawn CHUNK at a time."""
    images = torch.zeros(len(classes), 1, SIDE, SIDE, dtype=torch.uint8)
    for shape in range(len(SHAPES)):
        with_shape = (classes[:, 0] == shape).nonzero().flatten()
        for index in with_shape.split(CHUNK):
            draw(shape, classes[index], images, index)
    return images


def draw(shape: int, classes: Int[Tensor, "n 5"], into: UInt8[Tensor, "all 1 64 64"], at: Int[Tensor, " n"]) -> None:
    """Draw images of one shape into `into`. A pixel is white if its centre is inside the shape."""
    scale, angle, x, y = (values[column][:, None] for values, column in zip(VALUES[1:], classes.T[1:]))
    cx, cy = 16 + 32 * x, 16 + 32 * y
    columns, rows = (c.floor().long() - WINDOW // 2 + torch.arange(WINDOW) for c in (cx, cy))  # [n window]
    dx, dy = ((columns + 0.5 - cx) / scale)[:, None, :], ((rows + 0.5 - cy) / scale)[:, :, None]
    cos, sin = angle.cos()[:, :, None], angle.sin()[:, :, None]
    inside = INSIDE[shape](cos * dx - sin * dy, sin * dx + cos * dy)
    into[at[:, None, None], 0, rows[:, :, None], columns[:, None, :]] = 255 * inside.to(torch.uint8)


def in_square(u: Float[Tensor, "*pixels"], v: Float[Tensor, "*pixels"]) -> Bool[Tensor, "*pixels"]:
    return torch.maximum(u.abs(), v.abs()) <= 9.598


def in_ellipse(u: Float[Tensor, "*pixels"], v: Float[Tensor, "*pixels"]) -> Bool[Tensor, "*pixels"]:
    return (u / 12.7662) ** 2 + (v / 7.2125) ** 2 <= 1


def in_heart(u: Float[Tensor, "*pixels"], v: Float[Tensor, "*pixels"]) -> Bool[Tensor, "*pixels"]:
    """Inside u = 9.5938 sin³ s, v = -1.4364 - 0.6622 (13 cos s - 5 cos 2s - 2 cos 3s - cos 4s).

    At each |u| the curve has two points, one for each sign of c = cos s, and the inside is between them. As a
    polynomial of c the bracket is even(c) + odd(c), so the two points are even ± odd.
    """
    root = (u.abs() / 9.5938) ** (1 / 3)  # |sin s|
    square = (1 - root * root).clamp(min=0)  # c²
    even = -8 * square * square - 2 * square + 4  # -5 (2c² - 1) - (8c⁴ - 8c² + 1)
    odd = square.sqrt() * (19 - 8 * square)  # 13 c - 2 (4c³ - 3c)
    return (root <= 1) & (((v + 1.4364) / -0.6622 - even).abs() <= odd)


INSIDE = (in_square, in_ellipse, in_heart)


def read_archive(path: Path, numbers: Int[Tensor, " n"]) -> UInt8[Tensor, "n 1 64 64"]:
    """Those images of the original npz, as 0 and 255. Raises DataError if the file is not the original."""
    file = path / ARCHIVE if is_folder(path) else path
    if not exists(file):
        raise DataError(f"{path}: no such file; path= must be the original {ARCHIVE}; without path= images are drawn")
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            imgs = read_member(archive, "imgs", (TOTAL, SIDE, SIDE), file)
            classes = read_member(archive, "latents_classes", (TOTAL, 6), file)
    except (DataError, MemoryError):
        raise
    except Exception as err:  # zipfile raises almost anything for damaged bytes: zlib.error, NotImplementedError, ...
        raise DataError(f"{file}: cannot be read as npz ({reason(err)}); the file is damaged") from err
    if imgs.dtype != np.uint8 or imgs.max() > 1:
        raise DataError(f"{file}: imgs are {imgs.dtype} up to {imgs.max()}, expected uint8 of 0 and 1")
    ours = factor_classes(torch.arange(TOTAL)).numpy()
    if not (classes[:, 1:] == ours).all():
        raise DataError(f"{file}: latents_classes are not in the original's order")
    return torch.from_numpy(imgs[numbers.numpy()])[:, None] * 255


def read_member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], file: Path) -> np.ndarray:
    """One array of an npz. Raises DataError, before anything of it is unpacked, if it has another shape or length."""
    if f"{name}.npy" not in archive.namelist():
        raise DataError(f"{file}: no array {name!r}; is it the original file?")
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found, _, dtype = header(stream)
        start = stream.tell()
    at_most = 1 if name == "imgs" else 8  # bytes of a number
    if found != shape or dtype.hasobject or dtype.itemsize > at_most:
        raise DataError(f"{file}: {name} is {list(found)} of {dtype}, expected {list(shape)}")

    # The lengths that the archive states, and the memory that is free, before the array is allocated.
    needed, free = prod(shape) * dtype.itemsize, host_free()
    if member.file_size != start + needed or member.file_size > GROWTH * member.compress_size:
        raise DataError(
            f"{file}: {name} has {member.file_size} bytes, packed as {member.compress_size}, "
            f"but needs {start + needed}; the file is damaged"
        )
    if free is not None and needed > free:
        raise DataError(f"{file}: {name} takes {needed / 1e9:.1f} GB of memory, but only {free / 1e9:.1f} GB are free")
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array
