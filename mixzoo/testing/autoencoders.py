"""What an auto-encoder promises, one function a promise; `autoencoder_checks` runs them all on a recipe."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mixzoo.core.parts import AutoEncoder, HasPosterior
from mixzoo.evaluation.codes import eval_mode
from mixzoo.registry.contract import Contract, signatures
from mixzoo.testing.network_results import RESULT_PROMISES, ROUNDING
from mixzoo.testing.network_states import STATE_PROMISES, assert_process_untouched
from mixzoo.testing.networks import NetworkCase, Outputs, network_cases, supported_contexts
from mixzoo.testing.report import Check, Doubt, check_from
from mixzoo.testing.watching import gap, same, seeded, unwritten

NEAR = 0.8  # pixels beyond this value count as near an end of [-1, 1]
NEEDED = 0.9  # fraction of the pixels that training must bring near an end
STEPS, RATE = 100, 0.05  # of that training: steps and learning rate of Adam


@dataclass(frozen=True)
class AutoEncoderCase(NetworkCase):
    """A recipe of an auto-encoder, and images for it."""

    kind: ClassVar[str] = "autoencoder"

    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """The codes, the reconstructions, and the posterior if the network has one."""
        code = network.encode(x)
        outputs = {"code": code, "image": network.decode(code)}
        if isinstance(network, HasPosterior):
            outputs |= dict(zip(("mean", "log_variance"), network.posterior(x)))
        return outputs

    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        code = (len(x), *network.latent_shape)
        shapes = {"code": code, "image": tuple(x.shape)}
        return shapes | ({"mean": code, "log_variance": code} if isinstance(network, HasPosterior) else {})

    def codes(self, network: Any) -> Tensor:
        """The codes of the images in evaluation mode, without a graph."""
        with eval_mode(network):
            code: Tensor = network.encode(self.images())
        return code


def check_is_an_auto_encoder(case: AutoEncoderCase) -> None:
    """build(context) returns a torch.nn.Module with encode, decode and latent_shape."""
    network = case.build()
    assert isinstance(network, nn.Module), f"build() returns a {type(network).__name__}, expected a torch.nn.Module"
    missing = [name for name in ("encode", "decode", "latent_shape") if not hasattr(network, name)]
    assert not missing, f"the network has no {', '.join(missing)}; expected {signatures('autoencoder', missing)}"
    assert isinstance(network, AutoEncoder)
    shape = network.latent_shape
    is_shape = isinstance(shape, tuple) and len(shape) in (1, 3) and all(isinstance(n, int) and n > 0 for n in shape)
    assert is_shape, (
        f"latent_shape={shape!r} must be a tuple of positive ints, (channels, height, width) or (features,)"
    )
    contract = Contract("autoencoder", case.noun)
    with seeded(case.seed):
        contract.call("decode", network.decode, contract.call("encode", network.encode, case.images()))


def check_codes_have_the_stated_shape(case: AutoEncoderCase) -> None:
    """encode returns [batch, *latent_shape] in the dtype of the images."""
    network, x = case.build(), case.images()
    code = network.encode(x)
    expected = (len(x), *network.latent_shape)
    assert tuple(code.shape) == expected, (
        f"encode returns shape {list(code.shape)}, expected {list(expected)} by latent_shape={network.latent_shape}"
    )
    assert code.dtype == x.dtype, f"encode returns {code.dtype} for images in {x.dtype}"


def check_images_come_back_at_their_size(case: AutoEncoderCase) -> None:
    """decode(encode(x)) has the shape and the dtype of x."""
    network, x = case.build(), case.images()
    x_rec = network.decode(network.encode(x))
    assert x_rec.shape == x.shape, (
        f"images of shape {list(x.shape)} are reconstructed as {list(x_rec.shape)}; are two axes swapped?"
    )
    assert x_rec.dtype == x.dtype, f"images in {x.dtype} are reconstructed in {x_rec.dtype}"


def check_codes_do_not_meet(case: AutoEncoderCase) -> None:
    """Decoding codes and mixes as one batch, as a training step does, gives the same images as decoding each alone."""
    network = case.build()
    h = case.codes(network)
    weight = torch.linspace(0, 0.8, len(h)).reshape(-1, *[1] * (h.ndim - 1))
    h_mix = weight * h + (1 - weight) * h.roll(1, 0)
    with eval_mode(network):
        x_rec, x_mix = network.decode(torch.cat([h, h_mix])).chunk(2)
        alone = network.decode(h), network.decode(h_mix)
    for name, one, other in (("codes", x_rec, alone[0]), ("mixes", x_mix, alone[1])):
        assert gap(one, other) <= ROUNDING, (
            f"{name} decoded in one batch with others give other images than alone (relative difference "
            f"{gap(one, other):.2g}); decode each code by itself"
        )


def check_gradients_reach_the_codes(case: AutoEncoderCase) -> None:
    """decode passes a finite gradient back to the codes, which mixes and learned mixers need."""
    network = case.build()
    h = case.codes(network).requires_grad_()
    with seeded(case.seed):
        image = network.decode(h)
    assert image.requires_grad, "decode cuts the graph; do not detach, the engine does that"
    (grad,) = torch.autograd.grad(image.sum(), h, allow_unused=True)
    assert grad is not None, "no gradient of a decoded image reaches its code; do not detach, the engine does that"
    assert grad.isfinite().all(), "the gradient of a decoded image with respect to its code is NaN or infinite"


def check_codes_are_left_unchanged(case: AutoEncoderCase) -> None:
    """decode does not write to the codes in place, in training or evaluation mode."""
    network = case.build()
    h = case.codes(network).clone()
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            with unwritten({"its codes": h}, "decode"), seeded(case.seed):
                network.decode(h)


def check_codes_tell_images_apart(case: AutoEncoderCase) -> None:
    """Different images have different codes, and different codes decode to different images."""
    network, x = case.build(), case.images(2)
    with eval_mode(network):
        h = network.encode(x)
        x_rec = network.decode(h)
        x_other = network.decode(3 * h + 1)
    assert not same(h[0], h[1]), "two different images have equal codes; does encode use its input?"
    assert not same(x_rec, x_other), "two different codes decode to equal images; does decode use its input?"


def check_pixels_reach_both_ends(recipe: Any) -> None:
    """A short training can bring pixels near -1 and near 1, since images are in [-1, 1]."""
    case = AutoEncoderCase(recipe, supported_contexts(recipe)[0], 2, 0)
    if not [p for p in case.build().parameters() if p.requires_grad]:
        return
    network = case.build()
    with seeded(case.seed):
        if not network.decode(network.encode(case.images()).detach()).requires_grad:
            return  # a frozen decoder keeps the range that it was trained for
    for end in (-1.0, 1.0):
        reached, typical = _reached(case, end)
        if typical != typical:
            raise Doubt(
                f"training with learning rate {RATE} diverges within {STEPS} steps, so the range of pixels is unknown"
            )
        assert reached >= NEEDED, (
            f"training brings {reached:.0%} of the pixels near {end:+.0f} (their median is {typical:.2f}), but images "
            "are in [-1, 1]; end the decoder with tanh or a linear layer, not with sigmoid or relu"
        )


def _reached(case: AutoEncoderCase, end: float) -> tuple[float, float]:
    """Train all pixels towards this end: the largest fraction that is near it at a time, and the median pixel then.

    The median is NaN if training diverges.
    """
    network, x = case.build(), case.images()
    optimiser = Adam([p for p in network.parameters() if p.requires_grad], lr=RATE)
    best, typical = 0.0, 0.0
    with seeded(case.seed):
        for _ in range(STEPS):
            pixels = end * network.decode(network.encode(x))
            reached = (pixels >= NEAR).double().mean().item()
            if reached >= best:
                best, typical = reached, end * pixels.median().item()
            if best >= NEEDED:
                break
            if not pixels.isfinite().all():
                return best, float("nan")
            optimiser.zero_grad()
            (1 - pixels).relu().mean().backward()
            optimiser.step()
    return best, typical


def check_leaves_the_process_as_it_was(case: AutoEncoderCase) -> None:
    """A forward pass leaves gradient mode, default dtype and device, threads, determinism and warnings as they were."""
    assert_process_untouched(case, case.build())


def check_posterior_has_the_codes_shape(case: AutoEncoderCase) -> None:
    """posterior(x) returns the mean and the log-variance, both finite and of the shape of the code."""
    network, x = case.build(), case.images()
    with torch.no_grad(), seeded(case.seed):
        posterior = network.posterior(x)
    is_pair = isinstance(posterior, tuple) and len(posterior) == 2
    assert is_pair, f"posterior(x) returns a {type(posterior).__name__}, expected (mean, log_variance)"
    expected = (len(x), *network.latent_shape)
    for name, value in zip(("mean", "log_variance"), posterior):
        assert tuple(value.shape) == expected, f"{name} has shape {list(value.shape)}, expected {list(expected)}"
        assert value.isfinite().all(), f"{name} is NaN or infinite before training"


def check_code_is_the_mean_of_the_posterior(case: AutoEncoderCase) -> None:
    """In evaluation mode encode(x) is the mean of posterior(x), since the engine samples from a posterior itself."""
    network, x = case.build(), case.images()
    with eval_mode(network):
        code, (mean, _) = network.encode(x), network.posterior(x)
    assert gap(code, mean) <= ROUNDING, (
        f"encode(x) is not the mean of posterior(x) (relative difference {gap(code, mean):.2g}); let encode return the "
        "mean, the engine samples from the posterior itself"
    )


def has_posterior(recipe: Any) -> str:
    """'' if the recipe's network has a posterior."""
    with seeded(0):
        network = recipe.build(supported_contexts(recipe)[0])
    return "" if isinstance(network, HasPosterior) else "it has no posterior"


_check = partial(check_from, kind="autoencoder", cases=partial(network_cases, AutoEncoderCase), case_cost=2)

autoencoder_checks: tuple[Check, ...] = (
    _check(check_is_an_auto_encoder, stops=True),
    check_from(check_pixels_reach_both_ends, "autoencoder"),
    *map(
        _check,
        (
            check_codes_have_the_stated_shape,
            check_images_come_back_at_their_size,
            check_codes_do_not_meet,
            check_codes_tell_images_apart,
            check_gradients_reach_the_codes,
            check_codes_are_left_unchanged,
            check_leaves_the_process_as_it_was,
            *RESULT_PROMISES,
            *STATE_PROMISES,
        ),
    ),
    _check(check_posterior_has_the_codes_shape, applies=has_posterior),
    _check(check_code_is_the_mean_of_the_posterior, applies=has_posterior),
)
