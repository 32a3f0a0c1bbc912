"""What a recipe of any kind may have besides its options, and what holds for one without it. Loads no torch.

A recipe is a frozen dataclass that stands for a part: the part itself, or something that builds it. Its options are its
fields; what is here is a method, a property or a ClassVar.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasBuild(Protocol):
    """A recipe that builds its part; without it, the recipe is the part."""

    def build(self, context: Any) -> Any:
        """The part for this `mixzoo.BuildContext`. Raises ValueError if it does not fit."""
        ...


@runtime_checkable
class HasRunDefaults(Protocol):
    """A data set that says how to train on it; without it, the defaults of `mixzoo train` hold."""

    @property
    def run_defaults(self) -> Mapping[str, object]:
        """Other parts, metrics and numbers of the run, for what neither a flag nor a run file says."""
        ...


@runtime_checkable
class HasInputShape(Protocol):
    """A discriminator that judges something else than images; without it, images."""

    def input_shape(self, context: Any) -> tuple[int, ...]:
        """The shape of one input for this `mixzoo.BuildContext`, such as `context.latent_shape`."""
        ...


@runtime_checkable
class HasExampleNetworks(Protocol):
    """An objective that calls methods of its networks which not every network has; without it, it calls none."""

    def example_networks(self, context: Any) -> tuple[Any, Any]:
        """An auto-encoder and a discriminator with those methods, for the conformance kit; None for one not needed."""
        ...


@runtime_checkable
class HasSkippedChecks(Protocol):
    """A recipe or part that breaks some conformance checks on purpose; without it, all of its kind apply."""

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        """The name of each check and the reason."""
        ...


def part_of(recipe: Any, context: Any) -> Any:
    """The part that the recipe stands for."""
    return recipe.build(context) if isinstance(recipe, HasBuild) else recipe


def run_defaults(recipe: object) -> Mapping[str, object]:
    """How to train on this data set."""
    return recipe.run_defaults if isinstance(recipe, HasRunDefaults) else {}


def input_shape(recipe: object, context: Any) -> tuple[int, ...]:
    """The shape of one input of this discriminator."""
    shape = recipe.input_shape(context) if isinstance(recipe, HasInputShape) else context.image_shape
    return tuple(shape)


def example_networks(recipe: object, context: Any) -> tuple[Any, Any]:
    """An auto-encoder and a discriminator whose own methods this objective calls; None for each that it does not."""
    return recipe.example_networks(context) if isinstance(recipe, HasExampleNetworks) else (None, None)


def skipped_checks(part: object) -> Mapping[str, str]:
    """The conformance checks that this recipe or part breaks on purpose, with the reasons."""
    return part.skipped_checks if isinstance(part, HasSkippedChecks) else {}
