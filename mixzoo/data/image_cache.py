"""Decoded images of a streamed data set, kept on disk so that an image is decoded once for all epochs and runs.

A cache is two files in the folder that --image-cache names, called by a hash of what the pixels depend on:

    HASH.json      what the cache is of: data set, options, fingerprint, shape, versions
    HASH.images    a digest of 16 bytes for each image, zeros if it is not there yet; then the pixels of each, uint8

The digest covers the pixels, the number of the image and HASH, and every read checks it. So there is nothing to lock
and nothing to order: processes and runs that fill a cache at once write the same bytes, and an image whose writing was
cut off by a kill, a full disk or a power cut, or whose bytes were changed since, is decoded again.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from mixzoo.core.data import Source
from mixzoo.core.errors import DataError

DIGEST = 16  # bytes


@dataclass(frozen=True)
class ImageCache:
    """The file of pixels. It is opened for each batch, so it may be removed at any time, and is read, not mapped.

    A mapped file that another process truncates would kill this one.
    """

    path: Path
    key: bytes  # of the digests
    images: int
    shape: tuple[int, int, int]  # channels, height, width

    @cached_property
    def image_bytes(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return self.images * (DIGEST + self.image_bytes)

    @contextmanager
    def opened(self) -> Iterator[int | None]:
        """A handle of the file, for reading alone if it may not be written; None if it cannot be opened.

        A symbolic link is not followed: whoever shares the folder could let this process write to another file.
        """
        handle = None
        for mode in (os.O_RDWR, os.O_RDONLY):
            with suppress(OSError):
                handle = os.open(self.path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                break
        try:
            regular = handle is not None and stat.S_ISREG(os.fstat(handle).st_mode)
            yield handle if regular else None
        finally:
            if handle is not None:
                os.close(handle)

    def read(self, handle: int, number: int, pixels: memoryview) -> bool:
        """Fill `pixels` with those of this image; False, with anything in `pixels`, if the cache does not have it."""
        try:
            digest = os.pread(handle, DIGEST, number * DIGEST)
            if not any(digest) or os.preadv(handle, [pixels], self._start(number)) != self.image_bytes:
                return False
        except OSError:
            return False
        return digest == self._digest(number, pixels)

    def write(self, handle: int, number: int, pixels: memoryview) -> None:
        """Keep the pixels of this image. If the disk refuses, it stays to be decoded."""
        with suppress(OSError):
            if os.pwrite(handle, pixels, self._start(number)) == self.image_bytes:
                os.pwrite(handle, self._digest(number, pixels), number * DIGEST)

    def filled(self, handle: int) -> list[int]:
        """The numbers of the images that have a digest, right or wrong."""
        try:
            table = os.pread(handle, self.images * DIGEST, 0)
        except OSError:
            return []
        whole = len(table) // DIGEST
        digests = np.frombuffer(table, np.uint8, whole * DIGEST).reshape(whole, DIGEST)
        return [int(number) for number in np.flatnonzero(digests.max(axis=1, initial=0))]

    def _start(self, number: int) -> int:
        return self.images * DIGEST + number * self.image_bytes

    def _digest(self, number: int, pixels: memoryview) -> bytes:
        salt = number.to_bytes(8, "little")
        return hashlib.blake2b(pixels, digest_size=DIGEST, key=self.key, salt=salt).digest()


@dataclass(frozen=True, eq=False)
class CachedImages:
    """A source that decodes only what its cache does not have yet, and adds it there."""

    source: Source
    cache: ImageCache
    first: int  # number of the source's image 0 in the cache

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        with self.cache.opened() as handle:
            if handle is None:
                return self.source.read(index)
            images = torch.empty(len(index), *self.shape[1:], dtype=torch.uint8)
            rows, numbers = rows_of(images), index.tolist()
            missing = [i for i, number in enumerate(numbers) if not self._read(handle, number, rows[i])]
            if missing:
                images[missing] = self.decode(index[missing])
                for i in missing:
                    if numbers[i] >= 0:  # a source may count from its end, and the image before is another one's
                        self.cache.write(handle, self.first + numbers[i], rows[i])
            return images

    def decode(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        """The images as the source reads them. Raises DataError if they are not what a cache can hold."""
        images = self.source.read(index)
        if images.dtype != torch.uint8 or images.shape[1:] != self.shape[1:]:
            found, expected = f"{images.dtype} {list(images.shape[1:])}", f"torch.uint8 {list(self.shape[1:])}"
            raise DataError(f"--image-cache keeps {expected}, and the data set reads {found}; leave --image-cache out")
        return images

    def _read(self, handle: int, number: int, pixels: memoryview) -> bool:
        inside = 0 <= number < len(self)  # the source says what is wrong with another number
        return inside and self.cache.read(handle, self.first + number, pixels)


def rows_of(images: UInt8[Tensor, "n channels height width"]) -> list[memoryview]:
    """The bytes of each image, to be read or written in place."""
    return [row.reshape(-1).data for row in images.numpy()]
