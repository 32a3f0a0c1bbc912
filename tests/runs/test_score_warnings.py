"""A run that ends with numbers that only a run which has learned nothing has says so; a NaN is no score."""

import json
import math
from dataclasses import replace

import pytest

from mixzoo.core.errors import NonFiniteError
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.runs.listing import find_runs
from mixzoo.runs.reading import result
from mixzoo.runs.run import start
from mixzoo.runs.scoring import score_warnings
from mixzoo.training.checkpoint import saved
from mixzoo.training.logs import read_metrics
from toys import TOY_PLUGIN, TOYS, toy_config, toy_zoo


@pytest.mark.parametrize(
    ("name", "value", "warned"),
    [
        ("reconstruction.l1", 1040.0, True),
        ("mixzoo-metrics/reconstruction.l1", 1.01, True),
        ("reconstruction.l1", 1.0, False),
        ("reconstruction.l2", 3.0, False),  # of pixels in [-1, 1] it may be up to 4
        ("another.l1", 3.0, False),
    ],
)
def test_a_reconstruction_worse_than_a_grey_image_is_a_warning(name, value, warned):
    lines = score_warnings({name: value, "probe.best_step": 400.0})
    assert len(lines) == warned
    assert not warned or lines[0].startswith(
        f"{name} is {value:.4g}, worse than a plain grey image, whose l1 is at most"
    )


def test_the_warning_is_in_results_summary_list_and_report(mixzoo, tmp_path):
    numbers = ["--steps", "6", "--batch-images", "8", "--lr", "30", "--metric", "reconstruction"]
    code, out, _ = mixzoo("train", *TOYS, *numbers, "--out", tmp_path / "run")
    assert code == 0
    (warning,) = json.loads((tmp_path / "run" / "results.json").read_text())["warnings"]
    assert "worse than a plain grey image" in warning
    assert f"warning  {warning}" in out
    assert result(tmp_path / "run").warnings == find_runs([tmp_path / "run"])[0].warnings == (warning,)
    code, out, err = mixzoo("runs", tmp_path)
    assert (code, err) == (0, f"mixzoo: {tmp_path / 'run'}: {warning}\n")
    _, out, _ = mixzoo("runs", tmp_path, "--json")
    assert json.loads(out)[0]["warnings"] == [warning]


def test_a_run_that_learns_has_none(tmp_path):
    zoo = toy_zoo()
    found = start(zoo, toy_config(zoo), tmp_path / "run")
    assert found.warnings == result(tmp_path / "run").warnings == ()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["warnings"] == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_ends_the_run_and_no_file_has_it(tmp_path, value):
    """Exit code 6 after the training, which is kept; JSON has no NaN, and none of a run's files is given one."""

    class Undefined:
        def __call__(self, run):
            return {"spread": value}

    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("metric", "undefined", TOY_PLUGIN, Undefined))
    config = replace(toy_config(zoo), metrics=(("undefined", Undefined()),))
    with pytest.raises(NonFiniteError, match=r"undefined\.spread is not finite"):
        start(zoo, config, tmp_path / "run")
    assert [path.name for path in saved(tmp_path / "run" / "checkpoints")][-1] == "step-00000012"
    assert not (tmp_path / "run" / "results.json").exists()

    def refused(name):
        raise AssertionError(name)

    for file in (tmp_path / "run").glob("*.json"):
        json.loads(file.read_text(), parse_constant=refused)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refused)
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 7
