"""Hostile run directories: a sample; benchmarks/hostile_runs.py tries all of them."""

import pytest
from hostile import CASES, Trials

pytestmark = pytest.mark.faults
SAMPLE = (
    "status.json is a FIFO",
    "environment.json is missing",
    "metrics.jsonl is a link to /dev/zero",
    "checkpoints/step-00000004/manifest.json is 1 TB, sparse",
    "manifest: step is 1e30",
    "status: last_committed is 6",
    "the older checkpoint under the newer name",
    "adam-autoencoder.safetensors: x.y",
    "run.toml: 'k = 2'",
    "metrics.jsonl: the first line gone",
)


@pytest.fixture(scope="module")
def trials(shimmed_server, tmp_path_factory):
    return Trials(shimmed_server, tmp_path_factory.mktemp("hostile"))


def test_no_hostile_run_directory_hangs_a_command_or_goes_unsaid(trials):
    assert len(CASES) >= 300
    for name in SAMPLE:
        assert trials.try_case(name).problems == [], name
