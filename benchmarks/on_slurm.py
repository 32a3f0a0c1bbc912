"""A sweep on a real Slurm, started here and disturbed: python benchmarks/on_slurm.py

The command that waits is stopped by Ctrl-C and given again; a run gets Slurm's warning that its time is over; the node
is killed with all that runs there. Then every run has to equal that of a sweep by local processes. Writes its table to
results/launchers.md; exits with 1 if a run differs. Slurm waits about two minutes before it begins a job again.
"""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launched import PLUGIN, SEEDS, SWEEP, Launched, here, unequal, write_section
from slurm_cluster import Cluster, cluster, missing

ON = "slurm:time=30,retries=3"


def disturbed(folder: Path, slurm: Cluster) -> tuple[Launched, list[str]]:
    """The sweep on Slurm, and a line for each thing that was done to it."""
    folder.mkdir(parents=True)
    sweep, done = Launched(folder, slurm.environment), list[str]()
    command = sweep.start("train", *SWEEP, "--out", "sweep", "--on", ON)

    sweep.wait("run under way", sweep.under_way, command)
    command.send_signal(signal.SIGINT)
    code = command.wait()
    queued = len(slurm.command("squeue", "--noheader", "--array", "--format=%i").split())
    done.append(f"Ctrl-C of the command: exit code {code}, {queued} jobs stay in the queue")
    command = sweep.start("resume", "sweep", *PLUGIN, "--on", ON)

    sweep.wait("run under way", sweep.under_way, command)
    job = slurm.command("squeue", "--noheader", "--array", "--states=running", "--format=%i").split()[0]
    with contextlib.suppress(subprocess.TimeoutExpired):  # it may go on asking about a job that is being queued again
        slurm.command("scancel", "--signal=USR2", job, seconds=10)
    sweep.wait(
        "requeue after the warning",
        lambda: job in slurm.command("squeue", "--noheader", "--array", "--states=pending", "--format=%i").split(),
        command,
    )
    done.append("Slurm's warning that the time is over, to one of the two jobs that ran: saved and queued again")

    sweep.wait("run under way", sweep.under_way, command)
    killed = {seed: sweep.step(seed) for seed in sweep.under_way()}
    slurm.kill_node()
    done.append(
        "SIGKILL to the node's daemon and all that it runs: "
        + ", ".join(f"seed {seed} after the checkpoint of step {step}" for seed, step in killed.items())
    )
    slurm.start_node()
    sweep.wait("end of the sweep", lambda: command.poll() is not None, _Never())
    if command.returncode != 0:
        raise RuntimeError(f"the sweep ended with {command.returncode}:\n{sweep.said[-3000:]}")
    return sweep, done


class _Never:
    """A command that is not looked after."""

    def poll(self) -> None:
        return None


def main() -> int:
    if reason := missing():
        print(f"on_slurm.py {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mixzoo-slurm-") as name:
        folder = Path(name)
        local = here(folder / "here")
        began = time.monotonic()
        with cluster(folder / "cluster") as slurm:
            sweep, done = disturbed(folder / "slurm", slurm)
            release = slurm.command("sinfo", "--version").strip()
        seconds = time.monotonic() - began
        differences = {seed: unequal(local, sweep, seed) for seed in SEEDS}
        rows = [f"| {seed} | {', '.join(found) or 'equal'} |" for seed, found in differences.items()]
        text = "\n".join(
            [
                f"Real {release} on one node of two cores, `--on {ON}`, {seconds:.0f} s in all. In this order:\n",
                *(f"{number}. {line}" for number, line in enumerate(done, 1)),
                "\n| seed | compared with the local run |\n|---|---|",
                *rows,
            ]
        )
        print(write_section("Slurm", text, ["submitit"]))
    return int(any(differences.values()))


if __name__ == "__main__":
    sys.exit(main())
