"""benchmarks/gpu_day.py: its rows on a CPU, small; failures and lack of time are reported and hide no other row."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import gpu_day
import gpu_day_rows
import gpu_day_runs
from gpu_day import DONE, FAILED, LEFT_OUT, NOT_RUN, Outcome
from gpu_day_rows import ROWS
from gpu_day_runs import NEEDS_GPU, Day
from mixzoo.registry.spec import parse_spec

pytestmark = pytest.mark.scripts

DAY = Day("cpu", quick=True)
BY_NAME = {row.name: row for row in ROWS}


def test_every_objective_and_every_mixer_is_in_a_row():
    zoo = gpu_day_rows.ZOO
    for kind, specs in (("objective", gpu_day_rows.OBJECTIVES), ("mixer", gpu_day_rows.MIXERS)):
        assert {parse_spec(spec).name for spec in specs} == {entry.name for entry in zoo.of_kind(kind)}


@pytest.mark.parametrize("quick", [True, False])
def test_every_objective_and_every_mixer_has_a_config_on_each_kind_of_day(quick):
    day = Day("cpu", quick=quick)
    for objective, flags in gpu_day_rows.OBJECTIVES.items():
        assert (
            day.config({"objective": objective, "mixer": "mixup"} | flags).names["objective"]
            == objective.partition(":")[0]
        )
    for mixer in gpu_day_rows.MIXERS:
        assert day.config({"objective": "amr", "mixer": mixer}).names["mixer"] == mixer.partition(":")[0]


def test_readmes_first_command_is_the_one_that_trains():
    assert gpu_day_runs.readme_command()[0] == "train"


def test_the_device_row_says_what_is_installed():
    found = {cell["what"]: cell["value"] for cell in gpu_day_rows.device_and_versions(DAY)}
    assert {"device", "torch", "python", "cores"} <= found.keys()


def test_engines_are_compared_and_those_of_a_gpu_say_that_they_need_one(monkeypatch):
    monkeypatch.setattr(gpu_day_rows, "OBJECTIVES", {"gaia": {"discriminator": "autoencoding"}})
    monkeypatch.setattr(gpu_day_rows, "MIXERS", ["bernoulli"])
    cells = [*gpu_day_rows.objectives(DAY), *gpu_day_rows.mixers(DAY)]
    assert [(cell["objective"], cell["mixer"]) for cell in cells] == [("gaia", "mixup"), ("amr", "bernoulli")]
    assert all(cell["eager again"] == "0.0e+00" and cell["graph"] == NEEDS_GPU for cell in cells), cells


def test_step_times_are_ratios_to_the_plain_trainer():
    cells = list(gpu_day_rows.step_times("AE+GAN", ("eager", "graph"), DAY))
    assert [(cell["engine"], cell["precision"]) for cell in cells] == [
        (engine, precision) for engine in ("eager", "graph") for precision in ("fp32", "tf32", "bf16")
    ]
    timed = [cell for cell in cells if "ms" in cell]
    assert [(cell["engine"], cell["precision"]) for cell in timed] == [("eager", "fp32"), ("eager", "bf16")]
    assert all(cell["of the plain trainer"] == NEEDS_GPU for cell in cells if cell not in timed)
    assert not any("failed" in cell for cell in cells)


def test_kernels_and_memory_are_counted():
    eager, graph = gpu_day_rows.kernels(DAY)
    assert int(str(eager["launched"]).split()[0]) > 100
    assert graph["launched"] == NEEDS_GPU
    off, on = gpu_day_rows.recompute(DAY)
    assert float(str(on["peak, MB"])) < float(str(off["peak, MB"]))


def test_moves_of_weights_follow_a_rate_that_rises_and_one_that_does_not_fails(monkeypatch):
    eager, graph = gpu_day_rows.rates(DAY)
    assert (eager["of the eager step's move"], graph["of the eager step's move"]) == ("1.000 to 1.000", NEEDS_GPU)
    monkeypatch.setattr("mixzoo.training.loop.set_learning_rates", lambda *_: None)
    assert "the rate is not followed" in str(next(gpu_day_rows.rates(DAY))["failed"])


@pytest.mark.parametrize("value", [1.5, math.nan])
def test_a_difference_fails_its_cell_alone(monkeypatch, value):
    calls = iter([1.0, value, 1.0, 1.0])
    monkeypatch.setattr(gpu_day_rows, "reports", lambda *given: [{"term": next(calls)}])
    first, second = gpu_day_rows.agreements(DAY, [{"objective": "amr", "mixer": name} for name in ("mixup", "slerp")])
    assert "after 3 steps: eager again" in str(first["failed"])
    assert second["eager again"] == "0.0e+00"


def test_a_graph_that_differs_fails(monkeypatch):
    """The device is simulated: no run is started, and the graph engine's report is made up."""
    monkeypatch.setattr(Day, "on_gpu", True)
    monkeypatch.setattr(
        gpu_day_rows, "reports", lambda config, *given: [{"term": 1.0 + (config.train.engine == "graph")}]
    )
    (cell,) = gpu_day_rows.agreements(DAY, [{"objective": "amr", "mixer": "mixup"}])
    assert "graph 1.0e+00" in str(cell["failed"])


def test_a_row_runs_in_its_own_process_and_keeps_its_cells():
    outcome = gpu_day.run(BY_NAME["device"], DAY, left=60)
    assert (outcome.state, outcome.line) == (DONE, "")
    assert {"what", "value"} == outcome.cells[0].keys()


