"""A run: started from a config, trained, resumed, opened again."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import torch

from mixzoo.core.data import Dataset
from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    Interrupted,
    MixzooError,
    StorageError,
    printable,
)
from mixzoo.core.gpu_pool import limit_memory
from mixzoo.core.json_file import read_object, write_json
from mixzoo.core.storage import storage_errors, write_text
from mixzoo.data import placement
from mixzoo.data.batches import check_batch_fits, labelled_images
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.options import to_table
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.changes import STEPS
from mixzoo.runs.directory import (
    OLD_SWEEP,
    RUN,
    SWEEP,
    add_to_environment,
    check_directory_is_new,
    differences,
    environment,
    is_there,
    lock,
    new_directory,
    read_environment,
    remove_leftovers,
    storage_status,
    try_status,
    write_status,
)
from mixzoo.runs.provenance import changes, same_parts
from mixzoo.runs.resuming import checked_steps, plan_resume
from mixzoo.runs.scoring import check_scorable, metric_notes, scores
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import (
    check_modules,
    load_modules,
    modules_of,
    newest,
    remove_older,
    restore,
    saved,
)
from mixzoo.training.devices import check_device, parse_device
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext
from mixzoo.training.engine import build_engine, check_engine
from mixzoo.training.facts import facts, follows_progress, notes
from mixzoo.training.logs import MetricsFile, NullMetricsFile, ProgressDisplay
from mixzoo.training.loop import Loop, fresh
from mixzoo.training.manifest import Progress
from mixzoo.training.parallel_checks import check_batch_divides, check_parallel
from mixzoo.training.players import Players
from mixzoo.training.rehearsal import rehearse
from mixzoo.training.settings import settings
from mixzoo.training.signals import interruptible
from mixzoo.training.trouble import as_trouble, out_of_memory_errors


@dataclass(frozen=True)
class Result:
    """What a run came to; accuracies in [0, 1]. Numbers are those of process 0; other processes have none."""

    directory: Path
    steps: int
    numbers: dict[str, float]
    picture: Path


@dataclass(frozen=True)
class Opened:
    """The parts of a run, from its newest checkpoint, for pictures and scores."""

    config: RunConfig
    data: Dataset
    players: Players
    device: str
    step: int
    changed: list[str]  # a line for each part whose plugin has another version now


def start(
    zoo: Zoo,
    config: RunConfig,
    directory: Path | None = None,
    display_for: Callable[..., ProgressDisplay] | None = None,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Result:
    """Make a new run directory and train in it to the end, with the other processes of the run."""
    if distributed.is_main:
        check_directory_is_new(directory)
    check_batch_divides(config.train, distributed)
    with out_of_memory_errors(config.train), contextlib.ExitStack() as stack:
        placed, device = _fitting(config, distributed)
        stack.enter_context(settings(config.train, device))
        players = build_players(zoo, config, placed.data, device, distributed=distributed)
        check_parallel(config, players, distributed)
        warnings = rehearse(zoo, config, players, placed.data, device)
        processes, run_dir, display = distributed.process_devices(device), Path(), ProgressDisplay()
        if distributed.is_main:
            found = environment(zoo, config, placed.data, device, processes)

            def fill(run_dir: Path) -> None:
                write_text(run_dir / RUN, config.to_toml())
                write_json(run_dir / "environment.json", found)
                write_status(run_dir, "waiting")

            run_dir = stack.enter_context(new_directory(directory, config.slug, fill))  # nothing more can be refused
            display = display_for(config.train.steps) if display_for else ProgressDisplay()
        run_dir = Path(distributed.broadcast_text("run_dir", str(run_dir)))
        return _train(run_dir, config, placed, players, fresh(), display, device, warnings)


def check_startable(zoo: Zoo, configs: Iterable[RunConfig]) -> None:
    """Refuse what `start` would refuse of any of them before it makes a directory; data are loaded once for all.

    The parts are built on the CPU, without weights, and no GPU is opened: the process that asks starts others.
    """
    alike: dict[str, list[RunConfig]] = {}  # runs of the same data, so that no more than one set is held at a time
    for config in configs:
        alike.setdefault(_data_of(config), []).append(config)
    for same in alike.values():
        placed = None
        for config in same:
            placed, device = _fitting(config, placed=placed, untouched=True)
            with settings(config.train, device):
                players = build_players(zoo, config, placed.data, torch.device("cpu"), restored=True)
                if device.type == "cpu":  # on a GPU each run tries its own parts, which may run there alone
                    rehearse(zoo, config, players, placed.data, device)


def _data_of(config: RunConfig) -> str:
    """All of a config that says which data are loaded, and to where."""
    train, recipe = config.train, config.parts["dataset"]
    return repr((config.names["dataset"], to_table(recipe), train.seed, train.data_on, train.workers, train.device))


def prepare(config: RunConfig, run_dir: Path) -> None:
    """Make the directory of a run that `resume` is to begin."""
    with storage_errors(run_dir, "the run directory could not be made"):
        run_dir.mkdir()
    write_text(run_dir / RUN, config.to_toml())
    write_status(run_dir, "waiting")


def result(run_dir: Path) -> Result:
    """The result of a completed run; raises CheckpointError if results.json is damaged."""
    done = read_object(run_dir / "results.json")
    picture = Path(done.text("picture"))
    if picture.is_absolute() or ".." in picture.parts:
        raise CheckpointError(f"{run_dir}/results.json: damaged: its picture {str(picture)!r} is not in the run")
    return Result(run_dir, done.integer("steps"), done.numbers("numbers"), run_dir / picture)


def resume(
    zoo: Zoo,
    run_dir: Path,
    display_for: Callable[..., ProgressDisplay] | None = None,
    distributed: DistributedContext = SINGLE_PROCESS,
    *,
    steps: int | None = None,
    allow_change: bool = False,
) -> Result:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped, or begin a prepared one.

    `steps` is another last step, which run.toml records. Raises CheckpointError if run.toml is otherwise not what the
    run was trained with, unless `allow_change`, which environment.json records.
    """
    zoo, config, changed_parts = open_config(zoo, run_dir)
    written_steps = config.train.steps
    if steps is not None:
        config = replace(config, train=replace(config.train, steps=checked_steps(steps)))
    plan = plan_resume(run_dir, config, written_steps, allow_change=allow_change)
    if plan.completed:
        return result(run_dir)
    check_batch_divides(config.train, distributed)
    device = pick_device(config.train.device, distributed)
    with contextlib.ExitStack() as stack:
        if distributed.is_main:
            stack.enter_context(storage_status(run_dir))
            stack.enter_context(lock(run_dir))  # early, so that a second one finds out before it loads the data
            plan = plan_resume(run_dir, config, written_steps, allow_change=allow_change)
            if plan.completed:  # by another process meanwhile
                return result(run_dir)
            remove_leftovers(run_dir)
        before = read_environment(run_dir, needed=True) if plan.has_checkpoint else None
        stack.enter_context(out_of_memory_errors(config.train))
        threads = before.compared["threads"] if before else 0
        stack.enter_context(settings(config.train, device, threads if isinstance(threads, int) else 0))
        placed = _load(config, device, distributed)
        now = environment(zoo, config, placed.data, device, distributed.process_devices(device))
        warnings = [*changed_parts, *differences(before, now, run_dir)] if before else []
        players = build_players(zoo, config, placed.data, device, restored=plan.has_checkpoint, distributed=distributed)
        check_parallel(config, players, distributed)
        progress, damaged = fresh(), list[str]()
        if plan.has_checkpoint:  # one killed before its first checkpoint begins again, to the same end
            metrics = run_dir / "metrics.jsonl" if distributed.is_main else None
            progress, damaged = restore(run_dir / "checkpoints", players, metrics, config.train.steps)
        rehearsed = [] if plan.has_checkpoint else rehearse(zoo, config, players, placed.data, device)
        if any(change.key == STEPS for change in plan.changes) and follows_progress(players, config):
            warnings.append(
                "the mixer's law follows the progress of the training: its first "
                f"{progress.step} steps were those of a run of another length, the others are of {config.train.steps}"
            )
        if distributed.is_main:
            if not plan.has_checkpoint:
                write_json(run_dir / "environment.json", now)
            remove_older(run_dir / "checkpoints", progress.step, config.train.keep_checkpoints)
            if plan.changes:  # in this order: killed between the two, the next resume finds the change again
                write_text(run_dir / RUN, config.to_toml())
                add_to_environment(run_dir, changes=plan.changes)
        display = (
            display_for(config.train.steps, progress.step) if display_for and distributed.is_main else ProgressDisplay()
        )
        for line in (*damaged, *warnings, *map(str, plan.changes)):
            display.note(f"warning: {line}")
        return _train(run_dir, config, placed, players, progress, display, device, rehearsed)


