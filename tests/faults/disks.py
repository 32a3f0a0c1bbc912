"""A disk that is really full: a small file system in memory, with a run on it."""

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jobs

from mixzoo.core.errors import StorageError
from mixzoo.core.json_file import read_object
from mixzoo.registry.config import resolve
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import newest
from mixzoo.training.logs import ProgressDisplay
from toys import TOY_FLAGS, TOY_NUMBERS

MEGABYTES = 4  # of the file system
SHARES = (0.1, 0.5, 0.9)  # of a checkpoint, that are free when the disk fills


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of that many bytes at the folder. Raises OSError if this process may not mount one."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir(parents=True, exist_ok=True)
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield folder
    finally:
        libc.umount2(bytes(folder), 2)  # also while a file is open


def may_mount():
    """'' if this process may mount a file system, or why not."""
    try:
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk", 2**20):
            return ""
    except (OSError, AttributeError) as err:
        return f"no file system can be mounted ({err})"


def in_a_namespace(*command):
    """The command in a namespace in which it may mount; None if this system has none for us."""
    ended = subprocess.run(["unshare", "-rm", sys.executable, *command], capture_output=True, text=True, check=False)
    return None if ended.returncode and "unshare" in ended.stderr else ended


class Fills(ProgressDisplay):
    """Fills the disk, but for some bytes, once a step has been logged."""

    def __init__(self, step, folder, left):
        self.step, self.ballast, self.left = step, folder / "ballast", left

    def train(self, line):
        if line["step"] == self.step:
            space = os.statvfs(self.ballast.parent)
            size = space.f_bavail * space.f_frsize - self.left
            with self.ballast.open("wb") as file:
                file.write(b"\0" * max(0, size))


def config():
    numbers = TOY_NUMBERS | {"log_every": 1, "evaluate_every": 12}
    return resolve(jobs.the_zoo(), None, TOY_FLAGS | {"mixer": "dirichlet:k=3"}, numbers, ["reconstruction"])


def filled_while_it_trains(folder, share):
    """A run whose disk fills before its second checkpoint; what is wrong with its end, the message, and its resume."""
    zoo, whole, disk = jobs.the_zoo(), folder / "whole", folder / "disk"
    if not whole.exists():
        start(zoo, config(), whole)
    size = sum(file.stat().st_size for file in newest(whole / "checkpoints")[0].iterdir())
    found, message, run = [], "", disk / "run"
    with small_disk(disk, MEGABYTES * 10**6):
        try:
            start(zoo, config(), run, lambda *_: Fills(7, disk, int(share * size)))
            found.append("it went on")
        except StorageError as err:
            message = str(err)
        status = read_object(run / "status.json").values
        if share >= 0.5 and (status["state"], status["exit"], status["last_committed"]) != ("failed", 8, 5):
            found.append(f"status: {status}")
        if newest(run / "checkpoints")[2].progress.step != 5:
            found.append("the old checkpoint is not the newest")
        found += [f"left behind: {path}" for path in jobs.leftovers(run)]
        (disk / "ballast").unlink()
        resume(zoo, run)
        found += jobs.differences(run, whole)
    return message.replace(str(folder), ""), found


def too_small(folder, share):
    """A disk of so many checkpoints; what is wrong with the refusal, which comes before the first step."""
    zoo, disk, whole = jobs.the_zoo(), folder / "disk", folder / "whole"
    size = sum(file.stat().st_size for file in newest(whole / "checkpoints")[0].iterdir())
    with small_disk(disk, int(share * size)):
        try:
            start(zoo, config(), disk / "run", lambda *_: Fills(1, disk, 0))
        except StorageError as err:
            left = [path.name for path in disk.iterdir()]
            return str(err).replace(str(folder), ""), [f"left behind: {left}"] if left else []
    return "", ["it went on"]


def fills(folder, done, amount):
    """Rows of disks that fill, and of one that is too small from the start."""
    if reason := may_mount():
        raise SystemExit(f"disk: {reason}")
    if done:
        return
    for share in SHARES:
        message, found = filled_while_it_trains(folder, share)
        yield {"what": f"fills while it trains, {share} checkpoints free", "message": message, "problems": found}
    message, found = too_small(folder, 1.5)
    yield {"what": "1.5 checkpoints large from the start", "message": message, "problems": found}


def fills_table(rows):
    lines = ["## A disk that is full", "", "| disk | exit code 8 with | as it should |", "|---|---|---|"]
    return [*lines, *(f"| {row['what']} | {row['message']} | {'no' if row['problems'] else 'yes'} |" for row in rows)]


if __name__ == "__main__":  # in a namespace of its own
    with tempfile.TemporaryDirectory() as home:
        for row in fills(Path(home), [], 0):
            print(row)
            assert not row["problems"], row
