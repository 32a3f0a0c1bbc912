"""Finds or makes the image cache of a streamed data set, and checks that it is of these images."""

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixzoo.core.data import Dataset, HasStamp, Split
from mixzoo.core.errors import CheckpointError, ConfigError, StorageError, excerpt, printable
from mixzoo.core.json_file import read_object, sealed_text
from mixzoo.core.storage import DISK_FULL, check_room, no_room, storage_errors, write_flushed
from mixzoo.data.image_cache import CachedImages, ImageCache, rows_of
from mixzoo.registry.options import to_table

FORMAT = 1  # of the files; another one is another cache
COMPARED = 8  # images of the cache that each start decodes too
NO_ROOM_ADVICE = "name a folder on another disk, or leave --image-cache out"
LARGEST_HEADER = 1_000_000  # bytes
MOVABLE = ("root", "path")  # options that say where the images are, and not what they are
_SPLITS = ("train", "validation", "test")


def with_image_cache(data: Dataset, recipe: Any, name: str, folder: str, *, fill: bool) -> tuple[Dataset, list[str]]:
    """The streamed data with the cache of this folder, which is made if it is not there, and lines on its state.

    With fill=False a cache is used if it is there, and nothing is written. Raises ConfigError for data that no cache
    can know again, and StorageError if the folder cannot be used or has no room for all images.
    """
    if not data.fingerprint:
        raise ConfigError(
            f"--image-cache: data set {name!r} has no fingerprint, by which a cache would notice that images have "
            "changed; leave --image-cache out"
        )
    directory = _folder(folder)
    splits = {which: split for which in _SPLITS if _is_streamed(split := getattr(data, which))}
    if not splits or (not fill and not os.path.isdir(directory)):
        return data, []
    made_of = _made_of(data, splits, recipe, name)
    key = hashlib.blake2b(json.dumps(made_of, sort_keys=True).encode(), digest_size=16)
    images = sum(map(len, splits.values()))
    cache = ImageCache(directory / f"{key.hexdigest()}.images", key.digest(), images, data.image_shape)
    notes = list[str]()
    if fill and (problem := _make(cache, made_of)):
        notes.append(f"warning: {problem}; the image cache is built anew")

    # Some of its images are decoded, too: no key knows, for example, that the code of a plugin decodes otherwise now.
    cached, sources = _with_sources(data, splits, cache)
    filled, damaged, other = _compare(sources, cache)
    if other is not None:
        where = f"{printable(str(cache.path))}: image {other} is not what decoding gives now"
        if not fill or not _is_writable(cache.path):
            return data, [f"warning: {where}; the image cache is not used"]
        _empty(cache)
        return cached, [f"warning: {where}; the image cache is built anew"]
    notes.append(f"data: {filled} of {images} images are in the cache {printable(str(cache.path))}")
    if damaged:
        notes.append(
            f"warning: {damaged} of the {min(COMPARED, filled)} cached images looked at are damaged; decoded again"
        )
    return cached, notes


def check_cache_folder(text: str) -> None:
    """Raises ConfigError if --image-cache is given what is no folder and cannot become one. Nothing is made."""
    directory = _folder(text)
    for path in (directory, *directory.absolute().parents):
        try:
            os.lstat(path)
            is_folder = path.is_dir()
        except (FileNotFoundError, NotADirectoryError):
            continue  # the first that is there decides
        except OSError as err:
            raise ConfigError(
                f"--image-cache {excerpt(text)}: {err.strerror}; give a folder that you may write to"
            ) from err
        if not is_folder:
            what = "not a folder" if path == directory else f"{printable(str(path))} is not a folder"
            raise ConfigError(
                f"--image-cache {excerpt(text)}: {what}; give the path of a folder, which is made if it is not there"
            )
        return


def _folder(text: str) -> Path:
    try:
        if "\0" in text:
            raise ValueError("embedded null byte")
        text.encode()  # as it is written into run.toml
        return Path(text).expanduser()
    except UnicodeEncodeError as err:
        raise ConfigError(f"--image-cache {excerpt(text)}: its name is not UTF-8; give another folder") from err
    except (RuntimeError, ValueError) as err:  # RuntimeError: ~name of an unknown user
        raise ConfigError(f"--image-cache {excerpt(text)}: {err}; give the path of a folder") from err


def _is_streamed(split: Split) -> bool:
    return not isinstance(split.images, Tensor)


