"""Images in zip archives, which the package `datasets` leaves where they are, and calls zip://MEMBER::ARCHIVE."""

import os
import zlib
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from mixzoo import PictureError, open_regular, truncated_repr

SCHEME, HOP = "zip://", "::"
ENCRYPTED = 1  # of the flags of a file in an archive
LONGEST_IMAGE = 1 << 29  # bytes of an image in an archive, at most: a small archive must not take all memory
OPEN = 64  # archives that a process keeps open, with their tables of contents


def member_and_archive(text: str) -> tuple[str, str]:
    """The name within an archive, '' if it is in none, and the path of the file."""
    member, hop, archive = text.removeprefix(SCHEME).rpartition(HOP)
    return (member, archive) if text.startswith(SCHEME) and hop else ("", text)


def read_member(archive: Path, name: str) -> bytes:
    """A file of the archive, unpacked. Raises PictureError if it is not there or cannot be, and OSError."""
    opened, info = _found(archive, name)
    if info.flag_bits & ENCRYPTED:
        raise PictureError(f"the archive {archive.name} has a password", "unpack it")
    try:
        with opened.open(info) as stream:
            content = stream.read(LONGEST_IMAGE + 1)
    except (BadZipFile, zlib.error, EOFError, NotImplementedError) as err:  # damaged; NotImplementedError: a way of
        # packing that Python has not
        raise PictureError(f"in the archive {archive.name}: {str(err)[:100]}", "unpack it, or make it again") from err
    if len(content) > LONGEST_IMAGE:
        raise PictureError("a file of too many bytes", f"at most {LONGEST_IMAGE:,} are read of an archive")
    return content


def member_fingerprint(archive: Path, name: str) -> bytes:
    """The name, length and check sum of a file of the archive, as its table of contents has them."""
    _, info = _found(archive, name)
    return b"%s/%d/%d/" % (os.fsencode(name), info.file_size, info.CRC)


def _found(archive: Path, name: str) -> tuple[ZipFile, ZipInfo]:
    status = os.stat(archive)
    try:
        opened = _opened(archive, (status.st_ino, status.st_ctime_ns, status.st_size), os.getpid())
        return opened, opened.getinfo(name)
    except KeyError as err:
        raise PictureError(
            f"the archive {archive.name} has no file {truncated_repr(name)}", "it may have been changed"
        ) from err
    except BadZipFile as err:
        raise PictureError(f"{archive.name} is no zip archive", "it may have been changed") from err


@lru_cache(maxsize=OPEN)
def _opened(archive: Path, version: tuple[int, ...], process: int) -> ZipFile:
    """The archive, whose table of contents is read once; a forked process would share its position in the file."""
    open_regular(archive).close()  # a pipe would wait for a writer
    return ZipFile(archive)
