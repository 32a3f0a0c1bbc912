"""What a discriminator promises, one function a promise; `discriminator_checks` runs them all on a recipe."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mixzoo.core.parts import Discriminator, Scores
from mixzoo.registry.contract import Contract, signatures
from mixzoo.registry.recipes import input_shape
from mixzoo.testing.network_results import RESULT_PROMISES
from mixzoo.testing.network_states import STATE_PROMISES, assert_process_untouched
from mixzoo.testing.networks import NetworkCase, Outputs, contexts_taken, network_cases
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import seeded

HEADS = (2, 5)  # numbers of a label
LATENTS = ((2, 4, 4), (16,))  # of the auto-encoder beside it: a map and a vector
STEPS, RATE, BEYOND = 60, 0.3, 1.5  # of the ascent that tells a raw score from one squashed into (0, 1) or (-1, 1)


@dataclass(frozen=True)
class DiscriminatorCase(NetworkCase):
    """A recipe of a discriminator, and images for it."""

    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """The logits, the label logits and the reconstructions, as far as there are any."""
        said = zip(("score", "label_logits", "reconstruction"), network(x))
        return {name: tensor for name, tensor in said if tensor is not None}

    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        return {"score": (len(x),)}


def check_is_a_discriminator(case: DiscriminatorCase) -> None:
    """build(context) gives an nn.Module whose call gives Scores."""
    network = case.build()
    assert isinstance(network, nn.Module), f"build() gives a {type(network).__name__}, which is no torch.nn.Module"
    assert isinstance(network, Discriminator)
    with seeded(case.seed):
        scores = Contract("discriminator", case.noun).call("__call__", network, case.images())
    assert isinstance(scores, Scores), (
        f"a call gives {type(scores).__name__}, expected mixzoo.Scores(logits=...); "
        f"{signatures('discriminator', ['__call__'])}"
    )


def check_leaves_the_process_as_it_was(case: DiscriminatorCase) -> None:
    """A pass leaves gradient mode, default dtype and device, threads, determinism, warnings, ... as they were."""
    assert_process_untouched(case, case.build())


def check_every_image_gets_one_score(case: DiscriminatorCase) -> None:
    """logits is [batch], of the images' type."""
    x = case.images()
    logits = case.build()(x).logits
    assert tuple(logits.shape) == (len(x),), (
        f"logits is {list(logits.shape)} for {len(x)} images, expected [{len(x)}]: one number an image"
    )
    assert logits.dtype == x.dtype, f"logits is {logits.dtype} of images in {x.dtype}"


def check_scores_are_raw(case: DiscriminatorCase) -> None:
    """A score is not confined: training D up or down alone takes it beyond 1.5 and below -1.5, past any sigmoid."""
    network, x = case.build(), case.images(2)
    if not [p for p in network.parameters() if p.requires_grad]:
        return
    for sign, bound in ((1, "above"), (-1, "below")):
        reached = _farthest(deepcopy(network), x, sign)
        assert not reached <= BEYOND, (  # NaN is beyond too
            f"no training takes a score {bound} {sign * BEYOND} (it stays at {sign * reached:.3g}); leave the sigmoid, "
            "tanh or relu out at the end, losses take raw scores"
        )


def _farthest(network: Any, x: Tensor, sign: int) -> float:
    """The mean score, times `sign`, after an ascent on it that ends when it is far enough."""
    optimiser = Adam(network.parameters(), lr=RATE)
    score = 0.0
    with seeded(0):
        for _ in range(STEPS):
            objective = sign * network(x).logits.mean()
            score = objective.item()
            if not score <= BEYOND:
                break
            optimiser.zero_grad()
            (-objective).backward()
            optimiser.step()
    return score


def check_scores_tell_images_apart(case: DiscriminatorCase) -> None:
    """Different images get different scores."""
    network, x = case.build().eval(), case.images()
    with torch.no_grad():
        logits = network(x).logits
    assert (logits != logits[0]).any(), "different images all have one score; does D use its input?"


def check_label_logits_are_logits_of_each_image(case: DiscriminatorCase) -> None:
    """label_logits is [batch, context.num_labels], for every batch, of the images' type."""
    for head in HEADS:
        network = replace(case, context=replace(case.context, num_labels=head)).build()
        for n in (1, case.batch):
            label_logits = network(case.images(n)).label_logits
            assert label_logits is not None, f"label_logits is None for {n} images and context.num_labels={head}"
            fits = tuple(label_logits.shape) == (n, head)
            assert fits, (
                f"label_logits is {list(label_logits.shape)} for {n} images and context.num_labels={head}, "
                f"expected [{n}, {head}]"
            )
            assert label_logits.is_floating_point(), f"label_logits is {label_logits.dtype}, expected logits"


def check_reconstructions_have_the_size_of_images(case: DiscriminatorCase) -> None:
    """reconstruction, of a discriminator that is an auto-encoder, has the shape and the type of the images."""
    network = case.build()
    for n in (1, case.batch):
        x = case.images(n)
        reconstruction = network(x).reconstruction
        assert reconstruction is not None, f"reconstruction is None for {n} images"
        assert reconstruction.shape == x.shape, f"reconstruction of {list(x.shape)} is {list(reconstruction.shape)}"
        assert reconstruction.dtype == x.dtype, f"reconstruction is {reconstruction.dtype} of images in {x.dtype}"


def has_label_logits(recipe: Any) -> str:
    """'' for a recipe whose network has a label head if it is asked for."""
    return "it has no label head" if _said(recipe, "label_logits") is None else ""


def reconstructs(recipe: Any) -> str:
    """'' for a recipe whose network is an auto-encoder."""
    return "it is no auto-encoder, and reconstructs no image" if _said(recipe, "reconstruction") is None else ""


def _said(recipe: Any, what: str) -> Any:
    """That part of what a network of the recipe says of an image; None where it says nothing of the kind."""
    context = replace(contexts_taken(recipe, LATENTS)[0], num_labels=HEADS[0])
    with seeded(0), torch.no_grad():
        scores = recipe.build(context).eval()(torch.zeros(2, *input_shape(recipe, context)))
    return getattr(scores, what, None)


_check = partial(
    check_from, kind="discriminator", cases=partial(network_cases, DiscriminatorCase, latents=LATENTS, heads=(0, 3))
)

discriminator_checks: tuple[Check, ...] = (
    _check(check_is_a_discriminator, stops=True),
    *map(
        _check,
        (
            check_leaves_the_process_as_it_was,
            check_every_image_gets_one_score,
            check_scores_are_raw,
            check_scores_tell_images_apart,
            *RESULT_PROMISES,
            *STATE_PROMISES,
        ),
    ),
    _check(check_label_logits_are_logits_of_each_image, applies=has_label_logits),
    _check(check_reconstructions_have_the_size_of_images, applies=reconstructs),
)
