"""What an auto-encoder promises, one function a promise; `autoencoder_checks` runs them all on a recipe."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mixzoo.core.parts import AutoEncoder, HasPosterior
from mixzoo.evaluation.codes import eval_mode
from mixzoo.registry.contract import Contract, signatures
from mixzoo.testing.network_results import RESULT_PROMISES, ROUNDING
from mixzoo.testing.network_states import STATE_PROMISES, assert_process_untouched
from mixzoo.testing.networks import NetworkCase, Outputs, contexts_taken, network_cases
from mixzoo.testing.report import Check, Doubt, check_from
from mixzoo.testing.watching import gap, same, seeded, unwritten

NEAR, MOST = 0.8, 0.9  # a pixel is near an end from here on; the part of the pixels that must be
STEPS, RATE = 100, 0.05  # of the training that is to take them there


@dataclass(frozen=True)
class AutoEncoderCase(NetworkCase):
    """A recipe of an auto-encoder, and images for it."""

    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """The codes, the images that come back, and the posterior where there is one."""
        code = network.encode(x)
        found = {"code": code, "image": network.decode(code)}
        if isinstance(network, HasPosterior):
            found |= dict(zip(("mean", "log_variance"), network.posterior(x)))
        return found

    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        code = (len(x), *network.latent_shape)
        found = {"code": code, "image": tuple(x.shape)}
        return found | ({"mean": code, "log_variance": code} if isinstance(network, HasPosterior) else {})

    def codes(self, network: Any) -> Tensor:
        """The codes of the images, without a graph, as the network gives them in evaluation mode."""
        with eval_mode(network):
            code: Tensor = network.encode(self.images())
        return code


def check_is_an_auto_encoder(case: AutoEncoderCase) -> None:
    """build(context) gives an nn.Module with encode, decode and latent_shape."""
    network = case.build()
    assert isinstance(network, nn.Module), f"build() gives a {type(network).__name__}, which is no torch.nn.Module"
    missing = [name for name in ("encode", "decode", "latent_shape") if not hasattr(network, name)]
    assert not missing, f"the network lacks {', '.join(missing)}; expected {signatures('autoencoder', missing)}"
    assert isinstance(network, AutoEncoder)
    shape = network.latent_shape
    fits = isinstance(shape, tuple) and len(shape) in (1, 3) and all(isinstance(n, int) and n > 0 for n in shape)
    assert fits, f"latent_shape={shape!r} must be a tuple of positive ints, (channels, height, width) or (features,)"
    contract = Contract("autoencoder", case.noun)
    with seeded(case.seed):
        contract.call("decode", network.decode, contract.call("encode", network.encode, case.images()))


def check_codes_have_the_stated_shape(case: AutoEncoderCase) -> None:
    """encode gives [batch, *latent_shape], of the images' type."""
    network, x = case.build(), case.images()
    code = network.encode(x)
    expected = (len(x), *network.latent_shape)
    assert tuple(code.shape) == expected, (
        f"encode gives {list(code.shape)}, but latent_shape={network.latent_shape} says {list(expected)}"
    )
    assert code.dtype == x.dtype, f"encode gives {code.dtype} of images in {x.dtype}"


def check_images_come_back_at_their_size(case: AutoEncoderCase) -> None:
    """decode(encode(x)) has the shape and the type of x."""
    network, x = case.build(), case.images()
    x_rec = network.decode(network.encode(x))
    assert x_rec.shape == x.shape, f"images {list(x.shape)} come back as {list(x_rec.shape)}; is an axis swapped?"
    assert x_rec.dtype == x.dtype, f"images in {x.dtype} come back in {x_rec.dtype}"


def check_codes_do_not_meet(case: AutoEncoderCase) -> None:
    """Codes and mixes decoded as one batch, as a step does it, give what each batch gives alone."""
    network = case.build()
    h = case.codes(network)
    weight = torch.linspace(0, 0.8, len(h)).reshape(-1, *[1] * (h.ndim - 1))
    h_mix = weight * h + (1 - weight) * h.roll(1, 0)
    with eval_mode(network):
        x_rec, x_mix = network.decode(torch.cat([h, h_mix])).chunk(2)
        alone = network.decode(h), network.decode(h_mix)
    for name, one, other in (("codes", x_rec, alone[0]), ("mixes", x_mix, alone[1])):
        assert gap(one, other) <= ROUNDING, (
            f"{name} decoded in one batch with others give other images than alone (off by {gap(one, other):.2g})"
        )


def check_gradients_reach_the_codes(case: AutoEncoderCase) -> None:
    """decode passes a finite gradient back to the codes, so that mixes and learned mixers can be judged."""
    network = case.build()
    h = case.codes(network).requires_grad_()
    with seeded(case.seed):
        image = network.decode(h)
    assert image.requires_grad, "decode cuts the graph; detach nothing, the engine does that"
    (grad,) = torch.autograd.grad(image.sum(), h, allow_unused=True)
    assert grad is not None, "no gradient of a decoded image reaches its code; detach nothing, the engine does that"
    assert grad.isfinite().all(), "the gradient of a decoded image at its code is NaN or infinite"


