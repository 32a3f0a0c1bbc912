"""The process of a run on the machine where it is computed, as a worker of a cluster starts and stops it."""

import os
import subprocess
import sys
from time import monotonic, sleep

from mixzoo import Job

LOCKED, STOPPED = 5, 75  # exit codes of `mixzoo resume`
LOCKED_SECONDS = 600.0  # for which the process of an earlier job may go on, until its machine has ended it
AGAIN_SECONDS = 5.0  # until a locked run is tried again
OWN_STOP_SECONDS = 60.0  # until a run that was stopped goes on, if its job was not stopped: a scheduler may be at it
SIGNAL_SECONDS = (
    5.0  # for which a scheduler's signal may be on its way to the run as well; a second one is then left out
)
POLL_SECONDS = 0.2
# The run gets SIGTERM, and writes a checkpoint, if the worker that has started it is killed.
WITH_PARENT = (
    "import ctypes, os, sys; c = ctypes.CDLL(None); hasattr(c, 'prctl') and c.prctl(1, 15); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Member:
    """A run that is begun now, and again while an earlier process still has its directory."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._next, self._patient_until = 0.0, monotonic() + LOCKED_SECONDS

    def poll(self) -> int | None:
        """Its exit code, once it has ended for good; 75 if it was stopped by `ask_to_stop`."""
        if self._process is None:
            if self._asked:
                return STOPPED
            if monotonic() >= self._next:
                self._process = _started(self.job)
            return None
        code = self._process.poll()
        if code is None:
            return None
        if self._asked:
            return STOPPED if code < 0 or code == LOCKED else code
        if code == STOPPED or (code == LOCKED and monotonic() < self._patient_until):
            self._process = None
            self._next = monotonic() + (AGAIN_SECONDS if code == LOCKED else OWN_STOP_SECONDS)
            return None
        return code

    def ask_to_stop(self) -> None:
        """It is to write a checkpoint and end, and will not be begun again."""
        self._asked = True

    def terminate(self) -> None:
        """Ask its process too, by a signal."""
        self._asked = True
        if self._process is not None:
            self._process.terminate()


def stop(members: list[Member], signal_seconds: float = SIGNAL_SECONDS) -> None:
    """Stop them and wait for their checkpoints. For `signal_seconds` they may be ending by a signal of another."""
    for member in members:
        member.ask_to_stop()
    ends = monotonic() + signal_seconds
    while monotonic() < ends and any(member.poll() is None for member in members):
        sleep(POLL_SECONDS)
    left = [member for member in members if member.poll() is None]
    for member in left:
        member.terminate()
    while any(member.poll() is None for member in left):
        sleep(POLL_SECONDS)


def _started(job: Job) -> "subprocess.Popen[bytes]":
    with job.open_log() as log:
        return subprocess.Popen(
            [sys.executable, "-c", WITH_PARENT, *job.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=job.folder,
            env={**os.environ, **job.environment},
        )
