"""One pass back through D for both players: the gradients of two passes, whatever the scores."""

import pytest
import torch

from mixzoo import DiscriminatorOutput
from mixzoo.training.gradients import discriminate, discriminate_once, own_gradients, shared_gradients
from toys import ToyDiscriminator

TINY_IN_FLOAT64 = 1e-30


class Scene:
    """Images made by one weight, scored by a D whose scores are shifted."""

    def __init__(self, shift):
        torch.manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(6, 1, 8, 8, dtype=torch.float64))
        self.D = ToyDiscriminator(1).double()
        with torch.no_grad():
            list(self.D.parameters())[-1].fill_(shift)
        self.inputs = {"real": torch.randn(6, 1, 8, 8, dtype=torch.float64), "fake": self.weight.tanh()}
        self.parameters = {"autoencoder": [self.weight], "discriminator": list(self.D.parameters())}

    def gradients(self, terms, shared):
        one = discriminate_once(self.D, self.inputs) if shared else None
        D = one.D if shared else discriminate(self.D, self.inputs)
        found = terms(self.weight, D, self.D)
        return shared_gradients(found, self.parameters, one) if shared else own_gradients(found, self.parameters)


def js(weight, D: DiscriminatorOutput, _):
    bce = torch.nn.functional.softplus
    return {
        "autoencoder": {"reconstruct": weight.square().mean(), "fool": bce(-D["fake"]).mean()},
        "discriminator": {"real": bce(-D["real"]).mean(), "fake": bce(D["fake"]).mean()},
    }


def hinge(weight, D: DiscriminatorOutput, _):
    return {
        "autoencoder": {"fool": -D["fake"].mean()},
        "discriminator": {"real": (1 - D["real"]).relu().mean(), "fake": (1 + D["fake"]).relu().mean()},
    }


def penalised(weight, D: DiscriminatorOutput, discriminator):
    x = torch.ones(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator(x).logits.sum(), x, create_graph=True)
    terms = js(weight, D, discriminator)
    return terms | {"discriminator": terms["discriminator"] | {"r1": slope.square().sum()}}


def discriminator_alone(weight, D: DiscriminatorOutput, _):
    return {"discriminator": js(weight, D, _)["discriminator"]}


def no_score_in_the_autoencoder(weight, D: DiscriminatorOutput, _):
    return js(weight, D, _) | {"autoencoder": {"reconstruct": weight.square().mean()}}


@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0, 60.0, -60.0, 800.0])
@pytest.mark.parametrize("terms", [js, hinge, penalised, discriminator_alone, no_score_in_the_autoencoder])
def test_one_pass_gives_the_gradients_of_two(terms, shift):
    """At 60 a score's own gradient is 1e-26, at 800 it is 0, as the hinge's is from 1 on."""
    scene = Scene(shift)
    expected, found = (scene.gradients(terms, shared) for shared in (False, True))
    assert found.keys() == expected.keys()
    for player in expected:
        for one, two in zip(found[player], expected[player], strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=TINY_IN_FLOAT64)


def test_the_image_gradients_of_a_saturated_hinge_are_not_lost():
    """D itself has nothing to learn there, and the auto-encoder all the more."""
    scene = Scene(-5.0)
    found = scene.gradients(hinge, shared=True)
    assert found["autoencoder"][0].abs().max() > 1e-4


def test_one_pass_goes_through_d_once():
    scene = Scene(0.0)
    passes = []
    list(scene.D.modules())[-1].register_full_backward_hook(lambda *_: passes.append(1))
    scene.gradients(js, shared=False)
    assert len(passes) == 2
    scene.gradients(js, shared=True)
    assert len(passes) == 3
