"""What may go wrong, and the exit code each kind of trouble ends a command with.

Every message is one line: where, what was given, what is allowed, what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

INTERRUPTED = 130  # the exit code of a command that a SIGINT ends at once


class MixzooError(Exception):
    """Trouble that a user can act on; the command line prints the message alone and exits with `exit_code`."""

    exit_code = 1

    def __str__(self) -> str:
        return escaped(super().__str__())  # names of files and classes may hold a terminal's control sequences


class ConfigError(MixzooError):
    """A flag, a spec string, a run file or an option that is not allowed."""

    exit_code = 2


class DataError(MixzooError):
    """A data set that is missing, damaged or too small."""

    exit_code = 3


class CheckpointError(MixzooError):
    """No usable checkpoint, or a resume that would not continue the same run."""

    exit_code = 4


class LockedError(MixzooError):
    """Another process is writing to this run directory."""

    exit_code = 5


class NonFiniteError(MixzooError):
    """A loss term, a gradient, a weight or a score is NaN or infinite.

    `dump` is the file about the step, in the run's directory; None if it is not a step that went wrong.
    """

    exit_code = 6

    def __init__(self, message: str, dump: Path | None = None) -> None:
        super().__init__(message)
        self.dump = dump


class OutOfMemoryError(MixzooError):
    """The device or the machine ran out of memory."""

    exit_code = 7


class StorageError(MixzooError):
    """The disk refused: full, read-only or gone."""

    exit_code = 8


class PluginError(MixzooError):
    """A plugin broke the contract of the part it offers."""

    exit_code = 9


class SweepError(MixzooError):
    """Some runs of a sweep failed; the others went on."""

    exit_code = 10


class Interrupted(MixzooError):
    """A signal ended the run after its state was committed."""

    exit_code = 75


class EndedWithAnother(SystemExit):
    """Ends one of several processes of a run, of which another one reports why."""


class LeaveBlock(BaseException):
    """Raised by the handler of a signal, wherever the program is; the edge of the block that it leaves catches it.

    Not a subclass of Exception, because a library or a plugin that catches every Exception would take it for a fault of
    what it was doing: torch's `load_state_dict` for a weight of the wrong shape.
    """


_MEMORY_WORDS = (  # of errors that torch, oneDNN, the loader of libraries and C++ have for it
    *("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "Cannot allocate memory"),
    *("could not create a memory object", "failed to map segment"),
)


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an exception says that the machine or a device has no memory left."""
    try:
        text = str(err) if isinstance(err, (RuntimeError, ImportError, OSError)) else ""
    except Exception:  # an exception may fail at its own text
        return False
    return isinstance(err, MemoryError) or any(words in text for words in _MEMORY_WORDS)


LONGEST_SHOWN = 80  # characters of a value in a message
LONGEST_PATH = 240  # characters of a path, whose end is what tells it from others


def truncated_repr(value: object) -> str:
    """The value for a message: its repr, printable and of a length that a person reads."""
    try:
        text = printable(repr(value))
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"
    return shortened(text)


def printable(text: str) -> str:
    """The text as a terminal can show it on one line, whatever is in it."""
    if text.isprintable():  # nearly always; a list of runs asks this of every number
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def escaped(text: str) -> str:
    """The text on one line, what is not printable as an escape such as \\x1b; a byte that is no text as \\xff."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"  # what the names of files are decoded to
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else character.encode("unicode_escape").decode()


def one_line(err: BaseException) -> str:
    """The first line of an exception's message, printable; '' if the exception fails at its own text."""
    try:
        return printable(str(err).strip().partition("\n")[0].strip())
    except Exception:  # of a plugin's `__str__`
        return ""


def excerpt(text: object) -> str:
    """What a user wrote, without quotes, for the beginning of a message: printable, and of a length that is read."""
    return shortened(printable(str(text)))


def path_excerpt(path: object) -> str:
    """A path that a user gave, for a message: printable, and whole unless nobody would read it to its end."""
    text = printable(str(path))
    return text if len(text) <= LONGEST_PATH else shortened(text)


def shortened(text: str) -> str:
    """The text, or its beginning and its length if that is too long for a message."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text)} characters)"


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean 'x'?' for the known name closest to `name` in any case, or nothing when none is close."""
    names = {each.lower(): each for each in known if each}
    close = get_close_matches(name.lower(), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


def listing(names: Iterable[str]) -> str:
    """Names for the "what is allowed" of a message: sorted, comma-separated, or 'none'."""
    return ", ".join(sorted(names)) or "none"
