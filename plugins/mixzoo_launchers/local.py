"""Processes of this machine."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, ClassVar

from mixzoo import Job, StorageError
from mixzoo_launchers.mps import check_mps, mps_daemon, numbered_by_daemon


@dataclass(frozen=True, kw_only=True)
class Local:
    """Processes of this machine: one for each core, four on each GPU, or as many as --jobs says."""

    mps: Annotated[bool, "runs on one GPU use it at the same time, through NVIDIA's MPS"] = False

    here: ClassVar[bool] = True

    def check(self) -> None:
        """Raises ConfigError if MPS is asked for and cannot be had."""
        if self.mps:
            check_mps()

    def service(self) -> AbstractContextManager[Mapping[str, str]]:
        """NVIDIA's daemon, if it is asked for."""
        return mps_daemon() if self.mps else nullcontext({})

    def begin(self, job: Job) -> "subprocess.Popen[bytes]":
        """A process in its own session, so that Ctrl-C in a terminal reaches it once, through this process."""
        environment = {**os.environ, **job.environment}
        with job.open_log() as log:
            try:
                return subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    cwd=job.folder,
                    env=numbered_by_daemon(environment) if self.mps else environment,
                    start_new_session=True,
                )
            except OSError as err:
                raise StorageError(f"{job.directory}: its process cannot be started: {err.strerror}") from err
