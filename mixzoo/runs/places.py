"""Where runs are computed: the launcher that a user names, and whether the folder of the runs can be used there."""

import fcntl
import os
import re
from pathlib import Path

from mixzoo.core.errors import ConfigError, StorageError, printable
from mixzoo.core.storage import open_for_appending, storage_errors
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.launcher import Place, launcher_named
from mixzoo.runs.listing import LOCK
from mixzoo.training.time_limit import TimeLimit

MOUNTS = Path("/proc/self/mountinfo")
OWN_LOCKS = {  # file system -> options with which it keeps a lock to one machine
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("local_lock=all", "local_lock=flock"),
    "lustre": ("localflock", "noflock"),
}


def place_for(zoo: Zoo, on: str | None, limit: TimeLimit | None = None) -> Place:
    """The launcher of this spec, by default the one for processes of this machine.

    Raises ConfigError if there is none, if it cannot be used, or if it would not keep to the time `limit`.
    """
    place = launcher_named(zoo, on)
    if limit is not None and place.has_queue:
        raise ConfigError(
            f"{limit.name}: runs in the queue of {place.contract} go on without this command; leave it out, and give "
            "the launcher a time if it has an option for that"
        )
    return place


def check_place(place: Place, folder: Path) -> None:
    """Raises StorageError if runs on other machines could not keep one another from writing in this folder."""
    if not place.here:
        check_locks(folder)


def check_locks(folder: Path) -> None:
    """Raises StorageError if a second lock of a file of the folder is granted, or holds on one machine only."""
    path = folder / f"{LOCK}-test"
    advice = "so two machines might write to one run; use another folder for --out"
    with storage_errors(path):
        handles = [open_for_appending(path) for _ in range(2)]
    try:
        fcntl.flock(handles[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(handles[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            raise StorageError(f"{folder}: its file system grants a lock twice, {advice}")
    except OSError as err:
        raise StorageError(f"{folder}: files there cannot be locked ({err.strerror}), {advice}") from err
    finally:
        for handle in handles:
            os.close(handle)
        path.unlink(missing_ok=True)
    if option := _own_locks(folder):
        raise StorageError(f"{folder}: it is mounted with {option}, which keeps locks to one machine, {advice}")


def _own_locks(folder: Path) -> str:
    """The option with which the file system of the folder is mounted so that its locks hold on one machine only."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    found: tuple[int, str, list[str]] = (-1, "", [])
    for fields in (line.split(" ") for line in lines):
        # 36 35 98:0 /root /mount/point rw,noatime - nfs4 server:/home rw,local_lock=none; \040 is a blank
        end = fields.index("-") if "-" in fields else 0
        if end < 6 or len(fields) < end + 4:
            continue
        mounted = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if folder.resolve().is_relative_to(mounted) and len(mounted) >= found[0]:
            found = len(mounted), fields[end + 1], [*fields[5].split(","), *fields[end + 3].split(",")]
    return printable(next((option for option in found[2] if option in OWN_LOCKS.get(found[1], ())), ""))
