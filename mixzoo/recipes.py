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
        """Other parts, metrics and numbers of the run, for what neither a flag nor a run file says (mixzoo.config)."""
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


def skipped_checks(part: object) -> Mapping[str, str]:
    """The conformance checks that this recipe or part breaks on purpose, with the reasons."""
    return part.skipped_checks if isinstance(part, HasSkippedChecks) else {}
