"""The hooks through which a plugin registers its parts; the first-party plugins use them too.

A plugin is a module named in the entry-point group `mixzoo`. Each hook returns a table, name -> recipe, where a recipe
is a frozen dataclass whose fields are the part's options (see mixzoo.core.parts for what a part must do,
mixzoo.registry.options for how an option is declared). Import the part inside the hook, so that listing plugins stays
quick. `MIXZOO_API` in the module states the API version that the plugin was written for.
"""

from collections.abc import Mapping
from typing import Any

import pluggy

API_VERSION = 2  # raised when a change of a hook or protocol breaks older plugins
CHANGES = {  # version -> what the author of a plugin for the one before has to change
    2: "an objective is one function, losses(batch); Scores has logits; Setting is BuildContext, checks_left_out is "
    "skipped_checks, a metric's refuse is check_data. See docs/write_an_objective.md and CHANGELOG.md",
}

hookspec = pluggy.HookspecMarker("mixzoo")
hookimpl = pluggy.HookimplMarker("mixzoo")


@hookspec
def mixzoo_autoencoders() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Auto-encoders: recipes with `build(context) -> AutoEncoder`."""


@hookspec
def mixzoo_discriminators() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Discriminators: recipes with `build(context) -> Discriminator`."""


@hookspec
def mixzoo_mixers() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Mixers: recipes that are a Mixer or, if it has weights or holds other mixers, have `build(context) -> Mixer`."""


@hookspec
def mixzoo_objectives() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Objectives: recipes that are an Objective."""


@hookspec
def mixzoo_datasets() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Data sets: recipes with `load(seed) -> Dataset`."""


@hookspec
def mixzoo_metrics() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Metrics: recipes that are a Metric."""


@hookspec
def mixzoo_loggers() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Loggers: recipes that are a Logger."""


@hookspec
def mixzoo_figures() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Figures: recipes that are a Figure."""


@hookspec
def mixzoo_launchers() -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
    """Launchers: recipes that are a Launcher."""
