"""What a logger promises; `logger_checks` runs all of it on a recipe, with an artificial run in a temporary folder.

A logger that sends what it gets to a service does so here too: set it to work offline, as WANDB_MODE=offline does.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mixzoo.core.logger import LoggedRun, Logger, LogSession, Setting
from mixzoo.evaluation.pictures.grid import Row, save_png, sheet
from mixzoo.registry.contract import reason, signatures
from mixzoo.testing.recipes import check_options_are_explained, check_options_survive_a_spec, has_options
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import generators_untouched, process_untouched

SETTINGS: dict[str, Setting] = {"mixer.name": "mixup", "mixer.k": 2, "train.lr": 1e-3, "train.deterministic": False}


@contextmanager
def artificial_run() -> Iterator[LoggedRun]:
    """A run of two steps, with a picture, in a temporary folder."""
    with TemporaryDirectory(prefix="mixzoo-logger-") as folder:
        path, own = Path(folder) / "run", Path(folder) / "log"
        own.mkdir()
        save_png(sheet([Row("mix", torch.zeros(2, 1, 8, 8))]), path / "pictures" / "step-00000002.png")
        yield LoggedRun("checked", path, own, SETTINGS)


def log(logger: Any, run: LoggedRun, first_step: int = 1) -> None:
    """A whole session: two steps, the picture, the scores."""
    session = logger.open(run)
    try:
        session.scalars(first_step, {"autoencoder/reconstruct": 0.5, "D/real": -0.1})
        session.scalars(first_step + 1, {"autoencoder/reconstruct": 0.25, "D/real": 0.1})
        session.scalars(first_step + 1, {"validation_accuracy": 0.75})
        session.picture(first_step + 1, run.path / "pictures" / "step-00000002.png")
        session.finish({"probe.test_accuracy": 0.5})
    finally:
        session.close()


def check_is_a_logger(logger: Any) -> None:
    """A logger opens a session that takes numbers, a picture and scores, and closes it."""
    expected = f"expected {signatures('logger', ['open', 'scalars', 'picture', 'finish', 'close'])}"
    assert isinstance(logger, Logger), f"the logger has no open(run); {expected}"
    with artificial_run() as run:
        try:
            session = logger.open(run)
            assert isinstance(session, LogSession), f"open returns a {type(session).__name__}; {expected}"
            session.close()
            log(logger, run)
        except TypeError as err:
            raise AssertionError(f"the logger raises {reason(err)}; {expected}") from err


def check_a_log_is_continued(logger: Any) -> None:
    """A second session for the same run and folder takes later steps, and scores again."""
    with artificial_run() as run:
        log(logger, run)
        log(logger, run, first_step=3)


def check_the_run_is_only_read(logger: Any) -> None:
    """A logger leaves every file of the run as it was, and adds none."""
    with artificial_run() as run:
        before = _files(run.path)
        log(logger, run)
        assert _files(run.path) == before, "the logger changes the run's directory; write to run.folder"


def check_leaves_the_process_as_it_was(logger: Any) -> None:
    """A logger leaves the process's state and its random generators as they were."""
    with suppress(AssertionError), process_untouched("the logger"), artificial_run() as run:
        log(logger, run)  # imports happen now, and may change global state
    with process_untouched("the logger"), generators_untouched("the logger"), artificial_run() as run:
        log(logger, run)


def _files(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


_check = partial(check_from, kind="logger")

logger_checks: tuple[Check, ...] = (
    _check(check_is_a_logger, stops=True),
    *map(_check, (check_a_log_is_continued, check_the_run_is_only_read, check_leaves_the_process_as_it_was)),
    _check(check_options_survive_a_spec, applies=has_options),
    _check(check_options_are_explained, applies=has_options),
)
