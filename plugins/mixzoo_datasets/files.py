"""Images that stay where they are stored until they are read: what such sources have in common, and files of images."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import UnidentifiedImageError
from torch import Tensor

from mixzoo import (
    PICTURE_FORMATS,
    CheckedFile,
    DataError,
    Dataset,
    PictureError,
    Source,
    Split,
    escaped,
    open_regular,
)
from mixzoo_datasets.reading import reason

NAMED = 5  # unreadable files that one message names
THREADS, AHEAD = 2, 32  # that check files, and files that they have begun or wait for
FINGERPRINTED = 4096  # bytes at each end of a file that its fingerprint covers

T = TypeVar("T")


@runtime_checkable
class StoredImages(Source, Protocol):
    """A source of the images at `numbers` of a store, in that order."""

    @property
    def numbers(self) -> Int[Tensor, " n"]: ...

    def select(self, numbers: Int[Tensor, " some"]) -> "StoredImages":
        """The images at `numbers` of this source as a source."""
        ...

    def fingerprint(self) -> bytes:
        """A hash of the images that changes if they do, without decoding them."""
        ...


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A source of images with a file each: those at `numbers`, in that order."""

    files: list[Path]
    root: Path  # messages give paths relative to it
    decode: Callable[[Path], np.ndarray]  # file -> bytes [height, width, 1 or 3]; can be pickled
    size: tuple[int, int, int]  # channels, height, width
    numbers: Int[Tensor, " n"]
    stamps: 'Int[Tensor, "files 2"] | None' = None  # when each was changed, and a hash; filled by `fingerprint`

    def __post_init__(self) -> None:
        if self.stamps is None:  # shared by all selections of these files
            object.__setattr__(self, "stamps", torch.zeros(len(self.files), 2, dtype=torch.int64))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.numbers), *self.size)

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        numbers = {self.files[number]: number for number in self.numbers[index].tolist()}
        files = [self.files[number] for number in self.numbers[index].tolist()]
        arrays = read_each(files, self.root, lambda file: self._decode_checked(file, numbers[file]))
        return stack(arrays, len(files), self.size)

    def select(self, numbers: Int[Tensor, " some"]) -> "ImageFiles":
        """The images at `numbers` as a source."""
        return replace(self, numbers=self.numbers[numbers])

    def fingerprint(self) -> bytes:
        """A hash of every file's name, length, first 4096 and last 4096 bytes.

        So the files of a large data set need not be read in full; the last bytes of a PNG include a checksum of its
        pixels.
        """
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=16)
        assert self.stamps is not None
        files = [self.files[number] for number in self.numbers.tolist()]
        for number, (changed, part) in zip(self.numbers, read_each(files, self.root, self._stamped), strict=True):
            digest.update(part)
            self.stamps[number] = torch.tensor([changed, _hash(part)])
        return digest.digest()

    def stamp(self) -> str:
        """A hash of when each file was last changed, as `fingerprint` found it."""
        assert self.stamps is not None
        return hashlib.blake2b(self.stamps[self.numbers, 0].numpy().tobytes(), digest_size=16).hexdigest()

    def _stamped(self, file: Path) -> tuple[int, bytes]:
        return os.stat(file).st_mtime_ns, self._fingerprint_part(file)

    def _check_unchanged(self, file: Path, number: int) -> None:
        """Raises ValueError if the file has other bytes than when its fingerprint was taken."""
        assert self.stamps is not None
        changed, digest = self.stamps[number].tolist()
        # A copy of the same bytes is no change; most reads are settled by the time alone.
        if changed and os.stat(file).st_mtime_ns != changed and _hash(self._fingerprint_part(file)) != digest:
            raise ValueError("changed since the run started to use it; put the old file back, or start a new run")

    def _fingerprint_part(self, file: Path) -> bytes:
        with open_regular(file) as stream:
            length = os.fstat(stream.fileno()).st_size
            start = stream.read(FINGERPRINTED)
            stream.seek(max(length - FINGERPRINTED, 0))
            name = os.fsencode(file.relative_to(self.root)).decode("utf-8", "backslashreplace")
            return f"{name}/{length}/".encode() + start + stream.read(FINGERPRINTED)

    def _decode_checked(self, file: Path, number: int) -> np.ndarray:
        array = check_size(self.decode(file), self.size)
        self._check_unchanged(file, number)
        return array


