"""Jobs of a Slurm cluster, submitted by submitit."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from shutil import which
from time import monotonic
from typing import Annotated, Any

from annotated_types import Ge

from mixzoo import ConfigError, Job, Lost
from mixzoo_launchers.slurm_job import ENDED, SUBMITTED, Group, read, write

FOLDER = ".slurm"  # in the directory of the sweep or run: what submitit and Slurm write about the jobs
RUNS_PER_GPU = "MIXZOO_RUNS_PER_GPU"
ANSWER_SECONDS = 60.0  # that a command of Slurm may take
ASK_SECONDS = 10.0  # between two calls of squeue
GONE_SECONDS = (
    30.0  # for which the end of a job may be on its way through the file system, or its requeue through Slurm
)
MOST_TIMEOUTS = 1_000_000  # a run goes on in as many jobs as it needs
OVER = {"BOOT_FAIL", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "PREEMPTED", "REVOKED", "TIMEOUT"}
FINAL = {
    "CANCELLED": "was cancelled",
    "OUT_OF_MEMORY": "used more memory than Slurm gave it; give it more with memory=",
}


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """Jobs of a Slurm cluster, all queued at once; they go on if this command ends. Needs mixzoo[slurm].

    A run whose time is nearly up is saved and queued again; so is one whose node has failed, from its last checkpoint.
    """

    partition: Annotated[str, "partition of the cluster; its default one if empty"] = ""
    time: Annotated[int, Ge(1), "minutes of a job; a longer run is saved and goes on in another job"] = 240
    runs_per_gpu: Annotated[int, Ge(0), "runs that share a GPU, and a job; 0 asks for no GPU"] = 0
    cpus: Annotated[int, Ge(1), "cores of each run"] = 1
    memory: Annotated[float, Ge(0), "GB of memory of each run; 0 for what the cluster gives"] = 0.0
    warning: Annotated[int, Ge(20), "seconds before the end of a job at which its runs are saved"] = 120
    retries: Annotated[int, Ge(0), "how often a run whose job was lost is begun again"] = 3
    account: Annotated[str, "account that is charged"] = ""
    qos: Annotated[str, "quality of service"] = ""
    constraint: Annotated[str, "features that the node must have"] = ""

    def check(self) -> None:
        """Raises ConfigError if submitit or Slurm's commands are missing, or Slurm would not take such a job."""
        if self.warning >= 60 * self.time:
            raise ConfigError(
                f"launcher 'slurm': warning={self.warning} seconds are not less than time={self.time} minutes, so a "
                "run would be saved before it begins; give more time= or a shorter warning="
            )
        if find_spec("submitit") is None:
            raise ConfigError("launcher 'slurm' needs the package submitit: pip install 'mixzoo[slurm]'")
        if missing := [name for name in ("sbatch", "squeue", "srun") if which(name) is None]:
            raise ConfigError(
                f"launcher 'slurm' needs Slurm's command {missing[0]}, which this machine lacks: go to one of the "
                "cluster's machines from which jobs are submitted"
            )
        if problem := self._refusal():
            raise ConfigError(
                f"launcher 'slurm': Slurm would not take such a job ({problem}); see the partitions and their limits "
                "with `sinfo`, which has to answer on this machine"
            )

    def _refusal(self) -> str:
        """Why Slurm would refuse a job of one run, as sbatch says it without submitting; '' if it would not."""
        given = {**self._sbatch, "time": self.time, "cpus-per-task": self.cpus}
        given |= {"mem": f"{1024 * self.memory:.0f}M"} if self.memory else {}
        given |= {"gpus-per-node": 1} if self.runs_per_gpu else {}
        options = [f"--{key}={value}" for key, value in given.items()]
        return answer(["sbatch", "--test-only", *options, "--wrap=true"])[1]

    @property
    def _sbatch(self) -> dict[str, Any]:
        """The options that are passed on as they are, if they are given."""
        named = {"partition": self.partition, "account": self.account, "qos": self.qos, "constraint": self.constraint}
        return {key: value for key, value in named.items() if value}

    def begin(self, job: Job) -> "SlurmTask":
        """Queue a job of its own for one run."""
        return self.begin_all([job], 1)[0]

    def begin_all(self, jobs: Sequence[Job], at_once: int) -> "list[SlurmTask]":
        """Queue an array of jobs, each with the runs that share a GPU."""
        size = self.runs_per_gpu or 1
        groups = [_sharing(jobs[i : i + size]) for i in range(0, len(jobs), size)]
        for job in jobs:
            (job.directory / ENDED).unlink(missing_ok=True)
        names = self._submit(groups, at_once)
        queue, tasks = Squeue(), list[SlurmTask]()
        for group, name in zip(groups, names):
            for job in group:
                write(job.directory / SUBMITTED, {"job": name})
                tasks.append(SlurmTask(job.directory, name, queue))
        return tasks

    def attach(self, job: Job) -> "SlurmTask | None":
        """The job of an earlier command, if it is in Slurm's queue or has ended since."""
        name = read(job.directory / SUBMITTED).get("job")
        if not name or read(job.directory / ENDED).get("job") == name:
            return None
        queue = Squeue()
        state = queue.state(name)
        if queue.problem:
            raise ConfigError(f"launcher 'slurm': squeue does not answer ({queue.problem}), so no job is begun twice")
        return SlurmTask(job.directory, name, queue) if state and state not in {*OVER, *FINAL} else None

    def _submit(self, groups: Sequence[tuple[Job, ...]], at_once: int) -> list[str]:
        """Queue a job for each group of runs; returns the ids of the jobs."""
        import submitit

        runs = max(map(len, groups))
        parameters: dict[str, Any] = {
            "name": "mixzoo",
            "timeout_min": self.time,
            "cpus_per_task": self.cpus * runs,
            "slurm_signal_delay_s": self.warning,
            "slurm_array_parallelism": max(1, ceil(at_once / runs)),
            "slurm_additional_parameters": {"requeue": True},
            **{f"slurm_{key}": value for key, value in self._sbatch.items()},
            **({"mem_gb": self.memory * runs} if self.memory else {}),
            **({"gpus_per_node": 1} if self.runs_per_gpu else {}),
        }
        executor = submitit.AutoExecutor(
            folder=_folder(groups[0][0].directory), cluster="slurm", slurm_max_num_timeout=MOST_TIMEOUTS
        )
        try:
            executor.update_parameters(**parameters)
            with executor.batch():
                submitted = [executor.submit(Group(group, self.retries)) for group in groups]
            return [job.job_id for job in submitted]
        except submitit.core.utils.FailedJobError as err:
            lines = [line for line in str(err).splitlines() if "sbatch:" in line] or str(err).splitlines() or ["failed"]
            raise ConfigError(f"launcher 'slurm': {lines[-1].strip()}") from err


