"""The cases that an objective is checked on: sizes, seeds and variations of a stand-in batch.

Every tensor that a term may depend on comes from a fixed smooth function with a leaf of its own, and D is such a
function of each example (`mixzoo.core.stand_in`), so that it is known what depends on what.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from mixzoo.core.objective import DiscriminatorOutput, Losses, Terms
from mixzoo.core.parts import BuildContext
from mixzoo.core.random import rng_for
from mixzoo.core.requirements import Requirements
from mixzoo.core.stand_in import StandInBatch
from mixzoo.core.stand_in_case import Sizes, Variation
from mixzoo.registry.recipes import example_networks
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.networks import rejection_of, supported_contexts
from mixzoo.testing.watching import seeded

SIZES = (((16, 24), (32, 32), (64, 64)),)  # of images; the first that the recipe supports is used
LATENTS = ((2, 2, 3), (5,))
PLAYERS = ("autoencoder", "discriminator")

Spread: TypeAlias = Literal["example", "map", "position"]  # what has one share of each source


@dataclass
class Played:
    """One call of an objective: its batch and the losses that it returned."""

    batch: StandInBatch
    losses: Losses

    @property
    def terms(self) -> dict[str, Terms]:
        """The terms of both players."""
        return {"autoencoder": self.losses.autoencoder, "discriminator": self.losses.discriminator}

    @property
    def output(self) -> DiscriminatorOutput:
        """All outputs of D."""
        return self.batch.output

    @property
    def requirements(self) -> Requirements:
        return self.batch.requirements(self.losses)

    def every_term(self) -> Terms:
        """The terms of both players, by player and name."""
        return {f"{player} term {name!r}": term for player, own in self.terms.items() for name, term in own.items()}

    def outputs_of(self, name: str) -> list[Tensor]:
        """D's outputs for the input of that name."""
        parts = (self.output.logits, self.output.label_logits, self.output.reconstruction)
        return [tensors[name] for tensors in parts if name in tensors]

    def made_by_networks(self) -> list[Tensor]:
        """The leaves of what f, g and mixers returned, and the weights of batch.autoencoder if it was called."""
        weights = list(self.batch.autoencoder.parameters()) if "autoencoder" in self.batch.calls else []
        return [*(self.batch.leaves[name] for name in self.batch.made), *weights]

    def fakes(self) -> list[str]:
        """The names of D's inputs that depend on f or g."""
        return [name for name, one in self.batch.inputs.items() if self._is_made(one)]

    def _is_made(self, one: Tensor) -> bool:
        leaves = self.made_by_networks()
        if not one.requires_grad or not leaves:
            return False
        return any(grad is not None for grad in gradients({"": one.sum()}, leaves))

    def is_of_a_mix(self, name: str) -> bool:
        """Whether D's input of that name depends on a mix."""
        leaves = [self.batch.leaves[leaf] for leaf in self.batch.named("h_mix")]
        return any(grad is not None for grad in gradients({"": self.batch.inputs[name].sum()}, leaves))


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective, or a recipe of one, and the sizes of the batch that it is checked on."""

    part: Any
    context: BuildContext
    k: int
    spread: Spread
    batch: int
    seed: int

    def __str__(self) -> str:
        context = self.context
        labels = f"{context.attributes} attributes" if context.attributes else f"{context.classes} classes"
        return (
            f"images {'x'.join(map(str, context.image_shape))}, code {context.latent_shape}, {labels}, k={self.k}, "
            f"one share per {self.spread}, batch {self.batch}, seed {self.seed}"
        )

    @cached_property
    def objective(self) -> Any:
        """The objective itself."""
        return objective_of(self.part, self.context)

    def all_labelled(self) -> "ObjectiveCase":
        """The same case with every example labelled."""
        return replace(self, seed=self.seed // 2 * 2)

    def stand_in(self, **variation: Any) -> StandInBatch:
        """The same batch each time, except for the variation (`mixzoo.core.stand_in.Variation`)."""
        c = self.context
        sizes = Sizes(self.batch, c.image_shape, c.latent_shape, c.classes, c.attributes, self.k)
        given: dict[str, Any] = {"share_of": self.spread, "all_labelled": self.seed % 2 == 0, **variation}
        autoencoder, discriminator = networks_of(self.part, c)
        return StandInBatch(
            sizes, self.seed, autoencoder=autoencoder, discriminator=discriminator, variation=Variation(**given)
        )

    def play(self, **variation: Any) -> Played:
        """Call the objective on the batch."""
        batch = self.stand_in(**variation)
        return Played(batch, self.objective.losses(batch))

    def direction(self, name: str, leaf: Tensor) -> Tensor:
        """A random direction for a leaf."""
        return torch.randn(leaf.shape, generator=rng_for(self.seed, f"direction/{name}"), dtype=leaf.dtype)


def objective_cases(part: Any) -> Any:
    """A strategy of cases for an objective or its recipe: maps and vectors, k up to 4."""
    st = strategies()
    return st.builds(
        ObjectiveCase,
        st.just(part),
        context=st.sampled_from(contexts_of(part)),
        k=st.integers(2, 4),
        spread=st.sampled_from(("example", "map", "position")),
        batch=st.sampled_from((2, 3, 5)),
        seed=st.integers(0, 2**31),
    )


def contexts_of(part: Any) -> list[BuildContext]:
    """The contexts that the objective supports, with classes and, if it supports them, with attributes."""
    classes = supported_contexts(part, LATENTS, SIZES)
    attributes = [replace(context, classes=0, attributes=2) for context in classes]
    return classes + [context for context in attributes if not rejection_of(part, context)]


def objective_of(part: Any, context: BuildContext) -> Any:
    """The objective, built if the part is a recipe."""
    with seeded(0):
        return part.build(context) if hasattr(part, "build") else part


def networks_of(part: Any, context: BuildContext) -> tuple[Any, Any]:
    """The example networks of the objective's recipe, for methods that not every network has; None if it has none."""
    with seeded(0):
        return example_networks(part, context)


def first_play(part: Any) -> Played:
    """A call of the objective on its first case."""
    return ObjectiveCase(part, contexts_of(part)[0], 2, "example", 2, 0).play()


def discriminates(part: Any) -> str:
    """'' if the objective calls batch.discriminate."""
    return "" if first_play(part).batch.inputs else "it does not call batch.discriminate"


def penalises(part: Any) -> str:
    """'' if the objective calls batch.discriminator directly."""
    return "" if "discriminator" in first_play(part).batch.calls else "it does not call batch.discriminator"


def means_over_examples(part: Any) -> str:
    """'' unless the objective says that its terms are of the whole batch."""
    return "its losses say whole_batch=True" if first_play(part).losses.whole_batch else ""


def classifies(part: Any) -> str:
    """'' if the objective reads label logits and labels."""
    needs = first_play(part).requirements
    return "" if needs.label_logits and needs.labels else "it does not compare labels with D's label logits"


def gradients(terms: Mapping[str, Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    """The gradient of the sum of the terms at each leaf, or None if no term depends on it."""
    trained = [term for term in terms.values() if isinstance(term, Tensor) and term.requires_grad]
    if not trained or not leaves:
        return [None for _ in leaves]
    return list(torch.autograd.grad(torch.stack(trained).sum(), leaves, retain_graph=True, allow_unused=True))


def summed(terms: Terms) -> Tensor:
    """A player's loss, the sum of its terms; 0 if it has none."""
    return torch.stack(list(terms.values())).sum() if terms else torch.zeros((), dtype=torch.float64)
