"""Runs from Python: what the command line does, as functions that return objects.

run = mixzoo.train(mixer="bernoulli:k=3", objective="amr", steps=2000)
sweep = mixzoo.train(mixer=["mixup", "dirichlet:k=3"], seeds=[0, 1, 2])
print(mixzoo.compare(sweep))
mixzoo.plot(sweep).save("curves.png")
mixzoo.report(sweep).save("report.html")
mixzoo.figure("strips", sweep).save("strips.png")
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixzoo.core.arguments import integers_of, path_of, table_of, texts_of, with_argument_names
from mixzoo.core.durations import seconds_of
from mixzoo.core.errors import ConfigError, listing, nearest, truncated_repr
from mixzoo.registry.config import RunConfig, Train, resolve, under_data_root
from mixzoo.registry.options import options_of
from mixzoo.registry.session import is_registered_here
from mixzoo.registry.zoo import Zoo, load_zoo
from mixzoo.runs.comparing import Comparison
from mixzoo.runs.comparing import compare as compare_records
from mixzoo.runs.elsewhere import resume_on, start_on
from mixzoo.runs.grid import plan
from mixzoo.runs.launcher import Watch, run_flags
from mixzoo.runs.listing import RunRecord, chosen, find_runs
from mixzoo.runs.log_process import log_to as logging_to
from mixzoo.runs.places import place_for
from mixzoo.runs.run import resume as resume_run
from mixzoo.runs.run import start
from mixzoo.runs.sweep import Sweep, check_none_failed, is_sweep
from mixzoo.runs.sweep import resume as resume_sweep
from mixzoo.runs.sweep import start as start_sweep
from mixzoo.runs.tracking import LOGS, track_runs
from mixzoo.runs.trained_run import Run
from mixzoo.training.logs import display_for
from mixzoo.training.memory import keep_freed_memory
from mixzoo.training.time_limit import TimeLimit

if TYPE_CHECKING:
    from mixzoo.runs.chosen_images import Images
    from mixzoo.runs.drawing import Drawing
    from mixzoo.runs.figure import LearningCurves
    from mixzoo.runs.report import Report

Spec = str | Sequence[str] | None  # one part, or several for a grid
ARGUMENTS = (
    "data", "autoencoder", "discriminator", "mixer", "objective", "metrics", "config", "out", "seeds", "grid", "jobs",
    "progress", "log_to", "max_time", "on",
)  # fmt: skip  # of train, beside the numbers of a run


@with_argument_names
def train(
    *,
    data: Spec = None,
    autoencoder: Spec = None,
    discriminator: Spec = None,
    mixer: Spec = None,
    objective: Spec = None,
    metrics: str | Sequence[str] | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    grid: Mapping[str, Sequence[object]] | None = None,
    jobs: int | None = None,
    progress: bool = True,
    log_to: str | None = None,
    max_time: str | float | timedelta | None = None,
    on: str | None = None,
    **numbers: Any,
) -> Run | list[Run]:
    """Train a run, as `mixzoo train` does; with `seeds`, `grid` or a list of specs a sweep, as a list of its runs.

    Parts are specs, such as "dirichlet:k=4"; `numbers` are those of a run file's [train]: steps, lr, seed, device, ...
    `grid` maps keys of the run file to values: {"objective.lam": [5, 10]}. A sweep's runs are processes of their own,
    so its parts come from installed plugins, not from `mixzoo.register`, and `progress`, the display of a single run,
    has no effect. `log_to` logs a single run as it trains, to "tensorboard" for example (see `mixzoo.track`). After
    `max_time`, such as "3h50m" or seconds, the run, or the whole sweep, stops as after a signal: it saves its state and
    raises Interrupted. `on` is where the runs are computed, a launcher such as "slurm:partition=gpu"; their parts then
    come from installed plugins too. Raises ConfigError for what is not allowed, and what training itself raises.
    """
    limit = None if max_time is None else TimeLimit(seconds_of(max_time, "max_time"), "max_time ")
    place_spec = None if on is None else texts_of(on, "on")[0]
    specs = {
        "dataset": data,
        "autoencoder": autoencoder,
        "discriminator": discriminator,
        "mixer": mixer,
        "objective": objective,
    }
    known = [*ARGUMENTS, *(option.name for option in options_of(Train))]
    if unknown := [name for name in numbers if name not in known]:
        if unknown[0] in ("plugin", "plugins"):
            raise ConfigError(
                f"train has no argument {unknown[0]!r}; use mixzoo.register(kind, name, recipe) for a part"
            )
        raise ConfigError(f"train has no argument {unknown[0]!r} ({listing(known)}).{nearest(unknown[0], known)}")
    zoo = load_zoo()
    flags = {kind: str(spec) for kind, spec in specs.items() if isinstance(spec, str | Path)}
    several = {
        kind: texts_of(spec, "data" if kind == "dataset" else kind)
        for kind, spec in specs.items()
        if spec is not None and kind not in flags
    }
    gridded = {} if grid is None else table_of(grid, "grid")
    if twice := [key for key in gridded if key in several]:
        raise ConfigError(f"grid has {twice[0]!r}, and {twice[0]}= has a list too; give one of them")
    directory, file = (
        None if out is None else path_of(out, "out"),
        None if config is None else path_of(config, "config"),
    )
    scored = None if metrics is None else texts_of(metrics, "metrics")
    if jobs is not None and type(jobs) is not int:
        raise ConfigError(f"jobs={truncated_repr(jobs)} must be an integer >= 1")

    def configure(flags: Mapping[str, str], numbers: Mapping[str, object]) -> RunConfig:
        resolved = resolve(zoo, file, flags, numbers, scored)
        return under_data_root(
            resolved, flag=None, environment=os.environ.get("MIXZOO_DATA"), data=flags.get("dataset")
        )

    if seeds is None and not gridded and not several:
        log = logging_to(zoo, log_to)
        if place_spec is not None and not (place := place_for(zoo, place_spec, limit)).is_local:
            run_config = configure(flags, numbers)
            _check_found_by_processes(zoo, [run_config])
            flags_of_run = run_flags(log_to=log_to)
            return Run(start_on(zoo, run_config, directory, place, Watch(), flags_of_run, limit).directory, zoo=zoo)
        keep_freed_memory()
        shown = display_for if progress else None
        result = start(zoo, configure(flags, numbers), directory, shown, log=log, limit=limit)
        return Run(result.directory, zoo=zoo)
    if log_to is not None:
        raise ConfigError("log_to is for a single run; call mixzoo.track(runs, to=...) when the sweep has ended")
    values: dict[str, list[Any]] = {**several, **gridded}
    axes = [f"{key}={','.join(_axis_value(value) for value in own)}" for key, own in values.items()]
    text = None if seeds is None else ",".join(map(str, integers_of(seeds, "seeds")))
    members = plan(zoo, text, axes, flags, numbers, configure)
    _check_found_by_processes(zoo, [member.config for member in members])
    sweep = start_sweep(zoo, members, directory, jobs, Watch(), [], limit, place_spec)
    check_none_failed(sweep)
    return _runs_of(zoo, sweep)


@with_argument_names
def resume(
    run: "str | Path | Run | RunRecord",
    *,
    steps: int | None = None,
    set: Mapping[str, object] | None = None,
    allow_change: str | Sequence[str] = (),
    jobs: int | None = None,
    progress: bool = True,
    log_to: str | None = None,
    max_time: str | float | timedelta | None = None,
    on: str | None = None,
) -> Run | list[Run]:
    """Continue a run from its newest checkpoint, as `mixzoo resume` does; of a sweep's directory all unfinished runs.

    `steps` is a new last step, `set` has other values than the run file's, such as {"train.lr": 1e-4}, and
    `allow_change` names keys of run.toml that were edited; the other arguments are those of `train`. Raises ConfigError
    for what is not allowed, CheckpointError if the run cannot be continued, and what training itself raises.
    """
    limit = None if max_time is None else TimeLimit(seconds_of(max_time, "max_time"), "max_time ")
    path = run.path if isinstance(run, Run | RunRecord) else path_of(run, "run")
    if steps is not None and type(steps) is not int:
        raise ConfigError(f"steps={truncated_repr(steps)} must be an integer >= 1")
    if jobs is not None and type(jobs) is not int:
        raise ConfigError(f"jobs={truncated_repr(jobs)} must be an integer >= 1")
    values, allowed = [f"{key}={value}" for key, value in (set or {}).items()], texts_of(allow_change, "allow_change")
    place_spec, zoo = None if on is None else texts_of(on, "on")[0], load_zoo()
    if is_sweep(path):
        single = {"steps": steps, "set": set, "log_to": log_to}
        if given := [name for name, value in single.items() if value is not None]:
            raise ConfigError(f"{given[0]} is for a single run, and {path} is a sweep; give it with one of its runs")
        flags = run_flags(allow_change=allowed)
        sweep = resume_sweep(zoo, path, jobs, Watch(), flags, limit, place_spec)
        check_none_failed(sweep)
        return _runs_of(zoo, sweep)
    if jobs is not None:
        raise ConfigError(f"jobs={jobs} is for a sweep, and {path} is a single run")
    log = logging_to(zoo, log_to)
    if place_spec is not None and not (place := place_for(zoo, place_spec, limit)).is_local:
        flags = run_flags(steps, allowed, values, log_to)
        return Run(resume_on(zoo, path, place, Watch(), flags, limit).directory, zoo=zoo)
    keep_freed_memory()
    shown = display_for if progress else None
    result = resume_run(zoo, path, shown, steps=steps, allow_change=allowed, values=values, log=log, limit=limit)
    return Run(result.directory, zoo=zoo)


@with_argument_names
def compare(
    *runs: "str | Path | Run | RunRecord | Iterable[Any]",
    scores: str | Sequence[str] | None = None,
    paper: bool = False,
) -> Comparison:
    """The table of these runs: what differs between them by scores, mean and standard deviation over seeds.

    Runs are directories, folders of them, `Run`s, records, or lists of these. `paper` adds the paper's number of each
    row that is a cell of its tables. `str(...)` is a Markdown table.
    """
    named = None if scores is None else texts_of(scores, "scores")
    return compare_records([record for run in runs for record in _records(run)], named, paper=paper)


@with_argument_names
def plot(
    *runs: "str | Path | Run | RunRecord | Iterable[Any]",
    terms: str | Sequence[str] | None = None,
    where: str | Sequence[str] = (),
    log_scale: bool = False,
    smooth: int = 1,
) -> "LearningCurves":
    """The learning curves of these runs, a matplotlib Figure, as `mixzoo plot` draws them; `.save(path)` writes it.

    Runs are directories, folders of them, `Run`s, records, or lists of these. `terms` are names of metrics.jsonl or
    their beginnings, such as "discriminator" or "reconstruct"; `where` has conditions as "objective=amr"; `smooth` is
    the number of lines of a running mean of terms and raw scores. Raises ConfigError for what is not allowed, or if no
    run has metrics, CheckpointError if the only ones cannot be read.
    """
    from mixzoo.runs.figure import plot as plot_records

    records = [record for run in runs for record in _records(run)]
    return plot_records(chosen(records, texts_of(where, "where")), terms, log_scale=log_scale, smooth=smooth)


@with_argument_names
def report(
    *runs: "str | Path | Run | RunRecord | Iterable[Any]",
    out: str | Path | None = None,
    where: str | Sequence[str] = (),
    explore: "bool | str | Path | Run | RunRecord | Iterable[Any]" = True,
) -> "Report":
    """A page about these runs, as `mixzoo report` writes it: one HTML file that needs no other.

    Runs are directories, folders of them, `Run`s, records, or lists of these; `where` has conditions such as
    "objective=amr". `explore` has those of them whose networks are put into the page, for a reader to mix images with:
    by default up to three, of a sweep the best of each configuration; False leaves them out. With `out` the page is
    written there, as its `.save(path)` does. Damaged runs are on it with a note, and in its `.notes`. Raises
    ConfigError for what is not allowed, StorageError if the file cannot be written.
    """
    from mixzoo.runs.report import report as report_on
    from mixzoo.runs.report.page import check_ending

    file = None if out is None else path_of(out, "out")
    if file is not None:
        check_ending(file)
    records = [record for run in runs for record in _records(run)]
    tried = explore if isinstance(explore, bool) else [record.path for record in _records(explore)]
    made = report_on(chosen(records, texts_of(where, "where")), explore=tried)
    if file is not None:
        made.save(file)
    return made


@with_argument_names
def figure(
    kind: str,
    *runs: "str | Path | Run | RunRecord | Iterable[Any]",
    images: "Images" = None,
    where: str | Sequence[str] = (),
    scale: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> "Drawing":
    """A figure of these runs, as `mixzoo figure` draws it: "strips", "codes:method=tsne"; `.save(path)` writes it.

    `images` are numbers of test images, or pictures as `Run.encode` takes them; without them fixed test images are
    shown, others for another `seed`. `scale` is the size of a pixel of an image. `runs` and `where` as `plot` takes
    them. Raises ConfigError for what is not allowed, or if no run can be drawn so.
    """
    from mixzoo.runs.drawing import draw

    records = [record for run in runs for record in _records(run)]
    spec = texts_of(kind, "kind")[0]
    chosen_runs = chosen(records, texts_of(where, "where"))
    return draw(load_zoo(), spec, chosen_runs, images, scale=scale, seed=seed, device=device)


@with_argument_names
def track(
    *runs: "str | Path | Run | RunRecord | Iterable[Any]", to: str, follow: bool = False, logs: str | Path = LOGS
) -> list[Path]:
    """Log losses, accuracies, pictures, settings and scores of runs with a logger, such as "tensorboard".

    Returns the folder of each run's log, LOGS/LOGGER/RUN. A later call adds only what is new; `follow` goes on until
    every run has ended. `runs` as `compare` takes them; their directories are only read. Raises ConfigError for an
    unknown logger, or a folder that has another run's log, and PluginError if the logger fails.
    """
    records = [record for run in runs for record in _records(run)]
    return track_runs(load_zoo(), records, texts_of([to], "to")[0], path_of(logs, "logs"), follow=follow)


def _records(run: Any) -> list[RunRecord]:
    if isinstance(run, RunRecord):
        return [run]
    if isinstance(run, Run):
        return find_runs([run.path])
    if isinstance(run, str | Path):
        return find_runs([path_of(run, "run")])
    if isinstance(run, Iterable) and not isinstance(run, bytes):
        return [record for one in run for record in _records(one)]
    raise ConfigError(f"{truncated_repr(run)} is not a run; give a directory, a Run, or a list of them")


def _axis_value(value: object) -> str:
    """A value of a grid as the command line writes it; a spec with options of its own goes in brackets."""
    text = str(value)
    return f"({text})" if "," in text and not text.startswith("(") else text


def _check_found_by_processes(zoo: Zoo, configs: Sequence[RunConfig]) -> None:
    """Raises ConfigError if a run of a sweep has a part that only this process knows."""
    for config in configs:
        for kind, name in config.names.items():
            if is_registered_here(zoo.find(kind, name)):
                raise ConfigError(
                    f"{kind} {name!r} was registered in this process, and the runs of a sweep are processes of their "
                    "own; put it into a plugin (`mixzoo new-plugin`), or train one run at a time"
                )


def _runs_of(zoo: Zoo, sweep: Sweep) -> list[Run]:
    return [Run(sweep.directory / member.name, zoo=zoo) for member in sweep.members]
