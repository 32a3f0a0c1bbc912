"""The faster forms of a stack have the outputs and gradients of its layers run one after another, in float64."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from mixzoo import BuildContext
from mixzoo_convnets import autoencoder, discriminator, stack
from mixzoo_convnets.stack import Stack

STACKS = {
    "a framed image": lambda: Stack(nn.Conv2d(1, 5, 1, padding=1), nn.Conv2d(5, 3, 3, padding=1)),
    "an image of three channels": lambda: Stack(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 3, padding=1)),
    "no gain where an image has as many channels": lambda: Stack(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)),
    "upsampling": lambda: Stack(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(2, 5, 3, padding=1)),
    "few maps out": lambda: Stack(nn.Conv2d(4, 3, 3, padding=1)),
    "one map out": lambda: Stack(nn.Conv2d(4, 1, 3, padding=1)),
}


def both(layers, x):
    """Output and gradients of the stack, and of its layers one after another."""
    found = []
    for forward in (layers.forward, lambda x: nn.Sequential.forward(layers, x)):
        x = x.detach().requires_grad_()
        out = forward(x)
        weight = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos()
        found.append([out, *torch.autograd.grad((weight * out).sum(), [x, *layers.parameters()])])
    return found


@pytest.mark.parametrize("name", STACKS)
def test_a_form_is_the_same_function_as_its_layers(name):
    torch.manual_seed(0)
    layers = STACKS[name]().double()
    channels = next((m.in_channels for m in layers if isinstance(m, nn.Conv2d)), 4)
    x = torch.randn(3, channels, 7, 9, dtype=torch.float64)
    for fast, plain in zip(*both(layers, x), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("form", ["fused_first", "fused_upsample", "conv_by_taps"])
def test_the_networks_take_every_form(form, monkeypatch):
    taken = []
    plain = getattr(stack, form)
    monkeypatch.setattr(stack, form, lambda *given: taken.append(form) or plain(*given))
    nets = autoencoder.AMR().build(BuildContext((1, 32, 32), 10))
    nets.decode(nets.encode(torch.zeros(1, 1, 32, 32)))
    assert taken


@pytest.mark.parametrize("channels", [1, 3])
def test_the_networks_of_amr_are_what_their_layers_are(channels):
    torch.manual_seed(0)
    context = BuildContext((channels, 32, 32), 10)
    nets = autoencoder.AMR(depth=4).build(context).double()
    D = discriminator.AMR(depth=4).build(BuildContext((channels, 32, 32), 10, nets.latent_shape)).double().eval()
    x = torch.randn(2, channels, 32, 32, dtype=torch.float64)
    h = torch.randn(2, *nets.latent_shape, dtype=torch.float64)
    for layers, given in ((nets.f, x), (nets.g, h), (D.layers, x)):
        for fast, plain in zip(*both(layers, given), strict=True):
            torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-11)


def test_spectral_norm_takes_the_steps_that_it_takes_layer_by_layer():
    torch.manual_seed(0)
    D = discriminator.AMR(depth=4, power_iterations=1).build(BuildContext((1, 32, 32), 10, (2, 4, 4))).double()
    twin = deepcopy(D)
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64)
    for _ in range(2):
        D.layers(x)
        nn.Sequential.forward(twin.layers, x)
    found, expected = dict(D.named_buffers()), dict(twin.named_buffers())
    assert any("_u" in name for name in found)
    for name, buffer in found.items():
        torch.testing.assert_close(buffer, expected[name], rtol=1e-12, atol=1e-13, msg=name)


def test_names_of_weights_are_those_of_the_list():
    layers = [nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(4, 4)]
    assert list(Stack(*layers).state_dict()) == list(nn.Sequential(*layers).state_dict())
