"""A network of a recipe, built as a run builds it, and the images that it is tried on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.core.parts import BuildContext
from mixzoo.core.random import rng_for, seed_for
from mixzoo.registry.recipes import input_shape, part_of
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.watching import seeded

SQUARES = ((16, 16), (32, 32), (64, 64), (128, 128), (224, 224))  # the smallest that the recipe takes is used
OBLONGS = ((16, 24), (32, 48), (96, 64))  # likewise; a recipe may refuse them all
CLASSES = 3

Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class NetworkCase(ABC):
    """A recipe, the context it is built for, and the images that it is tried on."""

    recipe: Any
    context: BuildContext
    batch: int
    seed: int

    def __str__(self) -> str:
        head = f", num_labels {self.context.num_labels}" if self.context.num_labels else ""
        return f"images {'x'.join(map(str, self.context.image_shape))}{head}, batch {self.batch}, seed {self.seed}"

    @property
    def noun(self) -> str:
        """What a message calls the network."""
        return type(self.recipe).__name__

    def build(self, seed: int | None = None) -> Any:
        """The network, in training mode, its weights begun from the seed as a run begins them."""
        with seeded(seed_for(self.seed if seed is None else seed, "init")):
            return self.recipe.build(self.context)

    def images(self, batch: int | None = None, which: str = "images") -> Float[Tensor, "batch *input"]:
        """Random images, or what else the network takes, in [-1, 1]."""
        shape = (self.batch if batch is None else batch, *input_shape(self.recipe, self.context))
        return torch.rand(shape, generator=rng_for(self.seed, which)) * 2 - 1

    @abstractmethod
    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """All that the network says of the images, one row an image."""

    @abstractmethod
    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        """What shape each of them must have."""

    def seeded_outputs(self, network: Any, x: Tensor) -> Outputs:
        """The outputs with torch's generator seeded before, as the engine does at each step."""
        with seeded(seed_for(self.seed, "torch")):
            return self.outputs(network, x)

    def live_a_little(self, network: Any) -> None:
        """Passes in training mode, which fill buffers, and weights moved off their beginning."""
        with torch.no_grad(), seeded(self.seed):
            for _ in range(2):
                self.outputs(network, self.images(which="earlier"))
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))


C = TypeVar("C", bound=NetworkCase)


def network_cases(
    case: type[C], recipe: Any, latents: Sequence[tuple[int, ...]] = ((),), heads: Sequence[int] = (0,)
) -> Any:
    """Strategy of cases at the smallest sizes that the recipe takes, grey and colour, square and oblong; of a
    discriminator with heads of those widths."""
    st = strategies()
    taken = contexts_taken(recipe, latents)
    contexts = st.sampled_from([replace(context, num_labels=head) for context in taken for head in heads])
    return st.builds(case, st.just(recipe), contexts, st.sampled_from((2, 3, 5)), st.integers(0, 2**31))


def contexts_taken(
    recipe: Any,
    latents: Sequence[tuple[int, ...]] = ((),),
    groups: Sequence[Sequence[tuple[int, int]]] = (SQUARES, OBLONGS),
) -> list[BuildContext]:
    """Of each group of sizes the first that the recipe takes, for 1 and for 3 channels and each shape of code."""
    taken, refusals = [], []
    for channels, sizes, latent in product((1, 3), groups, latents):
        for height, width in sizes:
            context = BuildContext((channels, height, width), CLASSES, latent)
            if not (refusal := refusal_of(recipe, context)):
                taken.append(context)
                break
            refusals.append(f"{channels}x{height}x{width}: {refusal}")
    assert taken, f"it refuses every size of image tried, the last with {refusals[-1]}"
    return taken


def refusal_of(recipe: Any, context: BuildContext) -> str:
    """The words in which the recipe refuses the context, or nothing where it takes it."""
    try:
        with seeded(0):
            part_of(recipe, context)
    except ValueError as err:
        return str(err) or "a ValueError without words"
    return ""
