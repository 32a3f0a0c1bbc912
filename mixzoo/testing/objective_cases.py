"""The cases that an objective is tried on: sizes, seeds and variations of a stand-in batch.

All that its terms may depend on is made by fixed smooth functions with a leaf of their own, and D is one fixed smooth
function of each example (`mixzoo.core.stand_in`), so what depends on what is known.
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
from mixzoo.core.stand_in import Requirements, Sizes, StandInBatch, Variation
from mixzoo.registry.recipes import example_networks
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.networks import contexts_taken, refusal_of
from mixzoo.testing.watching import seeded

SIZES = (((16, 24), (32, 32), (64, 64)),)  # the smallest that the recipe takes
LATENTS = ((2, 2, 3), (5,))
PLAYERS = ("autoencoder", "discriminator")

Spread: TypeAlias = Literal["example", "map", "position"]  # what one number of a share is for


@dataclass
class Played:
    """One call of an objective: the batch that it got and what it returned."""

    batch: StandInBatch
    losses: Losses

    @property
    def terms(self) -> dict[str, Terms]:
        """Both players' terms."""
        return {"autoencoder": self.losses.autoencoder, "discriminator": self.losses.discriminator}

    @property
    def output(self) -> DiscriminatorOutput:
        """All that D said."""
        return self.batch.output

    @property
    def requirements(self) -> Requirements:
        return self.batch.requirements(self.losses)

    def every_term(self) -> Terms:
        """The terms of both players, by player and name."""
        return {f"{player} term {name!r}": term for player, own in self.terms.items() for name, term in own.items()}

    def said_of(self, name: str) -> list[Tensor]:
        """All that D said of the inputs of that name."""
        parts = (self.output.logits, self.output.label_logits, self.output.reconstruction)
        return [tensors[name] for tensors in parts if name in tensors]

    def made_by_networks(self) -> list[Tensor]:
        """The leaves of all that f, g and a mixer made, and the weights of an auto-encoder that was called itself."""
        own = list(self.batch.autoencoder.parameters()) if "autoencoder" in self.batch.calls else []
        return [*(self.batch.leaves[name] for name in self.batch.made), *own]

    def fakes(self) -> list[str]:
        """The inputs of D that f and g made."""
        return [name for name, one in self.batch.inputs.items() if self._is_made(one)]

    def _is_made(self, one: Tensor) -> bool:
        leaves = self.made_by_networks()
        if not one.requires_grad or not leaves:
            return False
        return any(grad is not None for grad in gradients({"": one.sum()}, leaves))

    def is_of_a_mix(self, name: str) -> bool:
        """Whether D's input of that name was made of a mix."""
        leaves = [self.batch.leaves[leaf] for leaf in self.batch.named("h_mix")]
        return any(grad is not None for grad in gradients({"": self.batch.inputs[name].sum()}, leaves))


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective, or a recipe of one, and the sizes of the batch that it is tried on."""

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
            f"shares by {self.spread}, batch {self.batch}, seed {self.seed}"
        )

    @cached_property
    def objective(self) -> Any:
        """The objective itself."""
        return objective_of(self.part, self.context)

    def all_labelled(self) -> "ObjectiveCase":
        """The same case with a label that the objective may use on every example."""
        return replace(self, seed=self.seed // 2 * 2)

    def stand_in(self, **variation: Any) -> StandInBatch:
        """The same batch every time, but for the variation (`mixzoo.core.stand_in.Variation`)."""
        c = self.context
        sizes = Sizes(self.batch, c.image_shape, c.latent_shape, c.classes, c.attributes, self.k)
        given: dict[str, Any] = {"share_of": self.spread, "all_labelled": self.seed % 2 == 0, **variation}
        autoencoder, discriminator = networks_of(self.part, c)
        return StandInBatch(
            sizes, self.seed, autoencoder=autoencoder, discriminator=discriminator, variation=Variation(**given)
        )

    def play(self, **variation: Any) -> Played:
        """One call of the objective on the batch."""
        batch = self.stand_in(**variation)
        return Played(batch, self.objective.losses(batch))

    def direction(self, name: str, leaf: Tensor) -> Tensor:
        """A random direction for a leaf."""
        return torch.randn(leaf.shape, generator=rng_for(self.seed, f"direction/{name}"), dtype=leaf.dtype)


def objective_cases(part: Any) -> Any:
    """Strategy of cases of an objective, or of a recipe that builds one: maps and vectors, k up to 4."""
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
    """Contexts that the objective takes: of classes and, where it takes them, of attributes."""
    classes = contexts_taken(part, LATENTS, SIZES)
    attributes = [replace(context, classes=0, attributes=2) for context in classes]
    return classes + [context for context in attributes if not refusal_of(part, context)]


def objective_of(part: Any, context: BuildContext) -> Any:
    """The objective itself, built if the part is a recipe of one."""
    with seeded(0):
        return part.build(context) if hasattr(part, "build") else part


def networks_of(part: Any, context: BuildContext) -> tuple[Any, Any]:
    """The auto-encoder and D whose own methods the objective calls, if its recipe gives any; else None for each."""
    with seeded(0):
        return example_networks(part, context)


def first_play(part: Any) -> Played:
    """A call of the objective on the first of its cases."""
    return ObjectiveCase(part, contexts_of(part)[0], 2, "example", 2, 0).play()


def discriminates(part: Any) -> str:
    """'' for an objective that shows D something."""
    return "" if first_play(part).batch.inputs else "it shows a discriminator nothing"


def penalises(part: Any) -> str:
    """'' for an objective that calls D itself."""
    return "" if "discriminator" in first_play(part).batch.calls else "it does not call batch.discriminator"


def means_over_examples(part: Any) -> str:
    """'' for an objective that does not say that its terms are of the whole batch."""
    return "its losses say whole_batch=True" if first_play(part).losses.whole_batch else ""


def classifies(part: Any) -> str:
    """'' for an objective that reads label logits and labels."""
    needs = first_play(part).requirements
    return "" if needs.label_logits and needs.labels else "it compares no label with D's label logits"


def gradients(terms: Mapping[str, Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    """The gradient of the sum of the terms at each leaf; None for one that no term depends on."""
    trained = [term for term in terms.values() if isinstance(term, Tensor) and term.requires_grad]
    if not trained or not leaves:
        return [None for _ in leaves]
    return list(torch.autograd.grad(torch.stack(trained).sum(), leaves, retain_graph=True, allow_unused=True))


def summed(terms: Terms) -> Tensor:
    """What the player descends on; 0 if it has no terms."""
    return torch.stack(list(terms.values())).sum() if terms else torch.zeros((), dtype=torch.float64)
