"""Launchers: what becomes of runs that are lost, left in a queue or begun elsewhere, and launchers that are wrong."""

import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from test_launcher import Notes, jobs_of, place_of, ran
from test_sweep import PLUGIN, equals_the_run_alone, mixzoo_in

import warm
from mixzoo import ConfigError, Job, Lost, NonFiniteError, PluginError, StorageError
from mixzoo.registry.zoo import Plugin, RegisteredPart, add_files, load_zoo
from mixzoo.runs import places
from mixzoo.runs.directory import read_status
from mixzoo.runs.elsewhere import resume_on, start_on
from mixzoo.runs.launcher import Watch
from mixzoo.runs.places import check_locks, place_for
from mixzoo.testing import check_part, parametrize_with_checks
from mixzoo.training.time_limit import TimeLimit
from mixzoo_launchers.local import Local
from toys import SMALL, TOYS, toy_config, toy_zoo

PAGE = Path(__file__).parents[2] / "docs" / "write_a_launcher.md"


@dataclass(frozen=True)
class Gone:
    """A task that was lost."""

    again: bool = True

    def poll(self):
        return Lost("its machine is on fire", again=self.again)

    def send_signal(self, number):
        pass


@dataclass(frozen=True)
class Lossy:
    """Loses a job a few times before it lets it run."""

    losses: int = 1
    retries: int = 2
    again: bool = True
    begun: ClassVar[list[str]] = []

    def begin(self, job):
        self.begun.append(job.name)
        return Gone(self.again) if self.begun.count(job.name) <= self.losses else Local().begin(job)


@pytest.fixture(autouse=True)
def _forget():
    Lossy.begun.clear()
    Line.there.clear()
    Line.asked.clear()
    Elsewhere.seen.clear()


def test_a_lost_job_is_begun_again_as_often_as_the_launcher_says(tmp_path):
    notes, lossy = Notes(), Lossy(losses=2)
    assert ran(tmp_path, {"a": "pass"}, 1, notes, lossy)[1] == {"a": (0, False)}
    assert lossy.begun == ["a"] * 3
    again = ("a", "warning: its machine is on fire; it is begun again from its last checkpoint")
    assert notes.printed == [again, again]
    assert notes.names == ["a"]


@pytest.mark.parametrize("lossy", [Lossy(losses=3), Lossy(losses=1, again=False)])
def test_a_job_that_is_lost_too_often_or_for_good_has_ended(tmp_path, lossy):
    (end,) = ran(tmp_path, {"a": "pass"}, 1, None, lossy)[1].values()
    assert (end[0].reason, len(lossy.begun)) == ("its machine is on fire", 3 if lossy.again else 1)


@dataclass(frozen=True)
class Line:
    """A queue whose jobs go on without this process."""

    there: ClassVar[dict[str, subprocess.Popen]] = {}
    asked: ClassVar[list[tuple[int, int]]] = []

    def begin(self, job):
        raise AssertionError("jobs of a queue are begun together")

    def begin_all(self, jobs, at_once):
        self.asked.append((len(jobs), at_once))
        self.there.update({job.name: Local().begin(job) for job in jobs})
        return [self.there[job.name] for job in jobs]

    def attach(self, job):
        return self.there.get(job.name)


def test_a_signal_leaves_jobs_in_their_queue_and_a_later_call_finds_them_there(tmp_path):
    class Stop(Notes):
        def line(self, name, text):
            super().line(name, text)
            if len(self.printed) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    line = Line()
    slow = f"import pathlib, sys, time\nprint('ready', file=sys.stderr, flush=True)\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.05)"  # noqa: E501
    assert ran(tmp_path, dict.fromkeys("ab", slow), 7, Stop(), line) == ("SIGINT", {})
    assert all(process.poll() is None for process in line.there.values())
    (tmp_path / "go").touch()
    assert ran(tmp_path, dict.fromkeys("abc", slow), 7, None, line) == ("", dict.fromkeys("abc", (0, False)))
    assert line.asked == [(2, 7), (1, 7)]


def test_a_queue_is_not_given_a_limit_of_time():
    zoo = with_launcher(Line)
    with pytest.raises(
        ConfigError, match=r"^--max-time 10m: runs in the queue of launcher 'tested' \(.*\) go on without"
    ):
        place_for(zoo, "tested", TimeLimit(600))


def with_launcher(recipe, zoo=None):
    """The toy zoo, or another, and this launcher as 'tested'."""
    zoo = zoo or toy_zoo()
    zoo.registered.append(RegisteredPart("launcher", "tested", Plugin("tests", "tests", "1"), recipe))
    return zoo


