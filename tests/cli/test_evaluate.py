"""mixzoo evaluate: more scores of trained runs, each computed once and kept; `mixzoo train --metric`."""

import json
import subprocess
import sys

import pytest

from mixzoo.core.errors import DataError
from mixzoo.runs.run import start
from toys import TOY_FLAGS, TOY_NUMBERS, toy_config, toy_zoo

TRAIN = [part for kind, spec in TOY_FLAGS.items() for part in (f"--{'data' if kind == 'dataset' else kind}", spec)]
NUMBERS = [part for name, value in (TOY_NUMBERS | {"steps": 2}).items()
           for part in (f"--{name.replace('_', '-')}", str(value))]  # fmt: skip


@pytest.fixture
def runs(tmp_path):
    zoo = toy_zoo()
    for seed in (0, 1):
        start(zoo, toy_config(zoo, steps=2, seed=seed), tmp_path / "runs" / f"{seed}")
    return tmp_path / "runs"


def test_every_run_is_scored_once_and_then_read_without_torch(mixzoo, runs):
    code, first, err = mixzoo("evaluate", runs, "--metric", "reconstruction")
    assert code == 0, err
    assert [line.split()[0] for line in first.splitlines()] == [
        str(runs / "0"), "reconstruction.l1", "reconstruction.l2",
        str(runs / "1"), "reconstruction.l1", "reconstruction.l2",
    ]  # fmt: skip
    program = "import sys; from mixzoo.cli.app import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    arguments = ["evaluate", str(runs), "--metric", "reconstruction"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, first), done.stderr
    _, out, _ = mixzoo("evaluate", runs, "--metric", "reconstruction", "--json")
    assert [row["samples"]["test"] for row in json.loads(out)] == [48, 48]
    assert [row["better"] for row in json.loads(out)] == [{"l1": "less", "l2": "less"}] * 2
    _, out, _ = mixzoo("runs", runs, "--json")
    assert all("reconstruction.l1" in row["numbers"] for row in json.loads(out))


def test_a_metric_that_cannot_score_the_data_is_one_line(mixzoo, runs):
    code, out, err = mixzoo("evaluate", runs / "0", "--metric", "disentanglement")
    assert (code, out, err.count("\n")) == (DataError.exit_code, "", 1)
    assert err.startswith(f"mixzoo: {runs / '0'}: metric 'disentanglement': ")


def test_folders_without_runs_and_unknown_metrics_are_one_line(mixzoo, runs, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = mixzoo("evaluate", tmp_path / "empty", "--metric", "reconstruction")
    assert (code, err.count("\n")) == (2, 1)
    assert "no runs found; `mixzoo runs FOLDER` lists the runs in a folder" in err
    code, _, err = mixzoo("evaluate", runs, "--metric", "reconstructon")
    assert (code, err.count("\n")) == (2, 1)
    assert "Did you mean 'reconstruction'" in err


def test_metrics_of_a_new_run_replace_the_default_ones(mixzoo, tmp_path):
    code, _, err = mixzoo("train", *TRAIN, *NUMBERS, "--metric", "reconstruction", "--out", "run")
    assert code == 0, err
    assert 'metrics = [\n    "reconstruction",\n]' in (tmp_path / "run" / "run.toml").read_text()
    numbers = json.loads((tmp_path / "run" / "results.json").read_text())["numbers"]
    assert {name.partition(".")[0] for name in numbers} == {"probe", "reconstruction"}
