"""A single run that a launcher begins: its directory is made here, and its process is `mixzoo resume` of it."""

from collections.abc import Sequence
from pathlib import Path

from mixzoo.core.errors import Interrupted, MixzooError
from mixzoo.core.launcher import End, Lost
from mixzoo.core.storage import check_room, write_text
from mixzoo.registry.config import RunConfig
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.directory import ROOT, check_directory_is_new, lock, new_directory, write_status
from mixzoo.runs.launcher import Watch, job_of, run_all
from mixzoo.runs.listing import RUN
from mixzoo.runs.opening import open_config
from mixzoo.runs.places import Place, check_place
from mixzoo.runs.reading import Result, known_status, result
from mixzoo.runs.room import PLANNED
from mixzoo.runs.run import check_startable
from mixzoo.runs.sweep import Entry, Sweep, check_not_under_torchrun, update, wait_until_seen
from mixzoo.training.time_limit import TimeLimit


def start_on(
    zoo: Zoo,
    config: RunConfig,
    directory: Path | None,
    place: Place,
    watch: Watch,
    flags: Sequence[str],
    limit: TimeLimit | None = None,
) -> Result:
    """Train a new run with a launcher; raises what the run itself raises, and Interrupted if this process is stopped.

    `flags` are those of `mixzoo resume` for the run's process.
    """
    check_directory_is_new(directory)
    check_not_under_torchrun()
    check_room(directory or ROOT, sum(check_startable(zoo, [config], here=place.here)), f"the run's {PLANNED}")

    def write_first_files(run_dir: Path) -> None:
        write_text(run_dir / RUN, config.to_toml())
        write_status(run_dir, "waiting")
        check_place(place, run_dir)

    with new_directory(directory, config.slug, write_first_files) as run_dir:
        pass  # whose lock the run's own process takes
    return _run(run_dir, config, place, watch, flags, limit)


def resume_on(
    zoo: Zoo, run_dir: Path, place: Place, watch: Watch, flags: Sequence[str], limit: TimeLimit | None = None
) -> Result:
    """Continue a run with a launcher, or wait for it if it is still in the launcher's queue."""
    check_not_under_torchrun()
    config = open_config(zoo, run_dir)[1]
    check_place(place, run_dir)
    return _run(run_dir, config, place, watch, flags, limit)


def _run(
    run_dir: Path, config: RunConfig, place: Place, watch: Watch, flags: Sequence[str], limit: TimeLimit | None
) -> Result:
    alone = Sweep(run_dir.parent, [Entry(run_dir.name, {}, config.train.seed)], [])
    run = alone.members[0]
    ends: list[End] = []

    def on_start(name: str) -> dict[str, str]:
        with lock(run_dir):  # raises LockedError if it is still running
            status, _ = known_status(run_dir)
            if status is None or status.state != "completed":
                write_status(run_dir, "waiting")
        return {}

    def on_end(name: str, end: End, stopping: bool) -> str:
        wait_until_seen(run_dir, end, place)
        update(alone, run, end, stopping=stopping)
        ends.append(end)
        return run.state

    stopped_by = run_all([job_of(run_dir, place, flags)], place, 1, watch, on_end, on_start, limit)
    resume_command = place.resume_command(run_dir, flags)
    if not ends:
        where = f"it stays in the queue, and {resume_command} waits for it"
        if not place.has_queue:
            where = f"it has not begun, or not stopped; {resume_command} begins or continues it"
        raise Interrupted(f"left at {stopped_by}: {where}")
    if run.state == "completed":  # whatever became of its process afterwards
        return result(run_dir)
    if isinstance(ends[0], Lost):
        lost = Interrupted if stopped_by else MixzooError
        raise lost(f"{run_dir}: {run.reason}; {resume_command} continues it")
    if ends[0] != 0:
        errors = {error.exit_code: error for error in MixzooError.__subclasses__()}
        error = errors.get(ends[0], MixzooError)
        # The run's own process knows nothing of the launcher.
        reason = run.reason.replace(f"`mixzoo resume {run_dir}`", resume_command)
        raise error(reason or f"{run_dir}: ended with {ends[0]}; {resume_command} continues it")
    raise place.contract.broken("poll", f"poll returned 0, but {run_dir} is not completed")
