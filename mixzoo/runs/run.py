"""Starts and resumes a run: builds its parts, trains them in a run directory, and scores the result."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

import torch

from mixzoo.core.arguments import texts_of
from mixzoo.core.errors import CheckpointError, ConfigError, Interrupted, MixzooError, StorageError, one_line
from mixzoo.core.json_file import read_object, write_json
from mixzoo.core.process_id import ProcessId
from mixzoo.core.storage import storage_errors, write_text
from mixzoo.data import placement
from mixzoo.data.batches import check_batch_fits, labelled_images
from mixzoo.registry.config import RunConfig
from mixzoo.registry.options import to_table
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.changes import STEPS, earlier_lengths
from mixzoo.runs.directory import (
    ROOT,
    add_to_environment,
    check_directory_is_new,
    check_run_dir_exists,
    differences,
    environment,
    environment_of,
    lock,
    new_directory,
    record_for_gone,
    remove_leftovers,
    storage_status,
    try_status,
    write_status,
)
from mixzoo.runs.listing import RUN
from mixzoo.runs.log_process import Log
from mixzoo.runs.opening import open_config
from mixzoo.runs.reading import ENVIRONMENT, RESULTS, Result, known_environment, result
from mixzoo.runs.resuming import checked_steps, plan_resume
from mixzoo.runs.room import check_run_fits, run_bytes
from mixzoo.runs.scoring import check_scorable, metric_notes, score_warnings, scores
from mixzoo.runs.selecting import check_best_is_kept, check_selectable, load_selected
from mixzoo.runs.setting import changeable_keys, with_values
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import modules_of, remove_older, restore
from mixzoo.training.checkpoint_manifest import Progress
from mixzoo.training.devices import parse_device, pick_device
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext
from mixzoo.training.engine import build_engine, check_engine
from mixzoo.training.facts import facts, follows_progress, notes
from mixzoo.training.learning_rate import check_schedule, follows_length
from mixzoo.training.logs import MetricsFile, NullMetricsFile, ProgressDisplay
from mixzoo.training.loop import Loop, fresh
from mixzoo.training.parallel_checks import check_batch_divides, check_parallel
from mixzoo.training.picture_writer import pictures_of
from mixzoo.training.players import Players
from mixzoo.training.rehearsal import rehearse
from mixzoo.training.settings import settings
from mixzoo.training.signals import interruptible
from mixzoo.training.time_limit import TimeLimit, in_time
from mixzoo.training.trouble import as_trouble, out_of_memory_errors


def start(
    zoo: Zoo,
    config: RunConfig,
    directory: Path | None = None,
    display_for: Callable[..., ProgressDisplay] | None = None,
    distributed: DistributedContext = SINGLE_PROCESS,
    log: Log | None = None,
    limit: TimeLimit | None = None,
) -> Result:
    """Train a new run to its last step, in a new directory, together with the other processes of the run.

    Raises Interrupted after a signal, or when the time `limit` is over.
    """
    # These checks read neither data nor device, so a typing error is reported at once.
    if distributed.is_main:
        check_directory_is_new(directory)
    check_batch_divides(config.train, distributed)
    with out_of_memory_errors(config.train), contextlib.ExitStack() as stack:
        # All that can be refused is refused before a directory is made. The settings (threads, precision, determinism)
        # come before the parts are built and rehearsed, because the last bits of all they compute depend on them.
        loaded, device = _load_and_check(config, distributed)
        stack.enter_context(settings(config.train, device))
        players = build_players(zoo, config, loaded.data, device, distributed=distributed)
        check_parallel(config, players, distributed)
        warnings = rehearse(zoo, config, players, loaded.data, device)
        check_run_fits(config, players, loaded.data.test, directory or ROOT)

        # One writer: process 0 makes the directory and holds its lock until the run ends; the others learn its name.
        processes, run_dir, display = distributed.process_devices(device), Path(), ProgressDisplay()
        if distributed.is_main:
            described = environment(zoo, config, loaded.data, device, processes)

            def write_first_files(run_dir: Path) -> None:
                write_text(run_dir / RUN, config.to_toml())
                write_json(run_dir / ENVIRONMENT, described)
                write_status(run_dir, "waiting")

            run_dir = stack.enter_context(new_directory(directory, config.slug, write_first_files))
            display = display_for(config.train.steps) if display_for else ProgressDisplay()
            if log is not None:
                stack.enter_context(log(run_dir))
        run_dir = Path(distributed.broadcast_text("run_dir", str(run_dir)))
        return _train(run_dir, config, loaded, players, fresh(), display, device, warnings, limit)


def check_startable(zoo: Zoo, configs: Iterable[RunConfig], *, here: bool = True) -> list[int]:
    """Make the checks that `start` makes before it creates a directory, for every config; raises what it would raise.

    Returns about how many bytes each run writes; whether they are free is not checked. Parts are built on the CPU
    without weights, and no GPU is opened, because other processes will train the runs: here, or on machines of which it
    is not known what devices they have.
    """
    # Grouped by data set, so that each is loaded once and only one is in memory at a time.
    groups: dict[str, list[tuple[int, RunConfig]]] = {}
    for number, config in enumerate(configs):
        groups.setdefault(_data_key(config), []).append((number, config))
    sizes = dict[int, int]()
    for group in groups.values():
        loaded = None
        for number, config in group:
            loaded, device = _load_and_check(config, loaded=loaded, untouched=True, here=here)
            with settings(config.train, device):
                players = build_players(zoo, config, loaded.data, torch.device("cpu"), restored=True)
                if device.type == "cpu":  # parts for a GPU may not run on the CPU; their run rehearses them
                    rehearse(zoo, config, players, loaded.data, device)
                sizes[number] = run_bytes(config.train, players, loaded.data.test)
    return [sizes[number] for number in sorted(sizes)]


def _data_key(config: RunConfig) -> str:
    """Equal for configs that load the same data to the same place."""
    train, recipe = config.train, config.parts["dataset"]
    place = (train.data_on, train.workers, train.image_cache, train.device)
    return repr((config.names["dataset"], to_table(recipe), train.seed, place))


def prepare(config: RunConfig, run_dir: Path) -> None:
    """Make the directory of a run, so that `resume` can start it."""
    with storage_errors(run_dir, "the run directory could not be made"):
        run_dir.mkdir()
    write_text(run_dir / RUN, config.to_toml())
    write_status(run_dir, "waiting")


def resume(
    zoo: Zoo,
    run_dir: Path,
    display_for: Callable[..., ProgressDisplay] | None = None,
    distributed: DistributedContext = SINGLE_PROCESS,
    *,
    steps: int | None = None,
    allow_change: Sequence[str] = (),
    values: Sequence[str] = (),
    log: Log | None = None,
    limit: TimeLimit | None = None,
) -> Result:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped, or start a prepared run.

    `steps` is a new last step; run.toml records it. Raises CheckpointError if any other value in run.toml has changed
    since the run was trained with it, unless `allow_change` has its key, such as "train.lr", or its part, such as
    "mixer"; environment.json then records the change. Each of `values`, such as "train.lr=1e-4", is such a change, made
    here, in run.toml too.
    """
    zoo, config, changed_parts = open_config(zoo, run_dir)
    written_steps = config.train.steps
    if steps is not None:
        config = replace(config, train=replace(config.train, steps=checked_steps(steps)))
    config, meant = with_values(zoo, config, values), changeable_keys(values)
    allowed = texts_of(allow_change, "allow_change")
    plan = plan_resume(run_dir, config, written_steps, allowed=allowed, meant=meant)
    if plan.completed:
        if values:
            raise ConfigError(f"--set {values[0]}: {run_dir} is completed; give --steps, to train it further with it")
        if (plan.notes or changed_parts) and display_for and distributed.is_main:
            display = display_for(config.train.steps, config.train.steps)
            for line in (*(f"warning: {line}" for line in changed_parts), *plan.notes):
                display.note(line)
            display.close()
        if log is not None and distributed.is_main:
            with log(run_dir):  # there is nothing to train, but what the run has may not be logged yet
                pass
        return result(run_dir)
    check_schedule(config.train)
    check_batch_divides(config.train, distributed)
    device = pick_device(config.train.device, distributed)
    with contextlib.ExitStack() as stack:
        # The lock is taken before the data are loaded, so that a second resume fails at once. The first plan was made
        # without the lock: another process may have completed the run since.
        if distributed.is_main:
            stack.enter_context(storage_status(run_dir))
            stack.enter_context(lock(run_dir))
            plan = plan_resume(run_dir, config, written_steps, allowed=allowed, meant=meant)
            if plan.completed:
                return result(run_dir)
            remove_leftovers(run_dir)

        # The same data, parts and number of threads as when the run started: its results depend on each of them.
        record, environment_lost = known_environment(run_dir)
        before = environment_of(record) if record and plan.has_checkpoint else None
        stack.enter_context(out_of_memory_errors(config.train))
        threads = before.compared["threads"] if before else 0
        stack.enter_context(settings(config.train, device, threads if isinstance(threads, int) else 0))
        loaded = _load(config, device, distributed)
        check_selectable(config, loaded.data)
        now = environment(zoo, config, loaded.data, device, distributed.process_devices(device))
        warnings = [*changed_parts, *(differences(before, now, run_dir) if before else []), *plan.warnings]
        players = build_players(zoo, config, loaded.data, device, restored=plan.has_checkpoint, distributed=distributed)
        check_parallel(config, players, distributed)

        # A run that was killed before its first checkpoint starts again from step 0, with the same result.
        progress, damaged = fresh(), list[str]()
        if plan.has_checkpoint:
            metrics = run_dir / "metrics.jsonl" if distributed.is_main else None
            progress, damaged = restore(run_dir / "checkpoints", players, metrics, config.train.steps)
            check_best_is_kept(run_dir, config, progress)
        check_run_fits(config, players, loaded.data.test, run_dir, progress.step)
        rehearsed = [] if plan.has_checkpoint else rehearse(zoo, config, players, loaded.data, device)
        if progress.step and any(c.key == STEPS for c in plan.changes) and follows_progress(players, config):
            plan = replace(plan, changes=[replace(c, mixer_follows=c.key == STEPS) for c in plan.changes])
            warnings.append(
                f"the mixer's law follows the progress of the training: its first {progress.step} steps were drawn for "
                f"a run of another length, the later ones for {config.train.steps} steps"
            )
        if progress.step and any(change.key == STEPS for change in plan.changes) and follows_length(config.train):
            lengths = earlier_lengths([*(before.changes if before else ()), *plan.changes], progress.step)
            trained = [f"steps {first} to {last} had the rates of a run of {of} steps" for first, last, of in lengths]
            warnings.append(
                f"the learning rate follows the length of the run ({config.train.schedule}): {', '.join(trained)}, the "
                f"later ones have those of {config.train.steps} steps"
            )

        # The files of the run are changed only now, when nothing more can be refused. run.toml is written before
        # environment.json: after a kill between the two, the next resume finds the change again.
        if distributed.is_main:
            if environment_lost or not plan.has_checkpoint:
                write_json(run_dir / ENVIRONMENT, record.values if record and plan.has_checkpoint else now)
            keep, keep_best = config.train.keep_checkpoints, config.train.select == "best"
            remove_older(run_dir / "checkpoints", progress.step, keep, keep_best=keep_best)
            if plan.changes or values:  # values of how a run is computed, such as train.device, are no changes of it
                write_text(run_dir / RUN, config.to_toml())
                add_to_environment(run_dir, changes=plan.changes)

        display = (
            display_for(config.train.steps, progress.step) if display_for and distributed.is_main else ProgressDisplay()
        )
        requested = {*meant, *([STEPS] if steps is not None else [])}
        asked = [change for change in plan.changes if change.key in requested]
        for line in (*damaged, *warnings, *(str(change) for change in plan.changes if change not in asked)):
            display.note(f"warning: {line}")
        for line in (*map(str, asked), *plan.notes):
            display.note(line)
        if log is not None and distributed.is_main:
            stack.enter_context(log(run_dir))
        return _train(run_dir, config, loaded, players, progress, display, device, rehearsed, limit)


