"""Networks leave PyTorch with any batch size: torch.export with a dynamic batch dimension, and a traced pass."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import nn
from torch.export import Dim, export

from mixzoo import BuildContext
from mixzoo.registry.zoo import load_zoo
from mixzoo_convnets import stack

ZOO = load_zoo()
GREY, SPRITES, RGB = (BuildContext(shape, 10) for shape in ((1, 32, 32), (1, 64, 64), (3, 32, 32)))
NETWORKS = {
    "amr:depth=4": GREY,
    "amr:depth=4,scales=2": RGB,
    "acai:depth=4": RGB,
    "vae:depth=4": GREY,
    "vq:depth=4,entries=8": GREY,
    "mlp:hidden=8": GREY,
    "dsprites:width=4,hidden=8": SPRITES,
    "dsprites:width=4,hidden=8,variational=true": SPRITES,
}


class Pass(nn.Module):
    """One method of an auto-encoder as a module of its own."""

    def __init__(self, network, name):
        super().__init__()
        self.network, self.name = network, name

    def forward(self, x):
        return getattr(self.network, self.name)(x)


def passes(spec, context):
    """Encoder and decoder, each with an input batch of five."""
    torch.manual_seed(0)
    network = ZOO.recipe("autoencoder", spec).build(context).eval()
    x = torch.rand(5, *context.image_shape) * 2 - 1
    return [(Pass(network, "encode"), x), (Pass(network, "decode"), torch.randn(5, *network.latent_shape))]


def alike(found, network, x):
    """The same as the network itself gives, for batches of several sizes, one image included."""
    with torch.no_grad():
        for batch in (x, x[:2], x[:1]):
            torch.testing.assert_close(found(batch), network(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", NETWORKS)
def test_an_exported_network_takes_any_batch_size(spec):
    for network, x in passes(spec, NETWORKS[spec]):
        program = export(network, (x,), dynamic_shapes=({0: Dim("batch", min=1)},))
        alike(program.module(), network, x)


@pytest.mark.parametrize(("spec", "context"), [("amr:depth=4", GREY), ("dsprites:width=4,hidden=8", SPRITES)])
def test_an_exported_discriminator_takes_any_batch_size(spec, context):
    torch.manual_seed(0)
    network = ZOO.recipe("discriminator", spec).build(replace(context, latent_shape=(2, 4, 4))).eval()
    x = torch.rand(5, *context.image_shape) * 2 - 1
    program = export(network, (x,), dynamic_shapes=({0: Dim("batch", min=1)},)).module()
    alike(lambda given: program(given)[0], lambda given: network(given)[0], x)


@pytest.fixture
def unchecked():
    """The network without shape checks, which a tracer would record as part of the program."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")  # deprecated, and what older ONNX exporters use
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of torch's own group norm, which asks for one value
@pytest.mark.parametrize("spec", NETWORKS)
def test_a_traced_network_takes_any_batch_size(spec, unchecked):
    for network, x in passes(spec, NETWORKS[spec]):
        alike(torch.jit.trace(network, x), network, x)


def test_an_exported_network_is_its_layers_one_after_another():
    """Other machines should not run the forms that are faster on this CPU."""
    (encoder, x), (decoder, h) = passes("amr:depth=4", GREY)
    for network, given, layers in ((encoder, x, encoder.network.f), (decoder, h, decoder.network.g)):
        nodes = [str(node.target) for node in export(network, (given,)).graph.nodes]
        convolutions = sum(isinstance(layer, nn.Conv2d) for layer in layers)
        assert sum("conv2d" in node for node in nodes) == convolutions
        assert not any(word in node for node in nodes for word in ("einsum", "bmm", "conv_transpose", "col2im"))


@pytest.mark.parametrize("form", ["fused_first", "conv_by_taps"])
def test_a_form_does_not_freeze_the_batch_size_either(form, monkeypatch):
    """Even if a recorded pass is not recognised as one, sizes stay symbolic."""
    monkeypatch.setattr(stack, "is_exported", lambda: False)
    (encoder, x), (decoder, h) = passes("amr:depth=4", GREY)
    network, given = (encoder, x) if form == "fused_first" else (decoder, h)
    alike(export(network, (given,), dynamic_shapes=({0: Dim("batch", min=1)},)).module(), network, given)