def check_codes_are_left_unchanged(case: AutoEncoderCase) -> None:
    """decode writes to nothing that it was given, in training and in evaluation mode."""
    network = case.build()
    h = case.codes(network).clone()
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            with unwritten({"its codes": h}, "decode"), seeded(case.seed):
                network.decode(h)


def check_codes_tell_images_apart(case: AutoEncoderCase) -> None:
    """Different images get different codes, and different codes different images."""
    network, x = case.build(), case.images(2)
    with eval_mode(network):
        h = network.encode(x)
        x_rec = network.decode(h)
        elsewhere = network.decode(3 * h + 1)
    assert not same(h[0], h[1]), "two different images have equal codes; does encode use its input?"
    assert not same(x_rec, elsewhere), "two different codes give equal images; does decode use its input?"


def check_pixels_reach_both_ends(recipe: Any) -> None:
    """A few steps of training take nearly all pixels near -1, and others near 1: images are in [-1, 1]."""
    case = AutoEncoderCase(recipe, contexts_taken(recipe)[0], 2, 0)
    if not [p for p in case.build().parameters() if p.requires_grad]:
        return
    network = case.build()
    with seeded(case.seed):
        if not network.decode(network.encode(case.images()).detach()).requires_grad:
            return  # a decoder that is frozen makes the images that it was trained for
    for end in (-1.0, 1.0):
        reached, typical = _reached(case, end)
        if typical != typical:
            raise Doubt(f"training at a rate of {RATE} diverges within {STEPS} steps, so that the pixels say nothing")
        assert reached >= MOST, (
            f"training takes {reached:.0%} of the pixels near {end:+.0f} (they stay near {typical:.2f}), and images "
            "are in [-1, 1]; end the decoder in tanh or in nothing, no sigmoid or relu"
        )


def _reached(case: AutoEncoderCase, end: float) -> tuple[float, float]:
    """How many of the pixels are near this end while the network trains to make all so, at most, and their median.

    The median is NaN if training diverges.
    """
    network, x = case.build(), case.images()
    optimiser = Adam([p for p in network.parameters() if p.requires_grad], lr=RATE)
    best, typical = 0.0, 0.0
    with seeded(case.seed):
        for _ in range(STEPS):
            pixels = end * network.decode(network.encode(x))
            part = (pixels >= NEAR).double().mean().item()
            if part >= best:
                best, typical = part, end * pixels.median().item()
            if best >= MOST:
                break
            if not pixels.isfinite().all():
                return best, float("nan")
            optimiser.zero_grad()
            (1 - pixels).relu().mean().backward()
            optimiser.step()
    return best, typical


def check_leaves_the_process_as_it_was(case: AutoEncoderCase) -> None:
    """A pass leaves gradient mode, default dtype and device, threads, determinism, warnings, ... as they were."""
    assert_process_untouched(case, case.build())


def check_posterior_has_the_codes_shape(case: AutoEncoderCase) -> None:
    """posterior(x) gives the mean and the logarithm of the variance, both finite and shaped like the code."""
    network, x = case.build(), case.images()
    with torch.no_grad(), seeded(case.seed):
        posterior = network.posterior(x)
    is_pair = isinstance(posterior, tuple) and len(posterior) == 2
    assert is_pair, "posterior(x) must give (mean, log_variance)"
    expected = (len(x), *network.latent_shape)
    for name, value in zip(("mean", "log_variance"), posterior):
        assert tuple(value.shape) == expected, f"{name} is {list(value.shape)}, expected {list(expected)}"
        assert value.isfinite().all(), f"{name} is NaN or infinite at the beginning of training"


def check_code_is_the_mean_of_the_posterior(case: AutoEncoderCase) -> None:
    """In evaluation mode encode(x) is the mean of posterior(x): the engine draws from a posterior, encode does not."""
    network, x = case.build(), case.images()
    with eval_mode(network):
        code, (mean, _) = network.encode(x), network.posterior(x)
    assert gap(code, mean) <= ROUNDING, (
        f"encode(x) is not the mean of posterior(x) (off by {gap(code, mean):.2g} of it); let encode give the mean, "
        "where it is sampled is the engine's to say"
    )


def has_posterior(recipe: Any) -> str:
    """'' for a recipe whose network has a posterior."""
    with seeded(0):
        network = recipe.build(contexts_taken(recipe)[0])
    return "" if isinstance(network, HasPosterior) else "it has no posterior"


_check = partial(check_from, kind="autoencoder", cases=partial(network_cases, AutoEncoderCase))

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