def _train(
    run_dir: Path,
    config: RunConfig,
    loaded: placement.LoadedData,
    players: Players,
    progress: Progress,
    display: ProgressDisplay,
    device: torch.device,
    warnings: Iterable[str] = (),
    limit: TimeLimit | None = None,
) -> Result:
    """Train from `progress` to the last step and score the run; status.json says how it ended, whatever happens."""
    distributed, data, start_time = players.distributed, loaded.data, monotonic()

    def set_status(state: str) -> None:
        if distributed.is_main:
            write_status(run_dir, state)

    def record_seconds() -> None:
        if distributed.is_main:  # the time is only for the reader, so a run does not fail if it cannot be written
            with contextlib.suppress(CheckpointError, StorageError):
                add_to_environment(run_dir, seconds=monotonic() - start_time)

    def record_end(state: str, exit_code: int, reason: str) -> None:
        distributed.end_if_lost()
        record_seconds()
        if distributed.is_main:
            # If several processes fail, the one that failed first has the reason.
            cause = distributed.cause(exit_code, reason) if state == "failed" else (exit_code, reason)
            try_status(run_dir, state, *cause)

    def record_failure(exit_code: int, reason: str, gone: ProcessId | None) -> None:
        if distributed.is_main:
            record_end("failed", exit_code, reason)
        else:
            record_for_gone(run_dir, exit_code, reason, gone)

    distributed.on_failure(record_failure)
    metrics: MetricsFile | NullMetricsFile = NullMetricsFile()
    try:
        with interruptible(run_dir):
            # The metrics file is cut back to the checkpoint: steps after it are trained, and written, again.
            set_status("running")
            if distributed.is_main:
                metrics = MetricsFile(run_dir / "metrics.jsonl", progress.metrics_bytes)
            display.begin(facts(run_dir, data, players, device))
            for line in (*warnings, *notes(config, loaded, players, progress), *metric_notes(config, data)):
                display.note(line)

            environment = read_object(run_dir / ENVIRONMENT).values if distributed.is_main else {}

            # All processes train from the weights of process 0; they stop here if their data or their step differ.
            images = placement.train_batches(loaded, config.train, device, distributed.shard)
            engine = build_engine(config.train, players, device, display.note)
            loop = Loop(config.train, players, engine, data, images, metrics, run_dir / "checkpoints", display,
                        pictures_of(run_dir, players, data.test, device), config.to_toml(), environment,
                        lambda: set_status("running"), limit)  # fmt: skip
            distributed.sync_parameters(modules_of(players), step=progress.step, data=data.fingerprint)
            with images:
                progress = loop.run(progress)
            display.close()

            # The best step was evaluated, so it has its picture. results.json comes before the status, so that a run
            # called completed has its results.
            scored = load_selected(run_dir, config, players, progress) if distributed.is_main else progress.step
            with in_time(limit if distributed.is_main else None, run_dir):
                numbers, better = scores(config, data, players, progress, device) if distributed.is_main else ({}, {})
            picture = Path("pictures") / f"step-{scored:08d}.png"
            if distributed.is_main:
                results = {"steps": progress.step, "scored_step": scored, "numbers": numbers, "better": better,
                           "picture": str(picture), "warnings": score_warnings(numbers)}  # fmt: skip
                if data.skipped:
                    results["skipped_files"] = len(data.skipped)
                write_json(run_dir / RESULTS, results)
            record_seconds()
            set_status("completed")
    except MixzooError as err:
        if isinstance(err, Interrupted):
            record_end("interrupted", err.exit_code, str(err))
        else:
            record_end("failed", err.exit_code, distributed.named(str(err), err))
        if distributed.is_main:
            check_run_dir_exists(run_dir, err)
        raise
    except KeyboardInterrupt:
        record_end("interrupted", 130, "stopped at once by a second signal; nothing more was committed")
        raise
    except BaseException as err:
        # An error that a user can act on, such as out of memory, becomes a MixzooError; any other is raised as it is.
        trouble = as_trouble(err, config.train, run_dir)
        reason = distributed.named(str(trouble or f"{type(err).__name__}: {one_line(err)}"), err)
        record_end("failed", trouble.exit_code if trouble else 1, reason)
        if trouble:
            if distributed.is_main:
                check_run_dir_exists(run_dir, trouble)
            raise trouble from err
        raise
    finally:
        display.close()
        metrics.close()
    return Result(run_dir, progress.step, numbers, run_dir / picture, scored, tuple(score_warnings(numbers)))


