"""A run as an object: what it recorded, and its networks applied to images."""

import json
import os
import shutil
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

import mixzoo
from mixzoo import CheckpointError, ConfigError, NonFiniteError, Run
from mixzoo.evaluation.codes import encode
from mixzoo.registry import session
from mixzoo.runs.directory import lock, write_status
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import start
from mixzoo.training.logs import read_metrics
from toys import edited, toy_config, toy_zoo

PHOTOS = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)) for i in range(3)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    zoo = toy_zoo()
    folder = tmp_path_factory.mktemp("trained") / "run"
    start(zoo, toy_config(zoo, flags={"mixer": "bernoulli:k=3"}, log_every=1), folder)
    return folder


@pytest.fixture
def run(path):
    return Run(path, zoo=toy_zoo())


def files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_a_run_recorded_is_at_hand_and_reading_it_changes_nothing(path, run):
    before = files(path)
    assert (run.state, run.step, run.path) == ("completed", run.config.train.steps, path)
    assert run.results["probe.best_step"] >= 1
    better = json.loads((path / "results.json").read_text())["better"]
    assert (better["reconstruction.l1"], better["probe.last_test_accuracy"]) == ("less", "more")
    assert "probe.best_step" not in better
    assert run.metrics == read_metrics(path / "metrics.jsonl")
    assert run.plot("probe/loss").axes[0].get_title(loc="left") == "probe: loss"
    assert run.pictures == sorted((path / "pictures").glob("*.png"))
    assert run.config.names["mixer"] == "bernoulli"
    assert repr(run) == f"<mixzoo run {path}: completed, {run.step} steps>"
    run.mix(PHOTOS)
    assert files(path) == before


def test_a_run_whose_process_was_killed_says_so(path, tmp_path):
    folder = shutil.copytree(path, tmp_path / "run")
    write_status(folder, "running")
    holder = (folder / ".lock").read_text()
    (folder / ".lock").write_text(holder.replace(str(os.getpid()), "999999999"))
    run = Run(folder, zoo=toy_zoo())
    assert run.state == "killed"
    with lock(folder):
        assert run.state == "running"


def test_codes_are_those_of_the_networks_of_the_run(path, run):
    opened = open_run(toy_zoo(), path, "cpu")
    test = opened.data.test
    assert torch.equal(run.encode(test.images), encode(opened.players.autoencoder, test.images, "cpu"))
    assert torch.equal(run(test.images), run.decode(run.encode(test.images)))
    assert run.image_shape == (1, 8, 8)
    assert run.encode(PHOTOS).shape == (3, *run.latent_shape)
    assert torch.equal(run.encode(PHOTOS[0]), run.encode(PHOTOS)[:1])


@pytest.mark.parametrize("h", [torch.zeros(2, 3), torch.zeros(2, 2, 4, 4, dtype=torch.int64), None])
def test_what_is_no_code_of_the_run_is_refused(run, h):
    with pytest.raises(ConfigError, match=r"codes are .*; this run's are floats \[batch, .*\], as encode gives them"):
        run.decode(h)


def test_mixes_are_those_of_a_training_step(run):
    mixed = run.mix(PHOTOS, seed=3, step=5)
    again = mixzoo.mix(run.encode(PHOTOS), run.mixer, seed=3, step=5)
    assert torch.equal(mixed.codes, again.h)
    assert torch.equal(mixed.images, run.decode(again.h))
    assert mixed.sources.shape == (3, 3)
    assert torch.equal(mixed.given, run.prepare(PHOTOS))
    assert not torch.equal(mixed.codes, run.mix(PHOTOS, seed=3, step=6).codes)


def test_images_are_the_sources_of_one_mix_at_a_point(run, tmp_path):
    h = run.encode(PHOTOS)
    for i in range(3):
        corner = [float(i == j) for j in range(3)]
        torch.testing.assert_close(run.mix(PHOTOS, "dirichlet:k=3", at=corner).codes[0], h[i])
    middle = run.mix(PHOTOS, "dirichlet:k=3", at=[0.25, 0.25, 0.5])
    torch.testing.assert_close(middle.codes[0], 0.25 * h[0] + 0.25 * h[1] + 0.5 * h[2])
    with Image.open(middle.save(tmp_path / "mix.png")) as picture:
        assert picture.height > 4 * 64


@pytest.mark.parametrize(
    ("mixer", "at", "line"),
    [
        ("dirichlet:k=3", [0.5, 0.5], "takes 3 sources, so give 3 images and 3 weights >= 0 that sum to 1"),
        ("dirichlet:k=3", [0.5, 0.5, 0.5], "sum to 1"),
        ("dirichlet:k=3", [-1.0, 1.0, 1.0], "weights >= 0"),
        ("dirichlet:k=3", [float("nan")] * 3, "weights >= 0"),
        ("dirichlet:k=3", 5, "at=5 with 3 images"),
        ("mixup", [0.5, 0.5], "with 3 images: the mixer takes 2 sources"),
        ("dirichle", None, "unknown mixer 'dirichle'"),
        ("network:k=3", None, "it is a learned mixer, and in this run only its own mixer was trained"),
    ],
)
def test_a_mix_that_cannot_be_made_is_refused_in_one_line(unchecked, run, mixer, at, line):
    with pytest.raises(ConfigError, match=line):
        run.mix(PHOTOS, mixer, at=at)


