"""A run: started from a config, trained, resumed, opened again."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import torch
from jaxtyping import Int
from torch import Tensor

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
from mixzoo.core.random import order
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
    FLEET,
    RUN,
    add_to_environment,
    differences,
    environment,
    is_there,
    lock,
    new_directory,
    read_environment,
    refuse_existing,
    remove_leftovers,
    storage_status,
    try_status,
    write_status,
)
from mixzoo.runs.provenance import changes, same_parts
from mixzoo.runs.resuming import checked_steps, plan_resume
from mixzoo.runs.scoring import check_scorable, scores
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
from mixzoo.training.distributed import ALONE, World
from mixzoo.training.engine import build_engine, refuse_engine
from mixzoo.training.facts import facts, follows_progress, notes
from mixzoo.training.logs import MetricsFile, Show, Unwritten
from mixzoo.training.loop import Loop, fresh
from mixzoo.training.manifest import Progress
from mixzoo.training.rehearsal import rehearse
from mixzoo.training.settings import settings
from mixzoo.training.sharing import refuse_uneven, refuse_unshareable
from mixzoo.training.step import Players
from mixzoo.training.stopping import interruptible
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
    show_for: Callable[..., Show] | None = None,
    world: World = ALONE,
) -> Result:
    """Make a new run directory and train in it to the end, with the other processes of the world."""
    if world.writes:
        refuse_existing(directory)
    refuse_uneven(config.train, world)
    with out_of_memory_errors(config.train), contextlib.ExitStack() as stack:
        placed, device = _fitting(config, world)
        stack.enter_context(settings(config.train, device))
        players = build_players(zoo, config, placed.data, device, world=world)
        refuse_unshareable(config, players, world)
        warnings = rehearse(zoo, config, players, placed.data, device)
        processes, home, show = world.places(device), Path(), Show()
        if world.writes:
            found = environment(zoo, config, placed.data, device, processes)

            def fill(home: Path) -> None:
                write_text(home / RUN, config.to_toml())
                write_json(home / "environment.json", found)
                write_status(home, "waiting")

            home = stack.enter_context(new_directory(directory, config.slug, fill))  # nothing more can be refused
            show = show_for(config.train.steps) if show_for else Show()
        home = Path(world.told("home", str(home)))
        return _train(home, config, placed, players, fresh(), show, device, warnings)


def refuse_unfit(zoo: Zoo, configs: Iterable[RunConfig]) -> None:
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


def prepare(config: RunConfig, home: Path) -> None:
    """Make the directory of a run that `resume` is to begin."""
    with storage_errors(home, "the run directory could not be made"):
        home.mkdir()
    write_text(home / RUN, config.to_toml())
    write_status(home, "waiting")


def result(home: Path) -> Result:
    """The result of a completed run; raises CheckpointError if results.json is damaged."""
    done = read_object(home / "results.json")
    picture = Path(done.text("picture"))
    if picture.is_absolute() or ".." in picture.parts:
        raise CheckpointError(f"{home}/results.json: damaged: its picture {str(picture)!r} is not in the run")
    return Result(home, done.integer("steps"), done.numbers("numbers"), home / picture)


def resume(
    zoo: Zoo,
    home: Path,
    show_for: Callable[..., Show] | None = None,
    world: World = ALONE,
    *,
    steps: int | None = None,
    allow_change: bool = False,
) -> Result:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped, or begin a prepared one.

    `steps` is another last step, which run.toml records. Raises CheckpointError if run.toml is otherwise not what the
    run was trained with, unless `allow_change`, which environment.json records.
    """
    zoo, config, changed_parts = open_config(zoo, home)
    written_steps = config.train.steps
    if steps is not None:
        config = replace(config, train=replace(config.train, steps=checked_steps(steps)))
    plan = plan_resume(home, config, written_steps, allow_change=allow_change)
    if plan.completed:
        return result(home)
    refuse_uneven(config.train, world)
    device = pick_device(config.train.device, world)
    with contextlib.ExitStack() as stack:
        if world.writes:
            stack.enter_context(storage_status(home))
            stack.enter_context(lock(home))  # early, so that a second one finds out before it loads the data
            plan = plan_resume(home, config, written_steps, allow_change=allow_change)
            if plan.completed:  # by another process meanwhile
                return result(home)
            remove_leftovers(home)
        before = read_environment(home, needed=True) if plan.begun else None
        stack.enter_context(out_of_memory_errors(config.train))
        threads = before.compared["threads"] if before else 0
        stack.enter_context(settings(config.train, device, threads if isinstance(threads, int) else 0))
        placed = _load(config, device, world)
        now = environment(zoo, config, placed.data, device, world.places(device))
        warnings = [*changed_parts, *differences(before, now, home)] if before else []
        players = build_players(zoo, config, placed.data, device, restored=plan.begun, world=world)
        refuse_unshareable(config, players, world)
        progress, damaged = fresh(), list[str]()
        if plan.begun:  # one killed before its first checkpoint begins again, to the same end
            metrics = home / "metrics.jsonl" if world.writes else None
            progress, damaged = restore(home / "checkpoints", players, metrics, config.train.steps)
        rehearsed = [] if plan.begun else rehearse(zoo, config, players, placed.data, device)
        if any(change.key == STEPS for change in plan.changes) and follows_progress(players, config):
            warnings.append(
                "the mixer's law follows the progress of the training: its first "
                f"{progress.step} steps were those of a run of another length, the others are of {config.train.steps}"
            )
        if world.writes:
            if not plan.begun:
                write_json(home / "environment.json", now)
            remove_older(home / "checkpoints", progress.step, config.train.keep_checkpoints)
            if plan.changes:  # in this order: killed between the two, the next resume finds the change again
                write_text(home / RUN, config.to_toml())
                add_to_environment(home, changes=plan.changes)
        show = show_for(config.train.steps, progress.step) if show_for and world.writes else Show()
        for line in (*damaged, *warnings, *map(str, plan.changes)):
            show.note(f"warning: {line}")
        return _train(home, config, placed, players, progress, show, device, rehearsed)


