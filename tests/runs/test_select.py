"""Runs that end with their best weights: which checkpoints they keep, what is scored, how they resume."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_changes import Notes, metrics, weights
from test_changes import config as plain_config

from mixzoo.core.errors import CheckpointError, ConfigError
from mixzoo.runs.listing import find_runs
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo.runs.trained_run import Run
from mixzoo.training.checkpoint import saved
from toys import TOYS, edited, toy_zoo

BEST = 10  # of 12 steps; 2 and 6 are the best until then


def config(*metrics, **numbers):
    defaults = {"lr": 0.05, "evaluate_every": 2, "checkpoint_every": 7, "keep_checkpoints": 1, "select": "best"}
    zoo = toy_zoo()
    made = plain_config(**(defaults | numbers))
    return replace(made, metrics=tuple((zoo.canonical("metric", spec), zoo.recipe("metric", spec)) for spec in metrics))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps that ends with the weights of step 10."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    start(toy_zoo(), config("reconstruction"), run_dir)
    return run_dir


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def names(run_dir):
    return [int(checkpoint.name.removeprefix("step-")) for checkpoint in saved(run_dir / "checkpoints")]


def test_the_scores_and_the_picture_are_those_of_the_best_step(whole, tmp_path):
    results = json.loads((whole / "results.json").read_text())
    assert (results["steps"], results["scored_step"], results["numbers"]["probe.best_step"]) == (12, BEST, BEST)
    assert results["picture"] == f"pictures/step-{BEST:08d}.png"
    shorter = start(toy_zoo(), config("reconstruction", steps=BEST, select="last"), tmp_path / "shorter").numbers
    scores = [name for name in shorter if name.startswith("reconstruction.")]
    assert scores
    assert {name: results["numbers"][name] for name in scores} == {name: shorter[name] for name in scores}


def test_the_best_checkpoint_is_kept_beside_the_newest_and_opened(whole):
    assert names(whole) == [BEST, 12]
    expected = load_file(saved(whole / "checkpoints")[0] / "autoencoder.safetensors")
    found = Run(whole, device="cpu", zoo=toy_zoo()).autoencoder.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert open_run(toy_zoo(), whole, "cpu").step == BEST


def test_later_scores_are_of_the_best_step_too_and_listed(run):
    first = Run(run, device="cpu", zoo=toy_zoo()).evaluate("reconstruction")["reconstruction"]
    numbers = json.loads((run / "results.json").read_text())["numbers"]
    assert first == {name: numbers[f"reconstruction.{name}"] for name in first}
    Run(run, device="cpu", zoo=toy_zoo()).evaluate("effective_rank:images=20,baselines=false")
    (record,) = find_runs([run])
    assert record.scored_step == BEST
    assert any(name.startswith("effective_rank") for name in record.numbers)


@pytest.mark.bit_exact
@pytest.mark.parametrize("stop", [3, 9, 11])
def test_a_killed_run_goes_on_from_its_newest_checkpoint_to_the_same_result(whole, tmp_path, stop):
    with pytest.raises(KeyboardInterrupt):
        start(toy_zoo(), config("reconstruction"), tmp_path / "run", lambda *_: Notes(stop))
    resume(toy_zoo(), tmp_path / "run")
    assert (metrics(tmp_path / "run"), weights(tmp_path / "run")) == (metrics(whole), weights(whole))
    assert (tmp_path / "run" / "results.json").read_bytes() == (whole / "results.json").read_bytes()


@pytest.mark.bit_exact
@pytest.mark.parametrize("steps", [7, 8])
def test_a_run_trained_further_follows_the_best(whole, tmp_path, steps):
    """7 is evaluated only because it is the last step, so that the longer run's best until then is step 6."""
    first = start(toy_zoo(), config("reconstruction", steps=steps), tmp_path / "run")
    assert first.scored_step in names(tmp_path / "run")
    resume(toy_zoo(), tmp_path / "run", steps=12)
    assert (tmp_path / "run" / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    assert names(tmp_path / "run") == names(whole)


def test_best_weights_that_were_not_kept_cannot_be_asked_for(tmp_path):
    start(toy_zoo(), config(steps=8, select="last"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train.select=best: the weights of step 6, .* were not kept; leave it at"):
        resume(toy_zoo(), tmp_path / "run", steps=12, values=["train.select=best"])
    assert resume(toy_zoo(), tmp_path / "run", steps=12).scored_step == 12


def test_a_damaged_best_checkpoint_is_told_and_the_last_weights_can_be_taken(run):
    (saved(run / "checkpoints")[0] / "autoencoder.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"step-{BEST:08d}"):
        open_run(toy_zoo(), run, "cpu")
    edited(run / "status.json", state="failed")
    with pytest.raises(CheckpointError, match=r"--set train\.select=last` ends the run with its last weights"):
        resume(toy_zoo(), run)
    assert resume(toy_zoo(), run, values=["train.select=last"]).scored_step == 12


def test_data_without_labels_have_no_best_step(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.select=best: data set 'toy_unlabelled' has no labels"):
        start(toy_zoo(), config(flags={"dataset": "toy_unlabelled"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_summary_says_which_step_is_scored(mixzoo, tmp_path):
    flags = ["--steps", "12", "--batch-images", "16", "--evaluate-every", "2", "--lr", "0.05", "--select", "best"]
    code, out, err = mixzoo("train", *TOYS, *flags, "--metric", "reconstruction", "--out", "run")
    assert code == 0, err
    scored = json.loads((tmp_path / "run" / "results.json").read_text())["scored_step"]
    assert scored < 12
    assert f"scores of step {scored}, the best validation of 12 steps" in " ".join(out.split())
