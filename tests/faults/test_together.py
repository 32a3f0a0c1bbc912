"""Many processes on one run directory, five times; benchmarks/storage_faults.py does it two hundred times."""

import pytest
from forked import Server
from together import Many

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    with Server() as server:
        yield Many(server, tmp_path_factory.mktemp("many"))


def test_of_sixteen_processes_one_trains_and_the_others_end_with_5(many):
    for _ in range(5):
        found, refusals = many.round()
        assert found == []
        assert len(refusals) == 15


def test_a_run_whose_process_was_killed_goes_on_at_once(many):
    assert many.after_a_kill() == []


def test_what_reads_a_run_while_it_is_written_never_sees_half_a_file(many):
    found, reads = many.read_while_it_is_written(50)
    assert found == []
    assert reads >= 20
