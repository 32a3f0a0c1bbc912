"""Kills runs at random instants and resumes them until they complete; counts the kills and what is wrong after each."""

import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from kill_attempts import INTERVAL, Attempt, Found, Reference, differences, look, reference, temporaries

from mixzoo.runs.directory import NEW_PREFIX

PROBLEMS = ("corrupt", "bits different", "unusable directories", "lost beyond one interval", "left over", "wrong end")


@dataclass
class Tally:
    """What was counted. Each problem is a line that says how to see it again."""

    runs: int = 0
    attempts: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def problem(self, kind: str, text: str) -> None:
        assert kind in PROBLEMS
        self.problems.setdefault(kind, []).append(text)


@dataclass
class Killer:
    """Kills attempts of one run until it completes, and checks what each kill has left and what the run comes to."""

    folder: Path  # is made, and has nothing but the run, and directories that a start has not finished
    whole: Reference
    case: str
    tally: Tally
    label: str  # begins each problem
    prepare: Callable[[int], None] = lambda pipe: None
    numbers: dict[str, object] = field(default_factory=dict)
    older: bool = True  # whether the steps of older checkpoints are compared
    committed: int = 0  # step of the newest checkpoint, as far as is known
    last: Attempt | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()

    def kill_after(self, wait: Callable[[Attempt], object]) -> bool:
        """Begin or resume the run, and kill it when `wait` returns; returns whether that was before its end."""
        self.tally.attempts += 1
        label, before = f"{self.label}, attempt {self.tally.attempts}", temporaries(self.folder)
        self.last = attempt = Attempt(self.folder / "run", self.case, self.prepare, **self.numbers)
        wait(attempt)
        attempt.send(signal.SIGKILL)
        code = attempt.end()
        self._check_progress(attempt, label)
        if code == -signal.SIGKILL:
            self.count(look(self.folder, self.whole, before), label)
        elif code:
            self.tally.problem("unusable directories", f"{label}: exit code {code}: {attempt.output}")
        return code == -signal.SIGKILL

    def finish(self) -> None:
        """Let the run complete unless it has, and compare it with the unbroken one."""
        attempt = Attempt(self.folder / "run", self.case, **self.numbers)
        if code := attempt.end():
            self.tally.problem("unusable directories", f"{self.label}: exit code {code}: {attempt.output}")
            return
        self._check_progress(attempt, self.label)
        self.tally.runs += 1
        for name in differences(self.folder / "run", self.whole.run, older=self.older):
            self.tally.problem("left over" if "left over" in name else "bits different", f"{self.label}: {name}")
        for kind, path, *_ in temporaries(self.folder):
            self.tally.problem("left over", f"{self.label}: {kind} {path}")
        if not self.tally.problems:
            shutil.rmtree(self.folder)

    def _check_progress(self, attempt: Attempt, label: str) -> None:
        """Training goes on from what was committed, not from before."""
        if attempt.resumed_from is not None and attempt.resumed_from != self.committed:
            text = f"{label}: went on from {attempt.resumed_from}, not from {self.committed}"
            self.tally.problem("lost beyond one interval", text)

    def count(self, found: Found, label: str) -> None:
        """Count an end by where it fell, and what is wrong after it."""
        counts = self.tally.counts
        counts.update(["kills", *found.inside])
        counts["inside a write"] += bool(found.inside)
        counts["before the directory"] += not found.began
        counts["before the first checkpoint"] += found.began and not found.committed
        counts["status behind"] += found.stated is not None and found.stated < found.committed
        for line in found.corrupt:
            self.tally.problem("corrupt", f"{label}: {line}")
        for line in found.different:
            self.tally.problem("bits different", f"{label}: {line}")
        if found.committed < self.committed or found.trained - found.committed > INTERVAL:
            text = f"{label}: {found.committed} of {found.trained} committed, {self.committed} before"
            self.tally.problem("lost beyond one interval", text)
        self.committed = found.committed
        for path in self.folder.glob(f"{NEW_PREFIX}*"):  # as if left an hour ago, so that the next start removes it
            os.utime(path, (0, 0))


@dataclass(frozen=True)
class Pace:
    """Seconds that a run which nobody kills takes now, from its fork."""

    commit: float  # to write a checkpoint
    first: float  # until its first checkpoint is there
    whole: float  # until its end


