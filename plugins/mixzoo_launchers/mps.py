"""NVIDIA's MPS, through which several processes use a GPU at the same time instead of by turns."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mixzoo import ConfigError

CONTROL = "nvidia-cuda-mps-control"
GPUS = "CUDA_VISIBLE_DEVICES"
FOLDER = "CUDA_MPS_PIPE_DIRECTORY"  # by which a process finds its daemon
START_SECONDS, QUIT_SECONDS = 20.0, 60.0


def check_mps() -> None:
    """Raises ConfigError if a daemon cannot be started here, or one serves this process already."""
    if os.environ.get(FOLDER):
        raise ConfigError(f"mps: {FOLDER} is set, so runs begun here use the MPS daemon that is there; leave it out")
    if shutil.which(CONTROL) is None:
        raise ConfigError(f"mps: there is no {CONTROL} on the PATH, which comes with NVIDIA's driver; leave it out")


def numbered_by_daemon(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that uses the daemon: it numbers the GPUs that this process may use from 0."""
    served = [name.strip() for name in os.environ.get(GPUS, "").split(",")]
    names = [name.strip() for name in environment.get(GPUS, "").split(",")]
    if not os.environ.get(GPUS) or not all(name in served for name in names):  # without the variable, all are served
        return dict(environment)
    return {**environment, GPUS: ",".join(str(served.index(name)) for name in names)}


@contextmanager
def mps_daemon() -> Iterator[Mapping[str, str]]:
    """Runs a daemon for the GPUs that this process may use; yields the variables with which others use it.

    Raises ConfigError if it does not start.
    """
    with TemporaryDirectory(prefix="mixzoo-mps-", ignore_cleanup_errors=True) as folder:  # a short path, for a socket
        variables = {FOLDER: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = {**os.environ, **variables}
        try:
            _start(environment, Path(folder) / "started.log")
            yield variables
        finally:  # also if it did not say that it had started
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    [CONTROL],
                    env=environment,
                    timeout=QUIT_SECONDS,
                    input="quit\n",
                    text=True,
                    capture_output=True,
                    start_new_session=True,
                    check=False,
                )


def _start(environment: Mapping[str, str], log: Path) -> None:
    """Start the daemon. What it says goes to a file: a pipe that it keeps open would be read until it ends."""
    with log.open("wb") as output:
        try:
            ended = subprocess.run(
                [CONTROL, "-d"],
                env=environment,
                timeout=START_SECONDS,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the runs, which use it until they have ended
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise ConfigError(f"mps: {CONTROL} -d has not ended after {START_SECONDS:.0f} s; leave it out") from err
        except OSError as err:
            raise ConfigError(f"mps: {CONTROL} cannot be started ({err.strerror or err}); leave it out") from err
    if ended.returncode:
        said = log.read_text(errors="replace").split("\n")
        reason = next((line.strip() for line in said if line.strip()), "it says nothing")
        raise ConfigError(f"mps: {CONTROL} -d ended with {ended.returncode} ({reason}); leave it out")
