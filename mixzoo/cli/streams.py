"""Standard output and error without tracebacks from limited terminals, closed pipes and full disks."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from mixzoo.core.errors import StorageError


@contextmanager
def safe_streams() -> Iterator[None]:
    """Replace characters that the terminal cannot encode, and ignore a closed pipe.

    Raises StorageError if standard output cannot be written for another reason, such as a full disk. Errors on
    standard error are ignored: there is nowhere left to report them, and a run continues without its display.
    """
    with redirect_stdout(_Stream(sys.stdout, report=True)), redirect_stderr(_Stream(sys.stderr, report=False)):
        yield


class _Stream(io.TextIOBase):
    """A text stream around another. It has no `buffer`, so that nothing bypasses it in another encoding."""

    def __init__(self, stream: Any, *, report: bool) -> None:
        if stream is None:  # closed before Python began; a file opened later must not get its descriptor
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        self._stream = stream
        self._report = report
        self._failure = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a variable, io a property
        return str(self._stream.encoding)

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def writable(self) -> bool:
        return True

    def _attempt(self, act: Callable[[], object]) -> None:
        """Call `act`. After a failure every call raises again: some callers only test whether a stream is writable."""
        try:
            act()
        except OSError as err:
            self._failure = "" if isinstance(err, BrokenPipeError) else err.strerror or str(err)
            devnull = os.open(os.devnull, os.O_WRONLY)  # the interpreter flushes once more when it exits
            os.dup2(devnull, self._stream.fileno())
            os.close(devnull)
        if self._failure and self._report:
            raise StorageError(f"standard output cannot be written: {self._failure}; free space or write elsewhere")
