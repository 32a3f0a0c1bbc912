"""Checks of metrics and of what they return."""

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import get_args

from torch import Tensor

from mixzoo.core.errors import truncated_repr
from mixzoo.core.metric import Better, FinishedRun, HasBetter, Metric
from mixzoo.registry.contract import Contract


def check_metric_signature(contract: Contract, metric: Metric) -> None:
    """Raises PluginError if the metric cannot be called with just a finished run, or its `better` is of another form.

    Called before training.
    """
    if not callable(metric):
        raise contract.broken("__call__", "it is not callable")
    if wrong := contract.call("better", wrong_better, metric):  # `better` may be a property, with code of its own
        raise contract.broken("better", wrong)
    contract.check_takes("__call__", metric, "run")


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


def wrong_better(metric: object) -> str:
    """What is wrong with the form of the metric's `better`; '' if nothing is, or it has none."""
    if not isinstance(metric, HasBetter):
        return ""
    better: object = metric.better
    values = list(better.values()) if isinstance(better, Mapping) else [better]
    wrong = [value for value in values if value not in get_args(Better)]
    return f"`better` is {truncated_repr(wrong[0])}" if wrong else ""


def better_of(contract: Contract, metric: object, names: Iterable[str]) -> dict[str, str]:
    """ "less" or "more", as is better, of each of these scores of which the metric says it.

    Raises PluginError if the metric's `better` fails, or is of another form than before the training.
    """
    if wrong := contract.call("better", wrong_better, metric):
        raise contract.broken("better", wrong)
    better = contract.call("better", lambda: metric.better if isinstance(metric, HasBetter) else "")
    found = {name: better.get(name, "") if isinstance(better, Mapping) else better for name in names}
    return {name: value for name, value in found.items() if value}


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a Tensor {list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
