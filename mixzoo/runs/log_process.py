"""Logs a run while it trains: `mixzoo track --follow` as a process of its own.

A process, because a logger then cannot touch the training, its random numbers, its signals or its exit code.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

from mixzoo.core.errors import ConfigError
from mixzoo.registry.session import is_registered_here
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.tracking import logger_named

LAST_SECONDS = 30.0  # that a finished run waits for the end of its log; later the log ends by itself
NO_THREADS = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # the cores and GPUs are the run's

Log: TypeAlias = Callable[[Path], AbstractContextManager[None]]  # of the run directory, around the training


def log_to(zoo: Zoo, to: str | None, flags: Sequence[str] = ()) -> Log | None:
    """What logs a run to the logger of this spec while it trains; None for no spec.

    `flags` select plugins on the command line. Raises ConfigError or PluginError if there is no such logger, or only in
    this process.
    """
    if to is None:
        return None
    logger_named(zoo, to)
    name = parse_spec(to).name
    if is_registered_here(zoo.find("logger", name)):
        raise ConfigError(
            f"logger {name!r} was registered in this process, and a run is logged by another; put it into a plugin "
            "(`mixzoo new-plugin`), or call mixzoo.track(run, to=...) when the run has ended"
        )
    return partial(logged, to=to, flags=flags)


@contextmanager
def logged(run_dir: Path, *, to: str, flags: Sequence[str] = ()) -> Iterator[None]:
    """Log the run in this directory while the block trains it. Whatever goes wrong with the log is one warning."""
    command = [sys.executable, "-m", "mixzoo", "track", str(run_dir), "--to", to, "--while-stdin-is-open", *flags]
    process = None
    try:
        # It has a session of its own, so Ctrl-C stops the run alone; it ends when its standard input is closed, which
        # the kernel does if this process is killed.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **NO_THREADS},
        )  # fmt: skip
    except OSError as err:
        print(f"mixzoo: warning: logger {to!r} could not be started: {err.strerror}", file=sys.stderr)
    try:
        yield
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(LAST_SECONDS)
