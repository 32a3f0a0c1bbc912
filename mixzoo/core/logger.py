"""What a logger is: where `mixzoo track` sends the numbers and pictures of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

Setting: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class LoggedRun:
    """The run that a logger opens a log for."""

    name: str  # of its directory, "SWEEP/MEMBER" for a run of a sweep; the same at every call
    path: Path  # its directory, which is only read
    folder: Path  # the logger's own for this run: it exists, and is the same at every call
    settings: Mapping[str, Setting]  # run.toml by dotted key, such as "mixer.k" and "train.lr"


@runtime_checkable
class LogSession(Protocol):
    """An open log. Calls come in the order of their steps, and a step comes once, after a resume too."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log finite numbers of a step, such as {"autoencoder/reconstruct": 0.1, "D/real": 0.3}.

        A step that is logged and evaluated has two calls, with different names.
        """
        ...

    def picture(self, step: int, path: Path) -> None:
        """Log the PNG file that was drawn at a step."""
        ...

    def finish(self, results: Mapping[str, float]) -> None:
        """Log the scores of the completed run by name; called again, with all of them, if it gets more scores."""
        ...

    def close(self) -> None:
        """Write out what is not written yet. Called at the end of every session, whatever ended it."""
        ...


@runtime_checkable
class Logger(Protocol):
    """Opens the log of a run."""

    def open(self, run: LoggedRun) -> LogSession:
        """A session that adds to the log of this run: the first one begins it, a later one continues it."""
        ...
