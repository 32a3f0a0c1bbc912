"""Checks that a run on several processes computes what it would on one; each failure is a one-line ConfigError."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixzoo.core.errors import ConfigError
from mixzoo.registry.config import RunConfig, Train
from mixzoo.training.checkpoint import modules_of
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.players import Players


def check_batch_divides(train: Train, distributed: DistributedContext) -> None:
    """Raise ConfigError if the batch does not divide evenly among the processes."""
    if train.batch_images % distributed.world_size == 0:
        return
    below = train.batch_images - train.batch_images % distributed.world_size
    near = f"{below} or {below + distributed.world_size}" if below else f"{distributed.world_size}"
    raise ConfigError(
        f"--batch-images {train.batch_images}: the batch of a step is shared by {distributed.world_size} "
        f"processes in equal parts; use {near}, or another --nproc-per-node"
    )


def check_parallel(config: RunConfig, players: Players, distributed: DistributedContext) -> None:
    """Raise ConfigError if terms, or a network's output for one image, depend on the whole batch."""
    if distributed.world_size == 1:
        return
    several = f"{distributed.world_size} processes would each have one of its own part; use one process"
    objective = f"objective {config.names['objective']!r}"
    if players.requirements.whole_batch:
        raise ConfigError(f"{objective} has terms that are not means over examples but of a whole batch, and {several}")
    if config.train.labelled_images is not None:
        raise ConfigError(f"labelled_images={config.train.labelled_images}: {objective} takes means over the known "
                          f"labels of a whole batch, and {several}")  # fmt: skip
    for name, module in modules_of(players).items():
        if found := batch_norm_of(module):
            raise ConfigError(f"{name}: {found} takes means over a whole batch, and {several}, or a network without")


def batch_norm_of(module: nn.Module) -> str:
    """The first batch norm inside that learns from batches, or ''."""
    return next((f"its {name}, a batch norm," for name, inside in module.named_modules()
                 if isinstance(inside, _BatchNorm) and inside.training), "")  # fmt: skip