def open_run(zoo: Zoo, run_dir: Path, device: str = "auto") -> Opened:
    """A run's parts with the weights of its newest checkpoint."""
    zoo, config, changed_parts = open_config(zoo, run_dir)
    where = pick_device(device)
    if not saved(run_dir / "checkpoints"):
        raise CheckpointError(f"{run_dir}: no checkpoint yet; train it further with `mixzoo resume {run_dir}`")
    with out_of_memory_errors(config.train):
        data = _load(config, where).data
        players = build_players(zoo, config, data, where, restored=True)
        modules = modules_of(players)
        checkpoint, state, manifest, damaged = newest(
            run_dir / "checkpoints", lambda state, manifest, where: check_modules(state, modules, where)
        )
        load_modules(state, modules, checkpoint)
    return Opened(config, data, players, str(where), manifest.progress.step, [*damaged, *changed_parts])


def open_config(zoo: Zoo, run_dir: Path) -> tuple[Zoo, RunConfig, list[str]]:
    """The config of the run in this directory, the zoo in which its names mean what they did, and what changed since.

    CheckpointError where it is no run, or a sweep of them, or where a plugin that it needs is not there.
    """
    there = is_there(run_dir)
    if (run_dir / SWEEP).is_file():
        runs = sorted(path.parent for path in run_dir.glob(f"*/{RUN}"))
        raise CheckpointError(
            f"{run_dir}: it is a sweep; name one of its runs, such as {next(iter(runs), run_dir / 'RUN')}"
        )
    if (run_dir / OLD_SWEEP).is_file():
        raise CheckpointError(
            f"{run_dir}: a sweep of an older mixzoo; rename its {OLD_SWEEP} to {SWEEP}, then resume it"
        )
    if not (run_dir / RUN).is_file():
        reason = "has no run.toml, so it is no run" if run_dir.is_dir() else "no such directory"
        reason = "it is a file, and a run is a directory" if there and run_dir.is_file() else reason
        raise CheckpointError(f"{printable(str(run_dir))}: {reason}; `mixzoo train` makes one")
    before = read_environment(run_dir)
    parts = before.parts if before else []
    zoo = same_parts(zoo, parts, str(run_dir))
    return zoo, resolve(zoo, run_dir / RUN, {}, {}), changes(zoo, parts)


