"""What a launcher promises; `launcher_checks` runs all of it on a recipe, with short commands in a temporary folder.

A launcher that begins jobs on a cluster does so here too: the cluster has to be there, and to see that folder.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

from mixzoo.core.errors import MixzooError
from mixzoo.core.launcher import HasCheck, Job, Launcher, Task
from mixzoo.registry.contract import Contract, described, reason, signatures
from mixzoo.runs.places import Place
from mixzoo.testing.recipes import check_options_are_explained, check_options_survive_a_spec, has_options
from mixzoo.testing.report import Check, check_from

SECONDS = 120.0  # for which a job of a check may wait for its turn
WAITS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print('ready', file=sys.stderr, flush=True); time.sleep(60)"  # noqa: E501


@contextmanager
def job(code: str, name: str = "checked", **environment: str) -> Iterator[Job]:
    """A job that runs Python code, in a folder of its own."""
    with TemporaryDirectory(prefix="mixzoo-launcher-") as folder:
        run_dir = Path(folder) / name
        run_dir.mkdir()
        yield Job(name, run_dir, (sys.executable, "-c", code), run_dir / "output.log", Path(folder), environment)


def ended(task: Task) -> object:
    """What its `poll` says when it has ended."""
    until = monotonic() + SECONDS
    while (end := task.poll()) is None:
        assert monotonic() < until, f"a job that does nothing has not ended after {SECONDS:.0f} s"
        sleep(0.05)
    return end


def check_is_a_launcher(launcher: Any) -> None:
    """A launcher can be used here, and begins a job as a task that can be asked and stopped."""
    expected = f"expected {signatures('launcher', ['begin', 'poll', 'send_signal'])}"
    assert isinstance(launcher, Launcher), f"the launcher has no begin(job); {expected}"
    try:
        if isinstance(launcher, HasCheck):
            launcher.check()
        with job("pass") as idle:
            task = launcher.begin(idle)
            assert isinstance(task, Task), f"begin returns {described(task)}; {expected}"
            assert ended(task) == 0, "a job that does nothing has not ended with exit code 0"
    except MixzooError as err:
        raise AssertionError(f"the launcher cannot be used here: {err}") from err
    except TypeError as err:
        raise AssertionError(f"the launcher raises {reason(err)}; {expected}") from err


def check_options_of_its_own_are_usable(launcher: Any) -> None:
    """`here`, `slots` and `retries`, if it has them, are as they should be; its methods take what they are given."""
    try:
        Place(launcher, Contract("launcher", "checked")).check()
    except MixzooError as err:
        raise AssertionError(str(err)) from err


def check_the_exit_code_is_that_of_the_job(launcher: Any) -> None:
    """A job that fails has its own exit code, so that the run's table can say why."""
    with job("raise SystemExit(6)") as failing:
        end = ended(launcher.begin(failing))
        assert end == 6, f"a job that ends with exit code 6 is said to have ended with {end}"


def check_a_job_finds_its_folder_variables_and_log(launcher: Any) -> None:
    """A job runs in its folder with its variables; its log keeps what it had and gets standard error alone."""
    code = (
        "import os, sys; print('to stdout'); print(os.environ['CHECKED'], file=sys.stderr); "
        "open('here', 'w').write(os.getcwd())"
    )
    with job(code, CHECKED="a b") as own:
        own.log.write_text("from before\n")
        assert ended(launcher.begin(own)) == 0, f"the job has failed: {own.log.read_text()[-200:]!r}"
        assert (own.folder / "here").exists(), "the job does not run in job.folder"
        log = own.log.read_text()
        assert log.startswith("from before\n"), "the log is not appended to"
        assert "a b\n" in log, "job.environment does not reach the job, or standard error not the log"
        assert "to stdout" not in log, "standard output, on which a run prints its table, is in the log"


def check_a_job_can_be_stopped(launcher: Any) -> None:
    """A job that gets SIGTERM ends, and may take its time for a checkpoint."""
    with job(WAITS) as waiting:
        task = launcher.begin(waiting)
        until = monotonic() + SECONDS
        while not (waiting.log.exists() and "ready" in waiting.log.read_text()):
            assert task.poll() is None, "the job has ended before it could be stopped"
            assert monotonic() < until, f"the job has not begun after {SECONDS:.0f} s"
            sleep(0.05)
        task.send_signal(signal.SIGTERM)
        end = ended(task)
        assert end != 0, "a job that was stopped is said to have ended with exit code 0"


_check = partial(check_from, kind="launcher")

launcher_checks: tuple[Check, ...] = (
    _check(check_is_a_launcher, stops=True),
    *map(
        _check,
        (
            check_options_of_its_own_are_usable,
            check_the_exit_code_is_that_of_the_job,
            check_a_job_finds_its_folder_variables_and_log,
            check_a_job_can_be_stopped,
        ),
    ),
    _check(check_options_survive_a_spec, applies=has_options),
    _check(check_options_are_explained, applies=has_options),
)
