"""What a discriminator promises, one function a promise; `discriminator_checks` runs them all on a recipe."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mixzoo.contract import Contract, signatures
from mixzoo.protocols import Discriminator, Scores
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
        """The scores, the attribute logits and the redrawn images, where there are any."""
        said = zip(("score", "attributes", "redrawn image"), network(x))
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
        f"a call gives {type(scores).__name__}, expected mixzoo.Scores(realness=...); "
        f"{signatures('discriminator', ['__call__'])}"
    )


def check_leaves_the_process_as_it_was(case: DiscriminatorCase) -> None:
    """A pass leaves gradient mode, default dtype and device, threads, determinism, warnings, ... as they were."""
    assert_process_untouched(case, case.build())


def check_every_image_gets_one_score(case: DiscriminatorCase) -> None:
    """realness is [batch], of the images' type."""
    x = case.images()
    realness = case.build()(x).realness
    assert tuple(realness.shape) == (len(x),), (
        f"realness is {list(realness.shape)} for {len(x)} images, expected [{len(x)}]: one number an image"
    )
    assert realness.dtype == x.dtype, f"realness is {realness.dtype} of images in {x.dtype}"


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
            objective = sign * network(x).realness.mean()
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
        realness = network(x).realness
    assert (realness != realness[0]).any(), "different images all have one score; does D use its input?"


def check_attributes_are_logits_of_each_image(case: DiscriminatorCase) -> None:
    """attributes is [batch, context.num_labels], for every batch, of the images' type."""
    for num_labels in HEADS:
        network = replace(case, context=replace(case.context, num_labels=num_labels)).build()
        for n in (1, case.batch):
            attributes = network(case.images(n)).attributes
            assert attributes is not None, f"attributes is None for {n} images and context.num_labels={num_labels}"
            fits = tuple(attributes.shape) == (n, num_labels)
            assert fits, (
                f"attributes is {list(attributes.shape)} for {n} images and context.num_labels={num_labels}, "
                f"expected [{n}, {num_labels}]"
            )
            assert attributes.is_floating_point(), f"attributes is {attributes.dtype}, expected logits"


def check_images_are_redrawn_at_their_size(case: DiscriminatorCase) -> None:
    """redrawn, of a discriminator that is an auto-encoder, has the shape and the type of the images."""
    network = case.build()
    for n in (1, case.batch):
        x = case.images(n)
        redrawn = network(x).redrawn
        assert redrawn is not None, f"redrawn is None for {n} images"
        assert redrawn.shape == x.shape, f"images {list(x.shape)} are redrawn as {list(redrawn.shape)}"
        assert redrawn.dtype == x.dtype, f"redrawn is {redrawn.dtype} of images in {x.dtype}"


def has_attributes(recipe: Any) -> str:
    """'' for a recipe whose network has an attribute head where the context asks for one."""
    return "it has no attribute head" if _said(recipe, "attributes") is None else ""


def redraws(recipe: Any) -> str:
    """'' for a recipe whose network redraws the images."""
    return "it is no auto-encoder, and redraws no image" if _said(recipe, "redrawn") is None else ""


def _said(recipe: Any, what: str) -> Any:
    """That part of what a network of the recipe says of an image; None where it says nothing of the kind."""
    context = replace(contexts_taken(recipe, LATENTS)[0], num_labels=HEADS[0])
    with seeded(0), torch.no_grad():
        scores = recipe.build(context).eval()(torch.zeros(2, *context.image_shape))
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
    _check(check_attributes_are_logits_of_each_image, applies=has_attributes),
    _check(check_images_are_redrawn_at_their_size, applies=redraws),
)