def check_size(array: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """The image, which can be written to. Raises ValueError if it has another size than when its header was read."""
    channels, height, width = size
    if array.shape[:2] != (height, width) or array.shape[2] not in (1, channels):
        found = f"{array.shape[1]}x{array.shape[0]}x{array.shape[2]}"
        raise ValueError(f"{found} now, expected {width}x{height}x{channels}")
    return np.array(array)  # a copy: torch warns about read-only arrays, such as Pillow's


def stack(
    arrays: Iterable[np.ndarray], count: int, size: tuple[int, int, int]
) -> UInt8[Tensor, "count channels height width"]:
    """Images [height, width, 1 or channels] as one tensor."""
    images = torch.empty(count, *size, dtype=torch.uint8)
    for image, array in zip(images, arrays, strict=True):
        image.copy_(torch.from_numpy(array).permute(2, 0, 1))  # repeats the channel of a grey image among coloured ones
    return images


def _hash(part: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(part, digest_size=8).digest(), "big", signed=True)


def hold_in_memory(data: Dataset, whole: UInt8[Tensor, "n channels height width"]) -> Dataset:
    """The data set with its images in memory; `whole` holds every image of the store."""

    def with_images(split: Split) -> Split:
        assert isinstance(split.images, StoredImages)
        return replace(split, images=whole[split.images.numbers])

    return replace(
        data, train=with_images(data.train), validation=with_images(data.validation), test=with_images(data.test)
    )


class BadFiles:
    """The files that could not be read, each with the reason; more than `at_most` of them are an error."""

    def __init__(self, at_most: int = 0) -> None:
        self.at_most = at_most
        self.reasons: dict[Path, str] = {}

    def named(self, root: Path) -> dict[str, str]:
        """The reason by the file's name."""
        return {_named(file, root): reason for file, reason in self.reasons.items()}

    def check(self, root: Path, files: int, advice: str = "") -> None:
        """Raises DataError, naming the first ones, if there are more than `at_most`; `advice` ends the message."""
        if len(self.reasons) > self.at_most:
            limit = f", and skip_bad is {self.at_most}" if self.at_most else ""
            raise unreadable(str(root), self.named(root), files, limit, advice)


def unreadable(where: str, reasons: Mapping[str, str], images: int, limit: str = "", advice: str = "") -> DataError:
    """The error that names the first of the images that cannot be read, with their reasons."""
    first = ", ".join([f"{name} ({why})" for name, why in reasons.items()][:NAMED])
    more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return DataError(f"{where}: {len(reasons)} of {images} images cannot be read{limit}: {first}{more}{advice}")


def read_each(
    files: Sequence[Path], root: Path, read: Callable[[Path], T], bad: BadFiles | None = None, advice: str = ""
) -> Iterator[T]:
    """Yields `read(file)` for every file that can be read.

    Those that cannot are added to `bad`. Raises DataError at the end, naming them, if there are more than it allows,
    or any without it.
    """
    bad = BadFiles() if bad is None else bad
    for file in files:
        try:
            yield read(file)
        except Exception as err:
            bad.reasons[file] = fault(err)[0]
    bad.check(root, len(files), advice)


def fault(err: Exception) -> tuple[str, str]:
    """Why an image cannot be read, and what is allowed, of the error that reading it raised.

    Raises the error itself if it is not the file's fault: memory is short.
    """
    if isinstance(err, MemoryError):
        raise err
    if isinstance(err, UnidentifiedImageError):  # whose message repeats the path
        return f"not an image in {', '.join(PICTURE_FORMATS[:-1])} or {PICTURE_FORMATS[-1]} format", "save it in one"
    if isinstance(err, PictureError):
        return str(err), ""
    said = reason(err).partition(":")[0]  # Pillow raises almost anything for damaged bytes: struct.error, IndexError
    if isinstance(err, OSError) and err.errno is not None:
        return said, "it must be there, and readable"
    if said.endswith("not a regular file"):
        return said, "only regular files are read"
    return said, "the file is damaged; copy it again, or remove it"


def check_files(
    files: Mapping[Path, str], root: Path, look: Callable[[Path], tuple[str, str]], *, skippable: bool
) -> Iterator[CheckedFile]:
    """What `look`, which decodes an image and gives its size and mode, finds in each file; values are classes."""
    return check_each(((_named(file, root), file, name) for file, name in files.items()), look, skippable=skippable)


def check_each(
    images: Iterable[tuple[str, T, str]], look: Callable[[T], tuple[str, str]], *, skippable: bool
) -> Iterator[CheckedFile]:
    """What `look` finds in each image, given as the name of its file, what is looked at, and its class or ''.

    Some threads decode, since Pillow decodes without Python's lock; items come in the order of the images.
    """

    def checked(name: str, image: T, class_name: str) -> CheckedFile:
        try:
            size, mode = look(image)
        except PictureError as err:
            return CheckedFile(file=name, problem=err.problem, allowed=err.allowed, skippable=skippable)
        except Exception as err:
            problem, allowed = fault(err)
            return CheckedFile(file=name, problem=problem, allowed=allowed, skippable=skippable)
        classes = {class_name: 1} if class_name else {}
        return CheckedFile(file=name, images=1, classes=classes, sizes={size: 1}, modes={mode: 1})

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque[Future[CheckedFile]]()
        for image in images:
            waiting.append(pool.submit(checked, *image))
            if len(waiting) > AHEAD:  # so that memory does not grow with the number of images
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _named(file: Path, root: Path) -> str:
    return escaped(str(file.relative_to(root)))
