"""Which process on which machine: whether it has ended, and a kill that can hit no other. Linux; elsewhere unknown."""

import contextlib
import json
import os
import platform
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process, told from every other that has, had or will have its number."""

    pid: int
    node: str  # the machine's name
    machine: str = ""  # the machine's boot and the namespace of its process numbers; '' if they are not known
    began: str = ""  # when it started, in ticks since that boot

    @classmethod
    def of_this(cls) -> "ProcessId":
        """The process that asks."""
        return cls(os.getpid(), platform.node(), _machine(), _stat(os.getpid())[1])

    @classmethod
    def from_json(cls, text: str) -> "ProcessId":
        """The process that `to_json` has written, perhaps on another machine."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_here(self) -> bool:
        """Whether it is known to be a process of this machine."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended; a zombie has. Never for a process of another machine."""
        if not self.is_here:
            return False
        state, began = _stat(self.pid)
        return state in ("", "Z", "X") or began != self.began

    def kill(self) -> bool:
        """Kill it, also if it is stopped, if it is a process of this machine; returns whether it will end."""
        if not self.is_here:
            return False
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        # From here on the number cannot pass to another process unnoticed.
        try:
            if not self.has_ended:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            return True
        except OSError:  # not allowed
            return False
        finally:
            os.close(handle)


def _machine() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, str]:
    """State and start of a process; ('', '') if there is none. Its name, in brackets, may hold anything."""
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return "", ""
