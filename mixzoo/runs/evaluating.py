"""Metrics of a run that has been trained: each computed once, and kept in the run."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from mixzoo.core.errors import DataError
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.opening import Opened, open_run
from mixzoo.runs.reading import scored_step
from mixzoo.runs.scoring import better_scores, check_metric, finished_run, score_of
from mixzoo.runs.stored_scores import Score, kept_scores, write_score

PACKAGES = ("mixzoo", "torch", "numpy", "scikit-learn")


def evaluate(
    zoo: Zoo,
    run_dir: Path,
    metrics: Sequence[str],
    *,
    device: str = "auto",
    again: bool = False,
    note: Callable[[str], object] = lambda line: None,
) -> dict[str, Score]:
    """The scores by metric of the weights that `open_run` loads; those that the run has are read, unless `again`.

    All metrics are checked before the first is computed: raises ConfigError for a spec that is not allowed, DataError,
    naming the metric, if one has no number for the run's data, NonFiniteError if the codes or a score are not finite.
    `note` gets a line for each file of the run that is damaged or was edited.
    """
    plugins = {spec: zoo.find("metric", parse_spec(spec).name).plugin for spec in metrics}
    versions = {str(parse_spec(spec)): plugin.version for spec, plugin in plugins.items()}
    step = scored_step(run_dir)
    kept = {} if again else kept_scores(run_dir, metrics, step, lambda score: versions.get(score.metric, ""))
    recipes: dict[str, Any] = {
        spec: zoo.recipe("metric", zoo.spec("metric", spec)) for spec in metrics if spec not in kept
    }
    if recipes:
        run = open_run(zoo, run_dir, device)
        for line in run.changed:
            note(line)
        for spec, metric in recipes.items():
            try:
                check_metric(spec, metric, run.data)
            except DataError as err:
                raise DataError(f"{run_dir}: {err}") from err
        for spec, metric in recipes.items():
            kept[spec] = _scored(zoo, run, spec, metric)
            write_score(run_dir, kept[spec])
    return {spec: kept[spec] for spec in metrics}


def _scored(zoo: Zoo, run: Opened, spec: str, metric: Any) -> Score:
    """The score, with what it is of."""
    finished = finished_run(run.config, run.data, run.players, torch.device(run.device))
    started = perf_counter()
    numbers = score_of(spec, metric, finished)
    data, plugin = run.data, zoo.find("metric", parse_spec(spec).name).plugin
    return Score(
        metric=str(parse_spec(spec)),
        step=run.step,
        numbers=numbers,
        better=better_scores(spec, metric, numbers),
        settings=zoo.canonical("metric", spec),
        definition=(type(metric).__doc__ or "").strip().partition("\n")[0],
        samples={"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        versions={name: version(name) for name in PACKAGES},
        plugin=plugin.distribution,
        plugin_version=plugin.version,
        seconds=round(perf_counter() - started, 3),
    )
