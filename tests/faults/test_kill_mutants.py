"""The kill loop notices faults that are planted, and a run that goes on from a checkpoint with an item reset."""

import pytest
from kill_jobs import job
from kill_mutants import MUTANTS

pytestmark = pytest.mark.faults
DERIVED = {"discriminator net.0.parametrizations.weight.0._u"}  # computed from _v before it is used
SLOW = ("a step counted twice", "statistics not saved")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MUTANTS])
def test_a_planted_fault_is_noticed(tmp_path, name):
    report = job("kill_mutants.caught", tmp_path, name, kills=100)
    assert set(report["problems"]) & MUTANTS[name][1], report


@pytest.mark.parametrize(
    ("groups", "items"),
    [
        (["autoencoder", "discriminator", "mixer", "probe"], 23),
        (["adam-autoencoder", "adam-discriminator", "adam-probe"], 54),  # the mixer learns with the auto-encoder
        (["manifest"], 9),
    ],
    ids=["weights and buffers", "moments", "manifest"],
)
def test_each_saved_item_is_needed(tmp_path, groups, items):
    noticed = job("kill_state.resets", tmp_path, groups)
    assert noticed.pop("nothing") == ""
    assert len(noticed) == items
    assert {name for name, how in noticed.items() if not how} == DERIVED & noticed.keys()
