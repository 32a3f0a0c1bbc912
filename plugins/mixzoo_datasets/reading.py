"""Files opened with care: regular ones only, and no more read of them than is expected.

A FIFO would be waited for without end, a device may never end, and a small compressed file can grow to gigabytes.
"""

import os
import stat
from io import BufferedReader
from pathlib import Path

from mixzoo import DataError

GROWTH = 1032  # bytes that one compressed byte can become, at most (deflate)
LONGEST_LIST = 256_000_000  # bytes of a text file
LONGEST_PATH = 200  # characters of a path in a message
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def located(folder: str) -> Path:
    """The folder or file as a path, ~ meaning home; DataError if it cannot be looked for."""
    try:
        path = Path(folder).expanduser()
    except RuntimeError as err:  # ~name of nobody
        raise DataError(f"{folder}: no such folder ({err})") from err
    is_there(path)
    return path


def is_there(path: Path) -> bool:
    """Whether there is anything at the path; DataError if that cannot be found out (name too long, no permission)."""
    return _mode(path) is not None


def is_folder(path: Path) -> bool:
    """Whether there is a folder at the path; DataError as `is_there`."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def opened(path: Path) -> BufferedReader:
    """A regular file, opened; OSError if it is another kind of file or cannot be opened. Never waits."""
    _check_regular(os.stat(path).st_mode)  # first, since opening a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _check_regular(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def content(path: Path) -> bytes:
    """All bytes of a regular file; DataError if it cannot be read."""
    try:
        with opened(path) as file:
            return file.read()
    except (OSError, ValueError) as err:
        raise DataError(f"{path}: cannot be read ({reason(err)})") from err


def lines(path: Path) -> list[str]:
    """The lines of a text file; DataError if it is not there, cannot be read or is longer than any list."""
    try:
        with opened(path) as file:
            text = file.read(LONGEST_LIST + 1)
        if len(text) > LONGEST_LIST:
            raise DataError(f"{path}: longer than {LONGEST_LIST:,} bytes, too long for a list")
        return text.decode("utf-8").splitlines()
    except (OSError, ValueError) as err:
        raise DataError(f"{path}: cannot be read as text ({reason(err)}); damaged") from err


def reason(err: BaseException) -> str:
    """Why a file cannot be read, in a few words: what the system says, or the error, without the path."""
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return " ".join(str(err).split()) or type(err).__name__


def _mode(path: Path) -> int | None:
    """The kind of file at the path, links followed; None if there is nothing."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as err:  # ValueError for a NUL
        raise DataError(f"{_shortened(path)}: cannot be looked at ({reason(err)})") from err


def _shortened(path: Path) -> str:
    """The path, or both its ends if it is too long for a message."""
    text = str(path)
    return text if len(text) <= LONGEST_PATH else f"{text[:60]}...{text[-60:]} ({len(text)} characters)"


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
        raise OSError(None, f"{kind}, no regular file")


def missing(root: Path, file: str, remedy: str = "") -> DataError:
    """The error for a root without one of its files, given from it: it says whether the folder itself is there."""
    if not is_folder(root):
        holds = Path(file).parts[0]
        return DataError(f"{root}: no such folder; give root=FOLDER, the folder that holds {holds}{remedy}")
    first, whole = Path(file).parts[0], root.absolute()
    for inside in (whole, whole.parent):  # root=data/MNIST/raw or root=data/MNIST in place of root=data
        if inside.name == first and is_folder(inside):
            return DataError(f"{root}: no such file in it: {file}; did you mean root={inside.parent}?")
    return DataError(f"{root}: no such file in it: {file}{remedy}")
