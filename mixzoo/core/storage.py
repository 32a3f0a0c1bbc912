"""Files on the disk: read only if they are regular and no larger than they may be, written whole or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from mixzoo.core.errors import StorageError, printable

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def storage_errors(path: Path, problem: str = "cannot be written") -> Iterator[None]:
    """Raises StorageError, with the path and the reason, in place of an OSError inside the block."""
    try:
        yield
    except OSError as err:
        raise StorageError(f"{printable(str(path))}: {problem}: {err.strerror or err}") from err


def read_regular(path: Path, at_most: int) -> bytes:
    """The content of a regular file of at most that many bytes.

    Raises OSError for anything else. A pipe is not waited for, and a device is not read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if found.st_size > at_most:
            raise OSError(errno.EFBIG, f"{found.st_size} bytes, expected at most {at_most}")
        with open(handle, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(handle)


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened without blocking. Raises OSError if it is not a regular file or cannot be opened."""
    _check_regular(os.stat(path).st_mode)  # before opening, which can have effects on a device
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
        raise OSError(None, f"{kind}, not a regular file")


def open_for_appending(path: Path) -> int:
    """A handle of a regular file, made if it is not there, that can be read too and writes at the end.

    Raises OSError if the path is something else, such as a pipe, which would wait for a reader.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file")
    return handle


def write_all(handle: int, content: bytes) -> None:
    """Write every byte: a disk that is nearly full takes some and says so only when asked again."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_entries(directory: Path) -> None:
    """Make the directory's entries themselves survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def overwrite(path: Path, content: bytes) -> None:
    """Write the content over that of an existing regular file: a full disk has room for it where a new file has none.

    A kill or a power cut may leave a mixture of both. Raises OSError if the disk refuses.
    """
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        write_all(handle, content)
        os.ftruncate(handle, len(content))
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all, power cuts included; raises StorageError if the disk refuses."""
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, power cuts included; raises StorageError if the disk refuses."""
    with whole_file(path) as temporary:
        write_flushed(temporary, content)
    with storage_errors(path):
        flush_entries(path.parent)


@contextmanager
def whole_file(path: Path, problem: str = "cannot be written") -> Iterator[Path]:
    """A path beside this one, at which the block writes; at its end that file is renamed to `path`.

    It is removed if anything ends the block, be it a signal in the midst of a write. Raises StorageError, with the
    problem, in place of an OSError.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        with storage_errors(path, problem):
            yield temporary
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def free_bytes(directory: Path) -> int | None:
    """The bytes that are free where the directory is, or will be; None if the system does not say."""
    for folder in (directory, *directory.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            return None
    return None


def no_room(directory: Path, needed: int) -> str:
    """ "; need X MB, have Y MB at PATH", for the end of a message; "" if the free space is not known."""
    free = free_bytes(directory)
    return "" if free is None else f"; {_need(needed, free, directory)}"


def check_room(directory: Path, needed: int, what: str) -> None:
    """Raises StorageError, which names `what` is to be written, if that many bytes are not free at the directory."""
    free = free_bytes(directory)
    if free is not None and free < needed:
        raise StorageError(f"no room for {what}: {_need(needed, free, directory)}")


def _need(needed: int, free: int, directory: Path) -> str:
    need, have = (f"{size / 1e6:.{1 if size >= 1e6 else 3}f} MB" for size in (needed, free))
    return f"need {need}, have {have} at {printable(str(directory))}"
