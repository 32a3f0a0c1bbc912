"""Sends signals to commands at random instants: how they end, how soon, and whether the run goes on as if unbroken.

A command is `mixzoo train` or `mixzoo resume` in a forked process, from its first line.
"""

import json
import os
import random
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

from kill_attempts import ZOO, Attempt, look, temporaries
from kill_loop import Killer, Tally, announce_commits, pace_of, reference_once
from kill_parts import kill_config

import mixzoo.cli.app  # noqa: F401 (so that a forked process need not import it)
from mixzoo import __main__
from mixzoo.registry import zoo

NUMBERS = {"steps": 12}
BEGUN = b"begun\n"  # is announced when a command begins


class Command(Attempt):
    """`mixzoo train` or, if the run is there, `mixzoo resume`."""

    @staticmethod
    def work(run_dir: Path, case: str, pipe: int, numbers: dict[str, Any]) -> int:
        # As a shell starts it, whatever started the tests; the parts of these runs are installed.
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, __main__._leave)  # as the first line of `main` does
        zoo.load_zoo = lambda *found: ZOO
        config = run_dir.with_name("config.toml")
        config.write_text(kill_config(ZOO, case, **numbers).to_toml())
        sys.argv = ["mixzoo", "resume", str(run_dir)]
        if not run_dir.exists():
            sys.argv = ["mixzoo", "train", "--config", str(config), "--out", str(run_dir)]
        os.write(pipe, BEGUN)
        __main__.main()
        return 0


def signals(folder: Path, case: str, name: str, seed: int, count: int) -> dict[str, Any]:
    """Send a signal at random instants from a command's start to its end, to that many commands.

    The report has the exit codes, and the seconds from a signal to the end of a command that committed.
    """
    tally, rng, number = Tally(), random.Random(seed), signal.Signals[name]
    whole, pace = reference_once(folder, case, **NUMBERS), pace_of(folder / "pace", case, NUMBERS, Command)
    codes, seconds = Counter[int](), list[float]()
    for run in range(count):
        label = f"{case}, {name}, seed {seed}, run {run}"
        killer = Killer(folder / f"{run}", whole, case, tally, label, numbers=NUMBERS, older=False)
        command = Command(killer.folder / "run", case, **NUMBERS)
        command.wait_for(BEGUN)
        command.wait(rng.uniform(0, pace.whole))
        sent = monotonic()
        command.send(number)
        code = command.end()
        codes[code] += 1
        seconds += [monotonic() - sent] if code == 75 else []
        _check_end(killer, command, code, number)
        if tally.problems:
            break
    return vars(tally) | {"codes": codes, "seconds_to_end": seconds}


def second_interrupts(folder: Path, case: str, seed: int, count: int) -> dict[str, Any]:
    """Send two SIGINT, the second up to a few steps after the first, to that many commands that train."""
    tally, rng, codes = Tally(), random.Random(seed), Counter[int]()
    whole, pace = reference_once(folder, case, **NUMBERS), pace_of(folder / "pace", case, NUMBERS, Command)
    for run in range(count):
        label = f"{case}, two SIGINT, seed {seed}, run {run}"
        killer = Killer(folder / f"{run}", whole, case, tally, label, numbers=NUMBERS, older=False)
        command = Command(killer.folder / "run", case, announce_commits, **NUMBERS)
        command.wait_for(b"rename\n")
        for wait in (rng.uniform(0, pace.whole / 3), rng.uniform(0, pace.commit)):
            command.wait(wait)
            command.send(signal.SIGINT)
        codes[code := command.end()] += 1
        _check_end(killer, command, code, signal.SIGINT)
        if tally.problems:
            break
    return vars(tally) | {"codes": codes}


def _check_end(killer: Killer, command: Command, code: int, number: signal.Signals) -> None:
    """Check what the command said and left, and let the run complete."""
    folder, text, problem = killer.folder, command.output, killer.tally.problem
    last = text.splitlines()[-1:] or [""]
    if code not in (0, 75, 130 if number == signal.SIGINT else -number) or "Traceback" in text:
        problem("wrong end", f"{killer.label}: exit code {code}: {text}")
    if code == 130 and last[0] != "mixzoo: interrupted":
        problem("wrong end", f"{killer.label}: 130 without its line: {text}")
    if code == 75:
        status = json.loads((folder / "run/status.json").read_text())
        step = re.search(r"after step (\d+);", last[0])
        committed = int(step[1]) if step else status["last_committed"]
        if (status["state"], status["exit"], status["last_committed"]) != ("interrupted", 75, committed):
            problem("wrong end", f"{killer.label}: {last[0]}, but the status is {status}")
        if not last[0].startswith(f"mixzoo: stopped by {number.name} "):
            problem("wrong end", f"{killer.label}: 75 without its line: {text}")
        for kind, path, *_ in temporaries(folder):
            problem("left over", f"{killer.label}: {kind} {path}")
    killer.count(look(folder, killer.whole, set()), killer.label)
    if not killer.tally.problems:
        killer.finish()