def pick_device(
    name: str, distributed: DistributedContext = SINGLE_PROCESS, *, untouched: bool = False
) -> torch.device:
    """The device of that name; 'auto' is a GPU if there is one. Of several processes each has a GPU of its own.

    ConfigError if this machine lacks it. `untouched` is for a process that will not compute there: no card is opened.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if distributed.world_size > 1 and name not in ("cpu", "cuda"):
        raise ConfigError(
            f"--device {name!r}: each of {distributed.world_size} processes takes a device of its own; use cpu or cuda"
        )
    if distributed.world_size > 1 and name == "cuda":
        name = f"cuda:{distributed.local_rank}"
    device = parse_device(name)
    check_device(device, name, untouched=untouched)
    # Streams and graphs are made on the current card. 'cuda' without a number is that card already, and stays without:
    # a number would say that the user asked for this one.
    if device.type == "cuda" and device.index is not None and not untouched:
        torch.cuda.set_device(device)
    if not untouched:
        limit_memory(device)
    return device


def _train(
    run_dir: Path,
    config: RunConfig,
    placed: placement.LoadedData,
    players: Players,
    progress: Progress,
    display: ProgressDisplay,
    device: torch.device,
    warnings: Iterable[str] = (),
) -> Result:
    """Train from `progress` to the end and score the run; status.json says how it ended, whatever happens."""
    distributed, data, pictures, began = players.distributed, placed.data, run_dir / "pictures", monotonic()

    def picture(step: int) -> None:
        if not run_dir.is_dir():  # saving would make it again
            raise StorageError(f"{run_dir}: the run directory is gone")
        drawn = views.mixes(players.autoencoder, players.mixer, data.test, str(device))
        save_png(drawn, pictures / f"step-{step:08d}.png")

    def status(state: str, exit_code: int = 0, reason: str = "") -> None:
        if distributed.is_main:
            write_status(run_dir, state, exit_code, reason)

    def spent() -> None:
        if distributed.is_main:  # a note for the reader: a run does not fail for it
            with contextlib.suppress(CheckpointError, StorageError):
                add_to_environment(run_dir, seconds=monotonic() - began)

    def ended(state: str, exit_code: int, reason: str) -> None:
        spent()
        if distributed.is_main:
            try_status(
                run_dir, state, *(distributed.cause(exit_code, reason) if state == "failed" else (exit_code, reason))
            )

    distributed.on_failure(lambda exit_code, reason: ended("failed", exit_code, reason))
    metrics: MetricsFile | NullMetricsFile = NullMetricsFile()
    try:
        with interruptible(run_dir):
            status("running")
            if distributed.is_main:
                metrics = MetricsFile(run_dir / "metrics.jsonl", progress.metrics_bytes)
            display.begin(facts(run_dir, data, players, device))
            for line in (*warnings, *notes(config, placed, players, progress), *metric_notes(config, data)):
                display.note(line)
            images = placement.train_batches(placed, config.train, device, distributed.shard)
            engine = build_engine(config.train, players, device, display.note)
            loop = Loop(config.train, players, engine, data, images, metrics, run_dir / "checkpoints", display, picture,
                        config.to_toml(), committed=lambda: status("running"))  # fmt: skip
            distributed.sync_parameters(modules_of(players), step=progress.step, data=data.fingerprint)
            with images:
                progress = loop.run(progress)
            display.close()
            numbers = scores(config, data, players, progress, device) if distributed.is_main else {}
            drawn = Path("pictures") / f"step-{progress.step:08d}.png"
            if distributed.is_main:
                write_json(
                    run_dir / "results.json", {"steps": progress.step, "numbers": numbers, "picture": str(drawn)}
                )
            spent()
            status("completed")
    except MixzooError as err:
        ended("interrupted" if isinstance(err, Interrupted) else "failed", err.exit_code, str(err))
        raise
    except KeyboardInterrupt:
        ended("interrupted", 130, "stopped at once by a second signal; nothing more was committed")
        raise
    except BaseException as err:
        trouble = as_trouble(err, config.train, run_dir)
        ended("failed", trouble.exit_code if trouble else 1, str(trouble or f"{type(err).__name__}: {err}"))
        if trouble:
            raise trouble from err
        raise
    finally:
        display.close()
        metrics.close()
    return Result(run_dir, progress.step, numbers, run_dir / drawn)


def _fitting(
    config: RunConfig,
    distributed: DistributedContext = SINGLE_PROCESS,
    placed: placement.LoadedData | None = None,
    *,
    untouched: bool = False,
) -> tuple[placement.LoadedData, torch.device]:
    """The run's data, loaded if they are not given, and device; `untouched` leaves that as it is.

    Refused where they are not there, or do not go with its numbers and metrics.
    """
    device = pick_device(config.train.device, distributed, untouched=untouched)
    check_engine(config.train, device, distributed)
    # To know how much room a card has, one must open it; where the data would go is of no interest to who only checks.
    placed = placed or _load(config, torch.device("cpu") if untouched else device, distributed)
    check_batch_fits(placed.data.train, config.train.batch_images)
    labelled_images(config.train, len(placed.data.train))
    check_scorable(config, placed.data)
    return placed, device


def _load(
    config: RunConfig, device: torch.device, distributed: DistributedContext = SINGLE_PROCESS
) -> placement.LoadedData:
    with distributed.first_on_machine():
        return placement.load_data(config.parts["dataset"], config.names["dataset"], config.train, device)
