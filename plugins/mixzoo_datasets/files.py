"""Images in files of their own: read when they are asked for, or all at once."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mixzoo import DataError, Dataset, Split
from mixzoo.errors import Interrupted, escaped
from mixzoo_datasets.reading import opened, reason

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow goes by content, and some others start programs
MAX_PIXELS = 50_000_000  # of one file, read from its header before it is decoded
NAMED = 5  # bad files named in one message
MARKED = 4096  # bytes at either end of a file that its fingerprint covers

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A source of images, one from each of some files: those of `numbers`, in that order."""

    files: list[Path]
    root: Path  # that messages name files from
    decode: Callable[[Path], np.ndarray]  # one file as bytes [height, width, 1 or 3]; it can be pickled
    size: tuple[int, int, int]  # channels, height, width
    numbers: Int[Tensor, " n"]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.numbers), *self.size)

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        files = [self.files[number] for number in self.numbers[index].tolist()]
        images = torch.empty(len(files), *self.size, dtype=torch.uint8)
        for image, array in zip(images, each(files, self.root, self._decoded), strict=True):
            image.copy_(torch.from_numpy(array).permute(2, 0, 1))  # a grey one among coloured ones becomes grey colours
        return images

    def taken(self, numbers: Int[Tensor, " some"]) -> "ImageFiles":
        """The source of some of the images."""
        return replace(self, numbers=self.numbers[numbers])

    def fingerprint(self) -> bytes:
        """A hash of every file's name, its length and the first and last 4096 bytes of it.

        The end of a PNG is a checksum of all its pixels; the files of a large set are not read whole.
        """
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=16)
        for mark in each([self.files[number] for number in self.numbers.tolist()], self.root, self._mark):
            digest.update(mark)
        return digest.digest()

    def _mark(self, file: Path) -> bytes:
        with opened(file) as stream:
            length = os.fstat(stream.fileno()).st_size
            start = stream.read(MARKED)
            stream.seek(max(length - MARKED, 0))
            name = os.fsencode(file.relative_to(self.root)).decode("utf-8", "backslashreplace")
            return f"{name}/{length}/".encode() + start + stream.read(MARKED)

    def _decoded(self, file: Path) -> np.ndarray:
        array = np.array(self.decode(file))  # a copy: what Pillow gives may not be written to, and torch warns of it
        channels, height, width = self.size
        if array.shape[:2] != (height, width) or array.shape[2] not in (1, channels):
            found = f"{array.shape[1]}x{array.shape[0]}x{array.shape[2]}"
            raise ValueError(f"{found} now, expected {width}x{height}x{channels}")
        return array


def held(data: Dataset, whole: UInt8[Tensor, "n channels height width"]) -> Dataset:
    """The same data set in memory; `whole` holds the image of every file."""

    def inside(split: Split) -> Split:
        assert isinstance(split.images, ImageFiles)
        return replace(split, images=whole[split.images.numbers])

    return replace(data, train=inside(data.train), validation=inside(data.validation), test=inside(data.test))


def each(files: list[Path], root: Path, read: Callable[[Path], T]) -> Iterator[T]:
    """What `read` gives of every file; one DataError, at the end, names the files that cannot be read."""
    bad = []
    for file in files:
        try:
            yield read(file)
        except UnidentifiedImageError:  # its message repeats the path
            bad.append(f"{_named(file, root)} (no image of {', '.join(FORMATS[:-1])} or {FORMATS[-1]})")
        except (MemoryError, Interrupted):  # a signal that stops the run may come here: it is no fault of the file
            raise
        except Exception as err:  # Pillow raises nearly anything for damaged bytes: struct.error, IndexError, ...
            bad.append(f"{_named(file, root)} ({reason(err).partition(':')[0]})")
    if bad:
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise DataError(f"{root}: {len(bad)} of {len(files)} images cannot be read: {', '.join(bad[:NAMED])}{more}")


def _named(file: Path, root: Path) -> str:
    return escaped(str(file.relative_to(root)))


@contextmanager
def image_in(file: Path) -> Iterator[Image.Image]:
    """The image with its header read and nothing decoded; ValueError if it has too many pixels."""
    with opened(file) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an image is read or refused; Pillow warns of odd tags, and of a higher cap
        with Image.open(stream, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, at most {MAX_PIXELS} are read")
            yield image
