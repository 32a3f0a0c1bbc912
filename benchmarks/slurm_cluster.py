"""A Slurm cluster of one node on this machine, with a configuration of its own: for tests and measurements.

    with cluster(folder) as slurm:
        subprocess.run(["sbatch", ...], env={**os.environ, **slurm.environment})

It needs Debian's slurm-wlm and munge, and root, because slurmd starts processes for others. Each daemon is ended by its
process id.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
START_SECONDS = 60
CONFIGURATION = """
ClusterName=mixzoo
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,requeue_delay=1
ReturnToService=2
KillWait=5
SlurmdTimeout=20
MinJobAge=60
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} ThreadsPerCore=1
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Cluster:
    """A running cluster."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def command(self, *arguments: str, seconds: float = 60) -> str:
        """What one of Slurm's commands prints."""
        env = {**os.environ, **self.environment}
        return subprocess.run(arguments, env=env, capture_output=True, text=True, check=True, timeout=seconds).stdout

    def start_node(self) -> None:
        """Start the daemon of the node, again after it was killed."""
        host = socket.gethostname().partition(".")[0]
        self._start("slurmd", "slurmd", "-D", "-f", str(self.folder / "slurm.conf"), "-N", host)

    def kill_node(self) -> None:
        """Kill the daemon of the node and the processes that run its jobs, as if the machine had failed."""
        daemon = self.daemons["slurmd"]
        parents = [daemon.pid, *self.step_daemons()]
        for pid in dict.fromkeys([*parents, *(pid for parent in parents for pid in processes_below(parent))]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait()

    def step_daemons(self) -> list[int]:
        """The processes that look after the steps of jobs of this cluster."""
        return [pid for pid in _pids() if _name(pid) == "slurmstepd" and self._is_own(pid)]

    def _is_own(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return str(self.folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        return False

    def _start(self, name: str, *command: str) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        env = {**os.environ, **self.environment}
        with log:
            self.daemons[name] = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)


def missing() -> str:
    """Why no cluster can be started here, or ''."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"needs {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "needs root: slurmd starts the processes of jobs"


@contextlib.contextmanager
def cluster(folder: Path, cores: int = 2) -> Iterator[Cluster]:
    """Start munge, the controller and a node, wait until the node takes jobs, and end all of them by process id."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    ports = free_ports(2)
    text = CONFIGURATION.format(folder=folder, host=host, cores=cores, controller_port=ports[0], node_port=ports[1])
    (folder / "slurm.conf").write_text(text)
    running = Cluster(folder, {"SLURM_CONF": str(folder / "slurm.conf")})
    try:
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        paths = [
            f"--{name}={folder}/munge/{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
        ]
        running._start("munged", "munged", "--foreground", "--force", f"--key-file={key}", *paths)
        _wait(lambda: (folder / "munge" / "socket").exists(), "munged", running)
        running._start("slurmctld", "slurmctld", "-D", "-f", str(folder / "slurm.conf"))
        running.start_node()
        _wait(lambda: "idle" in running.command("sinfo", "--noheader", "--format=%T"), "the node", running)
        yield running
    finally:
        _end(running)


def _end(running: Cluster) -> None:
    with contextlib.suppress(Exception):
        running.command("scancel", "--user", str(os.getuid()))
        _until(lambda: not running.command("squeue", "--noheader").strip(), 15)
    for daemon in reversed(running.daemons.values()):
        daemon.terminate()
    for daemon in running.daemons.values():
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
    for pid in running.step_daemons():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait(ready: Callable[[], bool], what: str, running: Cluster) -> None:
    if not _until(ready, START_SECONDS):
        logs = "\n".join(path.read_text()[-2000:] for path in running.folder.glob("*.out"))
        raise RuntimeError(f"{what} has not started after {START_SECONDS} s:\n{logs}")


def _until(ready: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(subprocess.CalledProcessError):
            if ready():
                return True
        time.sleep(0.5)
    return False


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")[0]
    return ""


def processes_below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have started."""
    children = []
    for each in _pids():
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                children.append(each)
    return [*children, *(below for child in children for below in processes_below(child))]
