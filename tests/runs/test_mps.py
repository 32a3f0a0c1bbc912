"""NVIDIA's MPS around the runs of a sweep, with a program in the place of its daemon that notes what it is asked."""

import json
import os
import re
import stat
import sys
from contextlib import contextmanager

import pytest
from test_launcher import Notes, jobs_of, place_of

from mixzoo.core.errors import ConfigError, PluginError
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.launcher import run_all
from mixzoo.runs.places import launcher_named
from mixzoo_launchers import mps
from mixzoo_launchers.local import Local
from mixzoo_launchers.mps import CONTROL, FOLDER, GPUS

DAEMON = """#!{python}
import json, os, sys
with open({notes!r}, "a") as file:
    asked = sys.argv[1:] or sys.stdin.read().split()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    file.write(json.dumps([asked, os.environ["CUDA_MPS_PIPE_DIRECTORY"], visible]) + "\\n")
if asked == ["-d"]:
    if os.fork() == 0:  # like a daemon, which may keep what it has inherited open
        os.execv("/bin/sleep", ["sleep", "3"])
    sys.exit({start})
"""
PRINTS = f"import os, sys; print(os.environ['{FOLDER}'], os.path.isdir(os.environ['{FOLDER}']), file=sys.stderr)"


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Puts a daemon on the PATH that ends its start as told; returns what it was asked."""
    monkeypatch.delenv(FOLDER, raising=False)
    folder, notes = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(start="0"):
        program = folder / CONTROL
        program.write_text(DAEMON.format(python=sys.executable, notes=str(notes), start=start))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return lambda: [json.loads(line) for line in notes.read_text().splitlines()]

    return put


@pytest.mark.parametrize("code", [PRINTS, f"{PRINTS}; sys.exit(6)"])
def test_a_daemon_of_its_own_runs_as_long_as_the_runs_do(tmp_path, daemon, monkeypatch, code):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    asked, notes = daemon(), Notes()
    place = launcher_named(load_zoo(), "local:mps=true")
    run_all(jobs_of(tmp_path, dict.fromkeys("ab", code)), place, 2, notes, lambda *end: "done")
    (started, folder, visible), quit_ = asked()
    assert (started, visible, quit_) == (["-d"], "3", [["quit"], folder, "3"])
    assert sorted(notes.printed) == [(name, f"{folder} True") for name in "ab"]
    assert not os.path.exists(folder)
    assert (place.is_local, place.resume_command(tmp_path, [])) == (
        False,
        f"`mixzoo resume {tmp_path} --on local:mps=true`",
    )


@pytest.mark.parametrize(
    ("served", "given", "numbers"),
    [("2", None, "0"), ("2,3", None, "0,1"), ("2, 3", "3", "1"), (None, "1", "1"), (None, None, "None")],
)
def test_runs_number_the_gpus_as_the_daemon_does(tmp_path, daemon, monkeypatch, served, given, numbers):
    daemon()
    monkeypatch.delenv(GPUS, raising=False)
    if served:
        monkeypatch.setenv(GPUS, served)
    jobs, notes = jobs_of(tmp_path, {"a": f"import os, sys; print(os.environ.get('{GPUS}'), file=sys.stderr)"}), Notes()
    on_start = {} if given is None else {GPUS: given}
    run_all(jobs, place_of(Local(mps=True)), 1, notes, lambda *end: "done", lambda name: on_start)
    assert notes.printed == [("a", numbers)]


def test_a_daemon_that_does_not_come_back_from_its_start_is_ended(tmp_path, daemon, monkeypatch):
    asked = daemon("__import__('time').sleep(9)")
    monkeypatch.setattr(mps, "START_SECONDS", 1.0)
    with pytest.raises(ConfigError, match=rf"^mps: {CONTROL} -d has not ended after 1 s; leave it out$"):
        run_all(jobs_of(tmp_path, {"a": "pass"}), place_of(Local(mps=True)), 1, Notes(), lambda *end: "done")
    assert [one[0] for one in asked()] == [["-d"], ["quit"]]


def test_a_daemon_that_is_no_program_is_one_line(tmp_path, daemon):
    daemon()
    (tmp_path / "bin" / CONTROL).write_text("neither a program nor a script")
    with pytest.raises(ConfigError, match=rf"^mps: {CONTROL} cannot be started \(Exec format error\); leave it out$"):
        run_all(jobs_of(tmp_path, {"a": "pass"}), place_of(Local(mps=True)), 1, Notes(), lambda *end: "done")


class Served(Local):
    """Its service has a fault."""

    def __init__(self, way):
        object.__setattr__(self, "way", way)
        super().__init__()

    def service(self):
        if self.way == "none":
            return None

        @contextmanager
        def around():
            if self.way == "start":
                raise OSError("no such program")
            yield {"A": 1} if self.way == "number" else None if self.way == "nothing" else {"A": "b"}
            if self.way == "end":
                raise OSError("it does not end")

        return around()


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("none", "service returned None; expected service() -> a context manager that yields environment variables"),
        ("start", "service raised OSError: no such program"),
        ("number", "service yields "),
        ("nothing", "service yields None; expected service() -> a context manager that yields environment variables"),
        ("end", "service raised OSError: it does not end"),
    ],
)
def test_a_service_that_is_none_is_an_error_of_its_plugin(tmp_path, way, message):
    with pytest.raises(PluginError, match=rf"^launcher 'checked' \(a test\): {re.escape(message)}"):
        run_all(jobs_of(tmp_path, {"a": "pass"}), place_of(Served(way)), 1, Notes(), lambda *end: "done")


def test_no_daemon_runs_if_there_is_nothing_to_run(daemon):
    daemon()
    run_all([], place_of(Local(mps=True)), 1, Notes(), lambda *end: "done")


@pytest.mark.parametrize(
    ("start", "reason"),
    [("'MPS: no permission'", "(MPS: no permission)"), ("3", "ended with 3 (it says nothing)")],
)
def test_a_daemon_that_does_not_start_is_one_line_and_no_run_begins(tmp_path, daemon, start, reason):
    daemon(start)
    with pytest.raises(ConfigError) as caught:
        run_all(
            jobs_of(tmp_path, {"a": "pass"}),
            place_of(Local(mps=True)),
            1,
            Notes(),
            lambda *end: pytest.fail("it began"),
        )
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; leave it out")


def test_what_cannot_be_had_is_refused_before_anything_is_made(daemon, monkeypatch, mixzoo, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = ("train", "--seeds", "0,1", "--on", "local:mps=true", "--out", "runs/sweep")
    code, _, err = mixzoo(*command)
    assert (code, err) == (
        2,
        f"mixzoo: mps: there is no {CONTROL} on the PATH, which comes with NVIDIA's driver; leave it out\n",
    )
    daemon()
    monkeypatch.setenv(FOLDER, str(tmp_path / "mps"))
    code, _, err = mixzoo(*command)
    assert code == 2
    assert err == f"mixzoo: mps: {FOLDER} is set, so runs begun here use the MPS daemon that is there; leave it out\n"
    assert not (tmp_path / "runs").exists()
