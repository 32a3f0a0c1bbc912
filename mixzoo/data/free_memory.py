"""How much memory is free on a device and on the host."""

import os
from pathlib import Path

import torch

from mixzoo.core.gpu_pool import free_memory

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def device_free(device: torch.device) -> int | None:
    """Bytes free on the device, for a GPU as far as this run may use them; None if unknown."""
    if device.type == "cuda":
        return free_memory(device)
    return host_free() if device.type == "cpu" else None


def host_free() -> int | None:
    """Bytes available to this process, within a container's limit; None if the kernel does not report them.

    The processes that torchrun started on this machine get equal parts.
    """
    known = [free for free in (_available(MEMINFO), _left(CGROUP)) if free is not None]
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    return min(known) // max(1, int(local) if local.isdecimal() else 1) if known else None


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _left(cgroup: Path) -> int | None:
    """The unused part of a container's memory limit (cgroup v2); None without a limit ("max")."""
    try:
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return None
    return min(limit, limit - used + _reclaimable(cgroup))


def _reclaimable(cgroup: Path) -> int:
    """Bytes of the page cache that count as used but are given up on demand; 0 if not reported."""
    try:
        lines = (cgroup / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
