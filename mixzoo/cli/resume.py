"""mixzoo resume: continues a run or a sweep that was stopped."""

from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.schema import LogTo, LostAfter, MaxTime, On, Values, integer
from mixzoo.cli.sweep import Jobs
from mixzoo.cli.zoo import NoPlugins, PluginFiles, flags_of, zoo_from
from mixzoo.core.errors import ConfigError


def resume(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", autocompletion=completion.run, help="The run's directory, or the sweep's.")
    ],
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            parser=integer("steps", 1, 10**12),
            metavar="INTEGER",
            help="A new number of steps in all; written to run.toml.",
        ),
    ] = None,
    allow_change: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-change",
            metavar="KEY",
            help="Continue although this key of run.toml was edited, such as train.lr, or mixer for another mixer; "
            "recorded in environment.json; repeatable.",
        ),
    ] = None,
    values: Values = None,
    log_to: LogTo = None,
    jobs: Jobs = None,
    on: On = None,
    max_time: MaxTime = None,
    lost_after: LostAfter = None,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Continue a run from its newest checkpoint; it ends with the same numbers as if it had never stopped.

    For a sweep, continues every run that is not completed. With --steps, a finished run trains further.
    Example: mixzoo resume runs/20260101-120000-digits-amr-mixup --steps 1000
    """
    from mixzoo.cli.summary import print_summary
    from mixzoo.cli.sweep import (
        check_jobs,
        check_not_logged,
        check_several,
        finish,
        joined_processes,
        place_elsewhere,
        time_limit,
    )
    from mixzoo.cli.sweep import watch_for as watch
    from mixzoo.runs.launcher import run_flags
    from mixzoo.runs.log_process import log_to as log_of
    from mixzoo.runs.run import resume as resume_run
    from mixzoo.runs.sweep import is_sweep
    from mixzoo.runs.sweep import resume as resume_sweep
    from mixzoo.training.logs import display_for
    from mixzoo.training.memory import keep_freed_memory

    limit = time_limit(max_time)
    check_several(lost_after)
    zoo = zoo_from(plugin, no_plugins)
    if is_sweep(run):
        check_not_logged(log_to)
        if steps is not None:
            raise ConfigError(f"--steps {steps}: {run} is a sweep; give --steps with one of its runs")
        if values:
            raise ConfigError(f"--set {values[0]}: {run} is a sweep; use it with one of the runs in it")
        flags = [*flags_of(plugin, no_plugins), *run_flags(allow_change=allow_change)]
        finish(resume_sweep(zoo, run, jobs, watch(), flags, limit, on))
        return
    check_jobs(jobs)
    if (place := place_elsewhere(zoo, on, limit)) is not None:
        from mixzoo.runs.elsewhere import resume_on

        log_of(zoo, log_to)
        flags = [*run_flags(steps, allow_change, values, log_to), *flags_of(plugin, no_plugins)]
        print_summary(resume_on(zoo, run, place, watch(), flags, limit))
        return
    keep_freed_memory()
    with joined_processes(lost_after) as distributed:
        result = resume_run(
            zoo,
            run,
            display_for,
            distributed,
            steps=steps,
            allow_change=allow_change or (),
            values=values or (),
            log=log_of(zoo, log_to, flags_of(plugin, no_plugins)),
            limit=limit,
        )
        if distributed.is_main:
            print_summary(result)
