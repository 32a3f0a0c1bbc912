"""mixzoo train: starts a run or a sweep of runs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixzoo.cli import completion, sections
from mixzoo.cli.schema import LogTo, LostAfter, MaxTime, On, Values, part_option, with_train_flags
from mixzoo.cli.sweep import Jobs
from mixzoo.cli.zoo import NoPlugins, PluginFiles, flags_of, zoo_from

if TYPE_CHECKING:
    from mixzoo.registry.config import RunConfig


@with_train_flags()
def train(
    *,
    data: Annotated[
        str | None,
        part_option("dataset", "Data set; see `mixzoo list datasets`. [default: digits]"),
    ] = None,
    autoencoder: Annotated[
        str | None,
        part_option("autoencoder", "Encoder and decoder. [default: amr, or the data set's own]"),
    ] = None,
    discriminator: Annotated[
        str | None,
        part_option("discriminator", "Discriminator. [default: amr, or the data set's own]"),
    ] = None,
    mixer: Annotated[
        str | None,
        part_option("mixer", "Mixing function. [default: mixup]"),
    ] = None,
    objective: Annotated[
        str | None,
        part_option("objective", "The losses of both players. [default: amr]"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        part_option("metric", "A metric of the finished run, instead of the default ones; repeatable."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", rich_help_panel=sections.FILE, metavar="FILE", help="A run file (TOML); flags override it."
        ),
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option(
            "--data-root",
            rich_help_panel=sections.PARTS,
            metavar="DIR",
            help="Folder of data sets; overrides root= in a run file. [default: $MIXZOO_DATA, if set]",
        ),
    ] = None,
    skip_bad: Annotated[
        int | None,
        typer.Option(
            "--skip-bad",
            rich_help_panel=sections.PARTS,
            metavar="N",
            help="Leave out files of the data set that cannot be read, N at most; `mixzoo data check` lists them.",
        ),
    ] = None,
    values: Values = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            rich_help_panel=sections.OUTPUT,
            metavar="DIR",
            help="The run's directory, which must not exist. [default: runs/<date>-<parts>]",
        ),
    ] = None,
    log_to: LogTo = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", rich_help_panel=sections.SWEEP, metavar="N,N,...", help="Train a sweep: one run for each seed."
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            rich_help_panel=sections.SWEEP,
            metavar="KEY=VALUE,VALUE,...",
            autocompletion=completion.axis,
            help="Train a sweep: one run for each value of a part (mixer), an option (objective.lam) or a number "
            "(train.lr); repeatable. Grids and seeds are combined.",
        ),
    ] = None,
    jobs: Jobs = None,
    on: On = None,
    max_time: MaxTime = None,
    lost_after: LostAfter = None,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
    numbers: Any = None,
) -> None:
    """Train a new run, then print its scores and draw a picture of decoded mixes.

    With --seeds or --grid, train several runs, each in its own process, and print a table of them.
    Example: mixzoo train --mixer dirichlet:k=4 --objective amr:lam=10 --seed 1
    """
    from mixzoo.cli.sweep import check_several, time_limit

    limit = time_limit(max_time)
    check_several(lost_after)

    from mixzoo.registry.config import resolve, under_data_root
    from mixzoo.runs.setting import with_option, with_values

    parts = {
        "dataset": data,
        "autoencoder": autoencoder,
        "discriminator": discriminator,
        "mixer": mixer,
        "objective": objective,
    }
    zoo = zoo_from(plugin, no_plugins)
    given = {kind: spec for kind, spec in parts.items() if spec is not None}

    def configure(flags: Mapping[str, str], numbers: Mapping[str, object]) -> "RunConfig":
        root = os.environ.get("MIXZOO_DATA")
        resolved = resolve(zoo, config, flags, numbers, metric)
        resolved = with_values(zoo, resolved, values or ())
        if skip_bad is not None:
            resolved = with_option(zoo, resolved, "dataset", "skip_bad", str(skip_bad), "--skip-bad")
        return under_data_root(resolved, flag=data_root, environment=root, data=flags.get("dataset"))

    if seeds is not None or grid:
        from mixzoo.cli.sweep import check_not_logged, finish, watch_for
        from mixzoo.runs.grid import plan

        check_not_logged(log_to)

        members = plan(zoo, seeds, grid or [], given, numbers, configure, data_root)

        from mixzoo.runs.sweep import start as start_sweep

        finish(start_sweep(zoo, members, out, jobs, watch_for(), flags_of(plugin, no_plugins), limit, on))
        return

    from mixzoo.cli.summary import print_summary
    from mixzoo.cli.sweep import check_jobs, joined_processes, place_elsewhere, watch_for

    check_jobs(jobs)
    if (place := place_elsewhere(zoo, on, limit)) is not None:
        from mixzoo.runs.elsewhere import start_on
        from mixzoo.runs.launcher import run_flags
        from mixzoo.runs.log_process import log_to as log_of

        log_of(zoo, log_to)
        flags_of_run = [*run_flags(log_to=log_to), *flags_of(plugin, no_plugins)]
        print_summary(start_on(zoo, configure(given, numbers), out, place, watch_for(), flags_of_run, limit))
        return
    with joined_processes(lost_after) as distributed:
        resolved = configure(given, numbers)

        from mixzoo.runs.log_process import log_to as log_of
        from mixzoo.runs.run import start
        from mixzoo.training.logs import display_for
        from mixzoo.training.memory import keep_freed_memory

        log = log_of(zoo, log_to, flags_of(plugin, no_plugins))
        keep_freed_memory()
        result = start(zoo, resolved, out, display_for, distributed, log, limit)
        if distributed.is_main:
            print_summary(result)
