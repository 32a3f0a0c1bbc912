"""Scores of codes that are known: informative, turned, noisy, constant, and of few directions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mixzoo import DataError, Dataset, FinishedRun, NonFiniteError, Split
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.scoring import finished_run
from mixzoo.training.build import build_players
from mixzoo_metrics.codes import effective_rank
from toys import ToyData, ToyUnlabelled, toy_config, toy_zoo

ZOO = load_zoo()
CLASSIFIERS = ("knn", "knn:distance=euclidean", "mlp_probe", "logistic_regression")
READS_LABELS = ("knn", "mlp_probe", "logistic_regression")
TURN = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0))).Q


class Coder(nn.Module):
    latent_shape = (4,)

    def __init__(self, f):
        super().__init__()
        self.encode = f

    def decode(self, h):
        return h


def clusters(spread, split_images=300):
    """Three classes around the unit vectors of three dimensions of four, held by images of 1x2x2 themselves."""
    rng = torch.Generator().manual_seed(0)

    def split(count):
        labels = torch.arange(count) % 3
        points = torch.eye(4)[labels] + spread * torch.randn(count, 4, generator=rng)
        return Split(points.reshape(count, 1, 2, 2), labels)

    return Dataset(split(split_images), split(30), split(split_images), ("a", "b", "c"), source="clusters")


def scored(spec, f, data, untrained=None):
    build = None if untrained is None else lambda: Coder(untrained)
    run = FinishedRun(Coder(f), ZOO.recipe("mixer", "mixup"), data, seed=0, device="cpu", untrained=build)
    return ZOO.recipe("metric", spec)(run)


def itself(x):
    return x.flatten(1)


def constant(x):
    return torch.ones(len(x), 4)


@pytest.mark.parametrize("spec", CLASSIFIERS)
@pytest.mark.parametrize(
    "f",
    [
        itself,
        lambda x: itself(x)[:, [2, 0, 3, 1]],
        lambda x: itself(x) @ TURN,
        lambda x: 100 * itself(x),
        lambda x: torch.cat([itself(x), torch.zeros(len(x), 9)], 1),
    ],
    ids=["perfect", "permuted", "rotated", "scaled", "dead"],
)
def test_a_code_that_separates_the_classes_is_read_whatever_its_axes_and_scale(spec, f):
    assert scored(spec, f, clusters(0.05))["test_accuracy"] == 1.0


@pytest.mark.parametrize("spec", CLASSIFIERS)
def test_a_code_of_noise_is_at_chance(spec):
    data = clusters(0.05)
    noise = replace(data, train=shuffled(data.train, 1), test=shuffled(data.test, 2))
    assert scored(spec, itself, noise)["test_accuracy"] == pytest.approx(1 / 3, abs=0.1)


def shuffled(split, seed):
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return replace(split, labels=split.labels[order])


@pytest.mark.parametrize("spec", CLASSIFIERS)
def test_a_constant_code_is_at_chance(spec):
    assert scored(spec, constant, clusters(0.05))["test_accuracy"] == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("spec", CLASSIFIERS)
def test_the_untrained_network_and_the_pixels_are_scored_by_the_same_classifier(spec):
    scores = scored(spec, constant, clusters(0.05), untrained=itself)
    assert scores.keys() == {"test_accuracy", "test_accuracy_untrained", "test_accuracy_pixels"}
    assert scores["test_accuracy"] < 0.4
    assert scores["test_accuracy_untrained"] == scores["test_accuracy_pixels"] == 1.0
    colon = "," if ":" in spec else ":"
    assert scored(f"{spec}{colon}baselines=false", itself, clusters(0.05), untrained=itself) == {"test_accuracy": 1.0}


def test_the_pixels_of_a_large_image_are_averaged():
    bars = ToyData().load(0)
    large = {
        name: replace(split, images=split.images.repeat_interleave(8, 2).repeat_interleave(8, 3))
        for name in ("train", "validation", "test")
        for split in [getattr(bars, name)]
    }
    small, big = (scored("effective_rank", constant, data) for data in (bars, replace(bars, **large)))
    # Sides of 8 pixels become 64, then 32: each pixel four times in each direction.
    assert big["rank_pixels"] == pytest.approx(small["rank_pixels"], rel=1e-6)


def test_neighbours_by_angle_are_others_than_by_distance():
    """A class lies on a ray: by angle all its points are alike, by distance the far ones are far from one another."""
    rng = torch.Generator().manual_seed(0)

    def rays(count):
        labels = torch.arange(count) % 2
        length = torch.rand(count, 1, generator=rng) ** 4 * 100
        angle = (labels * 0.2 + 0.02 * torch.randn(count, generator=rng))[:, None]
        points = length * torch.cat([angle.cos(), angle.sin(), 0 * angle, 0 * angle], 1)
        return Split(points.reshape(count, 1, 2, 2), labels)

    data = Dataset(rays(60), rays(60), rays(400), ("a", "b"), source="rays")
    by_angle, by_distance = (
        scored(f"knn:distance={d}", itself, data)["test_accuracy"] for d in ("cosine", "euclidean")
    )
    assert by_angle == 1.0
    assert by_distance < 0.97


def test_a_perceptron_reads_what_no_hyperplane_separates():
    rng = torch.Generator().manual_seed(0)

    def exclusive_or(count):
        points = 2 * torch.rand(count, 4, generator=rng) - 1
        return Split(points.reshape(count, 1, 2, 2), ((points[:, 0] > 0) ^ (points[:, 1] > 0)).long())

    data = Dataset(exclusive_or(2000), exclusive_or(30), exclusive_or(500), ("equal", "opposite"), source="xor")
    assert scored("mlp_probe:epochs=60", itself, data)["test_accuracy"] > 0.93
    assert scored("logistic_regression", itself, data)["test_accuracy"] < 0.65


def test_more_labels_read_more():
    few, many = (scored(f"knn:k=1,images={n}", itself, clusters(0.6))["test_accuracy"] for n in (6, 300))
    assert few < many


@pytest.mark.parametrize("name", READS_LABELS)
def test_data_without_labels_are_refused(name):
    with pytest.raises(DataError, match="toy bars: no labels to tell apart"):
        ZOO.recipe("metric", name).check_data(ToyUnlabelled().load(0))


def test_fewer_images_than_neighbours_are_refused():
    data = clusters(0.1)
    with pytest.raises(DataError, match="clusters: 300 train images are fewer than the k=301 neighbours that vote"):
        ZOO.recipe("metric", "knn:k=301").check_data(data)
    with pytest.raises(DataError, match="4 train images are fewer than the k=5"):
        ZOO.recipe("metric", "knn:images=4").check_data(data)


@pytest.mark.parametrize("spec", [*CLASSIFIERS, "effective_rank"])
def test_codes_that_are_not_finite_are_refused_as_such(spec):
    with pytest.raises(NonFiniteError, match="the code of an image is not finite"):
        scored(spec, lambda x: itself(x).log(), clusters(0.05))


@pytest.mark.parametrize(
    ("codes", "rank"),
    [
        (np.eye(8), 8),
        (np.eye(8)[:, [3, 1, 0, 2, 7, 6, 5, 4]], 8),
        (np.tile(np.eye(6), (5, 1)) @ np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0], 6),  # rotated
        (100 * np.hstack([np.eye(5), np.zeros((5, 9))]), 5),  # dead dimensions
        (np.ones((7, 5)), 1),
        (np.zeros((7, 5)), 0),
        (np.diag([3.0, 1.0]), np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))),
    ],
    ids=["perfect", "permuted", "rotated", "dead", "constant", "zero", "uneven"],
)
def test_the_effective_rank_is_the_number_of_equal_directions(codes, rank):
    assert effective_rank(codes) == pytest.approx(rank)


def test_noise_fills_the_directions_that_are_left():
    codes = np.random.default_rng(0).normal(size=(5000, 16))
    assert effective_rank(codes) == pytest.approx(16, abs=0.05)


def test_the_rank_of_centred_codes_leaves_out_their_mean():
    assert scored("effective_rank:centred=true", constant, clusters(0.05))["rank"] == 0
    assert scored("effective_rank", constant, clusters(0.05))["rank"] == pytest.approx(1)
    scores = scored("effective_rank", constant, clusters(0), untrained=itself)
    assert scores["rank_untrained"] == scores["rank_pixels"] == pytest.approx(3)  # the three unit vectors
    assert scored("effective_rank:centred=true", itself, clusters(0))["rank"] == pytest.approx(2)  # a triangle


def test_the_untrained_network_of_a_run_is_the_one_that_it_began_with():
    zoo, data, device = toy_zoo(), ToyData().load(0), torch.device("cpu")
    config = toy_config(zoo, seed=5)
    players = build_players(zoo, config, data, device)
    began = {name: tensor.clone() for name, tensor in players.autoencoder.state_dict().items()}
    with torch.no_grad():
        for parameter in players.autoencoder.parameters():
            parameter.add_(1)
    generator = torch.get_rng_state()
    untrained = finished_run(config, data, players, device).untrained()
    assert torch.equal(torch.get_rng_state(), generator)
    assert began.keys() == untrained.state_dict().keys()
    assert all(torch.equal(began[name], tensor) for name, tensor in untrained.state_dict().items())
