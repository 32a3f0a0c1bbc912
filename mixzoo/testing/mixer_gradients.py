"""What every mixer promises about gradients, transforms and weights of its own."""

import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mixzoo.testing.cases import MixerCase, tensors_by_name
from mixzoo.testing.mixers import assert_close, corners, full_share, tolerance


def gradient(case: MixerCase, h: Tensor, draw: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of <h_mix, g> for a random g: (that of the sources, g, the share)."""
    h = h.detach().requires_grad_()
    mixed = case.mix(h, draw)
    assert mixed.h.requires_grad, "no gradient goes through the mix: something detached it"
    g = torch.randn(mixed.h.shape, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64)
    (found,) = torch.autograd.grad((mixed.h * g.to(mixed.h.dtype)).sum(), h, allow_unused=True)
    assert found is not None, "no gradient reaches any source"
    return found, g.to(h.dtype), full_share(mixed).detach()


def check_gradient_is_share(case: MixerCase) -> None:
    """The gradient of the mix with respect to each source is its share."""
    h = case.h()
    found, g, share = gradient(case, h)
    assert_close(found, share * g, tolerance(case, g), "the gradient of a source is not its share")


def check_gradient_reaches_every_source(case: MixerCase) -> None:
    """Every source that has a share gets a gradient."""
    found, _, share = gradient(case, case.h())
    for source in range(case.mixer.k):
        if float(share[source].abs().max()) > 1e-3:
            assert found[source].any(), f"source {source} has a share and no gradient"


def check_gradients_are_finite(case: MixerCase) -> None:
    """Gradients are finite: at the corners, for zero, equal and opposite codes, and in every draw."""
    h = case.h()
    opposite = h.clone()
    opposite[1] = -opposite[0]
    for codes in (h, torch.zeros_like(h), h[:1].expand_as(h), opposite):
        assert gradient(case, codes)[0].isfinite().all(), "a gradient is not finite"
    for corner in corners(case.mixer.k):
        found = gradient(case, h, case.mixer.at(corner, case.shape))[0]
        assert found.isfinite().all(), f"a gradient is not finite at the corner {corner.tolist()}"


def check_gradient_is_the_derivative(case: MixerCase) -> None:
    """In float64 the gradient is what finite differences say it is."""
    case = case.but(dtype=torch.float64)
    draw = case.draw()
    torch.autograd.gradcheck(lambda h: case.mix(h, draw).h, case.h().requires_grad_(), fast_mode=True)


def check_second_derivative_is_right(case: MixerCase) -> None:
    """The derivative of the gradient is what finite differences say it is, for penalties on gradients."""
    case = case.but(dtype=torch.float64)
    draw = case.draw()
    squared = lambda h: case.mix(h, draw).h.square()  # noqa: E731  (a linear mix alone has no second derivative)
    torch.autograd.gradgradcheck(squared, case.h().requires_grad_(), fast_mode=True)


def check_vmap_equals_loop(case: MixerCase) -> None:
    """`torch.func.vmap` over many mixes gives what a loop gives."""
    h, draw, labels = case.h(), case.draw(), case.labels()
    many = torch.stack([h, h + 1, h * -2])
    mapped = torch.func.vmap(lambda one: case.mixer(one, draw, labels).h)(many)
    looped = torch.stack([case.mixer(one, draw, labels).h for one in many])
    assert_close(mapped, looped, tolerance(case, many), "vmap over codes")
    other = case.but(seed=case.seed + 1).draw()
    pair = {name: torch.stack([t, tensors_by_name(other)[name]]) for name, t in tensors_by_name(draw).items()}
    draws = pair[""] if isinstance(draw, Tensor) else pair
    mapped = torch.func.vmap(lambda d: case.mixer(h, d, labels).h)(draws)
    looped = torch.stack([case.mixer(h, d, labels).h for d in (draw, other)])
    assert_close(mapped, looped, tolerance(case, h), "vmap over draws")


def check_compiles_to_one_graph(case: MixerCase) -> None:
    """`torch.compile(fullgraph=True)` captures the call as one graph, once for many batches, with the same mix."""
    graphs = 0

    def capture(graph: Any, inputs: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(lambda h, d, labels: case.mixer(h, d, labels).h, fullgraph=True, backend=capture)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler says of itself
        for seed in range(case.seed, case.seed + 5):
            one = case.but(seed=seed)
            found = compiled(one.h(), one.draw(), one.labels())
            assert_close(found, one.mix().h, tolerance(one, one.h()), "compiled against eager")
    assert graphs == 1, f"{graphs} graphs for five batches of one shape, expected 1"


def check_compiled_equals_eager(case: MixerCase) -> None:
    """Compiled by torch's default back-end, forward and backward, the mix and its gradient are the same."""
    torch._dynamo.reset()
    compiled = torch.compile(lambda h, d, labels: case.mixer(h, d, labels).h, fullgraph=True)
    h, draw, labels = case.h(), case.draw(), case.labels()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler says of itself
        a, b = h.clone().requires_grad_(), h.clone().requires_grad_()
        fast, slow = compiled(a, draw, labels), case.mixer(b, draw, labels).h
        assert_close(fast, slow, tolerance(case, h), "compiled against eager")
        fast.square().sum().backward()
        slow.square().sum().backward()
    assert a.grad is not None, "no gradient came through the compiled mix"
    assert b.grad is not None, "no gradient came through the mix"
    assert_close(
        a.grad, b.grad, 8 * case.mixer.k * torch.finfo(torch.float32).eps * float(b.grad.abs().max()), "gradient"
    )


def check_gradient_reaches_every_weight(case: MixerCase) -> None:
    """Every weight of a learned mixer gets a gradient, finite, from the mix."""
    mixer = case.mixer
    assert isinstance(mixer, nn.Module)
    weights = {name: p for name, p in mixer.named_parameters() if p.requires_grad}
    reached = {name: False for name in weights}
    for seed in range(case.seed, case.seed + 8):  # a ReLU may be off for one batch
        mixed = case.but(seed=seed).mix().h
        loss = (mixed * torch.randn(mixed.shape, generator=torch.Generator().manual_seed(seed))).sum()
        assert loss.requires_grad, "no gradient goes from the mix to the mixer's weights"
        for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values()), allow_unused=True)):
            assert g is None or g.isfinite().all(), f"the gradient of {name} is not finite"
            reached[name] |= g is not None and bool(g.any())
    missed = [name for name, hit in reached.items() if not hit]
    assert not missed, f"no gradient reaches {', '.join(missed)}"


def check_weights_are_saved_whole(case: MixerCase) -> None:
    """A mixer whose `state_dict` is loaded back mixes as it did: nothing that matters is outside of it."""
    mixer = case.mixer
    assert isinstance(mixer, nn.Module)
    saved = {name: tensor.clone() for name, tensor in mixer.state_dict().items()}
    before = case.mix()
    other = deepcopy(mixer)
    with torch.no_grad():
        for tensor in tensors_held(other):
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(case.seed)))
    other.load_state_dict(saved)
    after = other(case.h(), case.draw(), case.labels())
    assert torch.equal(after.h, before.h), "another mix after loading the weights"


def tensors_held(module: nn.Module) -> list[Tensor]:
    """Parameters, buffers and floating tensors that are plain attributes."""
    plain = [value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    return [t for t in (*module.parameters(), *module.buffers(), *plain) if t.is_floating_point()]
