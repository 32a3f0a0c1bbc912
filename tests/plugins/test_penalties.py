"""R1: exact for a linear D, right to second order, for D alone, and nothing where it is not asked for."""

import pytest
import torch
from test_step import players_and_batch, same, weights
from torch import nn

from mixzoo import BuildContext, Scores
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import start
from mixzoo.testing import FixedBatch
from mixzoo.training.step import train_step
from mixzoo_objectives.penalties import r1_penalty
from toys import ToyDiscriminator, toy_config, toy_zoo

PENALISED = ["aegan:r1=10", "amr:r1=10", "acai:r1=10", "acai:variant=amr,r1=10"]


def penalty_of(gamma, x, discriminator):
    return r1_penalty(gamma, FixedBatch(x, discriminator=discriminator))["r1"]


class Linear(nn.Module):
    """D(x) = w·x + b: its slope is w at every image."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[[1.0, -2.0], [0.5, 3.0]]]))
        self.bias = nn.Parameter(torch.tensor(7.0))

    def forward(self, x):
        return Scores((x * self.weight).flatten(1).sum(1) + self.bias)


class Square(nn.Module):
    """D(x) = a ‖x‖²/2: its slope at x is a x."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return Scores(self.a / 2 * x.square().flatten(1).sum(1))


def test_of_a_linear_discriminator_it_is_half_gamma_times_the_square_of_its_weights():
    D, x = Linear(), torch.randn(5, 1, 2, 2)
    penalty = penalty_of(4.0, x, D)
    assert penalty.item() == 4 / 2 * (1 + 4 + 0.25 + 9)
    grad, none = torch.autograd.grad(penalty, [D.weight, D.bias], allow_unused=True)
    assert torch.equal(grad, 4 * D.weight)
    assert none is None


def test_it_is_the_mean_over_images_of_each_ones_own_slope():
    """Slopes 3·(1, 2) and 3·(0, 1): squares 45 and 9."""
    D, x = Square(), torch.tensor([[1.0, 2.0], [0.0, 1.0]]).reshape(2, 1, 1, 2)
    penalty = penalty_of(2.0, x, D)
    assert penalty.item() == pytest.approx((45 + 9) / 2)
    (grad,) = torch.autograd.grad(penalty, D.a)
    assert grad.item() == pytest.approx(2 * (5 + 1) / 2 * 3)  # d/da of a² mean ‖x‖²


@pytest.mark.parametrize(
    "spec", ["toy", "acai:depth=2,scales=1", "amr:depth=2,scales=2", "autoencoding:depth=2,scales=1"]
)
def test_its_gradient_is_that_of_finite_differences(spec):
    """Through D's own derivative: a second derivative, by the weights, of what D says."""
    torch.manual_seed(5)
    context = BuildContext((1, 8, 8), 3, (2, 4, 4))
    D = ToyDiscriminator(1) if spec == "toy" else load_zoo().recipe("discriminator", spec).build(context)
    D = D.double().eval()  # spectral norm's iterations would go on in training
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) * 2 - 1
    parameters = [p for p in D.parameters() if p.requires_grad and p.ndim > 0]
    grads = torch.autograd.grad(penalty_of(3.0, x, D), parameters, allow_unused=True)
    directions = [torch.randn_like(p) for p in parameters]
    by_graph = sum((g * d).sum().item() for g, d in zip(grads, directions) if g is not None)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions):
                p += sign * 1e-6 * d
        ends.append(penalty_of(3.0, x, D).item())
        with torch.no_grad():
            for p, d in zip(parameters, directions):
                p -= sign * 1e-6 * d
    assert by_graph == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)
    assert by_graph != 0


def test_the_images_are_left_as_they_were():
    x = torch.randn(2, 1, 2, 2)
    penalty_of(1.0, x, Linear())
    assert not x.requires_grad


@pytest.mark.parametrize("objective", PENALISED)
def test_a_step_reports_it_and_it_moves_the_discriminator_alone(objective):
    plain = players_and_batch(objective.partition(":r1")[0].replace(",r1=10", ""))
    players, x, labels, draws = players_and_batch(objective)
    others = train_step(*plain)
    before = weights(players.discriminator)
    report = train_step(players, x, labels, draws)
    assert report["discriminator/r1"].item() > 0
    assert {name: value.item() for name, value in report.items() if name != "discriminator/r1"} == {
        name: value.item() for name, value in others.items()
    }
    assert not same(before, players.discriminator)
    assert same(weights(plain[0].autoencoder), players.autoencoder)
    assert not same(weights(plain[0].discriminator), players.discriminator)


def test_a_flatter_discriminator_is_what_it_makes():
    """After the same steps the slope at real images is smaller with the penalty than without."""
    slopes = {}
    for spec in ("aegan", "aegan:r1=100"):
        players, *batch = players_and_batch(spec)
        for _ in range(30):
            train_step(players, *batch)
        slopes[spec] = penalty_of(2.0, batch[0], players.discriminator).item()
    assert slopes["aegan:r1=100"] < slopes["aegan"] / 2


@pytest.mark.parametrize("objective", ["ae:dropout=0.5", "dae:noise=0.5,dropout=0.2", "amr:r1=1,dropout=0.5"])
def test_noise_and_dropout_train_and_repeat(objective, tmp_path):
    zoo = toy_zoo()
    runs = [start(zoo, toy_config(zoo, flags={"objective": objective}), tmp_path / name) for name in ("a", "b")]
    plain = start(zoo, toy_config(zoo, flags={"objective": "ae"}), tmp_path / "plain")
    assert runs[0].numbers == runs[1].numbers
    assert runs[0].numbers != plain.numbers