def pace_of(folder: Path, case: str, numbers: Mapping[str, Any], kind: type[Attempt] = Attempt) -> Pace:
    """The pace of a run on this machine as busy as it is; instants of kills are drawn in proportion to it."""
    folder.mkdir()
    attempt = kind(folder / "run", case, announce_commits, **numbers)
    attempt.wait_for(b"mkdir\n")
    begun = monotonic()
    attempt.wait_for(b"rename\n")
    first = monotonic()
    assert attempt.end() == 0, attempt.output
    shutil.rmtree(folder)
    return Pace(first - begun, first - attempt.began, attempt.seconds)


def reference_once(folder: Path, case: str, **numbers: Any) -> Reference:
    """The unbroken run, trained unless the folder has it."""
    made = Reference(folder / "whole", folder / "all")
    return made if (made.all / "results.json").exists() else reference(folder, case, **numbers)


WRITES = {"os.mkdir": b"mkdir", "os.rename": b"rename"}


def announce_commits(pipe: int) -> None:
    """Announce each directory of a checkpoint that is made, and its rename, from inside the process that makes it."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in WRITES and ".tmp-step-" in str(arguments[0]):
            os.write(pipe, WRITES[event] + b"\n")

    sys.addaudithook(hook)


def random_kills(folder: Path, case: str, seed: int, kills: int, **settings: Any) -> Tally:
    """Kill runs of a case at uniformly random instants, resumed ones too, that many times.

    An instant is between the fork and a tenth step or so after the first checkpoint. `settings` are of `Killer`.
    """

    def instant(rng: random.Random, pace: Pace) -> Callable[[Attempt], object]:
        return wait_at_most(rng, pace.first + (pace.whole - pace.first) / 6)

    return kill_loop(folder, case, seed, kills, "kills", instant, **settings)


def kills_inside_commits(folder: Path, case: str, seed: int, kills: int) -> Tally:
    """Kill runs at random instants between the beginning of a checkpoint's write and its rename, that many times.

    A kill counts only if it has left a checkpoint half written.
    """

    def instant(rng: random.Random, pace: Pace) -> Callable[[Attempt], object]:
        which, wait = rng.randint(1, 4), wait_at_most(rng, pace.commit)
        return lambda attempt: attempt.wait_for(b"mkdir\n", which) and wait(attempt)

    return kill_loop(folder, case, seed, kills, "checkpoint", instant, prepare=announce_commits)


def kills_at_the_start(folder: Path, case: str, seed: int, kills: int) -> Tally:
    """Kill new runs at random instants from the fork until after the first checkpoint, each once, and complete them."""
    return kill_loop(
        folder, case, seed, kills, "kills", lambda rng, pace: wait_at_most(rng, 1.2 * pace.first), once=True,
        numbers={"steps": 20},
    )  # fmt: skip


def wait_at_most(rng: random.Random, seconds: float) -> Callable[[Attempt], object]:
    delay = rng.uniform(0, seconds)
    return lambda attempt: attempt.wait(delay)


def kill_loop(
    folder: Path,
    case: str,
    seed: int,
    kills: int,
    counted: str,
    instant: Callable[[random.Random, Pace], Callable[[Attempt], object]],
    *,
    once: bool = False,
    **settings: Any,
) -> Tally:
    """Kill runs at instants that are drawn, until that many of the `counted` are in the tally, or a problem is.

    A run is resumed and killed until it completes, or with `once`, killed once and completed.
    """
    tally, rng, run, numbers = Tally(), random.Random(seed), 0, settings.get("numbers", {})
    whole, pace = reference_once(folder, case, **numbers), pace_of(folder / "pace", case, numbers)
    while tally.counts[counted] < kills and not tally.problems:
        run += 1
        label = f"{case}, seed {seed}, run {run}"
        killer = Killer(folder / f"{seed}-{run}", whole, case, tally, label, **settings)
        goes_on = True
        while goes_on and tally.counts[counted] < kills and not tally.problems:
            goes_on = killer.kill_after(instant(rng, pace)) and not once
        if not tally.problems:
            killer.finish()
    return tally
