"""Replays what a run has written into a logger: nothing is added to a training step, and the run is only read.

logs/<logger>/<run>/  position.json (up to which step the logger has it), and whatever the logger itself writes there
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Any, NamedTuple

from mixzoo.core.errors import CheckpointError, ConfigError, path_excerpt
from mixzoo.core.json_file import read_object, write_json
from mixzoo.core.logger import LoggedRun, Logger, LogSession
from mixzoo.core.storage import storage_errors
from mixzoo.registry.contract import Contract, check_follows_protocol, described
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.directory import lock
from mixzoo.runs.listing import SWEEP, RunRecord, dotted, find_runs
from mixzoo.training.logs import LARGEST, read_metrics

LOGS = Path("logs")
POSITION = "position.json"
KINDS = ("train", "evaluate", "picture")  # of what has a step, in the order in which one step has them
ENDED = ("completed", "interrupted", "failed")
POLL_SECONDS = 1.0


class Event(NamedTuple):
    """What a run wrote at a step. Events sort in the order in which it wrote them."""

    step: int
    order: int  # index in KINDS
    value: Any  # a line of the metrics, or the path of a picture


@dataclass
class Position:
    """What a logger has of a run: the last step of each kind, 0 for none, and the scores."""

    run: str  # absolute path
    started: str = ""  # when the run was, once it has a checkpoint; before that a resume starts it anew
    steps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    results: dict[str, float] = field(default_factory=dict)


class Tracker:
    """The replay of one run into one logger; a context, in which its folder is locked and its session is open."""

    def __init__(self, logger: Logger, contract: Contract, record: RunRecord, folder: Path) -> None:
        self.path, self.folder = record.path, folder
        self._logger, self._contract = logger, contract
        self._session: LogSession | None = None
        self._exit = ExitStack()

    def __enter__(self) -> "Tracker":
        with storage_errors(self.folder, "the folder of the log could not be made"):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._exit.enter_context(lock(self.folder))
        try:
            self._position = self._read_position()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._exit:
            if self._session is None:
                return
            with suppress(*[Exception] if err else []):  # the first error is the one to report
                self._contract.call("close", self._session.close)

    def replay(self) -> str:
        """Log what the run has written since the last replay; returns its state.

        Raises CheckpointError if its files cannot be read, PluginError if the logger fails.
        """
        # The state is read before the lines: of a run that has ended, all of them are there.
        record = _record(self.path)
        if record.step and not self._position.started:
            self._position.started = _started(self.path)
        events = [e for e in _events(self.path) if e.step > self._position.steps[KINDS[e.order]]]
        results = dict(record.numbers) if record.state == "completed" else {}
        scored = bool(results) and results != self._position.results
        if not events and not scored:
            return record.state

        # The position is kept even if the logger fails half way, so that the next call repeats nothing.
        session = self._opened(record)
        try:
            for event in events:
                self._log(session, event)
                self._position.steps[KINDS[event.order]] = event.step
            if scored:
                self._contract.call("finish", session.finish, results)
                self._position.results = results
        finally:
            write_json(self.folder / POSITION, asdict(self._position))
        return record.state

    def _log(self, session: LogSession, event: Event) -> None:
        if isinstance(event.value, Path):
            self._contract.call("picture", session.picture, event.step, event.value)
        else:
            self._contract.call("scalars", session.scalars, event.step, event.value)

    def _opened(self, record: RunRecord) -> LogSession:
        """The session, opened when there is first something to log."""
        if self._session is None:
            settings = {key: value if isinstance(value, str | int | float) else str(value)
                        for key, value in dotted(record.table).items()}  # fmt: skip
            run = LoggedRun(run_name(self.path), self.path, self.folder, settings)
            session = self._contract.call("open", self._logger.open, run)
            if not isinstance(session, LogSession):
                raise self._contract.broken("open", f"open returned {described(session)}")
            self._session = session
        return self._session

    def _read_position(self) -> Position:
        """What the logger has already. Raises ConfigError if it is another run's."""
        file, run = self.folder / POSITION, str(self.path.resolve())
        if not file.exists():
            return Position(run)
        found = read_object(file)
        steps = found.part("steps")
        position = Position(found.text("run"), found.text("started", ""),
                            {kind: steps.integer(kind) for kind in KINDS}, found.numbers("results"))  # fmt: skip
        if position.run != run:
            raise ConfigError(
                f"{path_excerpt(self.folder)}: holds the log of {position.run}; give another folder with --logs, or "
                "remove it to log this run anew"
            )
        if position.started and position.started != _started(self.path):
            raise ConfigError(
                f"{path_excerpt(self.folder)}: holds the log of an earlier run in {path_excerpt(self.path)}, started "
                f"{position.started}; remove it, or give another folder with --logs"
            )
        return position


