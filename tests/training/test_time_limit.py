"""--max-time: a run stops after a step with a checkpoint and 75, also while it is scored; a sweep stops as a whole."""

import json
import signal
import sys
from time import sleep

import pytest

import mixzoo.runs.run as runs
from mixzoo.core.errors import Interrupted
from mixzoo.core.launcher import Job
from mixzoo.registry.contract import Contract
from mixzoo.runs.launcher import Watch, run_all
from mixzoo.runs.places import Place
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import saved
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.signals import StopTogether
from mixzoo.training.time_limit import TimeLimit
from mixzoo_launchers.local import Local
from toys import SMALL, TOYS, toy_config, toy_zoo

POLITE = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print('ready', file=sys.stderr, flush=True); time.sleep(60)"  # noqa: E501


class After(TimeLimit):
    """Over once it has been asked that many times."""

    def __init__(self, asked):
        super().__init__(13800)
        self.asked = asked

    @property
    def is_over(self):
        self.asked -= 1
        return self.asked <= 0


def status(home):
    found = json.loads((home / "status.json").read_text())
    return found["state"], found["exit"], found["last_committed"]


def weights(home):
    newest = saved(home / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


@pytest.mark.bit_exact
def test_a_run_out_of_time_stops_after_a_step_and_goes_on_as_if_it_had_not(tmp_path):
    zoo = toy_zoo()
    whole = start(zoo, toy_config(zoo), tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped by --max-time 3h50m after step 7; `mixzoo resume"):
        start(zoo, toy_config(zoo), tmp_path / "run", limit=After(7))
    assert status(tmp_path / "run") == ("interrupted", 75, 7)
    assert "max_time" not in (tmp_path / "run" / "run.toml").read_text()
    with pytest.raises(Interrupted, match="stopped by --max-time 3h50m after step 8;"):
        resume(zoo, tmp_path / "run", limit=After(1))  # over before it began: a step is taken all the same
    assert resume(zoo, tmp_path / "run").numbers == whole.numbers
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("over_before", [True, False])
def test_a_run_out_of_time_while_it_is_scored_is_scored_by_a_resume(tmp_path, monkeypatch, over_before):
    zoo = toy_zoo()
    whole, timer = start(zoo, toy_config(zoo), tmp_path / "whole"), signal.getsignal(signal.SIGALRM)
    limit = After(whole.steps + (1 if over_before else 99))
    limit._ends = limit._ends if over_before else 0.0  # of what the timer asks
    with monkeypatch.context() as slow:
        slow.setattr(runs, "scores", lambda *_: sleep(60))
        with pytest.raises(Interrupted, match="3h50m after the last step, before all scores"):
            start(zoo, toy_config(zoo), tmp_path / "run", limit=limit)
    assert status(tmp_path / "run") == ("interrupted", 75, whole.steps)
    assert signal.getsignal(signal.SIGALRM) == timer
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert resume(zoo, tmp_path / "run", limit=TimeLimit(600)).numbers == whole.numbers


def test_a_timer_of_somebody_else_is_left_alone(tmp_path):
    zoo = toy_zoo()
    signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        start(zoo, toy_config(zoo), tmp_path / "run", limit=TimeLimit(600))
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 300
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize(
    ("own", "greatest", "stop"),
    [("", 0.5, "--max-time 3h50m"), ("", 15.0, "SIGTERM"), ("", 0.0, ""), ("SIGTERM", 15.0, "SIGTERM")],
)
def test_processes_stop_by_the_clock_of_any_and_a_signal_goes_first(monkeypatch, own, greatest, stop):
    told = []
    monkeypatch.setattr(
        DistributedContext, "all_reduce_max", lambda self, numbers: told.append(numbers) or [greatest, 1.0]
    )
    assert StopTogether(DistributedContext(1, 2), After(1))(own) == stop
    assert told[0][0] == (15.0 if own else 0.5)
    assert StopTogether(DistributedContext(1, 2))(own) == ("--max-time" if greatest == 0.5 else stop)


def test_a_sweep_out_of_time_stops_what_runs_and_begins_nothing(tmp_path):
    ended, limit = {}, TimeLimit(600)

    class Clock(Watch):
        def line(self, name, text):
            limit._ends = 0.0  # the time is over once the first is ready

    jobs = [Job(name, tmp_path, (sys.executable, "-c", POLITE), tmp_path / f"{name}.log", tmp_path) for name in "ab"]
    place = Place(Local(), Contract("launcher", "local"))
    stopped = run_all(jobs, place, 1, Clock(), lambda *end: ended.update({end[0]: end[1:]}) or "", limit=limit)
    assert (stopped, ended) == ("--max-time 10m", {"a": (75, True)})
    assert run_all(jobs, place, 1, Watch(), lambda *end: pytest.fail("it began"), limit=limit) == "--max-time 10m"


def test_the_command_line_and_python_stop_and_refuse_alike(mixzoo, tmp_path):
    code, _, err = mixzoo("train", *TOYS, *SMALL, "--max-time", "0.001", "--out", "run")
    assert (code, err.splitlines()[-1]) == (
        75,
        "mixzoo: stopped by --max-time 0.001s after step 1; `mixzoo resume run` continues it",
    )
    for command in (["train"], ["resume", "run"]):
        code, _, err = mixzoo(*command, "--max-time", "4 hours")
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith("mixzoo: --max-time 4 hours: must be a time such as 90m")
    code, _, err = mixzoo("resume", "run", "--lost-after", "5m")
    assert (code, err) == (
        2,
        "mixzoo: --lost-after 5m: it is for a run on several processes, started by torchrun; leave it out\n",
    )
