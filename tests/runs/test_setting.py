"""One value of a config changed by --set: for a new run, and for one that goes on."""

import json
import shutil
import tomllib

import pytest
from test_run import stopped, without_clock

from mixzoo.core.errors import CheckpointError, ConfigError
from mixzoo.runs.run import resume, start
from mixzoo.runs.setting import changeable_keys, with_values
from toys import TOY_FLAGS, toy_config, toy_zoo

TRAIN = [part for kind, spec in TOY_FLAGS.items() for part in (f"--{'data' if kind == 'dataset' else kind}", spec)]


def test_values_of_parts_and_numbers_are_set():
    zoo = toy_zoo()
    config = with_values(
        zoo, toy_config(zoo, flags={"mixer": "dirichlet"}), ["train.lr=1e-4", "mixer.k=3", "objective.lam = 5"]
    )
    assert (config.train.lr, config.parts["mixer"].k, config.parts["objective"].lam) == (1e-4, 3, 5.0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lr=1e-4", "--set lr=1e-4: give TABLE.OPTION=VALUE, such as train.lr=1e-4. Did you mean train.lr=1e-4?"),
        ("train.lr", "--set train.lr: give TABLE.OPTION=VALUE"),
        ("trian.lr=1", "'trian' is not a table of a run file .* Did you mean 'train'"),
        ("train.rl=1", "'rl' is not a number of a run"),
        ("mixer.lam=1", "mixer 'mixup' has no option 'lam'"),
        ("train.lr=-1", "--set train.lr: lr='-1' must be a number > 0"),
        ("objective.lam=x", "--set objective.lam: lam=.?x"),
    ],
)
def test_what_cannot_be_set_is_one_line(text, line):
    zoo = toy_zoo()
    with pytest.raises(ConfigError, match=line) as caught:
        with_values(zoo, toy_config(zoo), [text])
    assert "\n" not in str(caught.value)


def test_a_new_run_takes_values_over_its_run_file(mixzoo, tmp_path):
    zoo = toy_zoo()
    (tmp_path / "run.toml").write_text(toy_config(zoo, steps=2).to_toml())
    code, _, err = mixzoo(
        "train", "--config", "run.toml", "--set", "objective.lam=5", "--set", "train.lr=0.5", "--out", "run"
    )
    assert code == 0, err
    table = tomllib.loads((tmp_path / "run" / "run.toml").read_text())
    assert (table["objective"]["lam"], table["train"]["lr"]) == (5.0, 0.5)


def test_a_run_goes_on_with_another_rate_which_is_recorded_with_its_step(mixzoo, tmp_path):
    stopped(tmp_path / "run", 4, log_every=1)
    before = without_clock(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "as it was")
    code, _, err = mixzoo("resume", "run", "--set", "train.lr=0.0001")
    assert code == 0, err
    (change,) = json.loads((tmp_path / "run" / "environment.json").read_text())["changes"]
    assert change == {"step": 4, "key": "train.lr", "was": "0.001", "now": "0.0001"}
    assert tomllib.loads((tmp_path / "run" / "run.toml").read_text())["train"]["lr"] == 0.0001
    resume(toy_zoo(), tmp_path / "as it was")
    changed, unchanged = without_clock(tmp_path / "run"), without_clock(tmp_path / "as it was")
    assert changed[: len(before)] == unchanged[: len(before)] == before
    assert changed != unchanged


def test_a_change_that_was_not_meant_is_still_refused(tmp_path):
    zoo = toy_zoo()
    stopped(tmp_path / "run", 4, log_every=1)
    file = tmp_path / "run" / "run.toml"
    file.write_text(file.read_text().replace("lam = 10.0", "lam = 5.0"))
    with pytest.raises(CheckpointError, match=r"objective\.lam was 10\.0 and is 5\.0"):
        resume(zoo, tmp_path / "run", values=["train.lr=0.0001"])


def test_seed_and_steps_are_not_set_this_way(mixzoo, tmp_path):
    with pytest.raises(ConfigError, match=r"--set train\.seed: every random number of the run follows from it"):
        changeable_keys(["train.seed=1"])
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, steps=2), tmp_path / "run")
    for value, line in (
        ("train.steps=9", "--set train.steps: use --steps"),
        ("train.lr=1", "run is completed; give --steps"),
    ):
        code, _, err = mixzoo("resume", "run", "--set", value)
        assert (code, err.count("\n")) == (2, 1)
        assert line in err
