"""The command in a message that continues a run or sweep does so when it is pasted: it names launcher and plugins."""

import re
import shlex
from pathlib import Path

import pytest

import mixzoo
from mixzoo.registry import session
from mixzoo.registry.zoo import RegisteredPart, load_zoo
from mixzoo.runs.places import launcher_named
from mixzoo_launchers.local import Local
from toys import SMALL, TOY_PLUGIN, TOYS, toy_zoo

pytestmark = pytest.mark.usefixtures("unchecked")

FILE = """
import os
import signal
from dataclasses import dataclass

import mixzoo
from mixzoo.runs.directory import write_status


class Task:
    def __init__(self, end):
        self.end = end

    def poll(self):
        return self.end

    def send_signal(self, number):
        pass


@dataclass(frozen=True)
class Away:
    end: str = "lost"
    why: str = ""

    def begin(self, job):
        if self.end == "lost":
            return Task(mixzoo.Lost("its machine is on fire"))
        stopped = f"stopped by SIGTERM after step 3; `mixzoo resume {job.command[4]}` continues it"
        write_status(job.directory, "interrupted", 75, stopped)
        os.kill(os.getpid(), signal.SIGTERM)
        return Task(75)


@dataclass(frozen=True)
class Queued:
    def begin(self, job):
        return self.begin_all([job], 1)[0]

    def begin_all(self, jobs, at_once):
        os.kill(os.getpid(), signal.SIGTERM)
        return [Task(None) for job in jobs]

    def attach(self, job):
        return None


@mixzoo.hookimpl
def mixzoo_launchers():
    return {"away": Away, "queued": Queued}
"""
LAST = {
    'away:why="a b"': "1 of 1 runs failed: .* tries them again|out 1: its machine is on fire; .* continues it",
    "away:end=stopped": "stopped by SIGTERM (with 0 of 1 completed; .* the others|after step 3; .* continues it)",
    "queued": "left at SIGTERM( with 0 of 1 completed; .* for them again|: it stays in .* waits for it)",
}


@pytest.mark.parametrize("seeds", [["--seeds", "1"], []], ids=["sweep", "run"])
@pytest.mark.parametrize("on", LAST)
def test_a_command_in_a_message_comes_back_when_it_is_pasted(mixzoo, tmp_path, on, seeds):
    (tmp_path / "my launchers").mkdir()
    (tmp_path / "my launchers" / "away.py").write_text(FILE)
    given = ["--on", on, "--plugin", "my launchers/away.py"]
    code, _, err = mixzoo("train", *TOYS, *SMALL, *seeds, *given, "--out", "out 1")
    last = err.splitlines()[-1]
    assert re.match(f"mixzoo: ({LAST[on]})$", last), err
    (command,) = re.findall("`(.*)`", last)
    assert shlex.split(command) == ["mixzoo", "resume", "out 1", *given]
    again, _, err = mixzoo(*shlex.split(command)[1:])
    assert (again, err.splitlines()[-1]) == (code, last)


def test_a_launcher_of_this_process_is_named_as_python_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_PARTS", {})
    mixzoo.register("launcher", "mine", Local)
    place = launcher_named(load_zoo(), "mine:mps=false")
    assert place.resume_command(Path("a b"), []) == "`mixzoo.resume('a b', on='mine:mps=false')`"


def test_only_the_own_local_launcher_need_not_be_named(tmp_path):
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("launcher", "local", TOY_PLUGIN, Local))
    flags = ["--no-plugins", "--plugin", "it's.py"]
    assert (
        launcher_named(zoo, None).resume_command(Path("a"), flags)
        == """`mixzoo resume a --no-plugins --plugin 'it'"'"'s.py'`"""
    )
    assert launcher_named(zoo, "toys/local").resume_command(Path("a"), []) == "`mixzoo resume a --on toys/local`"
    assert [launcher_named(zoo, on).is_local for on in (None, "mixzoo/local", "toys/local")] == [True, True, False]
