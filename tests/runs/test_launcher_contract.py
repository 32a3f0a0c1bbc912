"""Launchers that break their contract: an error of one line that names them, and jobs that are stopped all the same."""

import os
import re
import signal
import subprocess
import threading
import time

import pytest
from test_launcher import POLITE, Notes, ran
from test_sweep import mixzoo_in

from mixzoo import PluginError
from mixzoo.registry.contract import Contract
from mixzoo.registry.zoo import add_files, load_zoo
from mixzoo.runs import sweep
from mixzoo.runs.directory import read_status, write_status
from mixzoo.runs.launcher import STILL
from mixzoo.runs.places import Place, launcher_named
from mixzoo_launchers.local import Local
from toys import SMALL, TOYS

pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.faults]


@pytest.fixture(autouse=True)
def _seen_soon(monkeypatch):
    """A run that its launcher calls completed, and that is not, is not looked at for long."""
    monkeypatch.setattr("mixzoo.runs.sweep.SEEN_SECONDS", 0.1)


FILE = """
import contextlib
from dataclasses import dataclass

import mixzoo


class Task:
    def __init__(self, poll=lambda: 0):
        self.poll = poll

    def send_signal(self, number):
        pass


def fails():
    raise RuntimeError("no\\nroute")


def lost(*arguments):
    return Task(lambda: mixzoo.Lost(*arguments))


@dataclass(frozen=True)
class Broken:
    def begin(self, job):
        return Task()

    {body}


@mixzoo.hookimpl
def mixzoo_launchers():
    return {{"broken": Broken}}
"""

BEFORE = [  # found before anything is made
    ("begin = 5", "begin is 5, which cannot be called; expected begin(job) -> a task with"),
    ("begin = property(lambda self: fails())", "begin raised RuntimeError: no (broken.py, line "),
    ("def begin(self): pass", "begin cannot be called with only a job: too many positional arguments; expected begin("),
    (
        "begin_all = lambda self, jobs, at_once: []",
        "it has begin_all, for jobs in a queue, but no attach; expected atta",
    ),
    (
        "attach = lambda self, job: None",
        "it has attach, for jobs in a queue, but no begin_all; expected begin_all(jobs,",
    ),
    ("attach = begin; begin_all = begin", "begin_all cannot be called with jobs, at_once: too many positional argumen"),
    ("attach = fails; begin_all = begin", "begin_all cannot be called with jobs, at_once: too many positional argumen"),
    ("slots = property(lambda self: fails())", "slots raised RuntimeError: no (broken.py, line "),
    (
        "slots = property(lambda self: self.x)",
        "slots raised AttributeError: 'Broken' object has no attribute 'x' (brok",
    ),
    ("slots = True", "slots is True; expected slots: an int of at least 1, the jobs that run at a time"),
    ("here = property(lambda self: fails())", "here raised RuntimeError: no (broken.py, line "),
    ("here = 'yes'", "here is 'yes'; expected here: a bool, True if the jobs are processes of this machine"),
    ("retries = property(lambda self: fails())", "retries raised RuntimeError: no (broken.py, line "),
    ("retries = -1", "retries is -1; expected retries: an int of at least 0"),
    ("retries = 2.0", "retries is 2.0; expected retries: an int of at least 0"),
    ("check = lambda self: fails()", "check raised RuntimeError: no (broken.py, line "),
    (
        "check = lambda self, host: 0",
        "check cannot be called with no argument: missing a required argument: 'host'; ex",
    ),
    (
        "service = 'yes'",
        "service is 'yes', which cannot be called; expected service() -> a context manager that yields",
    ),
]
QUEUE = "attach = lambda self, job: None; begin_all = lambda self, jobs, at_once: "
DURING = [
    ("begin = lambda self, job: exit(0)", "begin raised SystemExit: 0 (broken.py, line "),
    ("begin = lambda self, job: lost('a', 'no')", "poll raised TypeError: Lost(reason, again): again is a bool, "),
    ("begin = lambda self, job: Task(fails)", "poll raised RuntimeError: no (broken.py, line "),
    ("begin = lambda self, job: Task(lambda: exit(0))", "poll raised SystemExit: 0 (broken.py, line "),
    ("begin = lambda self, job: Task(lambda job: 0)", "poll raised TypeError: "),
    ("begin = lambda self, job: Task(lambda: True)", "poll returned True; expected poll() -> an exit code from -255 t"),
    (f"{QUEUE}None", "begin_all returned None; expected begin_all(jobs, at_once) -> a task for each job"),
    (f"{QUEUE}(fails() for job in jobs)", "begin_all raised RuntimeError: no (broken.py, line "),
    (f"{QUEUE}[Task()]", "begin_all returned 1 tasks for 2 jobs; expected begin_all(jobs"),
    (f"{QUEUE}(5 for job in jobs)", "begin_all returned 5, which has no poll and send_signal; expected begin_all(jobs"),
    (f"{QUEUE}fails()", "begin_all raised RuntimeError: no (broken.py, line "),
    (f"{QUEUE}0; attach = lambda self, job: fails()", "attach raised RuntimeError: no (broken.py, line "),
    (f"{QUEUE}0; attach = lambda self, job: 3", "attach returned 3, which has no poll and send_signal; expected attac"),
    ("service = lambda self: None", "service returned None; expected service() -> a context manager that yields"),
    ("service = lambda self: iter(())", "service returned a tuple_iterator; expected service() -> a context man"),
    ("service = lambda self: fails()", "service raised RuntimeError: no (broken.py, line "),
    ("service = lambda self: contextlib.nullcontext()", "service yields None; expected service() -> a context manager"),
    ("service = lambda self: contextlib.nullcontext({'A': 1})", "service yields {'A': 1}; expected service() -> a"),
    ("service = lambda self: contextlib.nullcontext({'A=': ''})", "service yields {'A=': ''}; expected service"),
]  # fmt: skip


