"""The networks of ACAI and AMR: sizes, shapes, initialisation and errors."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from mixzoo import BuildContext, create
from mixzoo_convnets import autoencoder, discriminator
from mixzoo_convnets.stack import Stack

GREY = BuildContext(image_shape=(1, 32, 32), classes=10)


def networks(image_shape=(1, 32, 32), preset="AMR", autoencoder_options=None, discriminator_options=None):
    torch.manual_seed(0)
    context = BuildContext(image_shape, classes=10)
    nets = getattr(autoencoder, preset)(**(autoencoder_options or {})).build(context)
    context = BuildContext(image_shape, 10, nets.latent_shape)
    return nets, getattr(discriminator, preset)(**(discriminator_options or {})).build(context)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def multiply_adds(module, run):
    """Multiply-adds of one image, over convolutions."""
    counted = []

    def count(layer, _, out):
        counted.append(out[0].numel() * layer.weight[0].numel())

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return sum(counted)


# dh, channels: parameters of E, G, D; multiply-adds of E, G, D. Counted on the authors' own classes.
COUNTS = {
    (32, 1): (150_850, 75_745, 150_146, 14_095_936, 6_653_952, 14_095_936),
    (32, 3): (150_882, 76_035, 150_178, 14_132_928, 6_948_864, 14_132_928),
    (256, 3): (167_024, 84_099, 166_320, 14_390_976, 7_077_888, 14_390_976),
    (1024, 3): (222_368, 111_747, 221_664, 15_275_712, 7_520_256, 15_275_712),
}


@pytest.mark.parametrize(("dh", "channels"), COUNTS)
def test_amr_has_the_parameters_and_multiply_adds_of_the_authors_nets(dh, channels, monkeypatch):
    monkeypatch.setattr(Stack, "forward", nn.Sequential.forward)  # layer by layer, as theirs
    nets, D = networks((channels, 32, 32), autoencoder_options={"latent": dh // 16})
    x, h = torch.zeros(1, channels, 32, 32), torch.zeros(1, *nets.latent_shape)
    assert (
        *(parameters(nets.f), parameters(nets.g), parameters(D)),
        multiply_adds(nets.f, lambda: nets.encode(x)),
        multiply_adds(nets.g, lambda: nets.decode(h)),
        multiply_adds(D, lambda: D(x)),
    ) == COUNTS[dh, channels]


def test_acai_without_a_border_is_the_same_less_the_norms():
    nets, D = networks(preset="ACAI")
    assert parameters(nets.f) == parameters(D) == 150_146
    assert parameters(nets.g) == 75_265
    assert not [m for m in nets.modules() if isinstance(m, nn.GroupNorm)]
    assert not [m for m in D.modules() if is_parametrized(m)]


@pytest.mark.parametrize("preset", ["AMR", "ACAI"])
@pytest.mark.parametrize(
    ("image_shape", "scales", "code"),
    [
        ((1, 32, 32), None, (2, 4, 4)),
        ((3, 64, 64), None, (2, 4, 4)),
        ((3, 32, 64), None, (2, 4, 8)),
        ((1, 28, 28), None, (2, 7, 7)),
        ((1, 40, 24), 3, (2, 5, 3)),
    ],
)
def test_codes_have_the_stated_shape_and_images_come_back_at_their_size(preset, image_shape, scales, code):
    options = {"scales": scales}
    nets, D = networks(image_shape, preset, options, options)
    x = torch.rand(2, *image_shape)
    h = nets.encode(x)
    assert h.shape == (2, *code) == (2, *nets.latent_shape)
    assert nets.decode(h).shape == x.shape
    assert D(x).logits.shape == (2,)


def test_the_score_of_an_image_does_not_depend_on_its_batch():
    _, D = networks()
    D.eval()
    x = torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(D(x).logits[:1], D(x[:1]).logits)


def test_spectral_norm_is_on_the_3x3_convolutions_alone_and_bounds_them_by_one():
    _, D = networks()
    for _ in range(20):
        D(torch.rand(1, 1, 32, 32))
    convolutions = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    assert [is_parametrized(conv) for conv in convolutions] == [conv.kernel_size == (3, 3) for conv in convolutions]
    assert sum(map(is_parametrized, convolutions)) == 8
    for conv in convolutions[1:]:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_three_passes_of_d_and_one_backward_train():
    """Power iterations of a later pass must not spoil the graph of an earlier one."""
    _, D = networks()
    sum(D(torch.rand(2, 1, 32, 32)).logits.mean() for _ in range(3)).backward()
    assert all(p.grad.isfinite().all() for p in D.parameters())


def conv_weights(module, shape):
    return [m.weight for m in module.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[:2] == shape]


def test_fan_in_initialisation_keeps_the_variance_of_its_input():
    nets, _ = networks()
    assert conv_weights(nets.f, (16, 16))[0].std().item() == pytest.approx(1 / (1.04 * 16 * 9) ** 0.5, rel=0.05)
    assert conv_weights(nets.f, (128, 64))[0].std().item() == pytest.approx(1 / (1.04 * 64 * 9) ** 0.5, rel=0.02)
    norms = [m for m in nets.modules() if isinstance(m, nn.GroupNorm)]
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_the_authors_initialisation_is_their_slip_to_the_digit():
    nets, D = networks(autoencoder_options={"init": "authors"}, discriminator_options={"init": "authors"})
    assert conv_weights(nets.f, (16, 16))[0].std().item() == pytest.approx(0.035, rel=0.05)
    assert conv_weights(nets.f, (128, 64))[0].std().item() == pytest.approx(0.0062, rel=0.02)
    gammas = torch.cat([m.weight for m in nets.modules() if isinstance(m, nn.GroupNorm)])
    assert gammas.std().item() == pytest.approx(0.98, rel=0.1)
    assert gammas.min() < 0 < gammas.max()
    inner = D.layers[3].parametrizations.weight.original  # torch's initialisation: uniform within 1 / sqrt(fan_in)
    assert inner.abs().max().item() <= 1 / (16 * 9) ** 0.5
    assert inner.std().item() == pytest.approx(1 / (3 * 16 * 9) ** 0.5, rel=0.05)


def test_the_first_convolution_of_amrs_discriminator_has_an_initial_gain_near_one():
    gains = []
    for init in ("authors", "fan_in"):
        D = networks(discriminator_options={"init": init})[1]
        gains.append(torch.linalg.matrix_norm(D.layers[0].weight.flatten(1), 2).item())
    assert gains[0] == pytest.approx(1, abs=0.35)
    assert gains[1] == pytest.approx(4, abs=1.4)


def test_initial_biases_are_0_except_the_authors_under_spectral_norm():
    nets, D = networks(discriminator_options={"init": "fan_in"})
    assert all((m.bias == 0).all() for m in [*nets.modules(), *D.modules()] if isinstance(m, nn.Conv2d))


def test_the_presets_differ_as_their_papers_do():
    a, b = autoencoder.ACAI(), autoencoder.AMR()
    assert (a.norm, a.slope, a.border) == ("none", 0.2, 0)
    assert (b.norm, b.slope, b.border) == ("instance", 0.01, 1)
    assert (discriminator.ACAI().power_iterations, discriminator.AMR().power_iterations) == (0, 5)
    assert (discriminator.ACAI().init, discriminator.AMR().init) == ("fan_in", "authors")
    same = {"latent", "depth", "scales", "init"}
    assert {name: getattr(a, name) for name in same} == {name: getattr(b, name) for name in same}


def test_a_border_holds_the_bias_of_the_first_convolution_alone():
    nets, _ = networks()
    first = nets.f[0]
    out = first(torch.rand(1, 1, 32, 32))
    assert out.shape[2:] == (34, 34)
    torch.testing.assert_close(out[0, :, 0], first.bias[:, None].expand(-1, 34))


@pytest.mark.parametrize(
    ("preset", "sides", "scales", "message"),
    [
        ("ACAI", (30, 30), 3, "30x30 cannot be halved 3 times.* of 8; use .*size=.* such as 32x32, or scales=1$"),
        ("AMR", (30, 30), None, "30x30 cannot be halved 2 times.* of 4; use .* 32x32, or scales=1 with border=0$"),
        ("AMR", (28, 40), 3, "28x40 cannot be halved 3 times.* of 8; use .* such as 32x40, or scales=2$"),
        ("AMR", (33, 33), None, "33x33 cannot be halved 3 times.* of 8; use .* such as 40x40$"),
        ("ACAI", (7, 7), None, "7x7 cannot be halved 1 time: .* of 2; use .* such as 8x8$"),
    ],
)
def test_an_image_that_cannot_be_halved_is_refused_with_what_would_work(preset, sides, scales, message):
    with pytest.raises(ValueError, match=f"^images of {message}"):
        networks((1, *sides), preset, {"scales": scales})


def test_instance_norm_of_maps_with_one_position_is_refused_before_training():
    with pytest.raises(ValueError, match="scales=5 leaves 1x1 of images of 32x32; use fewer scales= or norm=none"):
        networks(autoencoder_options={"scales": 5})
    nets, _ = networks(autoencoder_options={"scales": 5, "norm": "none"})
    assert nets.encode(torch.rand(1, 1, 32, 32)).shape == (1, 2, 1, 1)


def test_a_border_that_pooling_would_not_remove_is_refused():
    with pytest.raises(ValueError, match="border=1 with scales=1 leaves a code one position too large; use border=0"):
        networks((1, 8, 8))


def test_every_parameter_gets_a_finite_gradient():
    nets, D = networks((3, 32, 32))
    x = torch.rand(2, 3, 32, 32)
    (nets.decode(nets.encode(x)).square().mean() + D(x).logits.mean()).backward()
    for module in (nets, D):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("spec", ["amr:depth=2", "acai:depth=2", "mlp", "vae:depth=2", "vq:depth=2", "dsprites"])
def test_an_auto_encoder_called_as_a_module_reconstructs(spec):
    net = create("autoencoder", spec, image_shape=(1, 64, 64) if spec == "dsprites" else (1, 32, 32)).eval()
    x = torch.rand(2, 1, *((64, 64) if spec == "dsprites" else (32, 32))) * 2 - 1
    assert torch.equal(net(x), net.decode(net.encode(x)))
