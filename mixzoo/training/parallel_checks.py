"""What several processes can share: refused in one line where they would not do what one process does."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixzoo.core.errors import ConfigError
from mixzoo.registry.config import RunConfig, Train
from mixzoo.training.checkpoint import modules_of
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.players import Players


def check_batch_divides(train: Train, distributed: DistributedContext) -> None:
    """ConfigError where the batch makes no equal parts."""
    if train.batch_images % distributed.world_size == 0:
        return
    less = train.batch_images - train.batch_images % distributed.world_size
    near = f"{less} or {less + distributed.world_size}" if less else f"{distributed.world_size}"
    raise ConfigError(
        f"--batch-images {train.batch_images}: the batch of a step is shared by {distributed.world_size} "
        "processes in equal parts; "
        f"use {near}, or other --nproc-per-node"
    )


def check_parallel(config: RunConfig, players: Players, distributed: DistributedContext) -> None:
    """ConfigError where terms, or what a network makes of an image, depend on the batch as a whole."""
    if distributed.world_size == 1:
        return
    several = f"{distributed.world_size} processes would each have one of its own part; use one process"
    objective = f"objective {config.names['objective']!r}"
    if players.requirements.whole_batch:
        raise ConfigError(f"{objective} has terms that are no means over examples but of a whole batch, and {several}")
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