def trained_on(mixzoo, tmp_path, body, *more):
    (tmp_path / "broken.py").write_text(FILE.format(body=body))
    given = ["--on", "broken", "--plugin", "broken.py", "--out", "out", *more]
    code, _, err = mixzoo("train", *TOYS, *SMALL, *given)
    return code, err


@pytest.mark.parametrize(("body", "words"), BEFORE, ids=[body for body, _ in BEFORE])
def test_a_member_that_is_wrong_is_one_line_before_anything_is_made(mixzoo, tmp_path, body, words):
    code, err = trained_on(mixzoo, tmp_path, body, "--seeds", "1,2")
    assert re.match(r"mixzoo: launcher 'broken' \(plugin 'broken' of broken.py \w+\)", err), err
    assert words in err
    assert (code, err.count("\n")) == (9, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seeds", [["--seeds", "1,2"], []], ids=["sweep", "run"])
@pytest.mark.parametrize(("body", "words"), DURING, ids=[body for body, _ in DURING])
def test_a_call_that_goes_wrong_is_one_line(mixzoo, tmp_path, body, words, seeds):
    code, err = trained_on(mixzoo, tmp_path, body, *seeds)
    if not seeds and "1 tasks" in words:
        words = "poll returned 0, but out is not completed; expected poll"
    assert words in err
    assert (code, err.splitlines()[-1].startswith("mixzoo: launcher 'broken' (")) == (9, True)
    assert "Traceback" not in err
    assert len(err) < 600


def test_the_reason_of_a_lost_job_is_kept_as_one_line(mixzoo, tmp_path):
    code, err = trained_on(
        mixzoo, tmp_path, "begin = lambda self, job: lost('on\\n\\nfire ' + 'x' * 999)", "--seeds", "1"
    )
    assert re.search(r"^mixzoo: 1 of 1 runs failed: seed=1 \(on fire x{292}\)\. `mixzoo resume", err, re.M), err
    assert code == 10
    said = "begin = lambda self, job: lost(OSError(5, 'a\\x1b[31m'))"
    code, err = trained_on(mixzoo, tmp_path, said, "--seeds", "1", "--out", "three")
    assert r"seed=1 ([Errno 5] a\x1b[31m). `mixzoo" in err
    code, err = trained_on(mixzoo, tmp_path, "begin = lambda self, job: lost('')", "--seeds", "1", "--out", "two")
    assert "seed=1 (its launcher gives no reason). `mixzoo" in err


def test_an_exit_code_of_0_is_no_success_of_a_run_that_is_not_completed(mixzoo, tmp_path):
    code, err = trained_on(mixzoo, tmp_path, "", "--seeds", "1")
    assert "seed=1 (the launcher reports exit code 0, but the run is not completed). " in err
    assert code == 10


class Deaf(subprocess.Popen):
    """A process that cannot be sent a signal."""

    def send_signal(self, number):
        raise RuntimeError("no\nroute")


class Mixed:
    """Processes, of which those that are named are deaf."""

    def __init__(self, *deaf):
        self.deaf, self.begun, self.begun_jobs = deaf, {}, []
        self.timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT))

    def begin(self, job):
        if job.name == "wrong":
            while "ready" not in self.begun_jobs[0].log.read_text():
                time.sleep(0.05)
            self.timer.start()
            raise RuntimeError("no host")
        process = Local().begin(job)
        if job.name in self.deaf:
            process.__class__ = Deaf
        self.begun[job.name] = process
        self.begun_jobs.append(job)
        return process


