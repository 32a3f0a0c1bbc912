"""Sweeps on a real Slurm and a real Ray, started here and disturbed, end as sweeps of local processes; minutes each."""

import tempfile
from pathlib import Path

import pytest

import on_ray
import on_slurm
import slurm_cluster
from launched import SEEDS, here, unequal

pytestmark = pytest.mark.slow
NO_SLURM, NO_RAY = slurm_cluster.missing(), on_ray.missing()


@pytest.mark.skipif(bool(NO_SLURM), reason=NO_SLURM)
def test_a_sweep_on_slurm_survives_ctrl_c_a_warning_and_the_loss_of_its_node_bit_for_bit(tmp_path):
    with tempfile.TemporaryDirectory() as short, slurm_cluster.cluster(Path(short) / "c") as slurm:
        sweep, done = on_slurm.disturbed(tmp_path / "slurm", slurm)
    assert len(done) == 3
    local = here(tmp_path / "here")
    assert {seed: found for seed in SEEDS if (found := unequal(local, sweep, seed))} == {}


@pytest.mark.skipif(bool(NO_RAY), reason=NO_RAY)
def test_a_sweep_on_ray_survives_the_loss_of_a_worker_and_a_node_and_ctrl_c_bit_for_bit(tmp_path):
    with tempfile.TemporaryDirectory() as short, on_ray.ray_cluster(Path(short) / "r") as ray:
        sweep, done = on_ray.disturbed(tmp_path / "ray", ray)
    assert len(done) == 3
    local = here(tmp_path / "here")
    assert {seed: found for seed in SEEDS if (found := unequal(local, sweep, seed))} == {}
