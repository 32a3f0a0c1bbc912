"""The display of a sweep: progress of its runs on standard error, and their comparison on standard output."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli import sections
from mixzoo.cli.schema import integer
from mixzoo.cli.summary import after_a_run
from mixzoo.core.durations import duration_text
from mixzoo.core.errors import ConfigError, excerpt, printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mixzoo.registry.zoo import Zoo
    from mixzoo.runs.launcher import Watch
    from mixzoo.runs.places import Place
    from mixzoo.runs.sweep import Sweep
    from mixzoo.training.distributed import DistributedContext
    from mixzoo.training.time_limit import TimeLimit

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        rich_help_panel=sections.SWEEP,
        parser=integer("jobs", 1, 1000),
        metavar="INTEGER",
        help="Runs of a sweep to train at once. [default: one per core, 4 per GPU]",
    ),
]


def check_jobs(jobs: int | None) -> None:
    """Raises ConfigError if --jobs is given for a single run, where it has no effect."""
    if jobs is not None:
        raise ConfigError(
            f"--jobs {jobs}: a single run is one process; give --jobs with --seeds, --grid or a sweep's directory"
        )


def joined_processes(lost_after: float | None) -> "AbstractContextManager[DistributedContext]":
    """The processes of the run. Raises ConfigError if --lost-after is given where there is but one."""
    from mixzoo.training.distributed import joined
    from mixzoo.training.failure_monitor import LOST_AFTER

    check_several(lost_after)
    return joined(LOST_AFTER if lost_after is None else lost_after)


def check_several(lost_after: float | None) -> None:
    """Raises ConfigError if --lost-after is given without torchrun, where it has no effect."""
    if lost_after is not None and "WORLD_SIZE" not in os.environ:
        raise ConfigError(
            f"--lost-after {duration_text(lost_after)}: it is for a run on several processes, started by torchrun; "
            "leave it out"
        )


def time_limit(max_time: float | None) -> "TimeLimit | None":
    """The limit of --max-time, which begins now."""
    from mixzoo.training.time_limit import TimeLimit

    return None if max_time is None else TimeLimit(max_time)


def place_elsewhere(zoo: "Zoo", on: str | None, limit: "TimeLimit | None") -> "Place | None":
    """The launcher of --on for a single run; None if the run is to be this process."""
    if on is None:
        return None
    from mixzoo.runs.places import place_for

    place = place_for(zoo, on, limit)
    return None if place.is_local else place


def finish(sweep: "Sweep") -> None:
    """Print the table of `mixzoo compare`. Raises MixzooError if any member failed, naming it."""
    from mixzoo.runs.sweep import check_none_failed

    with after_a_run(sweep.directory / "sweep.json"):
        _print_sweep(sweep.directory)
    check_none_failed(sweep)


def _print_sweep(sweep_dir: Path) -> None:
    """Print the comparison of the members that have scores, if any has, and the sweep's directory."""
    from mixzoo.cli.compare import print_comparison
    from mixzoo.runs.comparing import compare
    from mixzoo.runs.listing import find_runs

    if records := [record for record in find_runs([sweep_dir]) if record.numbers]:
        print_comparison(compare(records))
    print(f"sweep    {printable(str(sweep_dir))}")


def watch_for() -> "Watch":
    """A live table if standard error is a terminal, plain lines otherwise."""
    from mixzoo.cli.watch import LiveTable, PlainLines

    return LiveTable() if sys.stderr.isatty() else PlainLines()


def check_not_logged(log_to: str | None) -> None:
    """Raises ConfigError for a sweep that is to be logged as it trains."""
    if log_to is not None:
        raise ConfigError(
            f"--log-to {excerpt(log_to)}: a sweep is logged from another terminal, with `mixzoo track SWEEP --to "
            f"{excerpt(log_to)}`, or when it has ended"
        )