COUNTS = "import signal, sys, time\ntold = []\ndef say(*_): told.append(1); print('told', file=sys.stderr, flush=True)\nsignal.signal(signal.SIGTERM, say); print('ready', file=sys.stderr, flush=True)\nuntil = time.monotonic() + 60\nwhile not told and time.monotonic() < until: time.sleep(0.05)\ntime.sleep(0.5)"  # noqa: E501


class Stop(Notes):
    """Sends this process a signal when so many jobs are ready."""

    def __init__(self, ready):
        super().__init__()
        self.ready = ready

    def line(self, name, text):
        super().line(name, text)
        if self.printed.count((name, "ready")) == 1 and len(self.printed) == self.ready:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_task_that_cannot_be_signalled_keeps_no_signal_from_the_others(tmp_path):
    """Each is told once: a second signal could end it before its checkpoint."""
    mixed = Mixed("b")
    scripts = {"a": COUNTS, "b": POLITE, "c": COUNTS}
    begun = time.monotonic()
    with pytest.raises(PluginError, match=r"send_signal raised RuntimeError: no \(.*; expected send_signal\(number\)$"):
        ran(tmp_path, scripts, 3, stop := Stop(3), mixed)
    assert [name for name, text in stop.printed if text == STILL] == ["b"]
    assert time.monotonic() - begun < 30  # the deaf one is not waited for
    assert [process.returncode for process in mixed.begun.values()] == [0, None, 0]
    assert [(tmp_path / f"{name}.log").read_text() for name in "ac"] == ["ready\ntold\n"] * 2
    os.kill(mixed.begun["b"].pid, signal.SIGKILL)
    mixed.begun["b"].wait()


def test_the_next_signal_ends_the_wait_for_jobs_that_do_not_stop(tmp_path):
    mixed = Mixed()
    stubborn = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('ready', file=sys.stderr, flush=True); time.sleep(60)"
    )
    begun = time.monotonic()
    try:
        with pytest.raises(PluginError, match=r"begin raised RuntimeError: no host"):
            ran(tmp_path, {"a": stubborn, "wrong": "pass"}, 2, None, mixed)
        assert 2 <= time.monotonic() - begun < 30
        assert mixed.begun["a"].poll() is None
    finally:
        mixed.timer.cancel()
        mixed.begun["a"].kill()
        mixed.begun["a"].wait()


class Service:
    """Ends with an error of its own."""

    def __enter__(self):
        return {}

    def __exit__(self, *error):
        raise RuntimeError("the service does not end")


class Served(Local):
    def service(self):
        return Service()


