"""One optimisation step: who moves, on what, and that nothing leaks from one player to the other."""

from dataclasses import dataclass

import pytest
import torch

from mixzoo import DiscriminatorOutput
from mixzoo.core.parts import Mixed
from mixzoo.core.random import draw_step
from mixzoo.data.batches import on_device
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.training.batch import StepBatch
from mixzoo.training.build import build_players
from mixzoo.training.step import train_step
from toys import TOY_PLUGIN, ToyAutoEncoder, toy_config, toy_zoo

OBJECTIVES = ["ae", "aegan", "amr", "amr:beta=0.5", "amr:gan=hinge", "acai", "acai:variant=amr"]


def players_and_batch(objective="amr", mixer="mixup", zoo=None, **numbers):
    zoo = zoo or toy_zoo()
    config = toy_config(zoo, flags={"objective": objective, "mixer": mixer}, **numbers)
    data = config.parts["dataset"].load(0)
    players = build_players(zoo, config, data, torch.device("cpu"))
    images = on_device(data.train, torch.device("cpu"), config.train.batch_images)
    requests, batch = players.requirements.draws, config.train.batch_images
    draws = draw_step(0, 0, requests, players.mixer, batch=batch)
    x, labels = images.batch(0)
    return players, x, labels, draws


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(before, module):
    return all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_player_with_terms_moves(objective):
    players, x, labels, draws = players_and_batch(objective)
    f, probe = weights(players.autoencoder), weights(players.probe)
    d = weights(players.discriminator) if players.discriminator else None
    train_step(players, x, labels, draws)
    assert not same(f, players.autoencoder)
    assert not same(probe, players.probe)
    assert (players.discriminator is None) == (objective == "ae")
    if d is not None:
        assert not same(d, players.discriminator)


@pytest.mark.bit_exact
@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if o != "ae"])
def test_a_discriminator_step_leaves_the_autoencoder_alone(objective):
    players, x, labels, draws = players_and_batch(objective)
    f, d = weights(players.autoencoder), weights(players.discriminator)
    report = train_step(players, x, labels, draws, update_autoencoder=False)
    assert same(f, players.autoencoder)
    assert not same(d, players.discriminator)
    assert all(p.grad is None for p in players.autoencoder.parameters())
    assert "autoencoder/reconstruct" in report


@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if o != "ae"])
def test_gradients_are_each_players_own_at_the_same_parameters(objective):
    """The reference: two plain phases with detach and requires_grad_, in float64, before anything has moved."""
    players, x, labels, draws = players_and_batch(objective)
    for module in (players.autoencoder, players.discriminator, players.probe):
        module.double()
    x = x.double()
    f_plain, d_plain = two_plain_phases(players, x, draws)
    train_step(players, x, labels, draws)
    for parameter, plain in zip(players.autoencoder.parameters(), f_plain):
        torch.testing.assert_close(parameter.grad, plain, rtol=1e-10, atol=1e-14)
    for parameter, plain in zip(players.discriminator.parameters(), d_plain):
        torch.testing.assert_close(parameter.grad, plain, rtol=1e-10, atol=1e-14)


class TwoPhases(StepBatch):
    """A batch of one of two phases: f and g learn and D is fixed, or f and g are detached and D learns."""

    phase = "autoencoder"

    def discriminate(self, **inputs):
        if self.phase == "discriminator":
            inputs = {name: one.detach() for name, one in inputs.items()}
        return DiscriminatorOutput({name: self.players.discriminator(one).logits for name, one in inputs.items()})


def two_plain_phases(players, x, draws):
    found = []
    for phase, module in (("autoencoder", players.autoencoder), ("discriminator", players.discriminator)):
        batch = TwoPhases(players, x, torch.zeros(len(x), dtype=torch.int64), draws)
        batch.phase = phase
        players.discriminator.requires_grad_(phase == "discriminator")
        sum(getattr(players.objective.losses(batch), phase).values()).backward()
        players.discriminator.requires_grad_(True)
        found.append([p.grad.clone() for p in module.parameters()])
        for one in (players.autoencoder, players.discriminator):
            assert one is module or all(p.grad is None for p in one.parameters())
            one.zero_grad()
    return found


@pytest.mark.bit_exact
def test_the_probe_never_teaches_the_encoder():
    players, x, labels, draws = players_and_batch("ae")
    other = (labels + 1) % 3
    train_step(players, x, labels, draws)
    moved = weights(players.autoencoder)
    players, x, _, draws = players_and_batch("ae")
    train_step(players, x, other, draws)
    assert same(moved, players.autoencoder)


def test_nothing_is_mixed_or_judged_that_no_term_needs(monkeypatch):
    decoded = []
    plain = ToyAutoEncoder.decode
    monkeypatch.setattr(ToyAutoEncoder, "decode", lambda self, h: decoded.append(len(h)) or plain(self, h))
    for objective, images in {"ae": 16, "aegan": 16, "amr": 32}.items():
        decoded.clear()
        train_step(*players_and_batch(objective))
        assert decoded == [images], objective


def test_each_image_is_encoded_once(monkeypatch):
    encoded = []
    plain = ToyAutoEncoder.encode
    monkeypatch.setattr(ToyAutoEncoder, "encode", lambda self, x: encoded.append(len(x)) or plain(self, x))
    train_step(*players_and_batch("amr", "dirichlet:k=5"))
    assert encoded == [16]


class ByLabel(torch.nn.Module):
    """A learned mixer that reads labels and weighs every position: what the contract has to carry."""

    k = 3

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 3))
        self.seen = None

    def draw(self, shape, rng):
        return {"noise": torch.rand(self.k, shape.batch, 1, *shape.latent[1:], generator=rng)}

    def __call__(self, h, draw, labels=None):
        self.seen = labels
        logits = self.weight[labels].mean(-1)[:, :, None, None, None] + draw["noise"]
        share = logits.softmax(0)
        return Mixed((share * h).sum(0), share)

    def at(self, point, shape):
        return {"noise": point.log()[:, None, None, None, None].expand(-1, shape.batch, 1, *shape.latent[1:])}


@dataclass(frozen=True)
class ByLabelRecipe:
    """A mixer that must be built."""

    def build(self, context):
        return ByLabel()


def test_a_learned_spatial_mixer_conditioned_on_labels_trains():
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("mixer", "by_label", TOY_PLUGIN, ByLabelRecipe))
    players, x, labels, draws = players_and_batch("amr", "by_label", zoo=zoo)
    before = players.mixer.weight.clone()
    train_step(players, x, labels, draws)
    assert not torch.equal(before, players.mixer.weight)
    assert torch.equal(players.mixer.seen[0], labels)
    assert torch.equal(players.mixer.seen[2], labels[draws.mix()[0][1]])


def test_the_report_holds_every_term_and_mean_score():
    players, x, labels, draws = players_and_batch("amr")
    report = train_step(players, x, labels, draws)
    assert set(report) == {
        *("autoencoder/reconstruct", "autoencoder/fool_rec", "autoencoder/fool_mix"),
        *("discriminator/real", "discriminator/fake_rec", "discriminator/fake_mix"),
        *("probe/loss", "D(real)", "D(rec)", "D(mix)"),
    }
    assert not any(value.requires_grad for value in report.values())