@dataclass(frozen=True)
class Wrong:
    """Breaks the contract in a way."""

    way: str = ""

    def begin(self, job):
        if self.way == "raises":
            raise RuntimeError("no route")
        return {"text": 7, "none": None}.get(self.way, self)

    def poll(self):
        return "done" if self.way == "poll" else 256

    def send_signal(self, number):
        pass

    @property
    def slots(self):
        return 0


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (
            "raises",
            r"begin raised RuntimeError: no route .*; expected begin\(job\) -> a task with poll and send_signal",
        ),
        ("none", r"begin returned None, which has no poll and send_signal; expected begin\(job\)"),
        ("text", r"begin returned 7, which has no poll and send_signal; expected begin\(job\)"),
        ("poll", r"poll returned 'done'; expected poll\(\) -> an exit code from -255 to 255, a mixzoo.Lost, or None"),
        ("code", r"poll returned 256; expected poll\(\)"),
    ],
)
def test_a_launcher_that_breaks_its_contract_is_named_with_what_was_expected(tmp_path, monkeypatch, way, message):
    monkeypatch.setattr("mixzoo.runs.launcher.END_SECONDS", 0.1)
    with pytest.raises(PluginError, match=rf"^launcher 'checked' \(a test\): {message}"):
        ran(tmp_path, {"a": "pass"}, 1, None, Wrong(way))
    with pytest.raises(PluginError, match="slots is 0; expected slots: an int of at least 1"):
        _ = place_of(Wrong()).slots


