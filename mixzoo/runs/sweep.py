"""A sweep: many runs from one command, each in its own process and directory, and a table of their results.

    runs/<date>-<slug>-sweep/  sweep.json  seed=1,objective.lam=5/{run.toml ... as any run, output.log}  ...

A member is an ordinary run: `mixzoo resume MEMBER` continues it alone, and `mixzoo train --config MEMBER/run.toml`
repeats it bit for bit. Its run.toml states its number of threads (default 1), because sums depend on it.
"""

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from time import monotonic, sleep

import torch

from mixzoo.core.errors import INTERRUPTED, CheckpointError, ConfigError, Interrupted, StorageError, SweepError
from mixzoo.core.gpu_pool import GpuPool, visible
from mixzoo.core.json_file import read_object, write_json
from mixzoo.core.launcher import End, Lost
from mixzoo.core.storage import check_room, read_regular, storage_errors, write_text
from mixzoo.registry.config import RunConfig
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.directory import (
    ROOT,
    Status,
    check_directory_is_new,
    is_there,
    last_committed,
    lock,
    new_directory,
    write_status,
)
from mixzoo.runs.grid import Member, slug
from mixzoo.runs.launcher import LOG, Watch, job_of, run_all
from mixzoo.runs.listing import RUN, SWEEP
from mixzoo.runs.opening import open_config
from mixzoo.runs.places import Place, check_place, place_for
from mixzoo.runs.reading import known_status, result
from mixzoo.runs.room import PLANNED
from mixzoo.runs.run import check_startable, prepare
from mixzoo.training.devices import pick_device
from mixzoo.training.time_limit import TimeLimit

GPU_JOBS = 4  # processes that share a GPU
LONGEST_LOG = 1_000_000_000  # bytes
SEEN_SECONDS = 60.0  # in which a network file system shows what another machine has written


@dataclass
class Entry:
    """A member as recorded in sweep.json."""

    name: str
    point: dict[str, str]  # key -> value in the grid, without the seed
    seed: int
    state: str = "waiting"  # then completed, interrupted or failed, once its process has ended
    exit: int | None = None  # exit status of its last process; -n if signal n killed it
    reason: str = ""  # why it failed or was interrupted
    steps: int = 0
    numbers: dict[str, float] = field(default_factory=dict)  # its results, if it is completed
    run: str = ""  # its run.toml, to make its directory again; '' in sweeps of older versions


@dataclass(frozen=True)
class Average:
    """Scores averaged over the completed members at one point of the grid."""

    point: dict[str, str]
    runs: int
    mean: dict[str, float]
    std: dict[str, float]  # sample standard deviation over seeds; empty for a single run


@dataclass
class Sweep:
    """A sweep's directory and its members."""

    directory: Path
    members: list[Entry]
    command: list[str]
    resume_command: str = ""  # what continues it as it was begun, once it runs

    @property
    def failed(self) -> list[Entry]:
        return [member for member in self.members if member.state == "failed"]

    @property
    def averages(self) -> list[Average]:
        """An average for each point of the grid, in the order of the sweep."""
        points = [member.point for member in self.members]
        return [self._average(point) for i, point in enumerate(points) if point not in points[:i]]

    def _average(self, point: Mapping[str, str]) -> Average:
        runs = [m.numbers for m in self.members if m.point == point and m.state == "completed"]
        values = {name: [numbers[name] for numbers in runs if name in numbers] for numbers in runs for name in numbers}
        std = {name: stdev(scores) for name, scores in values.items() if len(scores) > 1}
        return Average(dict(point), len(runs), {name: mean(scores) for name, scores in values.items()}, std)


def start(
    zoo: Zoo,
    members: Sequence[Member],
    directory: Path | None,
    jobs: int | None,
    watch: Watch,
    flags: Sequence[str],
    limit: TimeLimit | None = None,
    on: str | None = None,
) -> Sweep:
    """Train every member in a new sweep directory. If any config is invalid, no directory is made.

    `on` is the spec of the launcher that begins their processes, by default on this machine; `flags` are the
    command-line flags with which a member's process finds its plugins. Raises Interrupted after a signal, or when the
    time `limit` is over: running members stop, and others wait. If a member fails, the others still run; call
    `check_none_failed` afterwards.
    """
    check_directory_is_new(directory)
    place = place_for(zoo, on, limit)
    configs = {member.name: member.config for member in members}
    pool, at_once = _room(jobs, configs, place)
    check_not_under_torchrun()
    _check_points(zoo, members, directory or ROOT, place)
    entries = [Entry(m.name, dict(m.point), m.config.train.seed, run=m.config.to_toml()) for m in members]

    def write_first_files(sweep_dir: Path) -> None:
        for member in members:
            prepare(member.config, sweep_dir / member.name)
        _write(Sweep(sweep_dir, entries, sys.argv[1:]))
        check_place(place, sweep_dir)

    with new_directory(directory, slug(members), write_first_files) as sweep_dir:
        sweep = Sweep(sweep_dir, entries, sys.argv[1:])
        return _run(sweep, list(configs), place, at_once, pool, watch, flags, limit=limit)


