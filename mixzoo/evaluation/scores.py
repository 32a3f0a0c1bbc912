"""Checks of metrics and of what they return."""

import inspect
from collections.abc import Mapping
from numbers import Real

from torch import Tensor

from mixzoo.core.metric import FinishedRun, Metric
from mixzoo.registry.contract import Contract


def check_metric_signature(contract: Contract, metric: Metric) -> None:
    """Raises PluginError if the metric cannot be called with just a finished run; called before training."""
    if not callable(metric):
        raise contract.broken("__call__", "it is not callable")
    try:
        signature = inspect.signature(metric)
    except ValueError:  # as for functions written in C
        return
    try:
        signature.bind(None)
    except TypeError as err:
        raise contract.broken("__call__", f"it cannot be called with a run alone: {err}") from err


def compute_scores(contract: Contract, metric: Metric, run: FinishedRun) -> dict[str, float]:
    """The metric's numbers. Raises PluginError if it fails or returns anything but a mapping of names to numbers."""
    scores = contract.call("__call__", metric, run)
    if not isinstance(scores, Mapping):
        raise contract.broken("__call__", f"it returned {_described(scores)}")
    for name, value in scores.items():
        if not isinstance(name, str):
            raise contract.broken("__call__", f"it names a number {name!r}, which is not a string")
        if not isinstance(value, Real) or isinstance(value, bool):
            raise contract.broken(
                "__call__", f"its {name} is {_described(value)}, not a float; use .item() on a tensor"
            )
    return {name: float(value) for name, value in scores.items()}


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a Tensor {list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
