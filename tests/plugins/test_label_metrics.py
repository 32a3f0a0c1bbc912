"""Scores of conditioned mixes and of label vectors, on auto-encoders whose scores are known."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from mixzoo import DataError, FinishedRun, LinearMixer
from mixzoo.core.parts import Mixed
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import start
from mixzoo.training.logs import PlainLines
from toys import ToyData, ToyTagged, ToyUnlabelled, toy_config, toy_zoo

ZOO = load_zoo()
STEPS = 60


class Drawer(nn.Module):
    """The code of an image of bars is the brightness of its thirds, -1 or 1; decoding draws such bars."""

    latent_shape = (3,)

    def encode(self, x):
        return torch.stack([x[:, 0, 2 * i + 1 : 2 * i + 3].mean((1, 2)) for i in range(3)], 1).sign()

    def decode(self, h):
        image = h.new_full((len(h), 1, 8, 8), -0.75)
        for i in range(3):
            image[:, :, 2 * i + 1 : 2 * i + 3] += 1.4 * (h[:, i] > 0).float()[:, None, None, None]
        return image


@dataclass(frozen=True)
class Obeys(LinearMixer):
    """Aims at a label and returns the code that has it or, if `spitefully`, the one that does not."""

    width: int
    spitefully: bool = False
    k: int = 2

    def draw(self, shape, rng):
        alpha = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([alpha, 1 - alpha]))

    def __call__(self, h, draw, labels=None):
        y = labels.float() if labels.ndim > 2 else torch.nn.functional.one_hot(labels, self.width).float()
        y_mix = (draw.reshape(2, -1, 1) * y).sum(0)
        wanted = y_mix.argmax(1) if self.width == 3 else None
        if wanted is None:  # two attributes, upper and lower: the middle where neither
            has = y_mix > 0.5
            wanted = torch.where(has[:, 0], 0, torch.where(has[:, 1], 2, 1))
        if self.spitefully:
            wanted = (wanted + 1) % 3
        code = 2.0 * torch.nn.functional.one_hot(wanted, 3) - 1
        return Mixed(code, draw, labels=y_mix)


def scored(metric, data, mixer):
    run = FinishedRun(Drawer(), mixer, data, seed=0, device="cpu")
    return ZOO.recipe("metric", metric)(run)


@pytest.mark.parametrize(("data", "width"), [(ToyData(), 3), (ToyTagged(), 2)])
def test_mixes_with_the_wanted_label_score_1_and_the_opposite_0(data, width):
    metric = f"conditioned_labels:mixes=300,steps={STEPS}"
    good = scored(metric, data.load(0), Obeys(width))
    assert good["classifier_accuracy"] == good["reconstruction_accuracy"] == 1
    assert good["accuracy"] > 0.99
    assert good["chance_accuracy"] == pytest.approx(0.5, abs=0.08)
    bad = scored(metric, data.load(0), Obeys(width, spitefully=True))
    assert bad["accuracy"] < 0.5


@pytest.mark.parametrize("data", [ToyData(), ToyTagged()])
def test_a_mixer_that_ignores_labels_is_at_chance(data):
    @dataclass(frozen=True)
    class Coin(LinearMixer):
        """Picks one of the two sources."""

        k: int = 2

        def draw(self, shape, rng):
            first = (torch.rand(shape.batch, generator=rng) < 0.5).float()
            return shape.broadcast(torch.stack([first, 1 - first]))

    scores = scored(f"conditioned_labels:mixes=1000,steps={STEPS}", data.load(0), Coin())
    assert scores["accuracy"] == pytest.approx(0.5, abs=0.06)


def test_labels_that_all_sources_share_are_not_scored():
    data = ToyTagged().load(0)
    one = replace(data, test=replace(data.test, labels=torch.zeros_like(data.test.labels)))
    with pytest.raises(DataError, match="no two test images have different labels"):
        scored(f"conditioned_labels:mixes=10,steps={STEPS}", one, Obeys(2))


@pytest.mark.parametrize("metric", ["conditioned_labels", "label_arithmetic"])
def test_data_without_labels_are_refused(metric):
    with pytest.raises(DataError, match=r"^toy bars: no labels to tell apart"):
        scored(metric, ToyUnlabelled().load(0), Obeys(3))


@pytest.mark.parametrize("data", [ToyData(), ToyTagged()])
def test_vectors_of_labels_steer_codes_that_are_linear_in_them(data):
    class Linear(Drawer):
        """Like Drawer, but decodes codes between -1 and 1, as arithmetic gives them, by their largest number."""

        def decode(self, h):
            return super().decode(2.0 * (h == h.amax(1, keepdim=True)) - 1)

    loaded = data.load(0)
    run = FinishedRun(Linear(), ZOO.recipe("mixer", "mixup"), loaded, seed=0, device="cpu")
    scores = ZOO.recipe("metric", f"label_arithmetic:steps={STEPS}")(run)
    assert scores["accuracy"] == 1
    assert scores["before_accuracy"] == 0


def test_an_uninformative_code_steers_nothing():
    class Deaf(Drawer):
        def encode(self, x):
            return torch.zeros(len(x), 3)

    run = FinishedRun(Deaf(), ZOO.recipe("mixer", "mixup"), ToyTagged().load(0), seed=0, device="cpu")
    scores = ZOO.recipe("metric", f"label_arithmetic:steps={STEPS}")(run)
    assert scores["accuracy"] == scores["before_accuracy"]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("conditioned_labels", "no labels to tell apart"),
        ("label_arithmetic", "no labels to tell apart"),
        ("knn", "no labels to tell apart"),
        ("mlp_probe", "no labels to tell apart"),
        ("disentanglement", "its factors are not known"),
        ("line_interpolation", "no factor 'angle' gives the angle"),
    ],
)
def test_a_metric_that_cannot_score_the_data_is_refused_before_the_run_begins(metric, words, tmp_path):
    zoo = toy_zoo()
    file = tmp_path / "run.toml"
    file.write_text(f'metrics = ["{metric}"]\n')
    config = toy_config(zoo, file, flags={"dataset": "toy_unlabelled"})
    with pytest.raises(
        DataError, match=f"^metric '{metric}': toy bars: {words}.*; leave it out of metrics, or use other"
    ):
        start(zoo, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_attribute_that_no_train_image_has_is_scored_by_the_only_possible_prediction():
    data = ToyTagged().load(0)
    nobody = torch.stack([data.train.labels[:, 0], torch.zeros_like(data.train.labels[:, 1])], 1)
    run = FinishedRun(Drawer(), Obeys(2), replace(data, train=replace(data.train, labels=nobody)), seed=0, device="cpu")
    scores = ZOO.recipe("metric", "logistic_regression")(run)
    assert scores["test_accuracy"] == pytest.approx((1 + 2 / 3) / 2)  # a third of the test images has the second


def test_a_default_metric_without_a_number_for_the_data_is_left_out_with_a_line_that_says_so(tmp_path, capsys):
    zoo = toy_zoo()
    result = start(zoo, toy_config(zoo, None, flags={"dataset": "toy_unlabelled"}), tmp_path / "run", PlainLines)
    assert not [name for name in result.numbers if "logistic_regression" in name]
    assert "no logistic_regression: toy bars: no labels to tell apart" in capsys.readouterr().err
