"""The networks of AMR's authors for dSprites: sizes, initialisation and errors."""

from math import sqrt

import pytest
import torch
from torch import nn

from mixzoo import BuildContext
from mixzoo_convnets.dsprites import DSprites, DSpritesDiscriminator

SPRITES = BuildContext(image_shape=(1, 64, 64), classes=3)


def built(recipe, context=SPRITES):
    torch.manual_seed(0)
    return recipe.build(context)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_auto_encoder_has_the_authors_numbers_of_parameters():
    net = built(DSprites())
    assert (parameters(net.f), parameters(net.g)) == (249_482, 249_953)
    assert net.latent_shape == (10,)


@pytest.mark.parametrize(("width", "count"), [(32, 247_169), (64, 526_337)])
def test_the_discriminator_has_the_authors_numbers_of_parameters(width, count):
    assert parameters(built(DSpritesDiscriminator(width=width))) == count


def test_images_come_out_in_shape_and_inside_minus_one_and_one():
    net = built(DSprites(latent=6))
    h = net.encode(torch.randn(3, 1, 64, 64))
    assert h.shape == (3, 6)
    images = net.decode(100 * h)
    assert images.shape == (3, 1, 64, 64)
    assert images.abs().max() <= 1


def test_weights_are_initialised_as_by_the_authors():
    net = built(DSprites())
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            assert layer.weight.std().item() == pytest.approx(sqrt(2 / fan_in), rel=0.15)
            assert layer.bias.abs().max() == 0
        if isinstance(layer, nn.ConvTranspose2d):  # torch's initialisation: uniform within 1/√(channels out x 4 x 4)
            bound = 1 / sqrt(layer.weight.shape[1] * 16)
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound
            assert layer.bias.abs().max() > 0


@pytest.mark.parametrize("iterations", [0, 5])
def test_the_discriminator_is_initialised_as_by_the_authors_before_spectral_norm(iterations):
    """Torch's own weights have a scaled deviation of 0.58, and Adam's steps move them two and a half times as far."""
    judge = built(DSpritesDiscriminator(power_iterations=iterations))
    layers = [layer for layer in judge.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 7
    for layer in layers:
        weight = layer.parametrizations.weight.original if iterations else layer.weight
        assert weight.std().item() * sqrt(weight[0].numel()) == pytest.approx(sqrt(2), rel=0.15)
        assert layer.bias.abs().max() == 0


@pytest.mark.parametrize(("iterations", "bounded"), [(30, True), (0, False)])
def test_every_layer_of_the_discriminator_is_under_spectral_norm(iterations, bounded):
    judge = built(DSpritesDiscriminator(power_iterations=iterations))
    judge(torch.randn(2, 1, 64, 64))
    layers = [m for m in judge.layers if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() for m in layers]
    assert len(norms) == 7
    assert (norms == pytest.approx([1] * 7, abs=0.05)) == bounded


@pytest.mark.parametrize("recipe", [DSprites(), DSpritesDiscriminator()])
def test_sides_that_are_not_multiples_of_sixteen_are_refused(recipe):
    with pytest.raises(ValueError, match="28x40 cannot be halved 4 times: both sides must be multiples of 16"):
        built(recipe, BuildContext((1, 28, 40), 10))


def test_the_authors_vae_has_as_many_weights_and_a_posterior_whose_mean_is_the_code():
    network = built(DSprites(variational=True))
    assert parameters(network) == 502_005
    x = torch.rand(2, 1, 64, 64) * 2 - 1
    mean, log_variance = network.posterior(x)
    assert mean.shape == log_variance.shape == (2, 10)
    assert torch.equal(network.encode(x), mean)
