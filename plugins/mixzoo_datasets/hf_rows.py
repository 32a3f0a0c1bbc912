"""Images in the rows of a table on disk, each the bytes of a file, or the path of one, which may be in an archive."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from mixzoo import DataError, PictureError, open_regular
from mixzoo_datasets.files import FINGERPRINTED, check_size, fault, stack, unreadable
from mixzoo_datasets.hf_archives import member_and_archive, member_fingerprint, read_member
from mixzoo_datasets.hf_columns import IMAGE
from mixzoo_datasets.reading import reason

ELSEWHERE = "a path outside the data set's own folder"
INSTEAD = "; store images as bytes, in place of paths (docs/large_data.md shows how)"
AT_ONCE = 256  # rows that are looked up together; what they hold stays on disk until it is read

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ImageRows:
    """A source of the images in the rows `numbers` of a table, in that order."""

    table: Any  # datasets.Dataset of encoded images, in the format "arrow"; it is pickled as the names of its files
    counts: Mapping[str, int]  # rows of each split, one split after the other; messages name a row by its split
    where: str  # the beginning of messages
    roots: tuple[Path, ...]  # folders that the path of a file may lead to
    decode: Callable[[Path | bytes], np.ndarray]  # -> bytes [height, width, 1 or 3]; can be pickled
    size: tuple[int, int, int]  # channels, height, width
    numbers: Int[Tensor, " n"]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.numbers), *self.size)

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        wanted = self.numbers[index]
        arrays = self._read_rows(wanted, lambda image: check_size(self.decode(self._encoded(image)), self.size))
        return stack(arrays, len(wanted), self.size)

    def select(self, numbers: Int[Tensor, " some"]) -> "ImageRows":
        """The images at `numbers` as a source."""
        return replace(self, numbers=self.numbers[numbers])

    def each(self, read: Callable[[Path | bytes], T]) -> Iterator[T]:
        """`read` of each image as it is stored: the bytes of a file, or its path.

        Raises DataError at the end, naming the rows that cannot be read.
        """
        return self._read_rows(self.numbers, lambda image: read(self._encoded(image)))

    def named(self) -> Iterator[tuple[str, Any]]:
        """The name of each row, such as "train row 3", and what `read_named` reads."""
        return ((self._name(number), image) for number, image in self._rows(self.numbers.tolist()))

    def read_named(self, image: Any, read: Callable[[Path | bytes], T]) -> T:
        """`read` of an image of `named`, as it is stored. Raises whatever is wrong with it."""
        return read(self._encoded(image))

    def fingerprint(self) -> bytes:
        """A hash of every image's length, first 4096 and last 4096 bytes, and of the name of its file if it has one.

        Of an image in an archive, its name, length and check sum.
        """
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=16)
        for part in self._read_rows(self.numbers, self._fingerprint_part):
            digest.update(part)
        return digest.digest()

    def _read_rows(self, numbers: Int[Tensor, " n"], read: Callable[[Any], T]) -> Iterator[T]:
        reasons: dict[str, str] = {}
        for number, image in self._rows(numbers.tolist()):
            try:
                yield read(image)
            except Exception as err:
                reasons[self._name(number)] = fault(err)[0]
        if reasons:
            advice = INSTEAD if any(why.startswith(ELSEWHERE) for why in reasons.values()) else ""
            raise unreadable(self.where, reasons, len(numbers), advice=advice)

    def _rows(self, numbers: list[int]) -> Iterable[tuple[int, Any]]:
        """The number and the image, still on disk, of each row."""
        for start in range(0, len(numbers), AT_ONCE):
            some = numbers[start : start + AT_ONCE]
            try:
                images = self.table[some][IMAGE]
            except Exception as err:  # a table that is damaged or was removed
                raise DataError(f"{self.where}: {self._name(some[0])} cannot be looked up ({reason(err)})") from err
            yield from zip(some, images, strict=True)

    def _encoded(self, image: Any) -> Path | bytes:
        """The bytes of a file, or its path. Raises PictureError if there is neither, or it is not the data set's."""
        content: bytes | None = image["bytes"].as_py() if image.is_valid else None
        if content is not None:
            return content
        member, path = self._place(image)
        return read_member(path, member) if member else path

    def _place(self, image: Any) -> tuple[str, Path]:
        """The name within an archive, '' if it is in none, and the path of the file."""
        text = image["path"].as_py() if image.is_valid else None
        if not text:
            raise PictureError("no image", "leave such rows out of the data set")
        member, file = member_and_archive(text)
        path = Path(os.path.normpath(file))  # no .. leads out of a folder
        if not any(path.is_relative_to(root) for root in self.roots):
            raise PictureError(ELSEWHERE, "no other file is read")
        return member, path

    def _fingerprint_part(self, image: Any) -> bytes:
        if image.is_valid and image["bytes"].is_valid:
            content = memoryview(image["bytes"].as_buffer())
            return b"%d/" % len(content) + bytes(content[:FINGERPRINTED]) + bytes(content[-FINGERPRINTED:])
        member, path = self._place(image)
        if member:
            return member_fingerprint(path, member)
        with open_regular(path) as stream:
            length = os.fstat(stream.fileno()).st_size
            start = stream.read(FINGERPRINTED)
            stream.seek(max(length - FINGERPRINTED, 0))
            return os.fsencode(path.name) + b"/%d/" % length + start + stream.read(FINGERPRINTED)

    def _name(self, number: int) -> str:
        starts = accumulate(self.counts.values(), initial=0)
        split, start = [(split, start) for split, start in zip(self.counts, starts) if start <= number][-1]
        return f"{split} row {number - start}"
