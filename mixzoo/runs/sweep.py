"""A sweep: many runs from one command, each a process and a directory of its own, and the table of what they came to.

    runs/<date>-<slug>-sweep/  sweep.json  seed=1,objective.lam=5/{run.toml ... as any run, output.log}  ...

A member is an ordinary run: `mixzoo resume MEMBER` goes on with it alone, and `mixzoo train --config MEMBER/run.toml`
repeats it bit for bit. Its run.toml states its number of threads, one unless told otherwise, since sums depend on it.
"""

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev

import torch

from mixzoo.core.errors import CheckpointError, ConfigError, Interrupted, StorageError, SweepError
from mixzoo.core.gpu_pool import GpuPool, visible
from mixzoo.core.json_file import read_object, write_json
from mixzoo.core.storage import read_regular, storage_errors, write_text
from mixzoo.registry.config import RunConfig
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.directory import (
    RUN,
    SWEEP,
    Status,
    check_directory_is_new,
    is_there,
    last_committed,
    lock,
    new_directory,
    read_status,
    write_status,
)
from mixzoo.runs.grid import Member, slug
from mixzoo.runs.opening import open_config
from mixzoo.runs.processes import Watch, run_all
from mixzoo.runs.run import check_startable, prepare, result
from mixzoo.training.devices import pick_device

GPU_JOBS = 4  # processes that share a card
LOG = "output.log"
LONGEST_LOG = 1_000_000_000  # bytes


@dataclass
class Entry:
    """What sweep.json says of a member."""

    name: str
    point: dict[str, str]  # where in the grid: key -> value; seeds are not told apart by it
    seed: int
    state: str = "waiting"  # until its process has ended: completed, interrupted or failed
    exit: int | None = None  # status of its last process; negative for the signal that killed it
    reason: str = ""  # why it failed, or was interrupted
    steps: int = 0
    numbers: dict[str, float] = field(default_factory=dict)  # its results, once it is completed
    run: str = ""  # its run file, by which it can be made again; '' in sweeps of older versions


@dataclass(frozen=True)
class Average:
    """Scores of the completed members at one point of the grid."""

    point: dict[str, str]
    runs: int
    mean: dict[str, float]
    std: dict[str, float]  # sample standard deviation over seeds; none where there is one run


@dataclass
class Sweep:
    """A sweep's directory and its members."""

    directory: Path
    members: list[Entry]
    command: list[str]

    @property
    def failed(self) -> list[Entry]:
        return [member for member in self.members if member.state == "failed"]

    @property
    def averages(self) -> list[Average]:
        """One for each point of the grid, in the sweep's order."""
        points = [member.point for member in self.members]
        return [self._average(point) for i, point in enumerate(points) if point not in points[:i]]

    def _average(self, point: Mapping[str, str]) -> Average:
        done = [m.numbers for m in self.members if m.point == point and m.state == "completed"]
        values = {name: [numbers[name] for numbers in done if name in numbers] for numbers in done for name in numbers}
        spread = {name: stdev(scores) for name, scores in values.items() if len(scores) > 1}
        return Average(dict(point), len(done), {name: mean(scores) for name, scores in values.items()}, spread)


def start(
    zoo: Zoo, members: Sequence[Member], directory: Path | None, jobs: int | None, watch: Watch, flags: Sequence[str]
) -> Sweep:
    """Train every member in a new sweep directory; nothing is made where one of them would be refused.

    `flags` are those that a member's own command needs to find its plugins. Raises Interrupted after a signal; a member
    that fails leaves the others alone, and `check_none_failed` says so at the end.
    """
    check_directory_is_new(directory)
    configs = {member.name: member.config for member in members}
    cards = _cards(configs)
    at_once = _at_once(jobs, configs, cards)
    _check_not_under_torchrun()
    _check_points(zoo, members)
    entries = [Entry(m.name, dict(m.point), m.config.train.seed, run=m.config.to_toml()) for m in members]

    def fill(run_dir: Path) -> None:
        for member in members:
            prepare(member.config, run_dir / member.name)
        _write(Sweep(run_dir, entries, sys.argv[1:]))

    with new_directory(directory, slug(members), fill) as run_dir:
        return _run(Sweep(run_dir, entries, sys.argv[1:]), list(configs), at_once, cards, watch, flags)


