"""Processes of this machine."""

import os
import subprocess
from dataclasses import dataclass
from typing import ClassVar

from mixzoo import Job, StorageError


@dataclass(frozen=True, kw_only=True)
class Local:
    """Processes of this machine: one for each core, four on each GPU, or as many as --jobs says."""

    here: ClassVar[bool] = True

    def begin(self, job: Job) -> "subprocess.Popen[bytes]":
        """A process in its own session, so that Ctrl-C in a terminal reaches it once, through this process."""
        with job.open_log() as log:
            try:
                return subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    cwd=job.folder,
                    env={**os.environ, **job.environment},
                    start_new_session=True,
                )
            except OSError as err:
                raise StorageError(f"{job.directory}: its process cannot be started: {err.strerror}") from err
