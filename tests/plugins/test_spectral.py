"""Spectral norm of all layers at once has the numbers of torch's layer by layer: weights, gradients and buffers."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from mixzoo import BuildContext
from mixzoo.benchmark.counting import counted
from mixzoo.training.engine import WeightsFirst, in_bfloat16
from mixzoo_convnets import discriminator, dsprites, fully_connected
from mixzoo_convnets import layers as layers_of_networks
from mixzoo_convnets.spectral import (
    GRAM_ROWS,
    JointPowerIteration,
    SpectralNorm,
    full_precision,
    grouped,
    join_spectral_norms,
)

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8, dtype=torch.float64).cos().reshape(2, 3, 8, 8)
EXACT = {"rtol": 1e-11, "atol": 1e-13}


class Plain(nn.Sequential):
    """Convolutions and linear layers of many sizes, one with more rows than a Gram matrix is used for."""

    def __init__(self, iterations: int, count: int = 6) -> None:
        norm = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 9, 3, stride=2), nn.Linear(36, GRAM_ROWS + 3)]
        norm += [nn.Linear(GRAM_ROWS + 3, 5), nn.Linear(5, 7), nn.Linear(7, 1)]
        for layer in norm[:count]:
            spectral_norm(layer, n_power_iterations=iterations)
        super().__init__(norm[0], nn.Tanh(), norm[1], nn.Flatten(), *norm[2:])

    @property
    def parametrised(self) -> list[nn.Module]:
        return [layer for layer in self if is_parametrized(layer)]


def twins(iterations: int = 5, count: int = 6) -> tuple[Plain, Plain]:
    """The same network with its power iterations joined, and as torch has it."""
    torch.manual_seed(0)
    apart = Plain(iterations, count).double().to(memory_format=torch.channels_last)
    joint = deepcopy(apart)
    join_spectral_norms(joint)
    assert sum(isinstance(module, SpectralNorm) for module in joint.modules()) == count
    return joint, apart


def assert_same(joint: nn.Module, apart: nn.Module) -> None:
    found, expected = joint.state_dict(), apart.state_dict()
    assert list(found) == list(expected)
    for name in found:
        torch.testing.assert_close(found[name], expected[name], **EXACT, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 6])
def test_training_equals_torch_layer_by_layer_to_rounding(iterations, count):
    """Two passes a step, one of which has a penalty on the slope, over three steps of SGD."""
    networks = twins(iterations, count)
    optimisers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in networks]
    for _ in range(3):
        outputs = []
        for network, optimiser in zip(networks, optimisers, strict=True):
            optimiser.zero_grad()
            x = X.clone().requires_grad_()
            score = network(x)
            (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
            (score.sin().sum() + slope.square().sum()).backward()
            optimiser.step()
            outputs.append([score, *(p.grad for p in network.parameters() if p.grad is not None)])
        for found, expected in zip(*outputs, strict=True):
            torch.testing.assert_close(found, expected, **EXACT)
        assert_same(*networks)


def test_second_derivatives_by_the_weights_are_those_of_torch():
    outputs = []
    for network in twins():
        originals = [layer.parametrizations.weight.original for layer in network.parametrised]
        terms = [layer.weight.pow(3).sum() for layer in network.parametrised]
        grads = torch.autograd.grad(sum(terms), originals, create_graph=True)
        outputs.append(torch.autograd.grad(sum(grad.square().sum() for grad in grads), originals))
    for found, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


def test_gradients_keep_the_layout_of_their_weights():
    joint, _ = twins()
    joint(X).sum().backward()
    original = joint[2].parametrizations.weight.original
    assert original.grad.stride() == original.stride() == (36, 1, 12, 4)


def test_in_evaluation_nothing_is_iterated():
    networks = twins()
    before = deepcopy(networks[0].state_dict())
    scores = [network.eval()(X) for network in networks]
    torch.testing.assert_close(*scores, **EXACT)
    assert all(torch.equal(tensor, before[name]) for name, tensor in networks[0].state_dict().items())


def test_a_second_read_iterates_again_and_all_layers_with_it():
    joint, apart = twins()
    for _ in range(2):
        weight = joint[0].weight
        expected = apart[0].weight
        for layer in apart.parametrised[1:]:
            layer.weight  # noqa: B018  # a read iterates
    torch.testing.assert_close(weight, expected, **EXACT)
    assert_same(joint, apart)


@pytest.mark.parametrize("change", ["weight", "vector", "training"])
def test_what_was_computed_before_a_change_is_not_used_after_it(change):
    joint, apart = twins(iterations=1)
    joint[0].weight, apart[0].weight
    apart[2].load_state_dict(joint[2].state_dict())
    for network in (joint, apart):
        norm = network[2].parametrizations.weight
        with torch.no_grad():
            if change == "weight":
                norm.original.copy_(torch.ones(()))
            elif change == "vector":
                norm[0]._v.copy_(norm[0]._v.flip(0))
            else:  # this layer alone is in evaluation
                network[2].eval()
    torch.testing.assert_close(joint[2].weight, apart[2].weight, **EXACT)


def test_passes_with_and_without_gradient_may_take_turns():
    joint, apart = twins()
    for network in (joint, apart):
        with torch.no_grad():
            network[2](network[1](network[0](X)))  # leaves the others unread in the joint one
        for layer in network.parametrised[2:]:
            if network is apart:
                with torch.no_grad():
                    layer.weight  # noqa: B018
        network(X).sum().backward()
    assert all(p.grad.isfinite().all() for p in joint.parameters())
    for found, expected in zip(joint.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, **EXACT)


def test_a_copy_made_between_reads_is_independent():
    joint, apart = twins()
    joint[0].weight  # noqa: B018
    copied, before = deepcopy(joint), deepcopy(joint.state_dict())
    copied(X).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in joint.state_dict().items())
    assert all(parameter.grad is None for parameter in joint.parameters())
    for module in copied.modules():
        if isinstance(module, SpectralNorm):
            assert module._joint is not joint[0].parametrizations.weight[0]._joint
    apart.load_state_dict(joint.state_dict())
    torch.testing.assert_close(deepcopy(joint)(X), apart(X), **EXACT)


@pytest.mark.parametrize("assign", [False, True])
def test_a_checkpoint_of_the_layers_by_torch_loads_and_goes_on_alike(assign):
    joint, apart = twins()
    apart(X)
    joint.load_state_dict(deepcopy(apart.state_dict()), assign=assign)
    torch.testing.assert_close(joint(X), apart(X), **EXACT)
    assert_same(joint, apart)


CONTEXT = BuildContext((1, 32, 32), 0, (2, 4, 4))
RECIPES = {
    "amr": (discriminator.AMR(depth=4), 8),
    "dsprites": (dsprites.DSpritesDiscriminator(width=4, hidden=8), 7),
    "mlp": (fully_connected.MLPDiscriminator(hidden=8, power_iterations=2), 4),
    "no spectral norm": (discriminator.ACAI(depth=4), 0),
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_discriminator_joins_its_layers_and_moves_their_buffers_in_place(name):
    recipe, layers = RECIPES[name]
    D = recipe.build(CONTEXT)
    norms = [module for module in D.modules() if isinstance(module, SpectralNorm)]
    assert len(norms) == layers == sum(map(is_parametrized, D.modules()))
    assert len({id(norm._joint) for norm in norms}) == min(layers, 1)
    places, before = [b.data_ptr() for b in D.buffers()], [b.clone() for b in D.buffers()]
    D(torch.randn(2, 1, 32, 32))
    assert places == [buffer.data_ptr() for buffer in D.buffers()]
    assert sum(not torch.equal(one, other) for one, other in zip(before, D.buffers())) >= layers


def test_amrs_discriminator_takes_a_sixth_of_the_operations(monkeypatch):
    joint = discriminator.AMR(depth=16).build(CONTEXT)
    monkeypatch.setattr(layers_of_networks, "join_spectral_norms", lambda network: None)
    apart = discriminator.AMR(depth=16).build(CONTEXT)
    taken = []
    for D in (apart, joint):
        layers = [layer for layer in D.modules() if is_parametrized(layer)]
        originals = [layer.parametrizations.weight.original for layer in layers]

        def read(layers=layers, originals=originals):
            weights = [layer.weight for layer in layers]
            torch.autograd.grad(weights, originals, [weight.detach() for weight in weights])

        taken.append(counted(read).operations)
    assert taken[0] > 400
    assert taken[1] <= 80


def test_stacks_have_little_padding_and_one_large_layer_is_not_stacked_with_small_ones():
    small = {i: (16 + i, 9 * 16) for i in range(6)}
    assert [sorted(group) for group in grouped({**small, 9: (512, 4608)})] == [[9], list(small)]
    assert grouped({0: (1, 1152), 1: (64, 576), 2: (128, 576), 3: (64, 288), 4: (32, 288)}) == [[0], [2, 1, 3], [4]]


def test_layers_that_cannot_be_joined_are_left_to_torch():
    layers = nn.ModuleList([nn.Linear(3, 4), nn.ConvTranspose2d(2, 3, 3), nn.Linear(4, 4), nn.Linear(2, 2)])
    for layer, iterations in zip(layers, (2, 2, 3), strict=False):
        spectral_norm(layer, n_power_iterations=iterations)
    join_spectral_norms(layers)
    joined = [is_parametrized(one) and isinstance(one.parametrizations.weight[0], SpectralNorm) for one in layers]
    assert joined == [True, False, False, False]


def test_autocast_does_not_reach_the_iterations():
    joint, apart = (network.float() for network in twins())
    with torch.autocast("cpu", torch.bfloat16):
        weights = [layer.weight for layer in joint.parametrised]
    for weight, layer in zip(weights, apart.parametrised, strict=True):
        torch.testing.assert_close(weight, layer.weight)


def test_bf16_iterates_once_a_pass():
    joint = discriminator.AMR(depth=4).build(CONTEXT)
    plain = deepcopy(joint)
    x = torch.randn(2, 1, 32, 32)
    in_bfloat16(joint, "cpu")(x)
    plain(x)
    assert all(torch.equal(one, other) for one, other in zip(joint.buffers(), plain.buffers(), strict=True))


def test_tf32_is_off_for_the_iterations_alone():
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        for allowed in (True, False):
            matmul.allow_tf32 = allowed
            with full_precision(torch.device("cuda")):
                assert not matmul.allow_tf32
            assert matmul.allow_tf32 == allowed
    finally:
        matmul.allow_tf32 = before


def test_a_compiled_network_iterates_layer_by_layer_to_the_same_numbers(unchecked):
    joint, apart = twins()
    compiled = torch.compile(joint, backend="eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(X), apart(X), **EXACT)
    assert_same(joint, apart)
    torch.testing.assert_close(joint(X), apart(X), **EXACT)  # and goes on without the compiler


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler looks at it
def test_a_compiled_engine_iterates_all_layers_at_once_and_compiles_the_rest_as_one_graph(unchecked, monkeypatch):
    """Three steps with two passes each, without a compilation after the first pass."""
    joint, apart = twins()
    torch._dynamo.reset()  # of what other tests have compiled
    monkeypatch.setattr("torch._dynamo.config.error_on_recompile", True)
    passes, iterate = [], JointPowerIteration._iterate
    monkeypatch.setattr(JointPowerIteration, "_iterate", lambda joint: passes.append(1) or iterate(joint))
    compiled = WeightsFirst(joint, torch.compile(joint, backend="aot_eager", fullgraph=True))
    optimisers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (joint, apart)]
    for _ in range(3):
        for network, scored, optimiser in zip((joint, apart), (compiled, apart), optimisers, strict=True):
            optimiser.zero_grad()
            (scored(X).sum() + scored(-X).square().sum()).backward()
            optimiser.step()
            assert network.training
        for one, other in zip(joint.parameters(), apart.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, **EXACT)
    assert_same(joint, apart)
    assert len(passes) == 6


def test_functional_call_takes_the_weights_it_is_given():
    joint, apart = twins()
    doubled = {name: 2 * p.detach() for name, p in joint.named_parameters()}
    found, expected = (torch.func.functional_call(network, doubled, X) for network in (joint, apart))
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(joint(X), apart(X), **EXACT)


def test_inference_mode_iterates_layer_by_layer():
    joint, apart = twins()
    with torch.inference_mode():
        torch.testing.assert_close(joint(X), apart(X), **EXACT)
    torch.testing.assert_close(joint(X), apart(X), **EXACT)