def resume(zoo: Zoo, run_dir: Path, jobs: int | None, watch: Watch, flags: Sequence[str]) -> Sweep:
    """Go on with every member that is not completed, from its newest checkpoint or from its beginning.

    One whose directory is gone is made again. One that cannot be read has failed and leaves the others alone. Raises
    LockedError if one still runs: members outlive a sweep's process that was killed outright.
    """
    sweep = _read(run_dir)
    _check_not_under_torchrun()
    with lock(run_dir):
        configs, unreadable = dict[str, RunConfig](), dict[str, str]()
        for member in sweep.members:
            try:
                _make_again(sweep, member)
                config = open_config(zoo, run_dir / member.name)[1]
                read_status(run_dir / member.name)
                configs[member.name] = config
            except (CheckpointError, ConfigError, StorageError) as err:
                unreadable[member.name] = str(err)
        if not configs and sweep.members:
            raise CheckpointError(unreadable[sweep.members[0].name])
        cards = _cards(configs)
        return _run(sweep, list(configs), _at_once(jobs, configs, cards), cards, watch, flags, unreadable)


def _make_again(sweep: Sweep, member: Entry) -> None:
    """The directory of a member from its run file in sweep.json, if it is gone."""
    run_dir = sweep.directory / member.name
    if is_there(run_dir / RUN):
        return
    if not member.run:
        raise CheckpointError(f"{run_dir}: it is gone, and sweep.json is of an older mixzoo, without its run file")
    with storage_errors(run_dir, "the run directory could not be made"):
        run_dir.mkdir(exist_ok=True)
    write_text(run_dir / RUN, member.run)


def is_sweep(run_dir: Path) -> bool:
    """Whether the directory is a sweep's."""
    return is_there(run_dir) and (run_dir / SWEEP).is_file()


def check_none_failed(sweep: Sweep) -> None:
    """SweepError that names the members that failed."""
    if failed := sweep.failed:
        named = "; ".join(f"{member.name} ({_short(member)})" for member in failed)
        raise SweepError(
            f"{len(failed)} of {len(sweep.members)} runs failed: {named}. `mixzoo resume {sweep.directory}` tries "
            "them again"
        )


def _run(
    sweep: Sweep,
    readable: Sequence[str],
    at_once: int,
    cards: GpuPool,
    watch: Watch,
    flags: Sequence[str],
    unreadable: Mapping[str, str] = {},
) -> Sweep:
    """Run a process for each readable member that is not completed; sweep.json is kept up to date."""
    members = {member.name: member for member in sweep.members}
    for name, member in members.items():
        _update(sweep, member, None, stopping=False)
        if name in unreadable:
            member.state, member.reason = "failed", unreadable[name]
    todo = [name for name in readable if members[name].state != "completed"]
    for name in todo:
        with lock(sweep.directory / name):
            pass  # no one else is at work on it

    def begins(name: str) -> dict[str, str]:
        write_status(sweep.directory / name, "waiting")  # so that what is said of its end is said by this process of it
        return cards.take(name, at_once)

    def ended(name: str, exit_status: int, stopping: bool) -> str:
        cards.leave(name)
        _update(sweep, members[name], exit_status, stopping=stopping)
        _write(sweep)
        return members[name].state

    command = [sys.executable, "-m", "mixzoo", "resume"]
    commands = {name: [*command, str(sweep.directory / name), *flags] for name in todo}
    logs = {name: sweep.directory / name / LOG for name in todo}
    stopped = run_all(commands, logs, at_once, watch, ended, begins)
    _write(sweep)
    if any(member.state in ("waiting", "interrupted") for member in sweep.members):
        completed = sum(member.state == "completed" for member in sweep.members)
        by = f"stopped by {stopped}" if stopped else "runs were stopped one by one"
        raise Interrupted(
            f"{by} with {completed} of {len(members)} completed; `mixzoo resume {sweep.directory}` goes on with "
            "the others"
        )
    return sweep


