"""Standard output and standard error that no terminal, pipe or full disk can turn into a traceback."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from mixzoo.core.errors import StorageError


@contextmanager
def safe_streams() -> Iterator[None]:
    """Standard output and error for a command: what the terminal cannot show is replaced, a closed pipe is no trouble.

    Raises StorageError if standard output cannot be written for another reason, such as a full disk. Trouble with
    standard error is passed over: there is nowhere left to report it, and a run goes on without its display.
    """
    with redirect_stdout(_Stream(sys.stdout, report=True)), redirect_stderr(_Stream(sys.stderr, report=False)):
        yield


class _Stream(io.TextIOBase):
    """A text stream over another. It has no `buffer`, so that nothing is written past it in another encoding."""

    def __init__(self, stream: Any, *, report: bool) -> None:
        if stream is None:  # closed before Python began; a file opened later must not get its descriptor
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        self._stream = stream
        self._report = report
        self._trouble = ""

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
        """Do it. A failure is reported each time again: some callers only try whether a stream can be written."""
        try:
            act()
        except OSError as err:
            self._trouble = "" if isinstance(err, BrokenPipeError) else err.strerror or str(err)
            nowhere = os.open(os.devnull, os.O_WRONLY)  # for the rest, as the interpreter flushes once more at its end
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._trouble and self._report:
            raise StorageError(f"standard output cannot be written: {self._trouble}; free space or write elsewhere")