@pytest.mark.parametrize(
    ("limit", "left", "state", "words"),
    [(0.05, 60, FAILED, "stopped after its limit of 0 s"), (60, 0.05, NOT_RUN, "as the day ended")],
)
def test_a_row_is_stopped_after_its_limit_and_at_the_end_of_the_day(limit, left, state, words):
    outcome = gpu_day.run(replace(BY_NAME["device"], limit=limit), DAY, left)
    assert outcome.state == state
    assert words in outcome.line


def test_a_row_that_fails_shows_its_last_line():
    outcome = gpu_day.run(BY_NAME["device"], Day("no-such-device"), left=60)
    assert outcome.state == FAILED
    assert "--device 'no-such-device' cannot be used here" in outcome.line


def test_cells_are_found_among_other_lines():
    assert gpu_day.cells_of(['{"a": 1}', "a library's words", "7", '{"b": ']) == [{"a": 1}]


def day_of(monkeypatch, capsys, tmp_path, states, *more):
    """Run the command with rows that end in these states; returns its output, exit code and JSON."""

    def run(row, day, left):
        state, cells = states.get(row.name, (DONE, [{"x": 1}]))
        return gpu_day.with_state(Outcome(row, DONE, 1.0, cells), state if state != DONE else "")

    monkeypatch.setattr(gpu_day, "run", run)
    monkeypatch.setattr(sys, "argv", ["gpu_day.py", "--json", str(tmp_path / "day.json"), *more])
    with pytest.raises(SystemExit) as ended:
        gpu_day.main()
    return capsys.readouterr().out, ended.value.code, json.loads((tmp_path / "day.json").read_text())


def test_a_failure_hides_no_other_row_and_exits_with_1(monkeypatch, capsys, tmp_path):
    states = {"readme": ("OutOfMemoryError: no", []), "mixers": (DONE, [{"failed": "RuntimeError: far"}, {"x": 2}])}
    out, code, found = day_of(monkeypatch, capsys, tmp_path, states)
    assert code == 1
    assert "| readme | failed: OutOfMemoryError: no | 1 |" in out
    assert "| mixers | failed: RuntimeError: far | 1 |" in out
    assert [row["state"] for row in found].count(DONE) == len(ROWS) - 2
    assert found[0] == {
        "row": "device",
        "title": ROWS[0].title,
        "seconds": 1,
        "state": DONE,
        "cells": [{"x": 1}],
        "line": "",
    }


def test_all_done_exits_with_0_and_quick_leaves_compiling_out(monkeypatch, capsys, tmp_path):
    _, code, found = day_of(monkeypatch, capsys, tmp_path, {}, "--device", "cpu", "--quick")
    assert not code
    left_out = {row["row"] for row in found if row["state"] == LEFT_OUT}
    assert left_out == {row.name for row in ROWS if row.name.startswith("compile-")} | {"steps-amrk3"}


def test_rows_without_time_are_listed_and_are_no_failure(monkeypatch, capsys, tmp_path):
    out, code, found = day_of(monkeypatch, capsys, tmp_path, {}, "--minutes", "0")
    assert not code
    assert {row["state"] for row in found} == {NOT_RUN}
    assert "| device | not run, out of time | 0 |" in out


def test_only_takes_names_and_their_first_words(monkeypatch, capsys, tmp_path):
    _, _, found = day_of(monkeypatch, capsys, tmp_path, {}, "--only", "steps,device")
    assert [row["row"] for row in found] == [r.name for r in ROWS if r.name.startswith(("steps-", "device"))]
    with pytest.raises(SystemExit, match="--only nothing: no such row; rows are device, readme"):
        gpu_day.chosen("nothing")


def test_a_data_root_without_mnist_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="has no folder MNIST; leave it out to use the digits"):
        gpu_day.data_root(tmp_path, quick=False)


def test_a_sweep_uses_one_gpu(monkeypatch, tmp_path):
    """Commands are simulated: the environment of each is recorded."""
    monkeypatch.setenv("PATH", str(tmp_path))  # without NVIDIA's daemon
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    seen = []
    monkeypatch.setattr(gpu_day_runs, "seconds", lambda *command, env: seen.append(env["CUDA_VISIBLE_DEVICES"]) or 1.0)
    *timed, mps = gpu_day_runs.sweep(Day("cuda"))
    assert seen == ["2", "2"]
    assert [cell["seconds"] for cell in timed] == ["1.0", "1.0"]
    assert mps["seconds"] == "nvidia-cuda-mps-control is not installed here"


@pytest.mark.slow
def test_the_whole_day_runs_small_on_a_cpu(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks/gpu_day.py"
    command = [sys.executable, str(script), "--device", "cpu", "--quick", "--json", str(tmp_path / "day.json")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["row"]: row for row in json.loads((tmp_path / "day.json").read_text())}
    assert {name for name, row in found.items() if row["state"] != DONE} == {row.name for row in ROWS if not row.quick}
    assert found["resume"]["cells"][0]["metrics and weights"] == "equal bit for bit"
    assert found["sweep"]["cells"][-1]["seconds"] == NEEDS_GPU


@pytest.mark.slow
def test_a_run_that_ends_before_it_is_killed_is_a_failure(tmp_path):
    file = DAY.run_file(tmp_path, steps=1)
    with pytest.raises(RuntimeError, match="ended with 2 before it could be killed"):
        gpu_day_runs.killed(
            ["train", "--config", file, "--steps", "none", "--out", str(tmp_path / "run")], tmp_path / "run"
        )
