"""Training, sweeping and comparing from Python, on digits, as a notebook does."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from test_listing import made
from test_run import without_clock

import mixzoo
import warm
from mixzoo import ConfigError, LinearMixer, PluginError
from mixzoo.core.arguments import with_argument_names
from mixzoo.registry import session
from mixzoo.runs.comparing import Comparison
from mixzoo.runs.listing import find_runs
from mixzoo.runs.run import start
from toys import TOY_FLAGS, TOY_NUMBERS, toy_config, toy_zoo

PARTS = {kind: spec for kind, spec in TOY_FLAGS.items() if kind != "dataset"}
SMALL = {"data": TOY_FLAGS["dataset"], **PARTS, **TOY_NUMBERS, "steps": 4, "log_every": 1}


@pytest.fixture(autouse=True)
def toys(monkeypatch, unchecked):
    monkeypatch.setattr("mixzoo.runs.api.load_zoo", toy_zoo)
    monkeypatch.setattr("mixzoo.runs.api.keep_freed_memory", lambda: False)  # it would last as long as the process


def test_a_run_trained_from_python_is_the_run_of_the_command(tmp_path):
    run = mixzoo.train(
        **SMALL | {"mixer": "bernoulli:k=3"}, metrics=["reconstruction"], out=tmp_path / "a", progress=False
    )
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, flags={"mixer": "bernoulli:k=3"}, steps=4, log_every=1), tmp_path / "b")
    assert without_clock(run.path) == without_clock(tmp_path / "b")
    assert {name.partition(".")[0] for name in run.results} == {"probe", "reconstruction"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"stepz": 3}, "train has no argument 'stepz'.* Did you mean 'steps'"),
        ({"mixer": "dirichle"}, "unknown mixer 'dirichle'"),
        ({"steps": 0}, "steps"),
        ({"metrics": ["nothing"]}, "unknown metric 'nothing'"),
        ({"mixer": ["mixup", "mixup"]}, "twice|same"),
        ({"metric": ["knn"]}, "train has no argument 'metric'.* Did you mean 'metrics'"),
        ({"mixer": 5}, "mixer=5 must be a text or a list of texts"),
        ({"data": 5}, "^data=5 must be a text or a list of texts"),
        ({"data": Path("a/photos")}, "data=a/photos: .* a path is its option. Did you mean 'folder:path=a/photos'"),
        ({"steps": Path("5")}, r"steps=PosixPath\('5'\) must be an integer"),
        ({"metrics": [5]}, r"metrics=\[5\] must be a text or a list of texts"),
        ({"seeds": 5}, r"seeds=5 must be a list of integers >= 0, such as \[0, 1, 2\]"),
        ({"seeds": "0,1"}, "seeds='0,1' must be a list of integers"),
        ({"grid": {"mixer": "mixup"}}, "grid=.* must map keys to lists"),
        ({"mixer": ["mixup"], "grid": {"mixer": ["slerp"]}}, "grid has 'mixer', and mixer= has a list too"),
        ({"config": 5}, "config=5 must be a path"),
        ({"jobs": 1.5, "seeds": [0]}, "jobs=1.5 must be an integer >= 1"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_made(tmp_path, given, line):
    with pytest.raises(ConfigError, match=line):
        mixzoo.train(**SMALL | given, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_be_given_wherever_the_text_of_one_may(tmp_path):
    run = mixzoo.train(**SMALL, image_cache=tmp_path / "kept", out=tmp_path / "run", progress=False)
    assert find_runs([run.path])[0].value("train.image_cache") == str(tmp_path / "kept")
    again = mixzoo.resume(run.path, steps=6, set={"train.image_cache": tmp_path / "other"}, progress=False)
    assert find_runs([again.path])[0].value("train.image_cache") == str(tmp_path / "other")


@dataclass(frozen=True, kw_only=True)
class Halves(LinearMixer):
    """Half of each of two: h_mix = (h_1 + h_2) / 2."""

    k: ClassVar[int] = 2

    def draw(self, shape, rng):
        return torch.full((2, shape.batch, *[1] * len(shape.latent)), 0.5)


def test_a_part_registered_in_a_notebook_is_known_and_a_sweep_refuses_it(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_PARTS", {})
    mixzoo.register("mixer", "halves", Halves)
    h = torch.randn(4, 3)
    mixed = mixzoo.mix(h, "halves")
    torch.testing.assert_close(mixed.h, (h + h[mixed.sources[1]]) / 2)
    run = mixzoo.train(**SMALL | {"mixer": "halves"}, out=tmp_path / "run", progress=False)
    assert 'distribution": "session"' in (tmp_path / "run" / "environment.json").read_text()
    assert run.mix(torch.zeros(2, 1, 8, 8) - 0.5).codes.shape == (2, *run.latent_shape)
    with pytest.raises(ConfigError, match="mixer 'halves' was registered in this process, and the runs of a sweep"):
        mixzoo.train(**SMALL | {"mixer": "halves"}, seeds=[0, 1], out=tmp_path / "sweep")


@pytest.mark.parametrize(
    ("kind", "name", "part", "error", "line"),
    [
        ("mixers", "Halves", Halves, PluginError, "register: 'Halves' cannot name a mixer"),
        ("mixer", 3, Halves, PluginError, "register: 3 cannot name a mixer"),
        (3, "halves", Halves, ConfigError, "^3 is not a kind of part"),
        ("mixer", "halves", Halves(), PluginError, "must be a dataclass of options"),
        ("mixter", "halves", Halves, ConfigError, "mixter"),
        ("mixer", "mixup", Halves, ConfigError, "^register: mixer 'mixup' is a part of mixzoo already; choose another"),
    ],
)
def test_what_cannot_be_registered_is_refused(monkeypatch, kind, name, part, error, line):
    monkeypatch.setattr(session, "_PARTS", {})
    with pytest.raises(error, match=line):
        mixzoo.register(kind, name, part)


def test_two_mixers_are_trained_listed_and_compared(tmp_path, monkeypatch):
    monkeypatch.undo()  # members are processes, which know the installed parts alone
    monkeypatch.setattr(sys, "executable", warm.python())
    runs = mixzoo.train(
        mixer=["mixup", "dirichlet:k=3,alpha=2"], objective="ae", seeds=[0], steps=2, evaluate_every=2, jobs=2,
        autoencoder="amr:depth=2", out=tmp_path / "sweep",
    )  # fmt: skip
    assert [run.state for run in runs] == ["completed"] * 2
    table = mixzoo.compare(runs)
    assert isinstance(table, Comparison)
    assert [variant.name for variant in table.variants] == ["mixer=mixup", "mixer=dirichlet:k=3"]
    assert str(table).startswith("| | runs | probe: best validation accuracy, % |")
    records = mixzoo.runs(tmp_path)
    assert {record.path for record in records} == {run.path for run in runs}
    assert mixzoo.load(records[0]).path == records[0].path
    assert mixzoo.load(runs[0]) is runs[0]
    assert mixzoo.compare(records).cells == table.cells


@pytest.mark.parametrize(
    ("message", "python"),
    [
        ("--score reel: no run has it", "scores=reel: no run has it"),
        ("--term : no run has it", "terms=: no run has it"),
        ("--device 'gpu' cannot be used here", "device='gpu' cannot be used here"),
        ("--batch-images 1: a batch of one", "batch_images=1: a batch of one"),
        ("--lr: lr=nan must be", "lr=nan must be"),
        ("--mixer: unknown mixer", "mixer: unknown mixer"),
        ("--mixer mixup:k=3: 'k' is", "mixer=mixup:k=3: 'k' is"),
        ("--seeds goes without --seed", "seeds goes without --seed"),
        ("a run: --seed", "a run: --seed"),
    ],
)
def test_an_error_in_python_begins_with_the_argument_in_place_of_the_flag(message, python):
    @with_argument_names
    def fails():
        raise ConfigError(message)

    with pytest.raises(ConfigError, match=f"^{re.escape(python)}"):
        fails()


def test_every_function_of_python_names_its_arguments(tmp_path):
    made(tmp_path / "run", knn__accuracy=0.5)
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "autoencoder/fool": 0.5}\n')
    with pytest.raises(ConfigError, match=r"^scores=reel: no run has it \(knn\.accuracy\)"):
        mixzoo.compare(tmp_path, scores="reel")
    with pytest.raises(ConfigError, match=r"^terms=reel: no run has it"):
        mixzoo.plot(tmp_path, terms="reel")
    with pytest.raises(ConfigError, match=r"^where=reel: no run has it"):
        mixzoo.plot(tmp_path, where="reel=1")
    with pytest.raises(ConfigError, match=r"^mixer=mixup:k=3: 'k' is not an option"):
        mixzoo.train(mixer="mixup:k=3")


def test_what_is_no_run_cannot_be_compared(tmp_path):
    with pytest.raises(ConfigError, match="3 is not a run; give a directory, a Run, or a list of them"):
        mixzoo.compare([3])
    with pytest.raises(ConfigError, match=r"folder=5 must be a path"):
        mixzoo.runs(5)
    with pytest.raises(ConfigError, match="None is not a run; give its directory"):
        mixzoo.load(None)
    with pytest.raises(ConfigError, match="there are no runs to compare"):
        mixzoo.compare(tmp_path)
    with pytest.raises(ConfigError, match="run='' must be a path"):
        mixzoo.compare("")
    with pytest.raises(ConfigError, match="path='' must be a path"):
        mixzoo.load("")
    made(tmp_path / "run")
    with pytest.raises(ConfigError, match="device=None must be a text, such as 'auto'"):
        mixzoo.load(tmp_path / "run", device=None)


def test_a_run_is_resumed_from_python_and_what_is_not_for_it_is_refused(tmp_path):
    run = mixzoo.train(**SMALL, out=tmp_path / "a", progress=False)
    again = mixzoo.resume(run, steps=6, set={"train.lr": 5e-5}, progress=False)
    assert (again.path, again.step) == (run.path, 6)
    assert "lr = 5e-05\n" in (run.path / "run.toml").read_text()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    for given, message in (
        ({"run": run, "jobs": 2}, f"jobs=2 is for a sweep, and {run.path} is a single run"),
        ({"run": run, "steps": "9"}, "steps='9' must be an integer >= 1"),
        ({"run": run, "on": "slurn"}, "unknown launcher 'slurn'"),
        ({"run": tmp_path / "sweep", "steps": 9}, f"steps is for a single run, and {tmp_path / 'sweep'} is a sweep"),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
            mixzoo.resume(**given)
