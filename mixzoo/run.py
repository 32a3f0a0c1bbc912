"""A run: started from a config, trained, resumed, opened again."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from mixzoo.cards import less_memory, limit_memory
from mixzoo.config import RunConfig, Train, resolve
from mixzoo.data import places
from mixzoo.data.batches import labelled_images, refuse_few
from mixzoo.devices import check_device, parse_device
from mixzoo.directory import (
    FLEET,
    RUN,
    differences,
    environment,
    lock,
    new_directory,
    read_json,
    refuse_existing,
    write_json,
    write_status,
    write_text,
)
from mixzoo.draws import order
from mixzoo.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    MixzooError,
    OutOfMemoryError,
    StorageError,
)
from mixzoo.evaluation.probe import ProbeRecord
from mixzoo.options import to_table
from mixzoo.pictures import views
from mixzoo.pictures.grid import save_png
from mixzoo.plugins import Zoo
from mixzoo.protocols import Dataset, FinishedRun
from mixzoo.provenance import changes, recorded, same_parts
from mixzoo.spec import parse_spec
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import Progress, load_modules, modules_of, newest, restore, saved
from mixzoo.training.distributed import ALONE, World
from mixzoo.training.engine import build_engine, precision_of, refuse_engine
from mixzoo.training.logs import MetricsFile, Show, Unwritten
from mixzoo.training.loop import Loop, fresh
from mixzoo.training.sharing import refuse_uneven, refuse_unshareable
from mixzoo.training.step import Players
from mixzoo.training.stopping import interruptible


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
    placed, device = _fitting(config, world)
    data = placed.data
    with settings(config.train, device), contextlib.ExitStack() as stack:
        players = build_players(zoo, config, data, device, world=world)
        refuse_unshareable(config, players, world)
        processes, home, show = world.places(device), Path(), Show()
        if world.writes:
            home = stack.enter_context(new_directory(directory, config.slug))  # now that nothing more can be refused
            show = show_for(config.train.steps) if show_for else Show()
            if placed.why:
                show.note(placed.why)
            write_text(home / "run.toml", config.to_toml())
            write_json(home / "environment.json", environment(zoo, config, data, device, processes))
        home = Path(world.told("home", str(home)))
        return _train(home, config, placed, players, fresh(), show, device)


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
                build_players(zoo, config, placed.data, torch.device("cpu"), restored=True)


def _data_of(config: RunConfig) -> str:
    """All of a config that says which data are loaded, and to where."""
    train, recipe = config.train, config.parts["dataset"]
    return repr((config.names["dataset"], to_table(recipe), train.seed, train.data_on, train.workers, train.device))


def prepare(config: RunConfig, home: Path) -> None:
    """Make the directory of a run that `resume` is to begin."""
    try:
        home.mkdir()
    except OSError as err:
        raise StorageError(f"{home}: the run directory could not be made: {err.strerror}") from err
    write_text(home / "run.toml", config.to_toml())
    write_status(home, "waiting")


def result(home: Path) -> Result:
    """What a completed run came to."""
    done = read_json(home / "results.json")
    return Result(home, done["steps"], done["numbers"], home / done["picture"])


def resume(zoo: Zoo, home: Path, show_for: Callable[..., Show] | None = None, world: World = ALONE) -> Result:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped, or begin a prepared one."""
    zoo, config, changed = open_config(zoo, home)
    status, file = read_json(home / "status.json"), home / "environment.json"
    before = read_json(file) if file.exists() or status.get("state") != "waiting" else {}
    if status.get("state") == "completed":
        return result(home)
    refuse_uneven(config.train, world)
    device = pick_device(config.train.device, world)
    placed = _load(config, device, world)
    data = placed.data
    locked = lock(home) if world.writes else contextlib.nullcontext()
    with settings(config.train, device, before.get("threads", 0)), locked:
        now = environment(zoo, config, data, device, world.places(device))
        warnings = [*changed, *differences(before, now, home)] if before else []
        if not before and world.writes:
            write_json(file, now)
        begun = bool(saved(home / "checkpoints"))
        players = build_players(zoo, config, data, device, restored=begun, world=world)
        refuse_unshareable(config, players, world)
        progress, damaged = fresh(), list[str]()
        if begun:  # one killed before its first checkpoint begins again, to the same end
            progress, damaged = restore(home / "checkpoints", players)
        show = show_for(config.train.steps, progress.step) if show_for and world.writes else Show()
        for line in (*damaged, *warnings):
            show.note(f"warning: {line}")
        if placed.why:
            show.note(placed.why)
        return _train(home, config, placed, players, progress, show, device)


