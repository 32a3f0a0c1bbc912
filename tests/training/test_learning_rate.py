"""Learning-rate schedules: the rate of each step, where it is used, and that resumed runs have the same."""

import math
from dataclasses import replace

import pytest
import torch
from test_changes import Notes, config, metrics, weights
from test_engine import scene
from test_run import StopAt

from mixzoo.core.errors import Interrupted
from mixzoo.registry.config import Train
from mixzoo.runs.changes import Change, earlier_lengths
from mixzoo.runs.run import resume, start
from mixzoo.training.learning_rate import factor, keep_rate_on_device, learning_rate, set_learning_rates
from mixzoo.training.optimiser_state import load_moments, moments_of
from mixzoo.training.step import parameters_of, train_step
from toys import SMALL, TOYS, toy_zoo


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, [1, 1, 1, 1, 1, 1]),
        ("constant", 4, [0.25, 0.5, 0.75, 1, 1, 1]),
        ("linear", 0, [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("linear", 2, [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", 0, [1, (2 + math.sqrt(3)) / 4, 0.75, 0.5, 0.25, (2 - math.sqrt(3)) / 4]),
        ("cosine", 2, [0.5, 1, 1, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4]),
        ("cosine", 5, [0.2, 0.4, 0.6, 0.8, 1, 1]),
    ],
)
def test_the_factors_of_six_steps_by_hand(schedule, warmup, expected):
    train = Train(steps=6, schedule=schedule, warmup=warmup, lr=0.5)
    assert [factor(train, step) for step in range(6)] == pytest.approx(expected, abs=1e-15)
    assert factor(train, 6) == pytest.approx(float(schedule == "constant"))
    assert learning_rate(train, 0) == 0.5 * factor(train, 0)


def rates(players):
    return {name: optimiser.param_groups[0]["lr"] for name, optimiser in players.optimisers.items()}


@pytest.mark.parametrize("on_device", [False, True])
def test_a_step_uses_the_rate_and_one_at_rate_0_moves_the_probe_alone(on_device):
    """As a number and as a tensor, which it is on a GPU, also after the moments are loaded from a checkpoint."""
    train, moved = Train(steps=4, schedule="linear"), {}
    for step in (0, 3, 4):
        players, images, draw = scene()
        if on_device:
            for name in ("autoencoder", "discriminator"):
                keep_rate_on_device(players.optimisers[name], torch.device("cpu"))
        train_step(players, *images.batch(0), draw(0))
        for optimiser in players.optimisers.values():
            load_moments({key: value.clone() for key, value in moments_of(optimiser).items()}, optimiser)
        before = {n: [p.detach().clone() for p in parameters_of(o)] for n, o in players.optimisers.items()}
        set_learning_rates(train, players.optimisers, step)
        assert {isinstance(rate, torch.Tensor) for name, rate in rates(players).items() if name != "probe"} == {
            on_device
        }
        train_step(players, *images.batch(1), draw(1))
        moved[step] = {
            name: math.hypot(*((p.detach() - b).norm().item() for p, b in zip(parameters_of(o), before[name])))
            for name, o in players.optimisers.items()
        }
    for name in ("autoencoder", "discriminator"):
        assert moved[3][name] == pytest.approx(moved[0][name] / 4, rel=1e-3)
        assert moved[4][name] == 0
    assert moved[0]["probe"] == moved[3]["probe"] == moved[4]["probe"] > 0


@pytest.mark.bit_exact
def test_a_scheduled_run_stopped_and_resumed_equals_an_unbroken_one(tmp_path):
    """Stopped in the warm-up, at a checkpoint and in the descent; killed at last, and resumed from an older step."""
    numbers = {"schedule": "cosine", "warmup": 4}
    start(toy_zoo(), config(**numbers), tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(toy_zoo(), config(**numbers), tmp_path / "run", lambda *_: StopAt(2))
    for step in (5, 8):
        with pytest.raises(Interrupted):
            resume(toy_zoo(), tmp_path / "run", lambda *_, step=step: StopAt(step))
    with pytest.raises(KeyboardInterrupt):
        resume(toy_zoo(), tmp_path / "run", lambda *_: Notes(11))
    resume(toy_zoo(), tmp_path / "run", lambda *_: Notes())
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    logged = [line["lr"] for line in metrics(tmp_path / "whole") if line["kind"] == "train"]
    train = config(**numbers).train
    assert logged == [learning_rate(train, step) for step in range(12)]
    assert logged[:5] == [train.lr / 4, train.lr / 2, 3 * train.lr / 4, train.lr, train.lr]


@pytest.mark.bit_exact
def test_a_constant_rate_is_what_it_was_and_another_is_used(tmp_path):
    found = {}
    for name, numbers in {
        "default": {},
        "constant": {"schedule": "constant", "warmup": 0},
        "linear": {"schedule": "linear"},
        "warmup": {"warmup": 3},
    }.items():
        start(toy_zoo(), config(steps=5, **numbers), tmp_path / name)
        found[name] = weights(tmp_path / name)
        rated = ["lr" in line for line in metrics(tmp_path / name) if line["kind"] == "train"]
        assert rated == [name in ("linear", "warmup")] * 5
    assert found["default"] == found["constant"]
    for name in ("linear", "warmup"):
        differing = {file for file, content in found[name].items() if content != found["default"][file]}
        assert {"autoencoder.safetensors", "discriminator.safetensors"} <= differing
    assert 'schedule = "constant"\nwarmup = 0\n' in (tmp_path / "default" / "run.toml").read_text()


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_resume_with_another_length_says_which_steps_had_which_rates(tmp_path, schedule):
    run = tmp_path / "run"
    start(toy_zoo(), config(steps=4, schedule=schedule, warmup=1), run)
    first, second = Notes(), Notes()
    with pytest.raises(Interrupted):
        resume(toy_zoo(), run, lambda *_: notes_and_stop(first, 6), steps=8)
    resume(toy_zoo(), run, lambda *_: second, steps=10)
    found = [note for display in (first, second) for note in display.notes if "learning rate" in note]
    beginning = (
        "warning: the learning rate follows the length of the run (cosine): steps 1 to 4 had the rates of a run of"
    )
    expected = [
        f"{beginning} 4 steps, the later ones have those of 8 steps",
        f"{beginning} 4 steps, steps 5 to 6 had the rates of a run of 8 steps, the later ones have those of 10 steps",
    ]
    assert found == (expected if schedule == "cosine" else [])
    train = config(steps=10, schedule=schedule, warmup=1).train
    logged = [line["lr"] for line in metrics(run) if line["kind"] == "train"]
    lengths = [4] * 4 + [8] * 2 + [10] * 4
    assert logged == [learning_rate(replace(train, steps=length), step) for step, length in enumerate(lengths)]


def notes_and_stop(display, step):
    stop = StopAt(step)
    display.train = stop.train
    return display


def test_lengths_of_a_run_that_was_lengthened_twice_at_one_step_are_those_that_were_trained():
    changes = [Change(4, "train.steps", "4", "8"), Change(4, "train.lr", "1", "2"), Change(4, "train.steps", "8", "9")]
    assert earlier_lengths(changes, 4) == [(1, 4, "4")]
    assert earlier_lengths([*changes, Change(6, "train.steps", "9", "12")], 6) == [(1, 4, "4"), (5, 6, "9")]
    assert earlier_lengths([Change(20, "train.steps", "20", "40")], 10) == [(1, 10, "20")]


def test_another_schedule_is_a_change_of_the_run(tmp_path):
    run, display = tmp_path / "run", Notes()
    start(toy_zoo(), config(steps=3), run)
    resume(toy_zoo(), run, lambda *_: display, steps=6, values=["train.schedule=linear"])
    assert 'train.schedule was "constant" and is "linear"' in display.notes
    logged = {line["step"]: line.get("lr") for line in metrics(run) if line["kind"] == "train"}
    assert logged == {1: None, 2: None, 3: None} | {
        step: pytest.approx(1e-3 * (7 - step) / 6, rel=1e-12) for step in (4, 5, 6)
    }


BAD = {
    "train --schedule cosin": "--schedule: schedule='cosin' must be one of 'constant', 'linear', 'cosine'. Did you",
    "train --warmup -1": "--warmup: warmup=-1 must be an integer >= 0",
    "train --warmup 4": "--warmup 4: the run has 4 steps, and the warm-up must be shorter; give a smaller",
    "train --warmup 9 --schedule linear": "--warmup 9: the run has 4 steps, and the warm-up must be shorter",
    "train --grid train.warmup=1,4": "--warmup 4: the run has 4 steps, and the warm-up must be shorter",
}


@pytest.mark.parametrize("typed", BAD)
def test_a_schedule_that_cannot_be_is_one_line(mixzoo, tmp_path, typed):
    code, out, err = mixzoo(*typed.split(), *TOYS, *SMALL, "--out", "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"mixzoo: {BAD[typed]}")
    assert not (tmp_path / "run").exists()


def test_a_resume_whose_warm_up_is_too_long_is_one_line(mixzoo):
    assert mixzoo("train", *TOYS, *SMALL, "--out", "run")[0] == 0
    code, _, err = mixzoo("resume", "run", "--steps", "6", "--set", "train.warmup=6")
    assert (code, err.count("\n")) == (2, 1)
    assert "--warmup 6: the run has 6 steps" in err