def _load_and_check(
    config: RunConfig,
    distributed: DistributedContext = SINGLE_PROCESS,
    loaded: placement.LoadedData | None = None,
    *,
    untouched: bool = False,
    here: bool = True,
) -> tuple[placement.LoadedData, torch.device]:
    """The run's data, loaded unless they are given, and its device. `untouched` leaves a GPU unopened.

    Raises ConfigError or DataError if they are missing or do not fit the run's numbers and metrics. For a run that will
    not be `here`, the device is not looked for.
    """
    check_schedule(config.train)
    if here:
        device = pick_device(config.train.device, distributed, untouched=untouched)
        check_engine(config.train, device, distributed)
    else:
        device = parse_device("cpu" if config.train.device == "auto" else config.train.device)
    # Measuring the free memory of a GPU opens it, so a caller that only checks loads the data into main memory.
    loaded = loaded or _load(config, torch.device("cpu") if untouched else device, distributed)
    check_batch_fits(loaded.data.train, config.train.batch_images)
    labelled_images(config.train, len(loaded.data.train))
    check_scorable(config, loaded.data)
    check_selectable(config, loaded.data)
    return loaded, device


def _load(
    config: RunConfig, device: torch.device, distributed: DistributedContext = SINGLE_PROCESS
) -> placement.LoadedData:
    with distributed.first_on_machine():
        return placement.load_data(config.parts["dataset"], config.names["dataset"], config.train, device)