def test_the_end_of_a_service_hides_no_earlier_error(tmp_path):
    class Broken(Notes):
        def line(self, name, text):
            raise ValueError(text)

    with pytest.raises(ValueError, match="ready"):
        ran(tmp_path, {"a": POLITE}, watch=Broken(), launcher=Served())
    with pytest.raises(PluginError, match=r"service raised RuntimeError: the service does not end"):
        ran(tmp_path, {"a": "pass"}, launcher=Served())


CONNECTS = """
    client = [[]]

    def check(self):
        self.client[0] = ["a host", "another"]

    slots = property(lambda self: len(self.client[0]))
    here = property(lambda self: self.client[0] == [])
"""


def test_what_a_launcher_knows_only_after_its_check_is_asked_then(tmp_path):
    (tmp_path / "broken.py").write_text(FILE.format(body=CONNECTS))
    zoo = load_zoo()
    add_files(zoo, [tmp_path / "broken.py"])
    place = launcher_named(zoo, "broken")
    assert (place.slots, place.here) == (2, False)
    place.launcher.client[0].append("a third")
    assert place.slots == 3


COMPLETES = """
import subprocess
from dataclasses import dataclass

import mixzoo


class Task:
    def __init__(self, process):
        self.process = process

    def poll(self):
        return None if self.process.poll() is None else mixzoo.Lost("the connection was cut off")

    def send_signal(self, number):
        self.process.send_signal(number)


@dataclass(frozen=True)
class Cut:
    def begin(self, job):
        with job.open_log() as log:
            command = ["env", *job.arguments]
            return Task(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, cwd=job.folder))


@mixzoo.hookimpl
def mixzoo_launchers():
    return {"cut": Cut}
"""


@pytest.mark.parametrize("seeds", [["--seeds", "1"], []], ids=["sweep", "run"])
def test_a_completed_run_is_no_failure_if_its_launcher_then_loses_it(tmp_path, seeds):
    (tmp_path / "cut.py").write_text(COMPLETES)
    given = [*seeds, "--on", "cut", "--plugin", tmp_path / "cut.py", "--out", "out"]
    code, _, err = mixzoo_in(tmp_path, "train", *TOYS, *SMALL, *given)
    assert code == 0, err
    directory = tmp_path / "out" / "seed=1" if seeds else tmp_path / "out"
    assert read_status(directory).state == "completed"


def test_the_end_of_a_run_elsewhere_that_is_seen_late_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "SEEN_SECONDS", 60.0)
    write_status(tmp_path, "running")
    threading.Timer(0.8, write_status, (tmp_path, "completed")).start()
    begun = time.monotonic()
    sweep.wait_until_seen(tmp_path, 0, Place(Local(), Contract("launcher", "local")))  # here files are seen at once
    assert time.monotonic() - begun < 0.5
    sweep.wait_until_seen(tmp_path, 75, Place(Mixed(), Contract("launcher", "mixed")))
    assert time.monotonic() - begun < 0.5
    sweep.wait_until_seen(tmp_path, 0, Place(Mixed(), Contract("launcher", "mixed")))
    assert read_status(tmp_path).state == "completed"
    assert time.monotonic() - begun < 30


class Ignored(subprocess.Popen):
    """A process that is not told to stop."""

    def send_signal(self, number):
        pass


def test_the_third_signal_leaves_jobs_that_do_not_end(tmp_path):
    class Begins:
        def begin(self, job):
            self.process = Local().begin(job)
            self.process.__class__ = Ignored
            return self.process

    class Thrice(Notes):
        def line(self, name, text):
            super().line(name, text)
            if text == "ready":
                for _ in range(3):
                    os.kill(os.getpid(), signal.SIGINT)

    begins, notes = Begins(), Thrice()
    try:
        assert ran(tmp_path, {"a": POLITE}, 1, notes, begins) == ("SIGINT", {})
        assert notes.printed[-1] == ("a", STILL)
        assert begins.process.poll() is None
    finally:
        os.kill(begins.process.pid, signal.SIGKILL)
        begins.process.wait()
