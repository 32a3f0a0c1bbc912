"""Replaces batch norms, so that the code of an image depends on that image alone."""

from typing import Literal, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Norm: TypeAlias = Literal["group", "fixed", "batch"]
GROUP = 16  # channels in a group, at least; about as good as any number (Wu and He 2018, table 3)


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with as many groups as possible that have at least GROUP channels each."""
    groups = next(n for n in range(max(1, channels // GROUP), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


def replace_batch_norms(network: nn.Module) -> None:
    """Replace each batch norm by a group norm with the same scale and shift."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _as_group_norm(child))


def _as_group_norm(batch_norm: _BatchNorm) -> nn.Module:
    norm = group_norm(batch_norm.num_features)
    norm.eps = batch_norm.eps
    if batch_norm.affine:
        norm.requires_grad_(batch_norm.weight.requires_grad)
        norm.load_state_dict({"weight": batch_norm.weight.detach(), "bias": batch_norm.bias.detach()})
    # timm's batch norm of EfficientNet and others contains the layer's dropout and activation.
    after = [layer for name in ("drop", "act") if (layer := getattr(batch_norm, name, None)) is not None]
    return nn.Sequential(norm, *after) if after else norm