def resume(
    zoo: Zoo,
    sweep_dir: Path,
    jobs: int | None,
    watch: Watch,
    flags: Sequence[str],
    limit: TimeLimit | None = None,
    on: str | None = None,
) -> Sweep:
    """Continue every member that is not completed, from its newest checkpoint or from step 0.

    A member whose directory is gone is made again. A member that cannot be read counts as failed, and the others still
    run. Raises LockedError if a member is still running: members outlive a sweep process that was killed with SIGKILL.
    One that is still in the queue of the launcher `on` is only waited for.
    """
    sweep = _read(sweep_dir)
    check_not_under_torchrun()
    place = place_for(zoo, on, limit)
    with lock(sweep_dir):
        check_place(place, sweep_dir)
        configs, unreadable = dict[str, RunConfig](), dict[str, str]()
        for member in sweep.members:
            try:
                _restore_directory(sweep, member)
                configs[member.name] = open_config(zoo, sweep_dir / member.name)[1]
            except (CheckpointError, ConfigError, StorageError) as err:
                unreadable[member.name] = str(err)
        if not configs and sweep.members:
            raise CheckpointError(unreadable[sweep.members[0].name])
        pool, at_once = _room(jobs, configs, place)
        return _run(sweep, list(configs), place, at_once, pool, watch, flags, unreadable, limit)


def _restore_directory(sweep: Sweep, member: Entry) -> None:
    """Make the directory of a member again, from its run.toml in sweep.json, if it is gone."""
    run_dir = sweep.directory / member.name
    if is_there(run_dir / RUN):
        return
    if not member.run:
        raise CheckpointError(
            f"{run_dir}: it is gone, and sweep.json was written by an older mixzoo, without its run file"
        )
    with storage_errors(run_dir, "the run directory could not be made"):
        run_dir.mkdir(exist_ok=True)
    write_text(run_dir / RUN, member.run)


def is_sweep(run_dir: Path) -> bool:
    """Whether the directory is that of a sweep, not of a run."""
    return is_there(run_dir) and (run_dir / SWEEP).is_file()


def check_none_failed(sweep: Sweep) -> None:
    """Raises SweepError, with the name and reason of each, if any member failed."""
    if failed := sweep.failed:
        reasons = "; ".join(f"{member.name} ({member.reason.split('; ')[0]})" for member in failed)
        raise SweepError(
            f"{len(failed)} of {len(sweep.members)} runs failed: {reasons}. {sweep.resume_command} tries them again"
        )


def _run(
    sweep: Sweep,
    readable: Sequence[str],
    place: Place,
    at_once: int,
    pool: GpuPool,
    watch: Watch,
    flags: Sequence[str],
    unreadable: Mapping[str, str] = {},
    limit: TimeLimit | None = None,
) -> Sweep:
    """Run a process for each readable member that is not completed, and keep sweep.json up to date."""
    sweep.resume_command = place.resume_command(sweep.directory, flags)

    # A member may have been completed alone since sweep.json was written, so its directory decides.
    members = {member.name: member for member in sweep.members}
    for name, member in members.items():
        update(sweep, member, None, stopping=False)
        if name in unreadable:
            member.state, member.reason = "failed", unreadable[name]

    # Raises LockedError before anything is started, if a member is still running; one that runs in the launcher's queue
    # is no trouble.
    unfinished = [name for name in readable if members[name].state != "completed"]
    for name in unfinished if not place.has_queue else ():
        with lock(sweep.directory / name):
            pass

    def on_start(name: str) -> dict[str, str]:
        # An older failure is not to be taken for that of this process.
        with lock(sweep.directory / name) if place.has_queue else nullcontext():
            write_status(sweep.directory / name, "waiting")
        return pool.take(name, at_once) if place.here else {}

    def on_end(name: str, end: End, stopping: bool) -> str:
        pool.leave(name)
        wait_until_seen(sweep.directory / name, end, place)
        update(sweep, members[name], end, stopping=stopping)
        _write(sweep)
        return members[name].state

    launched = [job_of(sweep.directory / name, place, flags) for name in unfinished]
    stopped_by = run_all(launched, place, at_once, watch, on_end, on_start, limit)
    _write(sweep)

    # A member can also be stopped alone, by a signal to its own process.
    if any(member.state in ("waiting", "interrupted") for member in sweep.members):
        completed = sum(member.state == "completed" for member in sweep.members)
        if stopped_by and place.has_queue:
            raise Interrupted(
                f"left at {stopped_by} with {completed} of {len(members)} completed; the others stay in the queue, and "
                f"{sweep.resume_command} waits for them again"
            )
        cause = f"stopped by {stopped_by}" if stopped_by else "runs were stopped one by one"
        raise Interrupted(
            f"{cause} with {completed} of {len(members)} completed; {sweep.resume_command} continues the others"
        )
    return sweep


