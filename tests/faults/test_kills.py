"""Runs that are killed at random instants, resumed and killed again end as the unbroken run, bit for bit."""

import pytest
from kill_jobs import job
from kill_parts import CASES

pytestmark = pytest.mark.faults


def check(report, kills, counted="kills"):
    assert report["problems"] == {}
    assert report["counts"][counted] >= kills
    assert report["runs"] >= 1


@pytest.mark.parametrize("case", CASES)
def test_kills_at_random_instants_change_no_bit(tmp_path, case):
    check(job("kill_loop.random_kills", tmp_path, case, seed=1, kills=45), 45)


def test_kills_inside_a_commit_change_no_bit(tmp_path):
    check(job("kill_loop.kills_inside_commits", tmp_path, "learned", seed=2, kills=20), 20, "checkpoint")


def test_kills_before_the_first_checkpoint_leave_a_run_that_begins(tmp_path):
    report = job("kill_loop.kills_at_the_start", tmp_path, "label, best", seed=3, kills=25)
    check(report, 25)
    assert report["runs"] == 25
    assert report["counts"]["before the directory"] > 0
    assert report["counts"]["before the first checkpoint"] > 0


def all_calls(folder, case, part, **which):
    report = job("kill_events.kills_at_calls", folder, case, part, **which)
    check(report, 10)
    return report["calls"]


def test_a_kill_at_each_call_of_a_run_changes_no_bit(tmp_path):
    calls = all_calls(tmp_path, "dirichlet", "start")
    assert sum(calls.values()) >= 50
    # Of the start, a commit, a purge, an evaluation and the end.
    for call in ("open .tmp-run.toml", "os.mkdir .tmp-step-00000002", "os.rename .tmp-step-00000002",
                 "os.rename step-00000002", "os.rmdir .tmp-old-step-00000002", "os.rename .tmp-step-00000003.png",
                 "os.rename .tmp-results.json"):  # fmt: skip
        assert calls[call] == 1
    assert any(call.startswith("os.mkdir .tmp-new-") for call in calls)


def test_a_kill_at_every_third_call_of_a_resume_changes_no_bit(tmp_path):
    all_calls(tmp_path, "cutmix, best", "resume", every=3)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["start", "resume"])
@pytest.mark.parametrize("case", ["cutmix, best", "label, best"])
def test_a_kill_at_each_call_of_other_runs_changes_no_bit(tmp_path, case, part):
    assert sum(all_calls(tmp_path, case, part).values()) >= 40
