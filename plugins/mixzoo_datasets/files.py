"""Images with a file each, read on demand or all at once."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import UnidentifiedImageError
from torch import Tensor

from mixzoo import PICTURE_FORMATS, DataError, Dataset, Interrupted, Split, escaped, open_regular
from mixzoo_datasets.reading import reason

NAMED = 5  # unreadable files that one message names
FINGERPRINTED = 4096  # bytes at each end of a file that its fingerprint covers

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A source of images with a file each: those at `numbers`, in that order."""

    files: list[Path]
    root: Path  # messages give paths relative to it
    decode: Callable[[Path], np.ndarray]  # file -> bytes [height, width, 1 or 3]; can be pickled
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
        for image, array in zip(images, read_each(files, self.root, self._decode_checked), strict=True):
            image.copy_(
                torch.from_numpy(array).permute(2, 0, 1)
            )  # repeats the channel of a grey image among coloured ones
        return images

    def select(self, numbers: Int[Tensor, " some"]) -> "ImageFiles":
        """The images at `numbers` as a source."""
        return replace(self, numbers=self.numbers[numbers])

    def fingerprint(self) -> bytes:
        """A hash of every file's name, length, first 4096 and last 4096 bytes.

        So the files of a large data set need not be read in full; the last bytes of a PNG include a checksum of its
        pixels.
        """
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=16)
        for part in read_each(
            [self.files[number] for number in self.numbers.tolist()], self.root, self._fingerprint_part
        ):
            digest.update(part)
        return digest.digest()

    def _fingerprint_part(self, file: Path) -> bytes:
        with open_regular(file) as stream:
            length = os.fstat(stream.fileno()).st_size
            start = stream.read(FINGERPRINTED)
            stream.seek(max(length - FINGERPRINTED, 0))
            name = os.fsencode(file.relative_to(self.root)).decode("utf-8", "backslashreplace")
            return f"{name}/{length}/".encode() + start + stream.read(FINGERPRINTED)

    def _decode_checked(self, file: Path) -> np.ndarray:
        array = np.array(self.decode(file))  # a copy: torch warns about read-only arrays, such as Pillow's
        channels, height, width = self.size
        if array.shape[:2] != (height, width) or array.shape[2] not in (1, channels):
            found = f"{array.shape[1]}x{array.shape[0]}x{array.shape[2]}"
            raise ValueError(f"{found} now, expected {width}x{height}x{channels}")
        return array


def hold_in_memory(data: Dataset, whole: UInt8[Tensor, "n channels height width"]) -> Dataset:
    """The data set with its images in memory; `whole` holds the image of every file."""

    def with_images(split: Split) -> Split:
        assert isinstance(split.images, ImageFiles)
        return replace(split, images=whole[split.images.numbers])

    return replace(
        data, train=with_images(data.train), validation=with_images(data.validation), test=with_images(data.test)
    )


def read_each(files: list[Path], root: Path, read: Callable[[Path], T]) -> Iterator[T]:
    """Yields `read(file)` for every file that can be read. Raises DataError at the end, naming those that cannot."""
    bad = []
    for file in files:
        try:
            yield read(file)
        except UnidentifiedImageError:  # whose message repeats the path
            formats = f"{', '.join(PICTURE_FORMATS[:-1])} or {PICTURE_FORMATS[-1]}"
            bad.append(f"{_named(file, root)} (not an image in {formats} format)")
        except (MemoryError, Interrupted):  # not the file's fault: out of memory, or a signal stops the run
            raise
        except Exception as err:  # Pillow raises almost anything for damaged bytes: struct.error, IndexError, ...
            bad.append(f"{_named(file, root)} ({reason(err).partition(':')[0]})")
    if bad:
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise DataError(f"{root}: {len(bad)} of {len(files)} images cannot be read: {', '.join(bad[:NAMED])}{more}")


def _named(file: Path, root: Path) -> str:
    return escaped(str(file.relative_to(root)))
