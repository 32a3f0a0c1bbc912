"""Numeric arrays in MATLAB 5 files, read within bounds: shapes are checked before anything is unpacked.

file    = 116 bytes of text · 8 · version (2) · "IM" or "MI", the byte order · elements
element = type (4) · length (4) · data, to a multiple of 8 bytes;  or length (2) · type (2) · up to 4 bytes of data
matrix  = an element of four: flags with the class · lengths of the axes · name · numbers, first axis fastest
A compressed element (zlib) holds one matrix. Other elements are skipped. Version 7.3, which is HDF5, is not supported.
"""

import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mixzoo import host_free, open_regular
from mixzoo_datasets.reading import GROWTH

HEADER, MATRIX, COMPRESSED = 128, 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # data types
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x0800  # flag of a complex matrix
LONGEST_NAME, MOST_AXES = 64, 32
BLOCK = 1 << 16
COPIES = 3  # of the numbers in memory at once, while they are read


def read_arrays(path: Path, shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, np.ndarray]:
    """The arrays with the given names and shapes, where None is an axis of any length.

    Raises KeyError if an array is missing, and ValueError, zlib.error or OSError if the file is not valid.
    """
    found: dict[str, np.ndarray] = {}
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)

        # The header gives the byte order and the version.
        header = _exactly(file, HEADER)
        if header[126:] not in (b"IM", b"MI"):
            raise ValueError("not a MATLAB 5 file")
        order = "<" if header[126:] == b"IM" else ">"
        if header[125 if order == "<" else 124] == 2:
            raise ValueError("MATLAB 7.3 files are not supported; save it with -v7")

        # Walk over the elements until every array is found; unknown ones are skipped unread.
        while len(found) < len(shapes) and (place := file.tell()) < size:
            kind, length = np.frombuffer(_exactly(file, 8), f"{order}u4").tolist()
            end = place + 8 + length
            if end > size:
                raise ValueError(f"an element of {length} bytes is longer than the file")
            if kind in (MATRIX, COMPRESSED):
                inside = _Inflated(file, length) if kind == COMPRESSED else _Plain(file, length)
                name, array = _matrix(inside, order, shapes, length * (GROWTH if kind == COMPRESSED else 1))
                if array is not None:
                    found[name] = array
            file.seek(end)

    for name in shapes:
        if name not in found:
            raise KeyError(f"no array {name}")
    return found


def _matrix(
    data: "_Plain | _Inflated", order: str, shapes: Mapping[str, tuple[int | None, ...]], at_most: int
) -> tuple[str, np.ndarray | None]:
    """The name and numbers of a matrix; None instead of numbers if the name is not in `shapes`."""
    if isinstance(data, _Inflated) and np.frombuffer(data.exactly(8), f"{order}u4")[0] != MATRIX:
        return "", None

    # What precedes the numbers, with bounds on the length of each element.
    flags = np.frombuffer(_element(data, order, 8)[1], f"{order}u4")
    if len(flags) != 2:
        raise ValueError(f"{len(flags)} flags of a matrix, expected 2")
    dims = np.frombuffer(_element(data, order, 4 * MOST_AXES)[1], f"{order}i4").tolist()
    name = _element(data, order, LONGEST_NAME)[1].decode("latin-1")
    if name not in shapes:
        return name, None

    # Nothing is unpacked before its shape, type and size are known to be as expected.
    expected = shapes[name]
    if len(dims) != len(expected) or any(want not in (None, length) for want, length in zip(expected, dims)):
        wanted = ", ".join("n" if length is None else str(length) for length in expected)
        raise ValueError(f"{name} is {dims}, expected [{wanted}]")
    number_class = CLASSES.get(int(flags[0]) & 0xFF)
    if number_class is None or int(flags[0]) & COMPLEX:
        raise ValueError(f"{name} does not hold real numbers")
    if min(dims) < 0 or prod(dims) > at_most:
        raise ValueError(f"{name} of {dims} does not fit into the file")
    needed, free = COPIES * prod(dims) * np.dtype(number_class).itemsize, host_free()
    if free is not None and needed > free:
        raise ValueError(
            f"{name} of {dims} takes {needed / 1e9:.1f} GB of memory, but only {free / 1e9:.1f} GB are free"
        )

    # MATLAB stores numbers in the smallest type that holds them all.
    stored, content = _element(data, order, 8 * prod(dims))
    if stored not in STORED or len(content) != prod(dims) * np.dtype(STORED[stored]).itemsize:
        raise ValueError(f"{name} is {dims}, but has {len(content)} bytes of type {stored}")
    data.finish()
    numbers = np.frombuffer(content, order + STORED[stored]).astype(number_class)
    return name, numbers.reshape(dims, order="F")


def _element(data: "_Plain | _Inflated", order: str, at_most: int) -> tuple[int, bytes]:
    """The type and data of an element inside a matrix. Raises ValueError if it is longer than `at_most`."""
    tag = data.exactly(8)
    kind, length = np.frombuffer(tag, f"{order}u4").tolist()
    if kind >> 16:  # a short element, with its data in the tag
        if kind >> 16 > 4:
            raise ValueError(f"a short element of {kind >> 16} bytes")
        return kind & 0xFFFF, tag[4 : 4 + (kind >> 16)]
    if length > at_most:
        raise ValueError(f"an element of {length} bytes, expected {at_most} at most")
    content = data.exactly(length)
    data.exactly(-length % 8)
    return kind, content


def _exactly(file: BinaryIO, length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise ValueError("the file ends within an element")
    return content


class _Plain:
    """An uncompressed element."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length

    def exactly(self, length: int) -> bytes:
        self._left -= length
        if self._left < 0:
            raise ValueError("a part of a matrix is longer than the matrix")
        return _exactly(self._file, length)

    def finish(self) -> None:
        pass


class _Inflated:
    """A compressed element, inflated only as far as it is read."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length
        self._zlib: Any = zlib.decompressobj()

    def exactly(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            block = self._zlib.unconsumed_tail or self._block()
            more = self._zlib.decompress(block, length - len(content))
            if not (more or block):
                raise ValueError("the compressed data end within a matrix")
            content += more
        return bytes(content)

    def finish(self) -> None:
        """Raises ValueError if data follow the matrix or the checksum is missing, zlib.error if it is wrong."""
        while not self._zlib.eof:
            block = self._zlib.unconsumed_tail or self._block()
            if self._zlib.decompress(block, 1) or not block:
                raise ValueError("the compressed data do not end with the matrix")

    def _block(self) -> bytes:
        block = self._file.read(min(self._left, BLOCK))
        self._left -= len(block)
        return block
