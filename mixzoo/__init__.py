"""mixzoo: auto-encoders that mix. What plugins and notebooks import; nothing heavy is loaded until it is used."""

from importlib import import_module

TYPE_CHECKING = (
    False  # as typing has it, which takes long to import: a Ctrl-C before mixzoo.__main__ is not looked after
)

if TYPE_CHECKING:
    from mixzoo.core.data import Dataset, Source, Split
    from mixzoo.core.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        Interrupted,
        LockedError,
        MixzooError,
        NonFiniteError,
        OutOfMemoryError,
        PluginError,
        StorageError,
        SweepError,
        escaped,
        nearest,
        truncated_repr,
    )
    from mixzoo.core.labels import label_vectors, mixed_labels
    from mixzoo.core.logger import LoggedRun, Logger, LogSession
    from mixzoo.core.metric import Better, FinishedRun
    from mixzoo.core.mixing import LinearMixer, MaskMixer, dirichlet, draw_for, needs_map
    from mixzoo.core.objective import Batch, DiscriminatorOutput, Losses, MixedCodes, Objective, Terms
    from mixzoo.core.parts import (
        AutoEncoder,
        BuildContext,
        CodeShape,
        Discriminator,
        Draw,
        HasPosterior,
        Mixed,
        Mixer,
        Reconstructs,
        Scores,
    )
    from mixzoo.core.random import batch_index, rng_for, seed_for, to_device
    from mixzoo.core.strides import canonical
    from mixzoo.data.batches import to_images
    from mixzoo.data.free_memory import host_free
    from mixzoo.data.prepare import PICTURE_FORMATS, picture_bytes, prepare_images
    from mixzoo.evaluation.codes import batches, encode, eval_mode
    from mixzoo.evaluation.mixes import random_mixes
    from mixzoo.evaluation.probe import has_labels
    from mixzoo.registry.functional import MixedBatch, create, mix
    from mixzoo.registry.hookspecs import API_VERSION, hookimpl
    from mixzoo.registry.options import Part
    from mixzoo.registry.session import register
    from mixzoo.runs.api import compare, plot, report, track, train
    from mixzoo.runs.trained_run import MixedImages, Run, load

__all__ = [
    "API_VERSION",
    "PICTURE_FORMATS",
    "AutoEncoder",
    "Batch",
    "Better",
    "BuildContext",
    "CheckpointError",
    "CodeShape",
    "ConfigError",
    "DataError",
    "Dataset",
    "Discriminator",
    "DiscriminatorOutput",
    "Draw",
    "FinishedRun",
    "HasPosterior",
    "Interrupted",
    "LinearMixer",
    "LockedError",
    "LogSession",
    "LoggedRun",
    "Logger",
    "Losses",
    "MaskMixer",
    "Mixed",
    "MixedBatch",
    "MixedCodes",
    "MixedImages",
    "Mixer",
    "MixzooError",
    "NonFiniteError",
    "Objective",
    "OutOfMemoryError",
    "Part",
    "PluginError",
    "Reconstructs",
    "Run",
    "Scores",
    "Source",
    "Split",
    "StorageError",
    "SweepError",
    "Terms",
    "batch_index",
    "batches",
    "canonical",
    "compare",
    "create",
    "dirichlet",
    "draw_for",
    "encode",
    "escaped",
    "eval_mode",
    "has_labels",
    "hookimpl",
    "host_free",
    "label_vectors",
    "load",
    "mix",
    "mixed_labels",
    "nearest",
    "needs_map",
    "picture_bytes",
    "plot",
    "prepare_images",
    "random_mixes",
    "register",
    "report",
    "rng_for",
    "seed_for",
    "to_device",
    "to_images",
    "track",
    "train",
    "truncated_repr",
]
__version__ = "0.1.0"
_HOMES = {  # module -> the names that it gives
    "core.data": (
        "Dataset",
        "Source",
        "Split",
    ),
    "core.errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "Interrupted",
        "LockedError",
        "MixzooError",
        "NonFiniteError",
        "OutOfMemoryError",
        "PluginError",
        "StorageError",
        "SweepError",
        "escaped",
        "nearest",
        "truncated_repr",
    ),
    "core.labels": (
        "label_vectors",
        "mixed_labels",
    ),
    "core.logger": (
        "LogSession",
        "LoggedRun",
        "Logger",
    ),
    "core.metric": (
        "Better",
        "FinishedRun",
    ),
    "core.mixing": (
        "LinearMixer",
        "MaskMixer",
        "dirichlet",
        "draw_for",
        "needs_map",
    ),
    "core.objective": (
        "Batch",
        "DiscriminatorOutput",
        "Losses",
        "MixedCodes",
        "Objective",
        "Terms",
    ),
    "core.parts": (
        "AutoEncoder",
        "BuildContext",
        "CodeShape",
        "Discriminator",
        "Draw",
        "HasPosterior",
        "Mixed",
        "Mixer",
        "Reconstructs",
        "Scores",
    ),
    "core.random": (
        "batch_index",
        "rng_for",
        "seed_for",
        "to_device",
    ),
    "core.strides": ("canonical",),
    "data.batches": ("to_images",),
    "data.free_memory": ("host_free",),
    "evaluation.codes": (
        "batches",
        "encode",
        "eval_mode",
    ),
    "evaluation.mixes": ("random_mixes",),
    "evaluation.probe": ("has_labels",),
    "registry.functional": (
        "MixedBatch",
        "create",
        "mix",
    ),
    "registry.hookspecs": (
        "API_VERSION",
        "hookimpl",
    ),
    "registry.options": ("Part",),
    "runs.trained_run": (
        "MixedImages",
        "Run",
        "load",
    ),
    "runs.api": (
        "compare",
        "plot",
        "report",
        "track",
        "train",
    ),
    "registry.session": ("register",),
    "data.prepare": (
        "PICTURE_FORMATS",
        "picture_bytes",
        "prepare_images",
    ),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "runs":  # a package that is also a function, as `mixzoo runs` is
        return import_module("mixzoo.runs")
    if name not in _MODULES:
        raise AttributeError(f"module 'mixzoo' has no attribute {name!r}")
    return getattr(import_module(f"mixzoo.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__", "runs"]
