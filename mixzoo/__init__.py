"""mixzoo: auto-encoders that mix. The public face for plugins and notebooks; nothing heavy is loaded until used."""

from importlib import import_module

TYPE_CHECKING = (
    False  # as typing has it, which takes long to import: a Ctrl-C before mixzoo.__main__ is not looked after
)

if TYPE_CHECKING:
    from mixzoo.errors import ConfigError, DataError, MixzooError, PluginError
    from mixzoo.evaluation.codes import batches, encode, eval_mode
    from mixzoo.functional import MixedBatch, create, mix
    from mixzoo.hookspecs import API_VERSION, hookimpl
    from mixzoo.mixing import LinearMixer, MaskMixer
    from mixzoo.options import Part
    from mixzoo.protocols import (
        AutoEncoder,
        BuildContext,
        CodeShape,
        Dataset,
        Discriminator,
        Draw,
        FinishedRun,
        Images,
        Judgement,
        Mixed,
        Mixer,
        Needs,
        Objective,
        Resynthesis,
        Scores,
        Source,
        Split,
        Terms,
    )

__all__ = [
    "API_VERSION",
    "AutoEncoder",
    "BuildContext",
    "CodeShape",
    "ConfigError",
    "DataError",
    "Dataset",
    "Discriminator",
    "Draw",
    "FinishedRun",
    "Images",
    "Judgement",
    "LinearMixer",
    "MaskMixer",
    "Mixed",
    "MixedBatch",
    "Mixer",
    "MixzooError",
    "Needs",
    "Objective",
    "Part",
    "PluginError",
    "Resynthesis",
    "Scores",
    "Source",
    "Split",
    "Terms",
    "batches",
    "create",
    "encode",
    "eval_mode",
    "hookimpl",
    "mix",
]
__version__ = "0.1.0"
_HOMES = (  # light ones first
    "mixzoo.errors",
    "mixzoo.hookspecs",
    "mixzoo.options",
    "mixzoo.protocols",
    "mixzoo.mixing",
    "mixzoo.evaluation.codes",
    "mixzoo.functional",
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for home in map(import_module, _HOMES):
            if hasattr(home, name):
                return getattr(home, name)
    raise AttributeError(f"module 'mixzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
