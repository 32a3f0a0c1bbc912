"""Runs on data whose labels are attributes, and on data without labels."""

import math

import pytest
import torch
from torch import nn

from mixzoo import BuildContext, FinishedRun, Split
from mixzoo.core.errors import ConfigError
from mixzoo.data.batches import to_images
from mixzoo.evaluation.pictures.mixes import fixed_examples
from mixzoo.evaluation.probe import accuracy, build_probe, has_labels, probe_loss
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.interpolate import draw_interpolations
from mixzoo.runs.run import start
from mixzoo.training.logs import PlainLines, read_metrics
from toys import ToyTagged, toy_config, toy_zoo


class Coder(nn.Module):
    """Codes given by a function of the images."""

    latent_shape = (2,)

    def __init__(self, f):
        super().__init__()
        self.encode, self.decode = f, f


def trained(home, dataset, display_for=None, **flags):
    zoo = toy_zoo()
    return start(zoo, toy_config(zoo, flags={"dataset": dataset} | flags), home, display_for)


def test_a_build_context_knows_the_width_of_a_label():
    data = ToyTagged().load(0)
    assert data.build_context((2, 4, 4)) == BuildContext((1, 8, 8), classes=0, latent_shape=(2, 4, 4), attributes=2)
    assert data.build_context().label_width == 2
    assert BuildContext((1, 8, 8), classes=3).label_width == 3


@pytest.mark.parametrize(
    ("classes", "attributes", "something"), [(0, 0, False), (1, 0, False), (2, 0, True), (0, 1, True)]
)
def test_a_probe_needs_labels_to_tell_apart(classes, attributes, something):
    assert has_labels(BuildContext((1, 8, 8), classes, (3,), attributes)) == something


def test_the_probe_of_attributes_is_a_cross_entropy_each_and_its_accuracy_their_mean():
    probe = build_probe(BuildContext((1, 1, 1), classes=0, latent_shape=(2,), attributes=2))
    with torch.no_grad():
        probe.weight.copy_(torch.eye(2))
        probe.bias.zero_()
    h = torch.tensor([[1.0, -2.0], [-1.0, 0.5]])
    y = torch.tensor([[1, 0], [1, 1]])
    wanted = (math.log1p(math.e**-1) + math.log1p(math.e**-2) + math.log1p(math.e) + math.log1p(math.e**-0.5)) / 4
    assert probe_loss(probe, h, y).item() == pytest.approx(wanted)

    points = Split(torch.tensor([[1.0, -0.5], [-1.0, 0.5]])[:, :, None, None], y)
    assert accuracy(probe, Coder(lambda x: x.flatten(1)), points, "cpu") == 3 / 4  # three of the four attributes


def test_floats_are_network_inputs_already():
    points = torch.tensor([-1.0, 0.25, 1.0]).reshape(3, 1, 1, 1)
    assert torch.equal(to_images(points), points)


@pytest.mark.parametrize("mixer", ["mixup", "label", "one_of:a=label,b=mixup"])
def test_a_run_on_attributes_has_a_probe_of_them_and_a_label_mixer_reads_them(tmp_path, mixer):
    result = trained(tmp_path / "run", "toy_tagged", mixer=mixer)
    assert 0 <= result.numbers["probe.last_test_accuracy"] <= 1
    assert 0.5 <= result.numbers["logistic_regression.test_accuracy"] <= 1
    assert (
        draw_interpolations(toy_zoo(), tmp_path / "run", None, pairs=2, steps=3, side=3, device="cpu")
        .files["strips"]
        .is_file()
    )


def test_logistic_regression_of_attributes_is_the_mean_of_a_classifier_each():
    knows_the_first = Coder(lambda x: x[:, :, 1:3].mean((1, 2, 3))[:, None])
    zoo, data = load_zoo(), ToyTagged().load(0)
    run = FinishedRun(knows_the_first, zoo.recipe("mixer", "mixup"), data, seed=0, device="cpu")
    score = zoo.recipe("metric", "logistic_regression")(run)["test_accuracy"]
    assert score == pytest.approx((1 + 2 / 3) / 2, abs=0.03)  # a third of the images have the second attribute


def test_a_run_without_labels_has_no_probe_and_no_probe_scores(tmp_path, capsys):
    result = trained(tmp_path / "run", "toy_unlabelled", PlainLines)
    assert not [name for name in result.numbers if "accuracy" in name or "probe" in name]
    assert "no probe: the data have no labels to classify" in capsys.readouterr().err
    assert result.picture.is_file()
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last == {"kind": "evaluate", "step": 12}


def test_a_label_mixer_refuses_data_without_labels(tmp_path):
    with pytest.raises(ConfigError, match=r"^mixer 'label': it mixes by label, and the data have none; use data with"):
        trained(tmp_path / "run", "toy_unlabelled", mixer="label")


def test_examples_shown_take_each_set_of_attributes_in_turn():
    labels = torch.tensor([[0, 0], [0, 0], [1, 0], [0, 1], [1, 0]])
    split = Split(torch.zeros(5, 1, 1, 1, dtype=torch.uint8), labels)
    assert fixed_examples(split).tolist() == [0, 3, 2, 1, 4]


def test_digits_have_attributes_in_place_of_classes_when_asked():
    digits, tagged = (load_zoo().recipe("dataset", f"digits{o}").load(0) for o in ("", ":attributes=loop+even"))
    assert (tagged.attribute_names, tagged.class_names) == (("loop", "even"), ())
    assert torch.equal(tagged.train.images, digits.train.images)
    loop = [digit in (0, 6, 8, 9) for digit in digits.train.labels.tolist()]
    even = [digit % 2 == 0 for digit in digits.train.labels.tolist()]
    assert tagged.train.labels.bool().T.tolist() == [loop, even]
    with pytest.raises(ConfigError, match="odd"):
        load_zoo().recipe("dataset", "digits:attributes=odd")
