"""A disk that is really full ends a run with one line that says how much it needs, and costs no checkpoint."""

import disks
import pytest

pytestmark = pytest.mark.faults


def test_a_disk_that_is_full_ends_a_run_which_goes_on_when_there_is_room(tmp_path):
    if reason := disks.may_mount():
        ended = disks.in_a_namespace(disks.__file__)
        if ended is None:
            pytest.skip(reason)
        assert ended.returncode == 0, ended.stderr
        return
    rows = list(disks.fills(tmp_path, [], 0))
    assert [row for row in rows if row["problems"]] == []
    full = "step-00000010: the checkpoint could not be written: No space left on device; need 0"
    assert sum(full in row["message"] and row["message"].endswith("MB at /disk/run/checkpoints") for row in rows) >= 1
    assert rows[-1]["message"].startswith("no room for the run's checkpoints and pictures: need ")