def update(sweep: Sweep, member: Entry, end: End | None, *, stopping: bool) -> None:
    """Set a member's state from its directory and from how its process has ended; None if no process has run."""
    run_dir, exit_status = sweep.directory / member.name, None if isinstance(end, Lost) else end
    member.exit, member.reason = exit_status, ""
    try:
        status = known_status(run_dir)[0] or Status("waiting")  # a damaged one is written again by the process
        if status.state == "completed":
            results = result(run_dir)
            member.state, member.steps, member.numbers = "completed", results.steps, dict(results.numbers)
            return
    except CheckpointError as err:
        member.state, member.reason = "failed", str(err)
        return
    member.state, member.steps = "waiting", last_committed(run_dir) or 0
    if isinstance(end, Lost):
        own = f"{status.reason} (then: {end.reason})" if status.state == "failed" else end.reason
        member.state, member.reason = "interrupted" if stopping else "failed", own
    if exit_status is None:
        return

    # status.json has the reason, unless the process died before it could write it.
    recorded = status.exit == exit_status and status.state in ("interrupted", "failed")
    member.reason = status.reason if recorded else _reason(run_dir, exit_status)
    stopped = exit_status == Interrupted.exit_code or (stopping and (exit_status < 0 or exit_status == INTERRUPTED))
    member.state = "interrupted" if stopped else "failed"


def wait_until_seen(run_dir: Path, end: End, place: Place) -> None:
    """Wait until a run that ended well elsewhere is seen here as completed.

    A network file system may show a file that another machine has replaced half a minute later (NFS: acdirmin).
    """
    until = monotonic() + SEEN_SECONDS
    while end == 0 and not place.here and monotonic() < until:
        with suppress(CheckpointError):  # `update` says what is wrong with it
            status, _ = known_status(run_dir)
            if status is not None and status.state == "completed":
                return
        sleep(place.poll_seconds)


def _reason(run_dir: Path, exit_status: int) -> str:
    """Why a process ended, if status.json does not say: the signal that killed it, or the last line it printed."""
    if exit_status == 0:
        return "the launcher reports exit code 0, but the run is not completed"
    if exit_status < 0:
        number = -exit_status
        return f"killed by {signal.Signals(number).name if number in list(signal.Signals) else f'signal {number}'}"
    try:
        lines = read_regular(run_dir / LOG, LONGEST_LOG).decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].removeprefix("mixzoo: ") if lines else f"exit code {exit_status}"


def _room(jobs: int | None, configs: Mapping[str, RunConfig], place: Place) -> tuple[GpuPool, int]:
    """The GPUs of this machine for members that train here, and the number of members that train at a time.

    Elsewhere it is the number that the launcher says, else all of them.
    """
    pool = _gpu_pool(configs if place.here else {})
    if place.here or jobs is not None:
        return pool, _at_once(jobs, configs, pool)
    return pool, place.slots or max(1, len(configs))


def _gpu_pool(configs: Mapping[str, RunConfig]) -> GpuPool:
    """The GPUs of this machine, shared by the members that train on a GPU."""
    names = {config.train.device for config in configs.values()}
    devices = {name: pick_device(name, untouched=True) for name in names}  # members open them, in their own processes
    return GpuPool({name: devices[config.train.device] for name, config in configs.items()}, visible())


def _at_once(jobs: int | None, configs: Mapping[str, RunConfig], pool: GpuPool) -> int:
    """The number of processes at a time: `jobs`, else GPU_JOBS for each GPU, else cores / threads of a run."""
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}: must be an integer >= 1; leave it out to run one on each core")
    if jobs is not None:
        return jobs
    if pool.wanted:
        return GPU_JOBS * pool.wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = [config.train.threads or torch.get_num_threads() for config in configs.values()]
    return max(1, cores // max(threads))


def _check_points(zoo: Zoo, members: Sequence[Member], directory: Path, place: Place) -> None:
    """Make the checks of `start` in run.py once for each point of the grid, before anything is made."""
    points = [member.point for member in members]
    firsts = [member for i, member in enumerate(members) if member.point not in points[:i]]
    sizes = check_startable(zoo, [member.config for member in firsts], here=place.here)
    needed = sum(size * points.count(member.point) for member, size in zip(firsts, sizes))
    check_room(directory, needed, f"the {PLANNED} of {len(members)} runs")


def check_not_under_torchrun() -> None:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("a sweep starts its own processes; leave torchrun out, or train a single run with it")


def _write(sweep: Sweep) -> None:
    members = [asdict(member) for member in sweep.members]
    averages = [asdict(average) for average in sweep.averages]
    write_json(sweep.directory / SWEEP, {"command": sweep.command, "members": members, "averages": averages})


def _read(sweep_dir: Path) -> Sweep:
    """The sweep in this directory. Raises CheckpointError if sweep.json is damaged."""
    path = sweep_dir / SWEEP
    record = read_object(path)
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
            for row in record.rows("members")
        ]
        if not all(re.fullmatch(r"[A-Za-z0-9._=,:+-]+", m.name) and m.name.strip(".") for m in members):
            raise CheckpointError(f"{path}: an invalid name of a member")
        return Sweep(sweep_dir, members, record.text_list("command"))
    except CheckpointError as err:
        raise CheckpointError(
            f"{path}: its table of members is damaged ({err}); continue each member alone with `mixzoo resume MEMBER`"
        ) from err