def open_run(zoo: Zoo, home: Path, device: str = "auto") -> Opened:
    """A run's parts with the weights of its newest checkpoint."""
    zoo, config, changed = open_config(zoo, home)
    where = pick_device(device)
    if not saved(home / "checkpoints"):
        raise CheckpointError(f"{home}: no checkpoint yet; train it further with `mixzoo resume {home}`")
    checkpoint, state, progress, _ = newest(home / "checkpoints")
    data = _load(config, where).data
    players = build_players(zoo, config, data, where, restored=True)
    load_modules(state, modules_of(players), checkpoint)
    return Opened(config, data, players, str(where), progress.step, changed)


def open_config(zoo: Zoo, home: Path) -> tuple[Zoo, RunConfig, list[str]]:
    """The config of the run in this directory, the zoo in which its names mean what they did, and what changed since.

    CheckpointError where it is no run, or a fleet of them, or where a plugin that it needs is not there.
    """
    if (home / FLEET).is_file():
        runs = sorted(path.parent for path in home.glob(f"*/{RUN}"))
        raise CheckpointError(f"{home}: it is a fleet; name one of its runs, such as {next(iter(runs), home / 'RUN')}")
    if not (home / RUN).is_file():
        reason = "has no run.toml, so it is no run" if home.is_dir() else "no such directory"
        raise CheckpointError(f"{home}: {reason}; `mixzoo train` makes one")
    environment = home / "environment.json"
    parts = recorded(read_json(environment), str(environment)) if environment.exists() else []
    zoo = same_parts(zoo, parts, str(home))
    return zoo, resolve(zoo, home / "run.toml", {}, {}), changes(zoo, parts)


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