def test_codes_of_any_float_are_decoded_and_those_that_are_not_finite_are_not(run):
    h = run.encode(PHOTOS)
    assert torch.equal(run.decode(h.double()), run.decode(h))
    with pytest.raises(NonFiniteError, match="codes hold NaN or infinity"):
        run.decode(h * float("nan"))


def test_one_image_alone_is_not_mixed_with_itself(run):
    with pytest.raises(ConfigError, match="one image would be mixed with itself; give two or more, or at="):
        run.mix(PHOTOS[0])


def test_a_picture_of_mixes_is_a_png(run, tmp_path):
    for path in ("a.jpg", "a", ""):
        with pytest.raises(ConfigError, match=r"ends in \.png|must be a path"):
            run.mix(PHOTOS).save(path and tmp_path / path)


def test_what_is_no_run_or_has_no_checkpoint_is_refused(tmp_path, path):
    with pytest.raises(CheckpointError, match="no such directory"):
        mixzoo.load(tmp_path / "nothing")
    half = shutil.copytree(path, tmp_path / "half")
    shutil.rmtree(half / "checkpoints")
    run = Run(half, zoo=toy_zoo())
    assert run.step == 0
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        run.encode(PHOTOS)


def test_codes_that_are_not_finite_are_an_error_of_their_own(run):
    with torch.no_grad():
        for parameter in run.autoencoder.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="the code of an image is not finite"):
        run.encode(PHOTOS)


def test_a_metric_is_computed_once_and_kept_with_what_it_is_of(run, monkeypatch):
    first = run.evaluate("reconstruction")
    (file,) = (run.path / "scores").iterdir()
    kept = mixzoo.core.json_file.read_object(file)
    assert kept.text("settings").startswith("reconstruction")
    assert kept.part("samples").integer("test") == 48
    assert set(kept.texts("versions")) == {"mixzoo", "torch", "numpy", "scikit-learn"}
    monkeypatch.setattr("mixzoo.runs.evaluating.open_run", lambda *_: pytest.fail("opened again"))
    assert run.evaluate(["reconstruction"]) == first
    assert set(first["reconstruction"]) == {"l1", "l2"}
    with pytest.raises(pytest.fail.Exception, match="opened again"):
        run.evaluate("reconstruction", again=True)


def test_a_metric_that_has_changed_is_computed_again(run, monkeypatch, tmp_path):
    monkeypatch.setattr(session, "_PARTS", {})
    for factor in (1, 100):
        (tmp_path / f"constant{factor}.py").write_text(CONSTANT.replace("FACTOR", str(factor)))
        monkeypatch.syspath_prepend(tmp_path)
        session.register("metric", "constant", import_module(f"constant{factor}").Constant)
        again = Run(run.path, zoo=toy_zoo())
        assert again.evaluate("constant") == {"constant": {"value": factor}}


def test_a_part_registered_after_the_run_was_loaded_is_known_to_it(run, monkeypatch, tmp_path):
    monkeypatch.setattr(session, "_PARTS", {})
    for factor in (2, 200):  # and again, as a cell that is run twice
        (tmp_path / f"later{factor}.py").write_text(CONSTANT.replace("FACTOR", str(factor)))
        monkeypatch.syspath_prepend(tmp_path)
        session.register("metric", "later", import_module(f"later{factor}").Constant)
        assert run.evaluate("later") == {"later": {"value": factor}}


CONSTANT = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Constant:
    def __call__(self, run):
        return {"value": FACTOR * 1.0}
"""


def test_a_metric_that_has_no_number_for_the_data_stops_before_any_is_computed(path, tmp_path):
    copy = shutil.copytree(path, tmp_path / "run", ignore=shutil.ignore_patterns("scores"))
    with pytest.raises(mixzoo.DataError, match="disentanglement"):
        Run(copy, zoo=toy_zoo()).evaluate(["reconstruction", "disentanglement"])
    assert not (copy / "scores").exists()


def test_a_score_of_another_step_is_computed_again(path, tmp_path):
    copy = shutil.copytree(path, tmp_path / "run", ignore=shutil.ignore_patterns("scores"))
    run = Run(copy, zoo=toy_zoo())
    run.evaluate("reconstruction")
    (file,) = (copy / "scores").iterdir()
    edited(file, step=1)
    run.evaluate("reconstruction")
    assert f'"step": {run.step}' in file.read_text()


def test_a_mix_does_not_touch_the_global_generator(run):
    before = torch.get_rng_state()
    run.mix(PHOTOS)
    assert torch.equal(torch.get_rng_state(), before)