def open_run(zoo: Zoo, home: Path, device: str = "auto") -> Opened:
    """A run's parts with the weights of its newest checkpoint."""
    zoo, config, changed_parts = open_config(zoo, home)
    where = pick_device(device)
    if not saved(home / "checkpoints"):
        raise CheckpointError(f"{home}: no checkpoint yet; train it further with `mixzoo resume {home}`")
    with out_of_memory_errors(config.train):
        data = _load(config, where).data
        players = build_players(zoo, config, data, where, restored=True)
        modules = modules_of(players)
        checkpoint, state, manifest, damaged = newest(
            home / "checkpoints", lambda state, manifest, where: check_modules(state, modules, where)
        )
        load_modules(state, modules, checkpoint)
    return Opened(config, data, players, str(where), manifest.progress.step, [*damaged, *changed_parts])


def open_config(zoo: Zoo, home: Path) -> tuple[Zoo, RunConfig, list[str]]:
    """The config of the run in this directory, the zoo in which its names mean what they did, and what changed since.

    CheckpointError where it is no run, or a fleet of them, or where a plugin that it needs is not there.
    """
    there = is_there(home)
    if (home / FLEET).is_file():
        runs = sorted(path.parent for path in home.glob(f"*/{RUN}"))
        raise CheckpointError(f"{home}: it is a fleet; name one of its runs, such as {next(iter(runs), home / 'RUN')}")
    if not (home / RUN).is_file():
        reason = "has no run.toml, so it is no run" if home.is_dir() else "no such directory"
        reason = "it is a file, and a run is a directory" if there and home.is_file() else reason
        raise CheckpointError(f"{printable(str(home))}: {reason}; `mixzoo train` makes one")
    before = read_environment(home)
    parts = before.parts if before else []
    zoo = same_parts(zoo, parts, str(home))
    return zoo, resolve(zoo, home / RUN, {}, {}), changes(zoo, parts)