@contextlib.contextmanager
def settings(train: Train, device: torch.device, recorded_threads: int = 0) -> Iterator[None]:
    """torch's threads, determinism and precision as the run asks, and as they were afterwards.

    Sums depend on the number of threads in their last bits, so a resumed run takes the number it began with.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic cuBLAS asks for
    on_cpu = device.type == "cpu"  # where it costs nothing
    torch.use_deterministic_algorithms(on_cpu if train.deterministic is None else train.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow; it only finds bugs
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allowed = precision_of(train, device) in ("tf32", "bf16")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    if train.threads or recorded_threads:
        torch.set_num_threads(train.threads or recorded_threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        torch.set_num_threads(threads)


def _train(
    home: Path,
    config: RunConfig,
    placed: places.Placed,
    players: Players,
    progress: Progress,
    show: Show,
    device: torch.device,
) -> Result:
    """Train from `progress` to the end and score the run; status.json says how it ended, whatever happens."""
    world, data, pictures = players.world, placed.data, home / "pictures"
    metrics = MetricsFile(home / "metrics.jsonl", progress.metrics_bytes) if world.writes else Unwritten()

    def picture(step: int) -> None:
        drawn = views.mixes(players.autoencoder, players.mixer, data.test, str(device))
        save_png(drawn, pictures / f"step-{step:08d}.png")

    if players.mixer.k > config.train.batch_images and not progress.step:
        show.note(
            f"warning: the mixer takes k={players.mixer.k} sources from batches of {config.train.batch_images} "
            "images, so every mix holds some image twice"
        )

    def own_images(step: int) -> Int[Tensor, " own"]:
        batch = config.train.batch_images
        return world.local(order(config.train.seed, len(data.train), step * batch, batch))

    def status(state: str, exit_code: int = 0, reason: str = "") -> None:
        if world.writes:
            write_status(home, state, *(world.cause(exit_code, reason) if state == "failed" else (exit_code, reason)))

    world.on_failure(lambda exit_code, reason: status("failed", exit_code, reason))
    status("running")
    try:
        with interruptible(home):
            images = places.batches_of(placed, config.train, device, own_images)
            labelled = labelled_images(config.train, len(data.train))
            engine = build_engine(config.train, players, device, show.note)
            loop = Loop(config.train, players, engine, data, images, metrics, home / "checkpoints", show, picture,
                        labelled, committed=lambda: status("running"))  # fmt: skip
            world.begin(modules_of(players), step=progress.step, data=data.fingerprint)
            with images:
                progress = loop.run(progress)
            show.close()
            result = _finish(home, config, data, players, progress, device)
    except MixzooError as err:
        status("interrupted" if isinstance(err, Interrupted) else "failed", err.exit_code, str(err))
        raise
    except (torch.OutOfMemoryError, MemoryError) as err:
        batch = config.train.batch_images
        message = f"out of memory with batches of {batch} images; use a smaller --batch-images{less_memory()}"
        status("failed", OutOfMemoryError.exit_code, message)
        raise OutOfMemoryError(message) from err
    except KeyboardInterrupt:
        status("interrupted", 130, "stopped at once by a second signal; nothing more was committed")
        raise
    except BaseException as err:
        status("failed", 1, f"{type(err).__name__}: {err}")
        raise
    finally:
        show.close()
        metrics.close()
    status("completed")
    return result


def _finish(
    home: Path, config: RunConfig, data: Dataset, players: Players, progress: Progress, device: torch.device
) -> Result:
    picture = Path("pictures") / f"step-{progress.step:08d}.png"
    if not players.world.writes:
        return Result(home, progress.step, {}, home / picture)
    numbers = _probe_numbers(progress.probe) if players.probe is not None else {}
    finished = FinishedRun(players.autoencoder, players.mixer, data, config.train.seed, str(device))
    names = [parse_spec(spec).name for spec, _ in config.metrics]
    for (spec, metric), name in zip(config.metrics, names):
        label = name if names.count(name) == 1 else spec
        numbers |= {f"{label}.{score}": value for score, value in metric(finished).items()}
    write_json(home / "results.json", {"steps": progress.step, "numbers": numbers, "picture": str(picture)})
    return Result(home, progress.step, numbers, home / picture)


def _fitting(
    config: RunConfig, world: World = ALONE, placed: places.Placed | None = None, *, untouched: bool = False
) -> tuple[places.Placed, torch.device]:
    """The run's data, loaded if they are not given, and device; `untouched` leaves that as it is.

    Refused where they are not there, or do not go with its numbers and metrics.
    """
    device = pick_device(config.train.device, world, untouched=untouched)
    refuse_engine(config.train, device, world)
    # To know how much room a card has, one must open it; where the data would go is of no interest to who only checks.
    placed = placed or _load(config, torch.device("cpu") if untouched else device, world)
    refuse_few(placed.data.train, config.train.batch_images)
    labelled_images(config.train, len(placed.data.train))
    _refuse_metrics(config, placed.data)
    return placed, device


def _refuse_metrics(config: RunConfig, data: Dataset) -> None:
    """DataError, naming the metric, where one of the run's has no number for these data."""
    for spec, metric in config.metrics:
        try:
            getattr(metric, "refuse", lambda data: None)(data)
        except DataError as err:
            name = parse_spec(spec).name
            raise DataError(f"metric {name!r}: {err}; leave it out of metrics, or use other data") from err


def _probe_numbers(probe: ProbeRecord) -> dict[str, float]:
    return {
        "probe.best_validation_accuracy": probe.best_validation,
        "probe.best_step": float(probe.best_step),
        "probe.test_accuracy_at_best_validation": probe.test_at_best,
        "probe.last_validation_accuracy": probe.last_validation,
        "probe.last_test_accuracy": probe.last_test,
    }


def _load(config: RunConfig, device: torch.device, world: World = ALONE) -> places.Placed:
    with world.first_on_machine():
        return places.load(config.parts["dataset"], config.names["dataset"], config.train, device)
