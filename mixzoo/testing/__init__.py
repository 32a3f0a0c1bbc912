"""mixzoo.testing: the conformance kit, which checks what each kind of part promises, for the parts of any plugin.

    from mixzoo.testing import check_part
    print(*check_part(MyMixer(), kind="mixer").lines(), sep="\\n")

It needs hypothesis (`pip install 'mixzoo[testing]'`), and pytest for `parametrize_with_checks` only. Modules are loaded
on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixzoo.testing.cases import MixerCase, code_shapes, codes, images, mixer_cases, seeds
    from mixzoo.testing.figures import artificial_request, artificial_run
    from mixzoo.testing.fixed_batch import FixedBatch, mixed_codes
    from mixzoo.testing.mixer_suite import mixer_checks
    from mixzoo.testing.part import check_part, checks_of, parametrize_with_checks
    from mixzoo.testing.report import Check, Outcome, Report, check_from, run_checks

__all__ = [
    "Check",
    "FixedBatch",
    "MixerCase",
    "Outcome",
    "Report",
    "artificial_request",
    "artificial_run",
    "autoencoder_checks",
    "check_from",
    "check_part",
    "checks_of",
    "code_shapes",
    "codes",
    "dataset_checks",
    "discriminator_checks",
    "figure_checks",
    "images",
    "launcher_checks",
    "logger_checks",
    "metric_checks",
    "mixed_codes",
    "mixer_cases",
    "mixer_checks",
    "objective_checks",
    "parametrize_with_checks",
    "run_checks",
    "seeds",
]
_MODULES = {
    "report": {"Check", "Outcome", "Report", "check_from", "run_checks"},
    "part": {"check_part", "checks_of", "parametrize_with_checks"},
    "figures": {"artificial_request", "artificial_run"},
    "fixed_batch": {"FixedBatch", "mixed_codes"},
    "cases": {"MixerCase", "code_shapes", "codes", "images", "mixer_cases", "seeds"},
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mixzoo.testing' has no attribute {name!r}")
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"mixzoo.testing.{module}"), name)
    return import_module("mixzoo.testing.part").checks_of(name.removesuffix("_checks"))
