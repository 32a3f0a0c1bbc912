"""What every mixer promises about gradients, torch.func and torch.compile, and its own weights."""

import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mixzoo.testing.cases import MixerCase, tensors_by_name
from mixzoo.testing.mixers import assert_close, corners, full_share, tolerance


def gradient(case: MixerCase, h: Tensor, draw: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of <h_mix, g> with respect to the sources, the random g, and the share."""
    h = h.detach().requires_grad_()
    mixed = case.mix(h, draw)
    assert mixed.h.requires_grad, "h_mix does not require a gradient although the sources do; do not detach"
    g = torch.randn(mixed.h.shape, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64)
    (grad,) = torch.autograd.grad((mixed.h * g.to(mixed.h.dtype)).sum(), h, allow_unused=True)
    assert grad is not None, "no gradient reaches the sources; do not detach"
    return grad, g.to(h.dtype), full_share(mixed).detach()


def check_gradient_is_share(case: MixerCase) -> None:
    """The gradient of the mix with respect to each source is its share."""
    h = case.h()
    grad, g, share = gradient(case, h)
    assert_close(
        grad, share * g, tolerance(case, g), "the gradient of the mix with respect to a source is not its share"
    )


def check_gradient_reaches_every_source(case: MixerCase) -> None:
    """Every source with a positive share gets a gradient."""
    grad, _, share = gradient(case, case.h())
    for source in range(case.mixer.k):
        if float(share[source].abs().max()) > 1e-3:
            assert grad[source].any(), f"source {source} has a positive share but a gradient of 0; do not detach it"


def check_gradients_are_finite(case: MixerCase) -> None:
    """Gradients are finite for random, zero, equal and opposite codes, and at the corners of the simplex."""
    h = case.h()
    opposite = h.clone()
    opposite[1] = -opposite[0]
    for codes in (h, torch.zeros_like(h), h[:1].expand_as(h), opposite):
        assert gradient(case, codes)[0].isfinite().all(), "the gradient of a source is NaN or infinite"
    for corner in corners(case.mixer.k):
        grad = gradient(case, h, case.mixer.at(corner, case.shape))[0]
        assert grad.isfinite().all(), f"the gradient of a source is NaN or infinite at the corner {corner.tolist()}"


def check_gradient_is_the_derivative(case: MixerCase) -> None:
    """The gradient agrees with finite differences in float64."""
    case = case.but(dtype=torch.float64)
    draw = case.draw()
    torch.autograd.gradcheck(lambda h: case.mix(h, draw).h, case.h().requires_grad_(), fast_mode=True)


def check_second_derivative_is_right(case: MixerCase) -> None:
    """The second derivative agrees with finite differences in float64, as gradient penalties need."""
    case = case.but(dtype=torch.float64)
    draw = case.draw()
    squared = lambda h: case.mix(h, draw).h.square()  # noqa: E731  (a linear mix itself has no second derivative)
    torch.autograd.gradgradcheck(squared, case.h().requires_grad_(), fast_mode=True)


def check_vmap_equals_loop(case: MixerCase) -> None:
    """`torch.func.vmap` over codes and over draws gives the same mixes as a loop."""
    h, draw, labels = case.h(), case.draw(), case.labels()
    many = torch.stack([h, h + 1, h * -2])
    mapped = torch.func.vmap(lambda one: case.mixer(one, draw, labels).h)(many)
    looped = torch.stack([case.mixer(one, draw, labels).h for one in many])
    assert_close(mapped, looped, tolerance(case, many), "the mix by vmap over codes, against a loop")
    other = case.but(seed=case.seed + 1).draw()
    pair = {name: torch.stack([t, tensors_by_name(other)[name]]) for name, t in tensors_by_name(draw).items()}
    draws = pair[""] if isinstance(draw, Tensor) else pair
    mapped = torch.func.vmap(lambda d: case.mixer(h, d, labels).h)(draws)
    looped = torch.stack([case.mixer(h, d, labels).h for d in (draw, other)])
    assert_close(mapped, looped, tolerance(case, h), "the mix by vmap over draws, against a loop")


def check_compiles_to_one_graph(case: MixerCase) -> None:
    """`torch.compile(fullgraph=True)` captures the call as one graph, used for all batches, with the same mix."""
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
            mixed = compiled(one.h(), one.draw(), one.labels())
            assert_close(mixed, one.mix().h, tolerance(one, one.h()), "the compiled mix against the eager one")
    assert graphs == 1, f"torch.compile made {graphs} graphs for five batches of one shape, expected 1"


def check_compiled_equals_eager(case: MixerCase) -> None:
    """The mix and its gradient, compiled by torch's default backend, equal those in eager mode."""
    torch._dynamo.reset()
    compiled = torch.compile(lambda h, d, labels: case.mixer(h, d, labels).h, fullgraph=True)
    h, draw, labels = case.h(), case.draw(), case.labels()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler says of itself
        a, b = h.clone().requires_grad_(), h.clone().requires_grad_()
        fast, slow = compiled(a, draw, labels), case.mixer(b, draw, labels).h
        assert_close(fast, slow, tolerance(case, h), "the compiled mix against the eager one")
        fast.square().sum().backward()
        slow.square().sum().backward()
    assert a.grad is not None, "no gradient reaches the sources through the compiled mix"
    assert b.grad is not None, "no gradient reaches the sources through the mix"
    slack = 8 * case.mixer.k * torch.finfo(torch.float32).eps * float(b.grad.abs().max())
    assert_close(a.grad, b.grad, slack, "the gradient of the compiled mix against the eager one")


def check_gradient_reaches_every_weight(case: MixerCase) -> None:
    """Every trainable weight of a learned mixer gets a finite gradient from the mix."""
    mixer = case.mixer
    assert isinstance(mixer, nn.Module)
    weights = {name: p for name, p in mixer.named_parameters() if p.requires_grad}
    reached = {name: False for name in weights}
    for seed in range(case.seed, case.seed + 8):  # a ReLU may be inactive on one batch
        mixed = case.but(seed=seed).mix().h
        loss = (mixed * torch.randn(mixed.shape, generator=torch.Generator().manual_seed(seed))).sum()
        assert loss.requires_grad, "no gradient reaches the mixer's weights from the mix; do not detach"
        for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values()), allow_unused=True)):
            assert g is None or g.isfinite().all(), f"the gradient of {name} is NaN or infinite"
            reached[name] |= g is not None and bool(g.any())
    missed = [name for name, hit in reached.items() if not hit]
    assert not missed, f"no gradient reaches {', '.join(missed)}; remove unused weights, or set requires_grad=False"


def check_weights_are_saved_whole(case: MixerCase) -> None:
    """Loading its `state_dict` restores the mixes of a learned mixer, so no state is outside of it."""
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
    assert torch.equal(after.h, before.h), (
        "the mix is another after loading the state_dict; register all state as parameters or buffers"
    )


def tensors_held(module: nn.Module) -> list[Tensor]:
    """Floating-point parameters, buffers and plain tensor attributes."""
    plain = [value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    return [t for t in (*module.parameters(), *module.buffers(), *plain) if t.is_floating_point()]