def _update(sweep: Sweep, member: Entry, exit_status: int | None, *, stopping: bool) -> None:
    """What a member's directory and the status of its process, if it has had one, say of it now."""
    run_dir = sweep.directory / member.name
    member.exit, member.reason = exit_status, ""
    try:
        status = read_status(run_dir) or Status("waiting")
        if status.state == "completed":
            done = result(run_dir)
            member.state, member.steps, member.numbers = "completed", done.steps, dict(done.numbers)
            return
    except CheckpointError as err:
        member.state, member.reason = "failed", str(err)
        return
    member.state, member.steps = "waiting", last_committed(run_dir) or 0
    if exit_status is None:
        return
    told = status.exit == exit_status and status.state in ("interrupted", "failed")
    member.reason = status.reason if told else _reason(run_dir, exit_status)
    stopped = exit_status == Interrupted.exit_code or (stopping and (exit_status < 0 or status.exit == 130))
    member.state = "interrupted" if stopped else "failed"


def _reason(run_dir: Path, exit_status: int) -> str:
    """Why a process ended that left no word in status.json: its signal, or the last line that it printed."""
    if exit_status < 0:
        number = -exit_status
        return f"killed by {signal.Signals(number).name if number in list(signal.Signals) else f'signal {number}'}"
    try:
        lines = read_regular(run_dir / LOG, LONGEST_LOG).decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].removeprefix("mixzoo: ") if lines else f"exit code {exit_status}"


def _short(member: Entry) -> str:
    return member.reason.split("; ")[0]


def _cards(configs: Mapping[str, RunConfig]) -> GpuPool:
    """The cards of the machine, and which members run on them."""
    named = {config.train.device for config in configs.values()}
    found = {name: pick_device(name, untouched=True) for name in named}  # the runs open them, in their own processes
    return GpuPool({name: found[config.train.device] for name, config in configs.items()}, visible())


def _at_once(jobs: int | None, configs: Mapping[str, RunConfig], cards: GpuPool) -> int:
    """Processes at a time: as asked, else one for each core and its threads, or a few that share each GPU."""
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}: must be an integer >= 1; leave it out for one run for each core")
    if jobs is not None:
        return jobs
    if cards.wanted:
        return GPU_JOBS * cards.wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = [config.train.threads or torch.get_num_threads() for config in configs.values()]
    return max(1, cores // max(threads))


def _check_points(zoo: Zoo, members: Sequence[Member]) -> None:
    """Refuse what a run alone would refuse, looked for once at each point of the grid."""
    points = [member.point for member in members]
    check_startable(zoo, [member.config for i, member in enumerate(members) if member.point not in points[:i]])


def _check_not_under_torchrun() -> None:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("a sweep starts processes of its own; leave torchrun out, or train one run with it")


def _write(sweep: Sweep) -> None:
    members = [asdict(member) for member in sweep.members]
    averages = [asdict(average) for average in sweep.averages]
    write_json(sweep.directory / SWEEP, {"command": sweep.command, "members": members, "averages": averages})


def _read(run_dir: Path) -> Sweep:
    """The sweep in this directory; CheckpointError where its file is damaged."""
    found = read_object(run_dir / SWEEP)
    try:
        members = [
            Entry(
                name=row.text("name"),
                point=row.texts("point"),
                seed=row.integer("seed"),
                state=row.text("state"),
                exit=row.integer_or_none("exit", -255, 255),
                reason=row.text("reason"),
                steps=row.integer("steps"),
                numbers=row.numbers("numbers"),
                run=row.lines("run", ""),
            )
            for row in found.rows("members")
        ]
        if not all(re.fullmatch(r"[A-Za-z0-9._=,:+-]+", m.name) and m.name.strip(".") for m in members):
            raise CheckpointError(f"{run_dir / SWEEP}: a name that is no member's")
        return Sweep(run_dir, members, found.text_list("command"))
    except CheckpointError as err:
        raise CheckpointError(
            f"{run_dir / SWEEP}: its table of members is damaged ({err}); go on with each member by `mixzoo "
            "resume MEMBER`"
        ) from err