def track_runs(
    zoo: Zoo,
    records: Sequence[RunRecord],
    to: str,
    logs: Path = LOGS,
    *,
    follow: bool = False,
    wait: Callable[[], None] = lambda: sleep(POLL_SECONDS),
    goes_on: Callable[[], bool] | None = None,
) -> list[Path]:
    """Log these runs with the logger that the spec `to` names; returns the folder of each log.

    A later call continues where this one ended. With `follow`, runs that go on are logged until each has ended or, if
    it is given, until `goes_on()` is false; `wait` is called between two looks at them. Raises ConfigError for an
    unknown logger, two runs of one name or a folder with another run's log, LockedError if another process is logging
    there, PluginError if the logger fails; CheckpointError, when all others are logged, if a run cannot be read.
    """
    logger, contract, name = logger_named(zoo, to)
    trackers: dict[Path, Tracker] = {}
    for record in records:
        folder = logs / name / run_name(record.path)
        former = trackers.setdefault(folder, Tracker(logger, contract, record, folder))
        if former.path.resolve() != record.path.resolve():
            raise ConfigError(
                f"{path_excerpt(record.path)}: its log would be in {path_excerpt(folder)}, as that of "
                f"{path_excerpt(former.path)}; track them one at a time, each with its own --logs"
            )
    damaged: list[CheckpointError] = []
    if not follow:
        for tracker in trackers.values():
            try:
                with tracker:
                    tracker.replay()
            except CheckpointError as err:
                damaged.append(err)
    with ExitStack() as stack:
        following = [stack.enter_context(tracker) for tracker in trackers.values()] if follow else []
        while following:
            last = goes_on is not None and not goes_on()  # asked before the replay, which is then complete
            going = []
            for tracker in following:
                try:
                    state = tracker.replay()
                except CheckpointError as err:
                    damaged.append(err)
                    continue
                if goes_on is not None or state not in ENDED:
                    going.append(tracker)
            following = [] if last else going
            if following:
                wait()
    if damaged:
        more = f"; and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise CheckpointError(f"{damaged[0]}{more}") from damaged[0]
    return list(trackers)


def logger_named(zoo: Zoo, to: str) -> tuple[Logger, Contract, str]:
    """The logger of this spec, its contract, and the name of its folder. Raises ConfigError if there is none."""
    spec = zoo.spec("logger", to)
    recipe = zoo.recipe("logger", spec)
    contract = Contract("logger", spec.name, zoo.plugin_of("logger", spec.name))
    check_follows_protocol(contract, recipe)
    contract.check_takes("open", recipe.open, "run")
    logger: Logger = recipe
    return logger, contract, zoo.find("logger", spec.name).name


def run_name(path: Path) -> str:
    """The name of a run in a log: of its directory, after that of its sweep if it has one."""
    whole = path.resolve()
    return f"{whole.parent.name}/{whole.name}" if (whole.parent / SWEEP).is_file() else whole.name


def _record(path: Path) -> RunRecord:
    """The run in a directory. Raises CheckpointError if it is gone or damaged."""
    found = find_runs([path]) if path.is_dir() else []
    if len(found) != 1 or found[0].problem:
        raise CheckpointError(found[0].problem if found else f"{path_excerpt(path)}: no run is there any more")
    return found[0]


def _started(path: Path) -> str:
    file = path / "environment.json"
    return read_object(file).text("started", "") if file.is_file() else ""


def _events(path: Path) -> list[Event]:
    """All that the run has written so far, in order. Raises CheckpointError if the metrics cannot be read."""
    file = path / "metrics.jsonl"
    lines = read_metrics(file) if file.exists() else []
    events = [
        Event(line["step"], KINDS.index(line["kind"]), _scalars(line)) for line in lines if line.get("kind") in KINDS
    ]
    # A picture is drawn after the line of its evaluation, so one without a line is a leftover of a run cut back.
    evaluated = {event.step for event in events if KINDS[event.order] == "evaluate"}
    for picture in (path / "pictures").glob("step-*.png"):
        step = int(number) if (number := picture.stem.removeprefix("step-")).isdecimal() else -1
        if step in evaluated:
            events.append(Event(step, KINDS.index("picture"), picture))
    return sorted(events, key=lambda event: event[:2])


def _scalars(line: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of a line; D(real) is D/real: most loggers refuse or replace a bracket in a name."""
    return {
        re.sub(r"\((.*)\)", r"/\1", name): float(value)
        for name, value in line.items()
        if name != "step" and type(value) in (int, float) and abs(value) < LARGEST
    }
