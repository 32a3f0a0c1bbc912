"""Tasks of a Ray cluster."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from time import sleep
from typing import Annotated, Any

from annotated_types import Ge

from mixzoo import ConfigError, Job, Lost
from mixzoo_launchers.member import POLL_SECONDS, STOPPED, Member, stop

RUNS_PER_GPU = "MIXZOO_RUNS_PER_GPU"
REACH_SECONDS = 10.0  # in which the head of a cluster has to accept a connection


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Tasks of a Ray cluster, as many at a time as it has room for; they stop if this command does. Needs mixzoo[ray].

    A run whose worker or node was lost is begun again, from its last checkpoint.
    """

    address: Annotated[str, "of the cluster: HOST:PORT of its head, or auto for the one that this machine is in"] = (
        "auto"
    )
    gpus: Annotated[float, Ge(0), "GPUs of each run; 0.25 lets four share one"] = 0.0
    cpus: Annotated[float, Ge(0), "cores of each run"] = 1.0
    memory: Annotated[float, Ge(0), "GB of memory that are set aside for each run"] = 0.0
    retries: Annotated[int, Ge(0), "how often a run that was lost is begun again"] = 3

    def check(self) -> None:
        """Connect to the cluster. Raises ConfigError if Ray is missing, or no cluster is at the address."""
        if find_spec("ray") is None:
            raise ConfigError("launcher 'ray' needs the package ray: pip install 'mixzoo[ray]'")
        if (loaded := sys.modules.get("ray")) is not None and loaded.is_initialized():
            return
        self._reach()
        import ray

        # Now and not at the first task: Ray sets a handler for SIGTERM, which must not take the place of ours.
        with _own_sigterm():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as err:
                raise self._no_cluster(str(err).splitlines()[0]) from err

    def _reach(self) -> None:
        """Raises ConfigError if no program listens at the address: Ray would wait for minutes, deaf to Ctrl-C."""
        given = os.environ.get("RAY_ADDRESS", "auto") if self.address == "auto" else self.address
        if given == "auto":
            return
        host, _, port = given.removeprefix("ray://").rpartition(":")
        if not (host and port.isascii() and port.isdecimal()):  # "local" would start a cluster
            raise self._no_cluster(f"{given} is not HOST:PORT of its head, and not auto")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
        except (OSError, OverflowError, UnicodeError) as err:
            raise self._no_cluster(f"{given}: {getattr(err, 'strerror', '') or err}") from err

    def _no_cluster(self, reason: str) -> ConfigError:
        return ConfigError(
            f"launcher 'ray': no cluster at address={self.address} ({reason}); `ray start --head` begins one"
        )

    def begin(self, job: Job) -> "RayTask":
        """A task, which waits until the cluster has room for it."""
        import ray

        if 0 < self.gpus < 1:
            job = replace(job, environment={**job.environment, RUNS_PER_GPU: str(int(1 / self.gpus))})
        task = ray.remote(run_here).options(
            name=job.name,
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=0,  # a lost run is begun again by mixzoo, which says so
            **({"memory": self.memory * 2**30} if self.memory else {}),
        )
        return RayTask(task.remote(job))


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """At the end SIGTERM has the handler of the beginning: Ray's raises a SystemExit, wherever the program is."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # Ray sets one there alone
            signal.signal(signal.SIGTERM, before)


def run_here(job: Job) -> int:
    """Run the job in the worker of a task; returns its exit code. A task that is cancelled has KeyboardInterrupt."""
    member = Member(job)
    try:
        while (code := member.poll()) is None:
            sleep(POLL_SECONDS)
        return code
    except KeyboardInterrupt:
        stop([member], signal_seconds=0.0)
        code = member.poll()
        return STOPPED if code is None else code


@dataclass(frozen=True)
class RayTask:
    """A run in a task of Ray."""

    result: Any  # a reference to its exit code

    def poll(self) -> int | Lost | None:
        """The exit code of the run, or Lost if its worker has not returned one."""
        import ray

        done, _ = ray.wait([self.result], timeout=0)
        if not done:
            return None
        try:
            return int(ray.get(self.result))
        except ray.exceptions.TaskCancelledError:  # before it had begun
            return STOPPED
        except ray.exceptions.RayTaskError as err:  # an exception in `run_here`: the folder is not there, for example
            return Lost(f"its worker has failed: {str(err.cause or err).splitlines()[-1]}", again=False)
        except ray.exceptions.RayError as err:
            return Lost(f"its worker was lost ({type(err).__name__})")

    def send_signal(self, number: int) -> None:
        """Cancel the task; its run writes a checkpoint."""
        import ray

        ray.cancel(self.result)
