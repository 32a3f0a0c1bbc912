"""What a job of Slurm does: it runs one member, or a few that share a GPU, and writes how each has ended."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any

from mixzoo import Job
from mixzoo_launchers.member import POLL_SECONDS, STOPPED, Member, stop

SUBMITTED, ENDED = ".slurm-job", ".slurm-end"  # in the directory of a run: the id of its job; how it has ended


def write(path: Path, record: Mapping[str, object]) -> None:
    """Write a small file at once."""
    temporary = path.with_name(f"{path.name}-{os.getpid()}")
    temporary.write_text(json.dumps(record))
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    """What `write` has written there; {} if there is nothing."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


@dataclass
class Group:
    """The runs of a job. submitit calls it in the job, and again after each requeue."""

    jobs: tuple[Job, ...]
    retries: int
    stops: int = 0  # how often it was stopped in time and queued again
    members: list[Member] = field(default_factory=list)

    def __call__(self) -> None:
        """Run all that have not ended. A job that Slurm has begun too often is given up."""
        self.members = [Member(job) for job in self.jobs if not read(job.directory / ENDED)]
        lost = int(os.environ.get("SLURM_RESTART_COUNT", 0)) - self.stops
        if lost > self.retries:
            for member in self.members:
                _write_end(member.job, None, f"its job was lost {lost} times, with the node or what Slurm runs there")
            return
        while running := [member for member in self.members if not self._has_ended(member)]:
            self.members = running
            sleep(POLL_SECONDS)

    def checkpoint(self) -> Any:
        """Called by submitit at Slurm's warning: stop, and say what is to be queued again; None if all have ended."""
        stop(self.members)
        if all([self._has_ended(member) for member in self.members]):
            return None
        import submitit

        return submitit.helpers.DelayedSubmission(Group(self.jobs, self.retries, self.stops + 1))

    def _has_ended(self, member: Member) -> bool:
        code = member.poll()
        if code is not None and code != STOPPED:
            _write_end(member.job, code)
        return code is not None and code != STOPPED


def job_id() -> str:
    """Of the job of this process, as squeue prints it."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _write_end(job: Job, code: int | None, reason: str = "") -> None:
    write(job.directory / ENDED, {"job": job_id(), "exit": code, "reason": reason})