def _made_of(data: Dataset, splits: Mapping[str, Split], recipe: Any, name: str) -> dict[str, Any]:
    """All that the pixels depend on, as JSON has it."""
    options = {key: value for key, value in to_table(recipe).items() if key not in MOVABLE}
    found = {
        "format": FORMAT,
        "data_set": name,
        "options": options,
        "fingerprint": data.fingerprint,
        "images": {which: len(split) for which, split in splits.items()},
        "shape": list(data.image_shape),
        "stamps": {which: s.images.stamp() for which, s in splits.items() if isinstance(s.images, HasStamp)},
        "versions": {package: version(package) for package in ("mixzoo", "pillow")},
    }
    as_json: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return as_json


def _with_sources(data: Dataset, splits: Mapping[str, Split], cache: ImageCache) -> tuple[Dataset, list[CachedImages]]:
    cached, sources, first = dict[str, Any](), list[CachedImages](), 0
    for which, split in splits.items():
        assert not isinstance(split.images, Tensor)
        sources.append(CachedImages(split.images, cache, first))
        cached[which] = replace(split, images=sources[-1])
        first += len(split)
    return replace(data, **cached), sources


def _make(cache: ImageCache, made_of: Mapping[str, Any]) -> str:
    """Make both files, or those that are missing. Returns '', or why they are made anew."""
    header, problem = cache.path.with_suffix(".json"), ""
    folder = cache.path.parent
    with storage_errors(folder, "the folder of --image-cache cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)
    if not _is_writable(cache.path):  # one that is shared; every image of it is checked when it is read
        return ""
    try:
        if os.path.lexists(header) and read_object(header, LARGEST_HEADER).values != made_of:
            problem = f"{printable(str(header))}: it is of other images"
    except CheckpointError as err:
        problem = str(err)
    if problem or not os.path.lexists(header):
        _write_header(header, made_of)

    with _opened_for_making(cache) as handle:
        found = os.fstat(handle)
        if not problem and found.st_size not in (0, cache.nbytes):
            problem = f"{printable(str(cache.path))}: damaged: {found.st_size} bytes, expected {cache.nbytes}"
        if problem:
            os.ftruncate(handle, 0)
        _reserve(cache, handle)
    return problem


def _empty(cache: ImageCache) -> None:
    with _opened_for_making(cache) as handle:
        os.ftruncate(handle, 0)
        _reserve(cache, handle)


@contextmanager
def _opened_for_making(cache: ImageCache) -> Iterator[int]:
    with storage_errors(cache.path):
        if cache.path.is_symlink():
            raise StorageError(f"{printable(str(cache.path))}: a symbolic link; remove it, or name another folder")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(cache.path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise StorageError(
                    f"{printable(str(cache.path))}: not a regular file; remove it, or name another folder"
                )
            yield handle
        finally:
            os.close(handle)


def _is_writable(path: Path) -> bool:
    return not os.path.lexists(path) or os.access(path, os.W_OK)


def _write_header(path: Path, made_of: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")  # another run may write the same header now
    try:
        with storage_errors(path):
            write_flushed(temporary, sealed_text(made_of).encode())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _reserve(cache: ImageCache, handle: int) -> None:
    """Take the disk's room for all images now, so that the run's own files are checked against what is left."""
    what, folder = "the image cache", cache.path.parent
    try:
        check_room(folder, cache.nbytes - os.fstat(handle).st_blocks * 512, what)
    except StorageError as err:
        raise StorageError(f"{err}; {NO_ROOM_ADVICE}") from err
    with storage_errors(cache.path):
        os.ftruncate(handle, cache.nbytes)
    try:
        os.posix_fallocate(handle, 0, cache.nbytes)
    except OSError as err:  # others are of file systems that cannot reserve
        if err.errno in DISK_FULL or err.errno == errno.EFBIG:
            lacking = no_room(folder, cache.nbytes)
            raise StorageError(f"no room for {what}{lacking}: {err.strerror}; {NO_ROOM_ADVICE}") from err


def _compare(sources: Sequence[CachedImages], cache: ImageCache) -> tuple[int, int, int | None]:
    """How many images the cache has, how many of some are damaged, and the first of them that decoding gives otherwise.

    Those looked at are spread evenly over the images that are there.
    """
    with cache.opened() as handle:
        if handle is None:
            return 0, 0, None
        filled, damaged = cache.filled(handle), 0
        for at in np.linspace(0, len(filled) - 1, min(COMPARED, len(filled)), dtype=np.int64).tolist():
            number = filled[at]
            source = max((source for source in sources if source.first <= number), key=lambda source: source.first)
            kept = torch.empty(1, *cache.shape, dtype=torch.uint8)
            if not cache.read(handle, number, rows_of(kept)[0]):
                damaged += 1
            elif not torch.equal(kept, source.decode(torch.tensor([number - source.first]))):
                return len(filled), damaged, number
    return len(filled), damaged, None
