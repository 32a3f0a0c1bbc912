"""Many processes on one run directory: one trains, the others are told so; those that read never see half a file."""

import os
import shutil
import signal
import time
from pathlib import Path

from forked import HUNG, Server

READS = 400
LINE = "is writing to it; wait for it to end, or stop it"


class Many:
    """A directory with a run that waits for its first step."""

    def __init__(self, server, folder, processes=16):
        from jobs import TRAIN  # which imports this module

        self.server, self.folder, self.processes, self.train = server, Path(folder), processes, TRAIN
        done = server.run("prepared", folder=self.folder / "made")
        assert done.code == 0, done.err
        self.run = self.folder / "run"

    def fresh(self):
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.folder / "made" / "run", self.run)

    def round(self):
        """All of them resume the run at one instant; what is wrong with how they end."""
        self.fresh()
        gate = self.folder / "gate"
        gate.unlink(missing_ok=True)
        arguments = {"run": self.run, "gate": gate, "others": self.processes - 1}
        ended = self.server.run_all([("contend", arguments)] * self.processes)
        return problems_of(ended, self.run), [each.seconds for each in ended if each.code == 5]

    def after_a_kill(self):
        """The process that trains is killed; the next one trains at once."""
        self.fresh()
        killed = self.server.run("killed_in_a_step", run=self.run)
        again = self.server.run("command", arguments=["resume", "run"], folder=self.folder)
        found = [] if killed.code == -signal.SIGKILL else [f"not killed: {killed.code} {killed.err[-200:]}"]
        return found if again.code == 0 else [*found, f"the next ended with {again.code}: {again.err[-200:]}"]

    def read_while_it_is_written(self, reads=READS):
        """One process trains with a checkpoint after each step, and others read; what they saw, and how often."""
        shutil.rmtree(self.run, ignore_errors=True)
        train = [*self.train, "--steps", "40", "--checkpoint-every", "1", "--evaluate-every", "5"]
        writer = ("command", {"arguments": [*train, "--out", "run"], "folder": self.folder})
        ended = self.server.run_all([writer, *[("read_often", {"run": self.run, "times": reads})] * 2], timeout=300)
        found = [f"the writer ended with {ended[0].code}: {ended[0].err[-300:]}"] if ended[0].code else []
        for reader in ended[1:]:
            found += (
                reader.value["problems"] if reader.value else [f"a reader ended: {reader.code} {reader.err[-300:]}"]
            )
        return found, sum(reader.value["reads"] for reader in ended[1:] if reader.value)


def problems_of(ended, run):
    """What is wrong with the ends of processes of which one should have trained."""
    found = []
    winners = [each for each in ended if each.code == 0]
    losers = [each for each in ended if each.code == 5]
    if len(winners) != 1 or len(winners) + len(losers) != len(ended):
        found.append(f"they ended with {sorted(each.code for each in ended)}")
    if any(each.code == HUNG for each in ended):
        found.append("one hung")
    for each in losers:
        lines = each.err.strip().splitlines()
        if len(lines) != 1 or LINE not in lines[0] or not lines[0].startswith("mixzoo: "):
            found.append(f"said: {each.err[-300:]}")
    return found if (run / "results.json").exists() else [*found, "no results"]


def wait_for(condition, seconds=30.0):
    """Until the condition holds, or the time is over."""
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.005)


def rounds(folder, done, amount):
    """Rows of `amount` rounds of 16 processes, then of kills of the one that trains, and of readers."""
    with Server() as server:
        many = Many(server, folder)
        for number in range(sum(row["what"] == "round" for row in done), amount):
            found, seconds = many.round()
            yield {"what": "round", "n": number, "seconds": max(seconds, default=0.0), "problems": found}
        for number in range(sum(row["what"] == "kill" for row in done), amount // 10):
            yield {"what": "kill", "n": number, "problems": many.after_a_kill()}
        if not any(row["what"] == "reads" for row in done):
            found, reads = many.read_while_it_is_written()
            yield {"what": "reads", "n": reads, "problems": found}


def rounds_table(rows):
    lines = ["## Sixteen processes, one run directory", "", "| what | times | as it should |", "|---|---|---|"]
    names = {
        "round": "16 processes resume it at one instant: one trains, 15 end with exit code 5 and one line",
        "kill": "the process that trains is killed: the next one goes on at once",
    }
    for what, name in names.items():
        found = [row for row in rows if row["what"] == what]
        lines.append(f"| {name} | {len(found)} | {sum(not row['problems'] for row in found)} |")
    for row in (row for row in rows if row["what"] == "reads"):
        right = "all" if not row["problems"] else f"{len(row['problems'])} not"
        lines.append(f"| two processes read it (runs, status, results, metrics, newest checkpoint) while one writes, "
                     f"a checkpoint after each step | {row['n']} | {right} |")  # fmt: skip
    slowest = max((row["seconds"] for row in rows if row["what"] == "round"), default=0.0)
    return [*lines, "", f"The slowest refusal took {slowest:.1f} s, with 16 processes on {os.cpu_count()} cores."]
