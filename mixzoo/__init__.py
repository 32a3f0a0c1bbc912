"""mixzoo: auto-encoders that mix. What plugins and notebooks import; nothing heavy is loaded until it is used."""

from importlib import import_module

TYPE_CHECKING = (
    False  # as typing has it, which takes long to import: a Ctrl-C before mixzoo.__main__ is not looked after
)

if TYPE_CHECKING:
    from mixzoo.core.data import CheckedFile, Dataset, Source, Split
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
    from mixzoo.core.figure import Animation, Figure, FigureImages, FigureRequest, FigureRun
    from mixzoo.core.labels import label_vectors, mixed_labels
    from mixzoo.core.launcher import Job, Launcher, Lost, Task
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
    from mixzoo.core.storage import open_regular
    from mixzoo.core.strides import canonical
    from mixzoo.data.batches import to_images
    from mixzoo.data.checking import DataReport, check_data
    from mixzoo.data.free_memory import host_free
    from mixzoo.data.picture_file import PICTURE_FORMATS, PictureError, open_picture
    from mixzoo.data.prepare import picture_bytes, prepare_images
    from mixzoo.evaluation.codes import batches, encode, eval_mode
    from mixzoo.evaluation.mixes import random_mixes
    from mixzoo.evaluation.pictures.conditioned import aims_at_labels, conditioned_path
    from mixzoo.evaluation.pictures.grid import Block, Row, beside, block_sheet
    from mixzoo.evaluation.pictures.interpolation import decode_mixes_at, path_between_two, triangle_of
    from mixzoo.evaluation.pictures.mixer_sheet import mixer_rows
    from mixzoo.evaluation.pictures.scatter import are_points, random_panel, scatter_plot
    from mixzoo.evaluation.pictures.style import COLOURS, figure_style
    from mixzoo.evaluation.probe import has_labels
    from mixzoo.registry.functional import MixedBatch, create, mix
    from mixzoo.registry.hookspecs import API_VERSION, hookimpl
    from mixzoo.registry.options import Part
    from mixzoo.registry.session import register
    from mixzoo.runs.api import compare, figure, plot, report, resume, track, train
    from mixzoo.runs.drawing import Drawing
    from mixzoo.runs.trained_run import MixedImages, Run, load

__all__ = [
    "API_VERSION",
    "COLOURS",
    "PICTURE_FORMATS",
    "Animation",
    "AutoEncoder",
    "Batch",
    "Better",
    "Block",
    "BuildContext",
    "CheckedFile",
    "CheckpointError",
    "CodeShape",
    "ConfigError",
    "DataError",
    "DataReport",
    "Dataset",
    "Discriminator",
    "DiscriminatorOutput",
    "Draw",
    "Drawing",
    "Figure",
    "FigureImages",
    "FigureRequest",
    "FigureRun",
    "FinishedRun",
    "HasPosterior",
    "Interrupted",
    "Job",
    "Launcher",
    "LinearMixer",
    "LockedError",
    "LogSession",
    "LoggedRun",
    "Logger",
    "Losses",
    "Lost",
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
    "PictureError",
    "PluginError",
    "Reconstructs",
    "Row",
    "Run",
    "Scores",
    "Source",
    "Split",
    "StorageError",
    "SweepError",
    "Task",
    "Terms",
    "aims_at_labels",
    "are_points",
    "batch_index",
    "batches",
    "beside",
    "block_sheet",
    "canonical",
    "check_data",
    "compare",
    "conditioned_path",
    "create",
    "decode_mixes_at",
    "dirichlet",
    "draw_for",
    "encode",
    "escaped",
    "eval_mode",
    "figure",
    "figure_style",
    "has_labels",
    "hookimpl",
    "host_free",
    "label_vectors",
    "load",
    "mix",
    "mixed_labels",
    "mixer_rows",
    "nearest",
    "needs_map",
    "open_picture",
    "open_regular",
    "path_between_two",
    "picture_bytes",
    "plot",
    "prepare_images",
    "random_mixes",
    "random_panel",
    "register",
    "report",
    "resume",
    "rng_for",
    "scatter_plot",
    "seed_for",
    "to_device",
    "to_images",
    "track",
    "train",
    "triangle_of",
    "truncated_repr",
]
__version__ = "0.1.0"
_HOMES = {  # module -> the names that it gives
    "core.data": (
        "CheckedFile",
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
    "core.launcher": (
        "Job",
        "Launcher",
        "Lost",
        "Task",
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
    "core.storage": ("open_regular",),
    "core.strides": ("canonical",),
    "data.batches": ("to_images",),
    "data.checking": (
        "DataReport",
        "check_data",
    ),
    "data.free_memory": ("host_free",),
    "evaluation.codes": (
        "batches",
        "encode",
        "eval_mode",
    ),
    "evaluation.mixes": ("random_mixes",),
    "evaluation.probe": ("has_labels",),
    "core.figure": (
        "Animation",
        "Figure",
        "FigureImages",
        "FigureRequest",
        "FigureRun",
    ),
    "evaluation.pictures.conditioned": (
        "aims_at_labels",
        "conditioned_path",
    ),
    "evaluation.pictures.grid": (
        "Block",
        "Row",
        "beside",
        "block_sheet",
    ),
    "evaluation.pictures.interpolation": (
        "decode_mixes_at",
        "path_between_two",
        "triangle_of",
    ),
    "evaluation.pictures.mixer_sheet": ("mixer_rows",),
    "evaluation.pictures.scatter": (
        "are_points",
        "random_panel",
        "scatter_plot",
    ),
    "evaluation.pictures.style": (
        "COLOURS",
        "figure_style",
    ),
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
    "runs.drawing": ("Drawing",),
    "runs.trained_run": (
        "MixedImages",
        "Run",
        "load",
    ),
    "runs.api": (
        "compare",
        "figure",
        "plot",
        "report",
        "resume",
        "track",
        "train",
    ),
    "registry.session": ("register",),
    "data.picture_file": (
        "PICTURE_FORMATS",
        "PictureError",
        "open_picture",
    ),
    "data.prepare": (
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
