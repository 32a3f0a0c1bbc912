"""Processes of a run that are stopped, evaluate for long or may not write; under torchrun, each fault at each rank."""

import json
import os
from time import monotonic

import pytest

import rank_faults
from mixzoo.core.process_id import ProcessId
from two_processes import in_two, is_stopped, sleeps_in_an_evaluation, trains, trains_where_one_may_not_write

pytestmark = pytest.mark.faults
NUMBERS = {"steps": 12, "log_every": 1, "evaluate_every": 6, "checkpoint_every": 4}


def status(home):
    return json.loads((home / "status.json").read_text())


@pytest.mark.skipif(not ProcessId.of_this().machine, reason="a process can be killed safely on Linux alone")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_stopped_ends_the_other_and_is_killed(tmp_path, rank):
    """Process 0 keeps the store here, which then does not answer either; under torchrun, torchrun keeps it."""
    began = monotonic()
    codes = in_two(trains, tmp_path / "run", NUMBERS, is_stopped, 5, None, rank, lost_after=2)
    assert monotonic() - began < 60
    assert codes == ([-9, 1] if rank == 0 else [1, -9])
    found = status(tmp_path / "run")
    assert (found["state"], found["exit"], found["last_committed"]) == ("failed", 1, 4)
    assert found["reason"].startswith(f"process {rank} has not answered for 2s")


def test_a_long_evaluation_is_no_silence(tmp_path):
    began = monotonic()
    assert in_two(sleeps_in_an_evaluation, tmp_path / "run", NUMBERS, 4, lost_after=2) == [0, 0]
    assert monotonic() - began > 8  # two evaluations
    assert status(tmp_path / "run")["state"] == "completed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process that may write less than this one")
def test_a_process_other_than_the_first_needs_no_permission_to_write(tmp_path):
    tmp_path.chmod(0o755)
    assert in_two(trains_where_one_may_not_write, tmp_path / "run", NUMBERS) == [0, 0]
    assert status(tmp_path / "run")["state"] == "completed"
    assert {path.stat().st_uid for path in (tmp_path / "run").rglob("*")} == {0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchrun")
    rank_faults.trained(folder / "whole-2", 2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("row", rank_faults.rows((2,)), ids=lambda row: f"{row.what}-{row.rank}")
def test_under_torchrun_a_fault_ends_all_with_a_reason_and_a_resume_is_bit_equal(whole, row):
    found = rank_faults.done_to(row, whole / f"{row.what}-{row.rank}")
    assert found.problem == "", found
    assert found.seconds < 60
