"""Data that no run can use are refused when they are loaded, as are bad arguments of `mix` and `create`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

import mixzoo
from mixzoo import Split
from mixzoo.core.errors import ConfigError, DataError
from mixzoo.data import placement
from mixzoo.runs.run import start
from toys import ToyData, toy_config, toy_zoo

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Given:
    """The toy data with one split changed."""

    change: Any = None
    which: str = "test"

    def load(self, seed):
        data = ToyData().load(0)
        points = {n: self.points(getattr(data, n)) for n in ("train", "validation", "test")}
        return replace(data, **points | {self.which: self.change(points[self.which])})

    def points(self, split):
        numbers = split.images.flatten(1)[:, :4].float() / 127.5 - 1
        return Split(numbers[:, :, None, None], split.labels, split.labels[:, None].float())


def load(change, which="test"):
    return placement.load_data(Given(change, which), "given", toy_config(toy_zoo()).train, CPU)


def with_number(value, field="images"):
    def change(split):
        tensor = getattr(split, field).clone()
        tensor[5].fill_(value)
        tensor[7].fill_(value)
        return replace(split, **{field: tensor})

    return change


def test_valid_points_are_accepted():
    assert load(lambda split: split).data_on == "device"


@pytest.mark.parametrize("which", ["train", "validation", "test"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_found_when_data_are_loaded(which, value):
    words = rf"data set 'given': image 5 of the {which} split contains NaN or infinity \(2 of \d+ do\); fix or"
    with pytest.raises(DataError, match=words):
        load(with_number(value), which)


def test_a_factor_that_is_not_finite_is_found_when_data_are_loaded():
    with pytest.raises(DataError, match=r"factors of image 5 of the test split contain NaN or infinity"):
        load(with_number(float("nan"), "factors"))


def test_a_nan_in_a_test_image_makes_no_run(tmp_path):
    zoo = toy_zoo()
    config = toy_config(zoo)
    config = replace(config, parts=dict(config.parts) | {"dataset": Given(with_number(float("nan")))})
    with pytest.raises(DataError, match="data set 'toy_data': image 5 of the test split contains NaN or infinity"):
        start(zoo, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what a caller gives


@pytest.mark.parametrize(
    ("h", "words"),
    [
        (
            np.zeros((4, 8)),
            r"h is a ndarray; codes and images are tensors of floating-point numbers, \[batch, features\]",
        ),
        (torch.zeros(28, dtype=torch.uint8), r"h is torch.uint8 of shape \(28,\); .* stored bytes v are v / 127.5 - 1"),
        (
            torch.zeros(1, 28, 28),
            r"h is of shape \(1, 28, 28\), one image without an axis for the batch; .*, so h\[None\]",
        ),
        (torch.zeros(0, 1, 28, 28), r"h is of shape \(0, 1, 28, 28\), which is empty"),
    ],
)
def test_a_bad_batch_is_refused_and_the_message_says_what_fits(h, words):
    call = getattr(mixzoo.mix, "__wrapped__", mixzoo.mix)
    with pytest.raises(ConfigError, match=words):
        call(h, "mixup")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 2, 3], r"labels are a list; give a tensor, \[batch\] or \[batch, attributes\]"),
        (torch.zeros(3, dtype=torch.int64), r"labels are of shape \(3,\), and h is a batch of 4; each has its own"),
        (torch.zeros(4, dtype=torch.int64, device="meta"), "labels are on meta and h is on cpu; use labels.to"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    call = getattr(mixzoo.mix, "__wrapped__", mixzoo.mix)
    with pytest.raises(ConfigError, match=words):
        call(torch.zeros(4, 8), "mixup", labels=labels)


@pytest.mark.parametrize("mixer", [3, None, type(mixzoo.create("mixer", "mixup")), object()])
def test_something_else_than_a_mixer_is_refused(mixer):
    call = getattr(mixzoo.mix, "__wrapped__", mixzoo.mix)
    with pytest.raises(ConfigError, match=r"mixer is .*; give a spec, such as 'dirichlet:k=4', or what mixzoo.create"):
        call(torch.zeros(4, 8), mixer)


def test_values_of_another_number_of_examples_are_refused():
    mixed = mixzoo.mix(torch.zeros(4, 8), "mixup")
    for values in (torch.zeros(5, 2), torch.zeros(3)):
        with pytest.raises(
            ConfigError, match=r"values are of shape .*, and the batch has 4 examples; each has its own"
        ):
            mixed.of(values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"image_shape": (28, 28)},
            r"image_shape=\(28, 28\) must be \(channels, height, width\), such as \(1, 32, 32\)",
        ),
        ({"image_shape": (1, 32, 0)}, r"image_shape=\(1, 32, 0\) must be"),
        ({"latent_shape": (4, 4)}, r"latent_shape=\(4, 4\) must be \(features,\) or \(channels, height, width\)"),
    ],
)
def test_shapes_that_no_image_or_code_has_are_refused(options, words):
    call = getattr(mixzoo.create, "__wrapped__", mixzoo.create)
    with pytest.raises(ConfigError, match=words):
        call("mixer", "mixup", **options)
