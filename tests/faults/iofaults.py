"""Every call with which a command changes a file fails in turn: what is said, what is left, what a resume mends."""

import errno
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from forked import FAIL, HALF, KILL_AFTER, KILL_BEFORE, Fault
from jobs import TRAIN

WAYS = {
    "EIO": (FAIL, errno.EIO),
    "ENOSPC half way": (HALF, errno.ENOSPC),
    "SIGKILL before": (KILL_BEFORE, 0),
    "SIGKILL after": (KILL_AFTER, 0),
}
# Calls that a command may do without: what it removes, folders that are there, the seconds in environment.json.
OPTIONAL = re.compile(
    r"(unlink|rmdir) |.*/\.tmp-old-|.*environment\.json|fsync /run$|mkdir .*/(checkpoints|pictures|scores|\.)$"
)
HALTED = 120  # the call at which a run is killed, so that there is one to resume
MOST = 2000  # calls of a command, far more than any has


@dataclass(frozen=True)
class Scenario:
    """A command, and how the folder is made in which it runs."""

    name: str
    arguments: tuple[str, ...]
    begins_with: str = ""  # nothing, "halted" or "whole"
    trains: bool = True


SCENARIOS = (
    Scenario("train", (*TRAIN, "--out", "run")),
    Scenario("resume", ("resume", "run"), "halted"),
    Scenario("interpolate", ("interpolate", "run", "--pairs", "1"), "whole", False),
    Scenario("evaluate", ("evaluate", "run", "--metric", "knn"), "whole", False),
)


@dataclass
class Attempt:
    """One call that failed, and what is wrong with what came of it."""

    n: int
    fired: bool
    what: str
    code: int
    line: str
    problems: list[str] = field(default_factory=list)

    @property
    def step(self) -> str:
        """The call and its file, without numbers, so that like calls are counted together."""
        text = re.sub(r"\.tmp-new-[0-9a-f]+", "run", self.what)
        return re.sub(r"step-[0-9]+", "step", re.sub(r"(/\.tmp-)(?!old)", "/", text))


class Bench:
    """The folder of a series of attempts: a whole run, one that was killed half way, and a place for each attempt."""

    def __init__(self, server, home):
        self.server, self.home = server, Path(home)
        self.whole, self.halted = self.home / "whole", self.home / "halted"
        for folder in (self.whole, self.halted):
            folder.mkdir()
        done = server.run(
            "command", arguments=[*TRAIN, "--out", "run"], folder=self.whole, fault=Fault(str(self.whole))
        )
        assert done.code == 0, done.err
        self.calls = done.calls
        fault = Fault(str(self.halted), HALTED, KILL_BEFORE)
        killed = server.run("command", arguments=[*TRAIN, "--out", "run"], folder=self.halted, fault=fault)
        assert killed.code == -9, killed
        assert (self.halted / "run" / "checkpoints").exists()
        # What the kill left: a resume that fails before it has the lock must leave that alone, too.
        self.unfinished = {f"left behind: {path.relative_to(self.halted)}" for path in self.halted.glob("**/.tmp-*")}

    def attempt(self, scenario, n, way, mutant=""):
        """Let call n of the scenario's command fail in this way, then go on."""
        mode, error = WAYS[way]
        place = self.home / "place"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(getattr(self, scenario.begins_with), place) if scenario.begins_with else place.mkdir()
        ended = self.server.run("command", arguments=scenario.arguments, folder=place, mutant=mutant,
                                fault=Fault(str(place), n, mode, error))  # fmt: skip
        line = (ended.err.strip().splitlines() or [""])[-1]
        found = Attempt(n, ended.fired, ended.what, ended.code, line)
        if not ended.fired:
            return found

        # What it said, what it left, and what becomes of it.
        found.problems += said(ended, mode)
        run = place / "run"
        code = ended.code if scenario.trains else min(ended.code, 0)
        left = self.server.run("state", run=run, code=code, mutant=mutant)
        allowed = self.unfinished if scenario.begins_with == "halted" else set()
        problems = left.value if left.value is not None else [f"no look at it: {left.err}"]
        found.problems += [problem for problem in problems if problem not in allowed]
        if scenario.trains:
            after = self.server.run("recover", run=run, whole=self.whole / "run", mutant=mutant)
        else:
            after = self.server.run("again", arguments=scenario.arguments, run=run, whole=self.whole / "run")
        found.problems += after.value if after.value is not None else [f"it cannot go on: {after.code} {after.err}"]
        return found

    def series(self, scenario, way, first=1, every=1, mutant=""):
        """Attempts with n = first, first + every, ... until the command has fewer calls."""
        for n in range(first, MOST, every):
            found = self.attempt(scenario, n, way, mutant)
            if not found.fired:
                if found.code:
                    found.problems.append(f"ended with {found.code}, and no call failed: {found.line}")
                yield found
                return
            yield found


def said(ended, mode):
    """What is wrong with how a command ended and what it printed."""
    found = []
    if "Traceback" in ended.err:
        found.append(f"a traceback: {ended.err[-300:]}")
    if mode in (KILL_BEFORE, KILL_AFTER):
        return found if ended.code == -9 else [*found, f"ended with {ended.code}, not killed"]
    lines = [line for line in ended.err.splitlines() if line.startswith("mixzoo: ")]
    if ended.code == 0:
        return found if OPTIONAL.match(ended.what) else [*found, f"{ended.what} failed, and nothing was said"]
    if ended.code != 8:
        found.append(f"ended with {ended.code}, not 8: {ended.err[-300:]}")
    if len(lines) != 1 or not ended.err.endswith(f"{lines[0]}\n"):
        found.append(f"not one line: {ended.err[-300:]}")
    return found


def tally(attempts):
    """Rows of (step, attempts, with a problem) over the attempts that fired."""
    total, wrong = Counter(), Counter()
    for attempt in attempts:
        if attempt.fired:
            total[attempt.step] += 1
            wrong[attempt.step] += bool(attempt.problems)
    return [(step, total[step], wrong[step]) for step in sorted(total)]