@parametrize_with_checks([Local()], kind="launcher")
def test_local_keeps_the_contract(check):
    check()


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """Begins jobs with one fault."""

    fault: str = ""

    def begin(self, job):
        with job.log.open("wb" if self.fault == "log" else "ab") as log:
            code = "raise SystemExit(0)" if self.fault == "code" else ""
            return subprocess.Popen(
                (sys.executable, "-c", code) if code else job.command, stdin=subprocess.DEVNULL, stderr=log,
                stdout=log if self.fault == "stdout" else subprocess.DEVNULL, start_new_session=True,
                cwd=None if self.fault == "folder" else job.folder,
                env={**os.environ, **({} if self.fault == "variables" else job.environment)},
            )  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("log", "the log is not appended to"),
        ("code", "a job that ends with exit code 6 is said to have ended with 0"),
        ("stdout", "standard output, on which a run prints its table, is in the log"),
        ("folder", "the job does not run in job.folder"),
        ("variables", "the job has failed: .*CHECKED"),
    ],
)
def test_the_checks_find_planted_faults(fault, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    report = "\n".join(check_part(Faulty(fault=fault), kind="launcher", zoo=toy_zoo()).lines())
    assert re.search(message, report), report


@dataclass(frozen=True)
class Elsewhere:
    """Processes that stand for those of another machine: they get no more than the job says."""

    code: int = 0
    seen: ClassVar[list[Job]] = []

    def begin(self, job):
        self.seen.append(job)
        if self.code:
            return Local().begin(
                Job(
                    job.name,
                    job.directory,
                    (sys.executable, "-c", f"raise SystemExit({self.code})"),
                    job.log,
                    job.folder,
                )
            )
        with job.open_log() as log:
            return subprocess.Popen(["env", *job.arguments], stdout=subprocess.DEVNULL, stderr=log, cwd=job.folder)


def test_a_single_run_elsewhere_ends_as_one_here_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([PLUGIN[1].removesuffix("/toy_parts.py"), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.setattr(sys, "executable", warm.python())
    monkeypatch.setenv(warm.EXECUTABLE, warm.python())
    zoo = load_zoo()
    add_files(zoo, [Path(PLUGIN[1])])  # as the run's process does
    place = place_for(with_launcher(Elsewhere, zoo), "tested")
    assert (place.here, place.has_queue) == (False, False)
    done = start_on(zoo, toy_config(zoo, threads=1), tmp_path / "run", place, Watch(), PLUGIN)
    assert read_status(tmp_path / "run").state == "completed"
    assert done.numbers == resume_on(zoo, tmp_path / "run", place, Watch(), PLUGIN).numbers
    assert Elsewhere.seen[-1].environment["PYTHONPATH"] == os.environ["PYTHONPATH"]
    assert equals_the_run_alone(tmp_path, tmp_path / "run")


def test_a_single_run_elsewhere_fails_with_its_own_exit_code_and_reason(tmp_path):
    zoo = with_launcher(Elsewhere)
    with pytest.raises(NonFiniteError, match=r"^exit code 6$"):
        start_on(zoo, toy_config(zoo), tmp_path / "run", place_for(zoo, "tested:code=6"), Watch(), [])
    zoo = with_launcher(Lossy)
    with pytest.raises(Exception, match="its machine is on fire"):
        resume_on(zoo, tmp_path / "run", place_for(zoo, "tested:losses=9,retries=1"), Watch(), [])


SSH = """
import os, pty, signal, sys

with open({hosts!r}, "a") as hosts:
    print(*sys.argv[1:-1], file=hosts)
process, terminal = pty.fork()
if not process:
    os.execvp("sh", ["sh", "-c", sys.argv[-1]])
signal.signal(signal.SIGTERM, lambda *_: os._exit(255))
try:
    while output := os.read(terminal, 65536):
        os.write(1, output)
except OSError:  # it has ended
    pass
code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
sys.exit(255 if code < 0 else code)
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The launcher of the page in ssh.py, and an ssh that runs commands in a terminal of this machine: its hosts."""
    for name, source in zip(("nicely", "ssh"), re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)):
        (tmp_path / f"{name}.py").write_text(source)
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f"#!{sys.executable}{SSH.format(hosts=str(tmp_path / 'hosts'))}")
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    return tmp_path / "hosts"


def test_the_page_of_launchers_is_true(tmp_path, page):
    """Its launcher trains a sweep. The logs have what the runs print on no terminal."""
    given = ["--seeds", "1,2", "--on", "ssh:host=gpu2", "--plugin", tmp_path / "ssh.py", "--out", "sweep"]
    code, out, err = mixzoo_in(tmp_path, "train", *TOYS, *SMALL, *given)
    assert code == 0, err
    assert page.read_text() == "-tt -o LogLevel=ERROR gpu2\n" * 2
    assert "seed=2: completed\n" in err
    assert re.search(r"│ all runs +│ +2 │", out)
    log = (tmp_path / "sweep" / "seed=1" / "output.log").read_bytes()
    assert b"step 2/4  probe: validation" in log
    assert not re.search(rb"[\r\x1b]", log)
    assert equals_the_run_alone(tmp_path, tmp_path / "sweep" / "seed=1")


def test_the_first_launcher_of_the_page_keeps_the_contract_and_trains(tmp_path, page):
    zoo = toy_zoo()
    add_files(zoo, [tmp_path / "nicely.py"])
    report = check_part("nicely", kind="launcher", zoo=zoo)
    assert not report.failed, "\n".join(report.lines())
    given = ["--on", "nicely:by=19", "--plugin", tmp_path / "nicely.py", "--out", "run"]
    code, _, err = mixzoo_in(tmp_path, "train", *TOYS, *SMALL, *given)
    assert code == 0, err
    assert read_status(tmp_path / "run").state == "completed"


def test_the_launcher_of_the_page_keeps_the_contract(tmp_path, page, monkeypatch):
    zoo = toy_zoo()
    add_files(zoo, [tmp_path / "ssh.py"])
    report = check_part("ssh", kind="launcher", zoo=zoo)
    assert not report.failed, "\n".join(report.lines())
    assert not report.skipped

    # A signal to ssh reaches the run as SIGHUP, and an ssh that cannot connect is a run that is lost.
    ssh, go = zoo.recipe("launcher", "ssh"), tmp_path / "got"
    code = f"import pathlib, signal, sys, time; signal.signal(signal.SIGHUP, lambda *_: (pathlib.Path({str(go)!r}).touch(), sys.exit())); print('ready', file=sys.stderr, flush=True); time.sleep(60)"  # noqa: E501
    (job,) = jobs_of(tmp_path, {"a b": code})
    task = ssh.begin(job)
    wait_for(lambda: "ready" in job.log.read_text())
    task.send_signal(signal.SIGTERM)
    wait_for(go.exists)
    wait_for(lambda: task.poll() is not None)
    assert task.poll() == Lost("ssh could not connect, or was cut off")


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_unknown_launchers_and_folders_that_cannot_be_locked_are_refused(mixzoo, tmp_path, monkeypatch):
    code, _, err = mixzoo("train", *TOYS, "--on", "slurn", "--seeds", "1,2")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown launcher 'slurn'" in err
    assert "Did you mean 'slurm'?" in err
    code, _, err = mixzoo("train", *TOYS, "--on", "qqq", "--seeds", "1,2")
    assert (code, err.splitlines()[-1][-40:]) == (2, " If it is in a file, give --plugin FILE.")
    check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
    mount = "36 25 0:32 / {} rw,relatime shared:1 - {} server:/home rw,vers=3,{},addr=10.0.0.1\n"
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(places, "MOUNTS", mounts)
    home = tmp_path / "my runs"
    home.mkdir()
    at = str(home).replace(" ", "\\040")
    mounts.write_text(mount.format("/", "ext4", "nolock") + mount.format(at, "nfs", "local_lock=none"))
    check_locks(home)
    mounts.write_text(mount.format("/", "ext4", "x") + mount.format(at, "nfs", "local_lock=all"))
    with pytest.raises(
        StorageError, match=r"my runs: it is mounted with local_lock=all, which keeps locks to one machine, so"
    ):
        check_locks(home)
    check_locks(tmp_path)
    flock = fcntl.flock
    # A shared lock in place of an exclusive one: granted to both, by the real call.
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: flock(handle, how & ~fcntl.LOCK_EX | fcntl.LOCK_SH))
    with pytest.raises(
        StorageError, match="its file system grants a lock twice, so two machines might write to one run"
    ):
        check_locks(tmp_path)