def pick_device(name: str, world: World = ALONE, *, untouched: bool = False) -> torch.device:
    """The device of that name; 'auto' is a GPU if there is one. Of several processes each has a GPU of its own.

    ConfigError if this machine lacks it. `untouched` is for a process that will not compute there: no card is opened.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world.size > 1 and name not in ("cpu", "cuda"):
        raise ConfigError(
            f"--device {name!r}: each of {world.size} processes takes a device of its own; use cpu or cuda"
        )
    if world.size > 1 and name == "cuda":
        name = f"cuda:{world.local_rank}"
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
    home: Path,
    config: RunConfig,
    placed: placement.LoadedData,
    players: Players,
    progress: Progress,
    show: Show,
    device: torch.device,
    warnings: Iterable[str] = (),
) -> Result:
    """Train from `progress` to the end and score the run; status.json says how it ended, whatever happens."""
    world, data, pictures, began = players.world, placed.data, home / "pictures", monotonic()

    def picture(step: int) -> None:
        if not home.is_dir():  # saving would make it again
            raise StorageError(f"{home}: the run directory is gone")
        drawn = views.mixes(players.autoencoder, players.mixer, data.test, str(device))
        save_png(drawn, pictures / f"step-{step:08d}.png")

    def own_images(step: int) -> Int[Tensor, " own"]:
        batch = config.train.batch_images
        return world.local(order(config.train.seed, len(data.train), step * batch, batch))

    def status(state: str, exit_code: int = 0, reason: str = "") -> None:
        if world.writes:
            write_status(home, state, exit_code, reason)

    def spent() -> None:
        if world.writes:  # a note for the reader: a run does not fail for it
            with contextlib.suppress(CheckpointError, StorageError):
                add_to_environment(home, seconds=monotonic() - began)

    def ended(state: str, exit_code: int, reason: str) -> None:
        spent()
        if world.writes:
            try_status(home, state, *(world.cause(exit_code, reason) if state == "failed" else (exit_code, reason)))

    world.on_failure(lambda exit_code, reason: ended("failed", exit_code, reason))
    metrics: MetricsFile | Unwritten = Unwritten()
    try:
        with interruptible(home):
            status("running")
            if world.writes:
                metrics = MetricsFile(home / "metrics.jsonl", progress.metrics_bytes)
            show.begin(facts(home, data, players, device))
            for line in (*warnings, *notes(config, placed, players, progress)):
                show.note(line)
            images = placement.train_batches(placed, config.train, device, own_images)
            labelled = labelled_images(config.train, len(data.train))
            engine = build_engine(config.train, players, device, show.note)
            loop = Loop(config.train, players, engine, data, images, metrics, home / "checkpoints", show, picture,
                        labelled, config.to_toml(), committed=lambda: status("running"))  # fmt: skip
            world.begin(modules_of(players), step=progress.step, data=data.fingerprint)
            with images:
                progress = loop.run(progress)
            show.close()
            numbers = scores(config, data, players, progress, device) if world.writes else {}
            drawn = Path("pictures") / f"step-{progress.step:08d}.png"
            if world.writes:
                write_json(home / "results.json", {"steps": progress.step, "numbers": numbers, "picture": str(drawn)})
            spent()
            status("completed")
    except MixzooError as err:
        ended("interrupted" if isinstance(err, Interrupted) else "failed", err.exit_code, str(err))
        raise
    except KeyboardInterrupt:
        ended("interrupted", 130, "stopped at once by a second signal; nothing more was committed")
        raise
    except BaseException as err:
        trouble = as_trouble(err, config.train, home)
        ended("failed", trouble.exit_code if trouble else 1, str(trouble or f"{type(err).__name__}: {err}"))
        if trouble:
            raise trouble from err
        raise
    finally:
        show.close()
        metrics.close()
    return Result(home, progress.step, numbers, home / drawn)


def _fitting(
    config: RunConfig, world: World = ALONE, placed: placement.LoadedData | None = None, *, untouched: bool = False
) -> tuple[placement.LoadedData, torch.device]:
    """The run's data, loaded if they are not given, and device; `untouched` leaves that as it is.

    Refused where they are not there, or do not go with its numbers and metrics.
    """
    device = pick_device(config.train.device, world, untouched=untouched)
    refuse_engine(config.train, device, world)
    # To know how much room a card has, one must open it; where the data would go is of no interest to who only checks.
    placed = placed or _load(config, torch.device("cpu") if untouched else device, world)
    check_batch_fits(placed.data.train, config.train.batch_images)
    labelled_images(config.train, len(placed.data.train))
    check_scorable(config, placed.data)
    return placed, device


def _load(config: RunConfig, device: torch.device, world: World = ALONE) -> placement.LoadedData:
    with world.first_on_machine():
        return placement.load_data(config.parts["dataset"], config.names["dataset"], config.train, device)
