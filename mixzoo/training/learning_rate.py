"""The learning rate of each step, by its number alone: a run that is stopped and resumed has the same rates.

Step s = 0, ..., N - 1 of a run of N steps, W of them warm-up, has the rate `--lr` times

    s < W     (s + 1) / W                 linear warm-up (Goyal et al. 2017, section 2.2)
    s >= W    constant    1
              linear      1 - t
              cosine      (1 + cos πt) / 2    (Loshchilov & Hutter 2017, eq. 5, of one cycle down to 0)

with t = (s - W) / (N - W), the share of the steps after the warm-up that the run has done. Auto-encoder (a mixer with
weights, too) and discriminator follow it. The probe does not: it measures the code, and keeps `--probe-lr` throughout.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from mixzoo.core.errors import ConfigError
from mixzoo.registry.config import Train

SCHEDULED = ("autoencoder", "discriminator")  # the optimisers that follow the schedule


def is_scheduled(train: Train) -> bool:
    """Whether the rate of some step is not `lr`."""
    return train.schedule != "constant" or train.warmup > 0


def follows_length(train: Train) -> bool:
    """Whether the rate of a step depends on the number of steps of the run."""
    return train.schedule != "constant"


def check_schedule(train: Train) -> None:
    """Raises ConfigError if the warm-up leaves no step after it."""
    if train.warmup >= train.steps:
        raise ConfigError(
            f"--warmup {train.warmup}: the run has {train.steps} steps, and the warm-up must be shorter; give a "
            "smaller --warmup or more --steps"
        )


def factor(train: Train, step: int) -> float:
    """What the rate of step number `step` (the first is 0) is of `lr`, in [0, 1]; 0 only after the last step."""
    if step < train.warmup:
        return (step + 1) / train.warmup
    t = (step - train.warmup) / (train.steps - train.warmup)
    match train.schedule:
        case "linear":
            return 1 - t
        case "cosine":
            return (1 + math.cos(math.pi * t)) / 2
        case "constant":
            return 1.0


def learning_rate(train: Train, step: int) -> float:
    """The rate of step number `step`, the first of which is 0."""
    return train.lr * factor(train, step)


def set_learning_rates(train: Train, optimisers: Mapping[str, Optimizer], step: int) -> None:
    """Give the optimisers that follow the schedule the rate of step number `step`; does not wait for a device."""
    if not is_scheduled(train):
        return
    rate = learning_rate(train, step)
    for name in SCHEDULED:
        for group in optimisers[name].param_groups if name in optimisers else ():
            # A recorded step reads the rate at a fixed address; loading a checkpoint makes another tensor of it.
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def keep_rate_on_device(optimiser: Optimizer, device: torch.device) -> None:
    """Make the optimiser's rate a tensor on its device, so that a recorded step follows it."""
    for group in optimiser.param_groups:
        group["lr"] = torch.full((), group["lr"], device=device)  # not in the constructor, which would read it
