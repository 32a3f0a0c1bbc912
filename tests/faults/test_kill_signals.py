"""Commands that get a signal at a random instant commit, say so in a line, and go on as if unbroken when resumed."""

import signal

import pytest
from kill_jobs import job

from mixzoo.training.signals import STOPS

pytestmark = pytest.mark.faults
NAMES = [signal.Signals(number).name for number in STOPS]


def check(report, count):
    assert report["problems"] == {}
    assert report["runs"] == sum(report["codes"].values()) == count


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_at_any_instant_commits_or_nothing_was_begun(tmp_path, name):
    report = job("kill_signals.signals", tmp_path, "cutmix, best", name, seed=4, count=12)
    check(report, 12)
    assert report["codes"]["75"] >= 4
    assert len(report["seconds_to_end"]) == report["codes"]["75"]


def test_a_second_interrupt_gives_up_at_once_and_keeps_what_was_committed(tmp_path):
    report = job("kill_signals.second_interrupts", tmp_path, "dirichlet", seed=5, count=12)
    check(report, 12)
    assert report["codes"]["130"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("case", ["label, best", "learned"])
@pytest.mark.parametrize("name", NAMES)
def test_fifty_of_each_signal(tmp_path, case, name):
    check(job("kill_signals.signals", tmp_path, case, name, seed=6, count=50), 50)
