"""Calls that change files fail or are killed in turn: a sample; benchmarks/storage_faults.py has each of them."""

import pytest
from iofaults import SCENARIOS, WAYS, Bench

pytestmark = pytest.mark.faults
TRAIN, RESUME, INTERPOLATE, EVALUATE = SCENARIOS


@pytest.fixture(scope="module")
def bench(shimmed_server, tmp_path_factory):
    return Bench(shimmed_server, tmp_path_factory.mktemp("io"))


def problems(attempts):
    return [(found.n, found.what, found.code, found.problems) for found in attempts if found.problems]


@pytest.mark.parametrize(("way", "first"), [*zip(WAYS, (7, 23, 40, 57))])
def test_a_call_that_fails_while_a_run_trains_costs_no_checkpoint_and_a_resume_ends_equal(bench, way, first):
    found = list(bench.series(TRAIN, way, first=first, every=67))
    assert sum(attempt.fired for attempt in found) == len(found) - 1 >= 2
    assert problems(found) == []


@pytest.mark.parametrize(("way", "first"), [("EIO", 5), ("SIGKILL after", 30)])
def test_a_call_that_fails_while_a_run_is_resumed_costs_no_checkpoint(bench, way, first):
    found = list(bench.series(RESUME, way, first=first, every=45))
    assert sum(attempt.fired for attempt in found) == len(found) - 1 >= 2
    assert problems(found) == []


@pytest.mark.parametrize("scenario", [INTERPOLATE, EVALUATE], ids=lambda scenario: scenario.name)
def test_a_call_that_fails_while_a_run_is_drawn_or_scored_leaves_the_run_as_it_was(bench, scenario):
    found = list(bench.series(scenario, "ENOSPC half way", first=2, every=4))
    assert sum(attempt.fired for attempt in found) == len(found) - 1 >= 1
    assert problems(found) == []


@pytest.mark.parametrize(
    ("mutant", "way", "calls"),
    [
        ("renamed before it is written", "SIGKILL before", range(44, 60, 5)),
        ("errors swallowed", "EIO", range(44, 60, 5)),
        ("small files written in place", "SIGKILL after", range(53, 58)),
        ("nothing cleaned up", "EIO", range(44, 60, 5)),
        ("status before the commit", "SIGKILL before", range(44, 60, 5)),
    ],
)
def test_a_planted_fault_of_the_writer_is_found(bench, mutant, way, calls):
    for n in calls:
        if bench.attempt(TRAIN, n, way, mutant).problems:
            return
    pytest.fail(f"not found: {mutant}")