def answer(command: Sequence[str]) -> tuple[str, str]:
    """What a command of Slurm prints, and the last line of its errors if it fails; '' if it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        return "", str(err)
    return done.stdout, (done.stderr.strip().splitlines() or ["failed"])[-1] if done.returncode else ""


def _sharing(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, which are told how many they are on one GPU."""
    variables = {RUNS_PER_GPU: str(len(jobs))} if len(jobs) > 1 else {}
    return tuple(replace(job, environment={**job.environment, **variables}) for job in jobs)


def _folder(run_dir: Path) -> Path:
    home = run_dir.parent if (run_dir.parent / "sweep.json").is_file() else run_dir
    return home / FOLDER


@dataclass
class Squeue:
    """The states of this user's jobs, asked for at most every ten seconds."""

    states: Mapping[str, str] = field(default_factory=dict)  # id -> such as PENDING; jobs that ended lately too
    asked: float = float("-inf")
    problem: str = ""  # of the last call

    def state(self, name: str) -> str:
        """The state of a job; '' if Slurm knows no such job. An older answer counts if Slurm does not answer."""
        if monotonic() - self.asked >= ASK_SECONDS:
            command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T"]
            said, self.problem = answer(command)
            if not self.problem:
                self.states = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line.strip())
            self.asked = monotonic()
        return self.states.get(name, "")


@dataclass
class SlurmTask:
    """A run in a job of Slurm."""

    run_dir: Path
    job: str
    queue: Squeue
    gone_since: float | None = None

    def poll(self) -> int | Lost | None:
        """What the job has written about the run, or Lost if it ended without a word."""
        end = read(self.run_dir / ENDED)
        if end.get("job") == self.job:
            return end["exit"] if type(end["exit"]) is int else Lost(str(end["reason"]), again=False)
        state = self.queue.state(self.job)
        if self.queue.problem or (state and state not in {*OVER, *FINAL}):
            self.gone_since = None
            return None
        if self.gone_since is None:
            self.gone_since = monotonic()
        if monotonic() - self.gone_since < GONE_SECONDS:
            return None
        if state in FINAL:
            return Lost(f"its job {self.job} {FINAL[state]}", again=False)
        return Lost(f"its job {self.job} has ended without a word ({state or 'no longer known to Slurm'})")

    def send_signal(self, number: int) -> None:
        """Cancel the job. Slurm sends SIGTERM to its runs, which are saved."""
        subprocess.run(["scancel", self.job], check=False)
