"""How much memory is free, on a device and on the host."""

from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def device_free(device: torch.device) -> int | None:
    """Bytes free on the device; None where they cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return host_free() if device.type == "cpu" else None


def host_free() -> int | None:
    """Bytes that the kernel says are available, within what a container may use; None where it does not say."""
    known = [free for free in (_available(MEMINFO), _left(CGROUP)) if free is not None]
    return min(known, default=None)


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _left(cgroup: Path) -> int | None:
    """Of a container's limit (cgroup v2), what is not in use; "max" is no limit."""
    try:
        return int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return None
