"""The weights that a run ends with: of its last step, or of the probe's best validation accuracy (train.select)."""

from pathlib import Path

from mixzoo.core.data import Dataset
from mixzoo.core.errors import CheckpointError, ConfigError
from mixzoo.evaluation.probe import has_labels
from mixzoo.registry.config import RunConfig
from mixzoo.training.checkpoint import load_step, modules_of, path_of
from mixzoo.training.checkpoint_manifest import Progress
from mixzoo.training.players import Players


def check_selectable(config: RunConfig, data: Dataset) -> None:
    """Raises ConfigError if the best weights are asked for and the data have no labels to choose them by."""
    if config.train.select == "best" and not has_labels(data.build_context()):
        raise ConfigError(
            f"train.select=best: data set {config.names['dataset']!r} has no labels, so the probe has no validation "
            "accuracy to choose by; leave it at last"
        )


def check_best_is_kept(run_dir: Path, config: RunConfig, progress: Progress) -> None:
    """Raises ConfigError if a run that goes on is to end with its best weights, and those so far were not kept."""
    best = progress.probe.best_step
    if config.train.select == "best" and best and not path_of(run_dir / "checkpoints", best).exists():
        raise ConfigError(
            f"{run_dir}: train.select=best: the weights of step {best}, with the best validation accuracy so far, were "
            "not kept; leave it at last, or train a new run with --select best"
        )


def load_selected(run_dir: Path, config: RunConfig, players: Players, progress: Progress) -> int:
    """Load the weights that a run ends with at its last step, and return the step that they are of.

    Raises CheckpointError if the checkpoint of the best step is gone or damaged.
    """
    best = progress.probe.best_step
    if config.train.select == "last" or best == progress.step:
        return progress.step
    try:
        load_step(run_dir / "checkpoints", best, modules_of(players))
    except CheckpointError as err:
        raise CheckpointError(
            f"{err}; `mixzoo resume {run_dir} --set train.select=last` ends the run with its last weights"
        ) from err
    return best
