"""A sweep on a real Ray of two nodes, started here and disturbed: python benchmarks/on_ray.py

A worker is killed in the midst of a run, then a whole node with all its processes, then the command that waits is
stopped by Ctrl-C and given again. Then every run has to equal that of a sweep by local processes. Writes its table to
results/launchers.md; exits with 1 if a run differs.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from launched import PLUGIN, SEEDS, SWEEP, Launched, here, unequal, write_section
from slurm_cluster import free_ports, processes_below

TRIES = 4  # of a start: on a busy machine a daemon may not be ready in the time that Ray gives it


@dataclass
class RayCluster:
    """Two nodes of a core each, as processes of this machine."""

    folder: Path
    port: int
    nodes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a command that uses the cluster."""
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": f"127.0.0.1:{self.port}"}

    def start_node(self) -> None:
        """Start the head, or a further node. `--block` keeps its daemons below the process that is returned."""
        head = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        kind = [f"--address=127.0.0.1:{self.port}"] if self.nodes else head
        main = "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; main()"
        options = [*kind, "--num-cpus=1", "--disable-usage-stats", "--block"]
        command = [sys.executable, "-c", main, "start", *options]
        for _ in range(TRIES):
            with (self.folder / f"node-{len(self.nodes)}.txt").open("ab") as log:
                node = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            self.nodes.append(node)
            if self._is_up(len(self.nodes)):
                return
            self._end(self.nodes.pop())
        raise RuntimeError(f"a node of Ray did not start {TRIES} times; see {self.folder}")

    def _is_up(self, nodes: int) -> bool:
        code = (
            "import ray, sys; ray.init(address='auto', log_to_driver=False, logging_level=40); "
            f"sys.exit(sum(node['Alive'] for node in ray.nodes()) < {nodes})"
        )
        ends = time.monotonic() + 120
        while time.monotonic() < ends and self.nodes[-1].poll() is None:
            done = subprocess.run(
                [sys.executable, "-c", code], env={**os.environ, **self.environment}, capture_output=True, check=False
            )
            if done.returncode == 0:
                return True
        return False

    def workers(self, node: int) -> list[int]:
        """The processes of a node that compute tasks."""
        return [pid for pid in processes_below(self.nodes[node].pid) if _title(pid).startswith("ray::seed=")]

    def kill_node(self, node: int) -> None:
        """Kill the daemons of a node and all that they run."""
        for pid in [self.nodes[node].pid, *processes_below(self.nodes[node].pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes[node].wait()

    def _end(self, node: "subprocess.Popen[bytes]") -> None:
        below = processes_below(node.pid)
        node.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(30)
        for pid in [node.pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()

    def end(self) -> None:
        for node in reversed(self.nodes):
            self._end(node)


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[RayCluster]:
    """Two nodes, which are ended by process id."""
    folder.mkdir(parents=True)
    cluster = RayCluster(folder, free_ports(1)[0])
    try:
        cluster.start_node()
        cluster.start_node()
        yield cluster
    finally:
        cluster.end()


def _title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def disturbed(folder: Path, ray: RayCluster) -> tuple[Launched, list[str]]:
    """The sweep on Ray, and a line for each thing that was done to it."""
    folder.mkdir(parents=True)
    on = f"ray:address=127.0.0.1:{ray.port}"
    sweep, done = Launched(folder, ray.environment), list[str]()
    command = sweep.start("train", *SWEEP, "--out", "sweep", "--on", on)

    sweep.wait("run under way", lambda: sweep.under_way() and (ray.workers(0) or ray.workers(1)), command)
    worker = next(iter([*ray.workers(0), *ray.workers(1)]))
    os.kill(worker, signal.SIGKILL)
    sweep.wait("run begun again", lambda: sweep.said.count("it is begun again from its last checkpoint") == 1, command)
    done.append("SIGKILL to the worker of a run: begun again")

    sweep.wait("run under way on the second node", lambda: sweep.under_way() and ray.workers(1), command)
    lost = sweep.said.count("it is begun again")
    ray.kill_node(1)
    sweep.wait("run begun again", lambda: sweep.said.count("it is begun again") > lost, command)
    done.append("SIGKILL to the second node, its daemons, workers and runs: the run goes on at the first node")

    before = {seed: sweep.step(seed) for seed in SEEDS}
    sweep.wait("new checkpoint", lambda: any(sweep.step(seed) > before[seed] for seed in sweep.under_way()), command)
    command.send_signal(signal.SIGINT)
    code = command.wait()
    states = [sweep.state(seed) for seed in SEEDS]
    if code != 75:
        raise RuntimeError(f"Ctrl-C ended with {code}, states {states}:\n{sweep.said[-3000:]}")
    left = len(SEEDS) - states.count("completed") - states.count("interrupted")
    done.append(
        f"Ctrl-C of the command: exit code {code}, {states.count('completed')} runs completed, "
        f"{states.count('interrupted')} saved, {left} waiting for room; the command is given again"
    )
    command = sweep.start("resume", "sweep", *PLUGIN, "--on", on)
    if command.wait() != 0:
        raise RuntimeError(f"the sweep ended with {command.returncode}:\n{sweep.said[-3000:]}")
    return sweep, done


def missing() -> str:
    """Why no cluster can be started here, or ''."""
    return "" if find_spec("ray") is not None else "needs ray: pip install 'mixzoo[ray]'"


def main() -> int:
    if reason := missing():
        print(f"on_ray.py {reason}", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="mixzoo-ray-"))
    try:
        local = here(folder / "here")
        began = time.monotonic()
        with ray_cluster(folder / "ray") as ray:
            sweep, done = disturbed(folder / "sweep", ray)
        seconds = time.monotonic() - began
        differences = {seed: unequal(local, sweep, seed) for seed in SEEDS}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = [f"| {seed} | {', '.join(found) or 'equal'} |" for seed, found in differences.items()]
    text = "\n".join(
        [
            f"Two nodes of one core each, `--on ray`, {seconds:.0f} s in all. In this order:\n",
            *(f"{number}. {line}" for number, line in enumerate(done, 1)),
            "\n| seed | compared with the local run |\n|---|---|",
            *rows,
        ]
    )
    print(write_section("Ray", text, ["ray"]))
    return int(any(differences.values()))


if __name__ == "__main__":
    sys.exit(main())
