"""dSprites (Matthey et al. 2017), drawn anew: white shapes on black whose factors are all known.

index = (((shape * 6 + scale) * 40 + orientation) * 32 + posX) * 32 + posY        of 737,280 images
"""

import zipfile
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mixzoo import DataError, Dataset, Split
from mixzoo.errors import escaped
from mixzoo_datasets.attributes import chosen, named
from mixzoo_datasets.reading import is_folder, is_there, located, opened, reason
from mixzoo_datasets.splits import TrainImages, assembled, shuffled

SIDE, WINDOW = 64, 32  # pixels of an image; of the square around a shape that holds all of it
CHUNK = 1024  # images drawn at a time; larger arrays would go back to the system after each step
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

    Drawn here by formulas recovered from frames of the original (benchmarks/results/sprites.md says how well they
    agree), or read from the original's npz with `path`. Factors: shape (1, 2, 3), scale (0.5 to 1), orientation (0 to
    2π), posX, posY (0 to 1, left to right and top to bottom). Labels: the three shapes; or, with `attributes`, any of

        square, ellipse, heart   that shape        large   scale > 0.75     turned   orientation in (π/2, 3π/2)
        right   posX > 0.5       low   posY > 0.5

    `images` of the 737,280 are taken in the order of the fixed shuffle: 80 % train, 10 % validation, 10 % test. (AMR's
    authors trained and validated on all of them.) Orientations 0 and 2π are the same picture, so of all images 1 in 25
    of a held-out split is in the train split too.
    """

    images: Annotated[int, Ge(20), Le(TOTAL), "in all three splits; all 737280 take 3 GB"] = 20_000
    attributes: Annotated[str, "labels in place of the shapes, joined by +, such as square+large+right"] | None = None
    path: Annotated[str, "the original's npz, or the folder that holds it; drawn where not given"] | None = None
    train_images: TrainImages | None = None

    def __post_init__(self) -> None:
        if self.attributes is not None:
            named(self.attributes, ATTRIBUTES)

    def load(self, seed: int) -> Dataset:
        numbers = shuffled(TOTAL)[: self.images]
        classes = factor_classes(numbers)
        images = draw_chunks(classes) if self.path is None else read(located(self.path), numbers)
        factors = torch.stack([v[c] for v, c in zip(VALUES, classes.T)], 1)
        labels, attribute_names = classes[:, 0], tuple[str, ...]()
        if self.attributes is not None:
            attribute_names = named(self.attributes, ATTRIBUTES)
            labels = chosen(attributes_of(factors), ATTRIBUTES, attribute_names)
        whole = Split(images, labels, factors.float())
        tenth = self.images // 10
        origin = escaped(f"from {self.path}") if self.path else "drawn anew"
        return assembled(
            in_order(whole, [self.images - 2 * tenth, tenth, tenth]),
            class_names=SHAPES if self.attributes is None else (),
            attribute_names=attribute_names,
            factor_names=FACTORS,
            source=f"dSprites, {self.images} of {TOTAL} images, {origin}",
            needed="20 images",
            train_images=self.train_images,
            seed=seed,
        )


def in_order(whole: Split, counts: list[int]) -> list[Split]:
    """Splits of those many images, one after the other; views, as all of them may be gigabytes."""
    assert whole.factors is not None
    return [Split(*parts) for parts in zip(*(t.split(counts) for t in (whole.held, whole.labels, whole.factors)))]


def factor_classes(numbers: Int[Tensor, " n"]) -> Int[Tensor, "n 5"]:
    """The place of each image's five factors among their values."""
    places = []
    for count in reversed(COUNTS):
        places.append(numbers % count)
        numbers = numbers // count
    return torch.stack(places[::-1], 1)


def attributes_of(factors: Float[Tensor, "n 5"]) -> Int[Tensor, "n attributes"]:
    """0 and 1 for each of ATTRIBUTES."""
    shape, scale, orientation, x, y = factors.T
    turned = (orientation > pi / 2) & (orientation < 3 * pi / 2)
    return torch.stack([shape == 1, shape == 2, shape == 3, scale > 0.75, turned, x > 0.5, y > 0.5], 1).long()


def draw_chunks(classes: Int[Tensor, "n 5"]) -> UInt8[Tensor, "n 1 64 64"]:
    """The images of those factors, 0 and 255, a few thousand at a time."""
    images = torch.zeros(len(classes), 1, SIDE, SIDE, dtype=torch.uint8)
    for shape in range(len(SHAPES)):
        of_shape = (classes[:, 0] == shape).nonzero().flatten()
        for some in of_shape.split(CHUNK):
            draw(shape, classes[some], images, some)
    return images


def draw(shape: int, classes: Int[Tensor, "n 5"], into: UInt8[Tensor, "all 1 64 64"], at: Int[Tensor, " n"]) -> None:
    """Draw images of one shape into their places. A pixel is white where its centre is inside the shape."""
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

    At each |u| the curve has two points, one for each sign of c = cos s, and inside is between them. As a polynomial of
    c the bracket is even(c) + odd(c), so the two are even ± odd.
    """
    root = (u.abs() / 9.5938) ** (1 / 3)  # |sin s|
    square = (1 - root * root).clamp(min=0)  # c²
    even = -8 * square * square - 2 * square + 4  # -5 (2c² - 1) - (8c⁴ - 8c² + 1)
    odd = square.sqrt() * (19 - 8 * square)  # 13 c - 2 (4c³ - 3c)
    return (root <= 1) & (((v + 1.4364) / -0.6622 - even).abs() <= odd)


INSIDE = (in_square, in_ellipse, in_heart)


def read(path: Path, numbers: Int[Tensor, " n"]) -> UInt8[Tensor, "n 1 64 64"]:
    """Those images of the original's npz, 0 and 255; DataError where it is not that file."""
    file = path / ARCHIVE if is_folder(path) else path
    if not is_there(file):
        raise DataError(f"{path}: no such file; path= names the original's {ARCHIVE}, without it images are drawn")
    try:
        with opened(file) as stream, zipfile.ZipFile(stream) as archive:
            imgs = member(archive, "imgs", (TOTAL, SIDE, SIDE), file)
            classes = member(archive, "latents_classes", (TOTAL, 6), file)
    except (DataError, MemoryError):
        raise
    except Exception as err:  # zipfile raises nearly anything for damaged bytes: zlib.error, NotImplementedError, ...
        raise DataError(f"{file}: cannot be read as npz ({reason(err)}); damaged") from err
    if imgs.dtype != np.uint8 or imgs.max() > 1:
        raise DataError(f"{file}: imgs are {imgs.dtype} up to {imgs.max()}, expected uint8 of 0 and 1")
    ours = factor_classes(torch.arange(TOTAL)).numpy()
    if not (classes[:, 1:] == ours).all():
        raise DataError(f"{file}: latents_classes are not in the original's order")
    return torch.from_numpy(imgs[numbers.numpy()])[:, None] * 255


def member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], file: Path) -> np.ndarray:
    """One array of an npz; DataError, before anything is unpacked, if it is of another shape than that."""
    if f"{name}.npy" not in archive.namelist():
        raise DataError(f"{file}: no array {name!r} in it; is it the original's?")
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found, _, dtype = header(stream)
    at_most = 1 if name == "imgs" else 8  # bytes of a number
    if found != shape or dtype.hasobject or dtype.itemsize > at_most:
        raise DataError(f"{file}: {name} is {list(found)} of {dtype}, expected {list(shape)}")
    with archive.open(f"{name}.npy") as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array
