"""Opens data files safely: only regular files, and reads no more than expected.

Opening a FIFO could block for ever, a device may never end, and a small compressed file can expand to gigabytes.
"""

import os
import stat
from pathlib import Path

from mixzoo import CheckedFile, DataError, escaped, open_regular

GROWTH = 1032  # most bytes that one compressed byte expands to (deflate)
LONGEST_LIST = 256_000_000  # bytes of a text file, at most
LONGEST_PATH = 200  # characters of a path in a message, at most


def resolve_path(folder: str) -> Path:
    """The path of a folder or file, with ~ expanded. Raises DataError if it cannot be accessed."""
    try:
        path = Path(folder).expanduser()
    except RuntimeError as err:  # ~name of an unknown user
        raise DataError(f"{folder}: no such folder ({err})") from err
    exists(path)
    return path


def exists(path: Path) -> bool:
    """Whether the path exists. Raises DataError if that is unknown (name too long, no permission)."""
    return _mode(path) is not None


def is_folder(path: Path) -> bool:
    """Whether the path is a folder. Raises DataError if that is unknown."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def read_bytes(path: Path, at_most: int) -> bytes:
    """The bytes of a regular file. Raises DataError if it cannot be read, or is longer than `at_most`."""
    try:
        with open_regular(path) as file:
            content = file.read(at_most + 1)
        if len(content) > at_most:
            raise DataError(f"{path}: longer than the {at_most} bytes allowed")
        return content
    except (OSError, ValueError) as err:
        raise DataError(f"{path}: cannot be read ({reason(err)})") from err


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises DataError if it is missing, unreadable or longer than LONGEST_LIST."""
    try:
        with open_regular(path) as file:
            text = file.read(LONGEST_LIST + 1)
        if len(text) > LONGEST_LIST:
            raise DataError(f"{path}: longer than the {LONGEST_LIST:,} bytes allowed")
        return text.decode("utf-8").splitlines()
    except (OSError, ValueError) as err:
        raise DataError(f"{path}: cannot be read as text ({reason(err)}); the file is damaged") from err


def reason(err: BaseException) -> str:
    """Why a file cannot be read, in a few words and without its path."""
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return " ".join(str(err).split()) or type(err).__name__


def _mode(path: Path) -> int | None:
    """The mode of the file at the path, following links; None if there is no file."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as err:  # ValueError if the path contains NUL
        raise DataError(f"{_shortened(path)}: cannot be accessed ({reason(err)})") from err


def _shortened(path: Path) -> str:
    """The path, without its middle if it is too long for a message."""
    text = str(path)
    return text if len(text) <= LONGEST_PATH else f"{text[:60]}...{text[-60:]} ({len(text)} characters)"


def missing_file(root: Path, file: str, remedy: str = "") -> DataError:
    """The error for a file that is missing under root; it suggests the right root if the given one is too deep."""
    if not is_folder(root):
        holds = Path(file).parts[0]
        return DataError(f"{root}: no such folder; give root=FOLDER, the folder that holds {holds}{remedy}")
    first, absolute = Path(file).parts[0], root.absolute()
    for inside in (absolute, absolute.parent):  # root=data/MNIST/raw or root=data/MNIST instead of root=data
        if inside.name == first and is_folder(inside):
            return DataError(f"{root}: missing {file}; did you mean root={inside.parent}?")
    return DataError(f"{root}: missing {file}{remedy}")


def bad_file(file: str, root: Path, err: DataError) -> CheckedFile:
    """The file under root as a bad one, with what the error says of it, less the paths that the message begins with."""
    said = str(err)
    for place in (root / file, f"{root / file}.gz", (root / file).parent, root):
        said = said.removeprefix(f"{escaped(str(place))}: ")
    problem, _, allowed = said.partition("; ")
    return CheckedFile(file=escaped(file), problem=problem, allowed=allowed)
