"""What a discriminator promises, one function a promise; `discriminator_checks` runs them all on a recipe."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mixzoo.core.parts import Discriminator, Scores
from mixzoo.registry.contract import Contract, signatures
from mixzoo.registry.recipes import input_shape
from mixzoo.testing.network_results import RESULT_PROMISES
from mixzoo.testing.network_states import STATE_PROMISES, assert_process_untouched
from mixzoo.testing.networks import NetworkCase, Outputs, network_cases, supported_contexts
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import seeded

NUM_LABELS = (2, 5)
LATENTS = ((2, 4, 4), (16,))  # latent shapes of the auto-encoder: a map and a vector
STEPS, RATE = 60, 0.3  # of Adam, which trains D to raise or lower its logits
BEYOND = 1.5  # a raw logit gets there, the output of a sigmoid or a tanh does not


@dataclass(frozen=True)
class DiscriminatorCase(NetworkCase):
    """A recipe of a discriminator, and images for it."""

    kind: ClassVar[str] = "discriminator"

    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """The logits and, if the network returns them, label logits and reconstructions."""
        named = zip(("score", "label_logits", "reconstruction"), network(x))
        return {name: tensor for name, tensor in named if tensor is not None}

    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        return {"score": (len(x),)}


def check_is_a_discriminator(case: DiscriminatorCase) -> None:
    """build(context) returns a torch.nn.Module whose call returns mixzoo.Scores."""
    network = case.build()
    assert isinstance(network, nn.Module), f"build() returns a {type(network).__name__}, expected a torch.nn.Module"
    assert isinstance(network, Discriminator)
    with seeded(case.seed):
        scores = Contract("discriminator", case.noun).call("__call__", network, case.images())
    assert isinstance(scores, Scores), (
        f"a call returns a {type(scores).__name__}, expected mixzoo.Scores(logits=...); "
        f"{signatures('discriminator', ['__call__'])}"
    )


def check_leaves_the_process_as_it_was(case: DiscriminatorCase) -> None:
    """A forward pass leaves gradient mode, default dtype and device, threads, determinism and warnings as they were."""
    assert_process_untouched(case, case.build())


def check_every_image_gets_one_score(case: DiscriminatorCase) -> None:
    """logits has shape [batch], one per image, and the dtype of the images."""
    x = case.images()
    logits = case.build()(x).logits
    assert tuple(logits.shape) == (len(x),), (
        f"logits has shape {list(logits.shape)} for {len(x)} images, expected [{len(x)}], one number per image"
    )
    assert logits.dtype == x.dtype, f"logits is {logits.dtype} for images in {x.dtype}"


def check_scores_are_raw(case: DiscriminatorCase) -> None:
    """Logits are unbounded: training can raise them above 1.5 and lower them below -1.5, past a sigmoid or tanh."""
    network, x = case.build(), case.images(2)
    if not [p for p in network.parameters() if p.requires_grad]:
        return
    for sign, bound in ((1, "above"), (-1, "below")):
        reached = _farthest(deepcopy(network), x, sign)
        assert not reached <= BEYOND, (  # NaN, from training that diverged, passes
            f"training does not bring the mean logit {bound} {sign * BEYOND} (it stays at {sign * reached:.3g}); leave "
            "out the last sigmoid, tanh or relu, since losses take raw logits"
        )


def _farthest(network: Any, x: Tensor, sign: int) -> float:
    """`sign` times the mean logit, after training to increase it until it is beyond BEYOND."""
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
    """Different images have different logits."""
    network, x = case.build().eval(), case.images()
    with torch.no_grad():
        logits = network(x).logits
    assert (logits != logits[0]).any(), "different images have equal logits; does D use its input?"


def check_label_logits_are_logits_of_each_image(case: DiscriminatorCase) -> None:
    """label_logits is floating point of shape [batch, context.num_labels], for every batch size."""
    for num_labels in NUM_LABELS:
        network = replace(case, context=replace(case.context, num_labels=num_labels)).build()
        for n in (1, case.batch):
            label_logits = network(case.images(n)).label_logits
            assert label_logits is not None, f"label_logits is None for {n} images and context.num_labels={num_labels}"
            assert tuple(label_logits.shape) == (n, num_labels), (
                f"label_logits has shape {list(label_logits.shape)} for {n} images and "
                f"context.num_labels={num_labels}, expected [{n}, {num_labels}]"
            )
            assert label_logits.is_floating_point(), f"label_logits is {label_logits.dtype}, expected floating point"


def check_reconstructions_have_the_size_of_images(case: DiscriminatorCase) -> None:
    """A discriminator's reconstruction has the shape and the dtype of the images."""
    network = case.build()
    for n in (1, case.batch):
        x = case.images(n)
        reconstruction = network(x).reconstruction
        assert reconstruction is not None, f"reconstruction is None for {n} images"
        assert reconstruction.shape == x.shape, (
            f"reconstruction has shape {list(reconstruction.shape)}, expected {list(x.shape)} as the images"
        )
        assert reconstruction.dtype == x.dtype, f"reconstruction is {reconstruction.dtype} for images in {x.dtype}"


def has_label_logits(recipe: Any) -> str:
    """'' if the recipe's network returns label logits when context.num_labels is set."""
    return "it has no label logits" if _output(recipe, "label_logits") is None else ""


def reconstructs(recipe: Any) -> str:
    """'' if the recipe's network reconstructs its input."""
    return "it does not reconstruct its input" if _output(recipe, "reconstruction") is None else ""


def _output(recipe: Any, name: str) -> Any:
    """The output of that name of the recipe's network for two images, or None if it has no such output."""
    context = replace(supported_contexts(recipe, LATENTS)[0], num_labels=NUM_LABELS[0])
    with seeded(0), torch.no_grad():
        scores = recipe.build(context).eval()(torch.zeros(2, *input_shape(recipe, context)))
    return getattr(scores, name, None)


_check = partial(
    check_from,
    kind="discriminator",
    cases=partial(network_cases, DiscriminatorCase, latents=LATENTS, heads=(0, 3)),
    case_cost=2,
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
