"""The cases that a network is checked on: its recipe, built as a run builds it, and images."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.core.parts import BuildContext
from mixzoo.core.random import rng_for, seed_for
from mixzoo.registry import building
from mixzoo.registry.recipes import input_shape, part_of
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.watching import seeded

SQUARES = ((16, 16), (32, 32), (64, 64), (128, 128), (224, 224))  # the first that the recipe supports is used
OBLONGS = ((16, 24), (32, 48), (96, 64))  # the first again; a recipe may reject all of them
CLASSES = 3

Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class NetworkCase(ABC):
    """A recipe, the context it is built for, and the images that it is checked on."""

    kind: ClassVar[str]

    recipe: Any
    context: BuildContext
    batch: int
    seed: int

    def __str__(self) -> str:
        head = f", num_labels {self.context.num_labels}" if self.context.num_labels else ""
        return f"images {'x'.join(map(str, self.context.image_shape))}{head}, batch {self.batch}, seed {self.seed}"

    @property
    def noun(self) -> str:
        """The name of the network in messages."""
        return type(self.recipe).__name__

    def build(self, seed: int | None = None) -> Any:
        """The network, in training mode, its weights initialised from the seed as a run initialises them."""
        seed = self.seed if seed is None else seed
        return building.seeded(seed, self.kind, lambda: self.recipe.build(self.context))

    def images(self, batch: int | None = None, which: str = "images") -> Float[Tensor, "batch *input"]:
        """Random images, or other inputs that the network takes, in [-1, 1]."""
        shape = (self.batch if batch is None else batch, *input_shape(self.recipe, self.context))
        return torch.rand(shape, generator=rng_for(self.seed, which)) * 2 - 1

    @abstractmethod
    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """The outputs of the network by name, one row per image."""

    @abstractmethod
    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        """The shape that each output must have."""

    def seeded_outputs(self, network: Any, x: Tensor) -> Outputs:
        """The outputs after seeding torch's generator, as the engine does at each step."""
        with seeded(seed_for(self.seed, "torch")):
            return self.outputs(network, x)

    def leave_initial_state(self, network: Any) -> None:
        """Change buffers by passes in training mode, and weights by a little noise, as training would."""
        with torch.no_grad(), seeded(self.seed):
            for _ in range(2):
                self.outputs(network, self.images(which="earlier"))
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))


C = TypeVar("C", bound=NetworkCase)


def network_cases(
    case: type[C], recipe: Any, latents: Sequence[tuple[int, ...]] = ((),), heads: Sequence[int] = (0,)
) -> Any:
    """A strategy of cases at the smallest sizes that the recipe supports, grey and colour, square and oblong.

    A discriminator is built with each `num_labels` in `heads`.
    """
    st = strategies()
    supported = supported_contexts(recipe, latents)
    contexts = st.sampled_from([replace(context, num_labels=head) for context in supported for head in heads])
    return st.builds(case, st.just(recipe), contexts, st.sampled_from((2, 3, 5)), st.integers(0, 2**31))


def supported_contexts(
    recipe: Any,
    latents: Sequence[tuple[int, ...]] = ((),),
    groups: Sequence[Sequence[tuple[int, int]]] = (SQUARES, OBLONGS),
) -> list[BuildContext]:
    """For 1 and 3 channels and each shape of code: the first size of each group that the recipe supports."""
    return list(_supported_contexts(_SameRecipe(recipe), tuple(latents), tuple(groups)))


class _SameRecipe:
    """A recipe as the key of a cache: equal to itself alone."""

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameRecipe) and other.recipe is self.recipe

    def __hash__(self) -> int:
        return id(self.recipe)


@lru_cache(maxsize=8)  # every check of a recipe asks for them, and finding them builds the network for each size
def _supported_contexts(
    of: _SameRecipe, latents: tuple[tuple[int, ...], ...], groups: tuple[tuple[tuple[int, int], ...], ...]
) -> list[BuildContext]:
    recipe = of.recipe
    supported, rejections = [], []
    for channels, sizes, latent in product((1, 3), groups, latents):
        for height, width in sizes:
            context = BuildContext((channels, height, width), CLASSES, latent)
            if not (rejection := rejection_of(recipe, context)):
                supported.append(context)
                break
            rejections.append(f"{channels}x{height}x{width}: {rejection}")
    assert supported, f"the recipe rejects all {len(rejections)} sizes of images tried, the last with {rejections[-1]}"
    return supported


def rejection_of(recipe: Any, context: BuildContext) -> str:
    """The message of the ValueError with which the recipe rejects the context, or ''."""
    try:
        with seeded(0):
            part_of(recipe, context)
    except ValueError as err:
        return str(err) or "a ValueError without a message"
    return ""
