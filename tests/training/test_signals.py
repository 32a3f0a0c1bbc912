"""Signals: which make a run commit and end with 75, which are left alone, and what a Ctrl-C while it starts does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mixzoo.core.errors import Interrupted
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import saved
from mixzoo.training.logs import ProgressDisplay
from mixzoo.training.signals import STOPS, interruptible
from toys import SMALL, TOYS, toy_config, toy_zoo

HERE = Path(__file__).parents[1]


class SignalAt(ProgressDisplay):
    """Sends this process a signal once a step has been logged."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def train(self, line):
        if line["step"] == self.step:
            os.kill(os.getpid(), self.number)


def weights(home):
    newest = saved(home / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home, zoo = tmp_path_factory.mktemp("whole") / "run", toy_zoo()
    start(zoo, toy_config(zoo, log_every=1), home)
    return home


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_finishes_the_step_commits_and_ends_with_75(tmp_path, whole, number):
    zoo, before = toy_zoo(), [signal.getsignal(number) for number in STOPS]
    with pytest.raises(Interrupted, match=f"stopped by {number.name} after step 7; `mixzoo resume"):
        start(zoo, toy_config(zoo, log_every=1), tmp_path / "run", lambda *_: SignalAt(7, number))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"], status["last_committed"]) == ("interrupted", 75, 7)
    assert [signal.getsignal(number) for number in STOPS] == before
    resume(zoo, tmp_path / "run")
    assert weights(tmp_path / "run") == weights(whole)


class Sends(torch.Tensor):
    """Sends this process a signal when it is copied to a parameter."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.copy_:
            os.kill(os.getpid(), signal.SIGHUP)
        return super().__torch_function__(function, types, args, kwargs or {})


def test_a_signal_while_weights_are_loaded_is_not_blamed_on_the_weights(tmp_path):
    layer = torch.nn.Linear(1, 1, bias=False)
    with pytest.raises(Interrupted, match="stopped by SIGHUP between steps"), interruptible(tmp_path):
        layer.load_state_dict({"weight": torch.ones(1, 1).as_subclass(Sends)})


def test_a_hang_up_that_is_ignored_as_under_nohup_stays_ignored(tmp_path, whole):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        zoo = toy_zoo()
        start(zoo, toy_config(zoo, log_every=1), tmp_path / "run", lambda *_: SignalAt(7, signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert weights(tmp_path / "run") == weights(whole)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_second_signal_that_is_no_ctrl_c_changes_nothing(tmp_path, second):
    class Twice(SignalAt):
        def train(self, line):
            super().train(line)
            if line["step"] == self.step:
                os.kill(os.getpid(), second)

    zoo = toy_zoo()
    with pytest.raises(Interrupted, match="stopped by SIGINT after step 7"):
        start(zoo, toy_config(zoo, log_every=1), tmp_path / "run", lambda *_: Twice(7, signal.SIGINT))


def started(folder, *arguments, **others):
    """A command of mixzoo in a process of its own, with the toy parts, in a folder that is empty."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mixzoo", *map(str, arguments), "--plugin", str(HERE / "toy_parts.py")]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **others}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **streams)


AFTER_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *rest):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["mixzoo", "list", "mixers"]
from mixzoo.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["typer", "mixzoo.cli.resume", "pluggy"])
def test_a_ctrl_c_inside_an_import_is_one_line(tmp_path, name):
    script = AFTER_IMPORT.format(name=name)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nmixzoo: interrupted\n")


IN_A_DESTRUCTOR = """
import os, signal
from mixzoo import __main__
from mixzoo.cli import app
class Sends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
def command():
    Sends()
    print("went on", flush=True)
app.main = command
__main__.main()
"""


def test_a_ctrl_c_where_python_ignores_exceptions_ends_the_command_too(tmp_path):
    done = subprocess.run([sys.executable, "-c", IN_A_DESTRUCTOR], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nmixzoo: interrupted\n")


def test_a_ctrl_c_outside_an_import_is_one_line_too(mixzoo, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mixzoo.runs.run.start", interrupted)
    code, _, err = mixzoo("train", *TOYS, *SMALL)
    assert (code, err) == (130, "mixzoo: interrupted\n")


@pytest.mark.parametrize("place", ["typer.main.get_command", "mixzoo.cli.app.check_no_word_is_empty"])
def test_a_ctrl_c_before_the_command_has_begun_is_one_line_too(mixzoo, monkeypatch, place):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    assert mixzoo("list", "mixers") == (130, "", "mixzoo: interrupted\n")


OUTSIDE = """
import sys
from mixzoo import __main__
from mixzoo.cli import app
def command():
    raise KeyboardInterrupt
app.main = command
__main__.main()
"""


def test_a_ctrl_c_around_the_command_line_is_one_line_too(tmp_path):
    done = subprocess.run([sys.executable, "-c", OUTSIDE], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nmixzoo: interrupted\n")


@pytest.mark.slow
def test_a_ctrl_c_at_any_moment_of_the_start_is_one_line(tmp_path):
    for delay in (0.6, 1, 1.5, 2.5, 4, 6):  # Python itself takes some time
        process = started(tmp_path, "train", *TOYS, "--steps", 10**6, "--out", f"run-{delay}")
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert process.returncode in (75, 130), err
        assert not list(tmp_path.glob(".tmp*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_process_that_gets_a_signal_commits_and_ends_with_75(tmp_path, number):
    process = started(tmp_path, "train", *TOYS, "--steps", 10**6, "--evaluate-every", 1, "--out", "run")
    while "step 1/" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert f"mixzoo: stopped by {number.name} after step" in err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
