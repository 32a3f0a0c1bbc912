"""The scores of a trained run, from its probe and its metrics."""

import math
from collections.abc import Mapping

import torch

from mixzoo.core.data import Dataset
from mixzoo.core.errors import DataError, NonFiniteError, PluginError
from mixzoo.core.metric import FinishedRun, HasCheckData, Metric
from mixzoo.core.parts import AutoEncoder
from mixzoo.evaluation.probe import ProbeRecord
from mixzoo.evaluation.scores import better_of, check_metric_signature, compute_scores
from mixzoo.registry.building import build_part
from mixzoo.registry.config import DEFAULT_METRICS, RunConfig
from mixzoo.registry.contract import Contract
from mixzoo.registry.spec import parse_spec
from mixzoo.runs.listing import PROBE_BETTER
from mixzoo.training.checkpoint_manifest import Progress
from mixzoo.training.players import Players

GREY_L1 = 1.0  # the greatest mean distance of pixels in [-1, 1] to 0
KEPT = "The training is kept: fix the metric, then `mixzoo resume` the run"


def scores(
    config: RunConfig, data: Dataset, players: Players, progress: Progress, device: torch.device
) -> tuple[dict[str, float], dict[str, str]]:
    """Every score by name, such as "reconstruction.l1", and whether "less" or "more" of it is better, if that is known.

    Raises NonFiniteError if one is not finite.
    """
    numbers = _probe_numbers(progress.probe) if players.probe is not None else {}
    better = dict(PROBE_BETTER) if numbers else {}
    finished = finished_run(config, data, players, device)
    skipped = unscorable_defaults(config, data)
    scored = [(spec, metric) for spec, metric in config.metrics if spec not in skipped]
    names = [parse_spec(spec).name for spec, _ in scored]
    for (spec, metric), name in zip(scored, names):
        label = name if names.count(name) == 1 else spec  # the same metric with other options
        found = _of_metric(label, metric, finished)
        numbers |= {f"{label}.{score}": value for score, value in found.items()}
        better |= {f"{label}.{score}": value for score, value in better_scores(label, metric, found).items()}
    if bad := [name for name, value in numbers.items() if not math.isfinite(value)]:
        raise NonFiniteError(f"{', '.join(bad)} is not finite: training has diverged; try a lower --lr")
    return numbers, better


def score_warnings(numbers: Mapping[str, float]) -> list[str]:
    """A line for each score that no run which has learned anything has."""
    worse = [
        (name, value)
        for name, value in numbers.items()
        if value > GREY_L1 and name.rpartition(".")[2] == "l1" and _metric_of(name) == "reconstruction"
    ]
    return [
        f"{name} is {value:.4g}, worse than a plain grey image, whose l1 is at most {GREY_L1:g}, as images are in "
        "[-1, 1]: training has diverged, or has hardly begun; try a lower --lr, or more steps"
        for name, value in worse
    ]


def _metric_of(score: str) -> str:
    """The name of the metric of a score, such as "reconstruction" of "mixzoo-metrics/reconstruction.l1"."""
    return score.rpartition(".")[0].partition(":")[0].split("/")[-1]


def finished_run(config: RunConfig, data: Dataset, players: Players, device: torch.device) -> FinishedRun:
    """The trained networks and data, in the form that metrics take."""

    def untrained() -> AutoEncoder:
        name, seed = config.names["autoencoder"], config.train.seed
        network = build_part(config.parts["autoencoder"], "autoencoder", name, data.build_context(), seed).to(device)
        assert isinstance(network, AutoEncoder)
        return network

    return FinishedRun(players.autoencoder, players.mixer, data, config.train.seed, str(device), untrained)


def check_scorable(config: RunConfig, data: Dataset) -> None:
    """Raises DataError, naming the metric, if one of the run's metrics cannot be computed for these data.

    A default metric is skipped instead (`unscorable_defaults`).
    """
    skipped = unscorable_defaults(config, data)
    for spec, metric in config.metrics:
        if spec not in skipped:
            check_metric(spec, metric, data)


def unscorable_defaults(config: RunConfig, data: Dataset) -> dict[str, str]:
    """The specs of default metrics that cannot be computed for these data, each with the reason."""
    skipped = {}
    for spec, metric in config.metrics:
        if parse_spec(spec).name.split("/")[-1] in DEFAULT_METRICS:  # qualified if two plugins offer the name
            try:
                check_metric(spec, metric, data)
            except DataError as err:
                skipped[spec] = str(err.__cause__)
    return skipped


def metric_notes(config: RunConfig, data: Dataset) -> list[str]:
    """A line for each default metric that is skipped."""
    return [f"no {parse_spec(spec).name}: {reason}" for spec, reason in unscorable_defaults(config, data).items()]


def check_metric(spec: str, metric: Metric, data: Dataset) -> None:
    """Raises DataError, naming the metric, if it cannot be computed for these data.

    Raises PluginError if it does not take a finished run.
    """
    name = parse_spec(spec).name
    contract = Contract("metric", name)
    check_metric_signature(contract, metric)
    try:
        if isinstance(metric, HasCheckData):
            contract.call("check_data", metric.check_data, data)
    except DataError as err:
        raise DataError(f"metric {name!r}: {err}; leave it out of metrics, or use other data") from err


def score_of(label: str, metric: Metric, finished: FinishedRun) -> dict[str, float]:
    """The metric's numbers. Raises NonFiniteError if one of them, or a code, is not finite."""
    numbers = dict(_of_metric(label, metric, finished))
    if bad := [name for name, value in numbers.items() if not math.isfinite(value)]:
        raise NonFiniteError(
            f"metric {label!r}: {', '.join(bad)} is not finite: training has diverged; try a lower --lr"
        )
    return numbers


def better_scores(label: str, metric: Metric, numbers: Mapping[str, float]) -> dict[str, str]:
    """What is better of each of these scores. Raises PluginError if the metric fails to say it."""
    try:
        return better_of(Contract("metric", label), metric, numbers)
    except PluginError as err:
        raise PluginError(f"{err}. {KEPT}") from err


def _of_metric(label: str, metric: Metric, finished: FinishedRun) -> Mapping[str, float]:
    """The metric's scores. Raises NonFiniteError if its input is not finite, PluginError if the metric is broken."""
    try:
        return compute_scores(Contract("metric", label), metric, finished)
    except PluginError as err:
        message = str(err.__cause__)
        if isinstance(err.__cause__, ValueError) and ("NaN" in message or "infinity" in message):  # from scikit-learn
            first = message.partition("\n")[0]
            raise NonFiniteError(f"metric {label!r}: {first} Training has diverged; try a lower --lr") from err
        raise PluginError(f"{err}. {KEPT}") from err


def _probe_numbers(probe: ProbeRecord) -> dict[str, float]:
    return {
        "probe.best_validation_accuracy": probe.best_validation,
        "probe.best_step": float(probe.best_step),
        "probe.test_accuracy_at_best_validation": probe.test_at_best,
        "probe.last_validation_accuracy": probe.last_validation,
        "probe.last_test_accuracy": probe.last_test,
    }
