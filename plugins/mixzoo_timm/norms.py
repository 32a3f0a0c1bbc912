"""What becomes of batch norms, so that the code of an image is a function of that image."""

from typing import Literal, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Norm: TypeAlias = Literal["group", "fixed", "batch"]
GROUP = 16  # channels of a group at least: Wu and He 2018, table 3, find 16 about as good as any


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with as many groups as the channels divide into with at least GROUP in each."""
    groups = next(n for n in range(max(1, channels // GROUP), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


def replace_batch_norms(network: nn.Module) -> None:
    """Put a group norm in the place of each batch norm, with the scale and the shift that it begins with."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _image_by_image(child))


def _image_by_image(batch_norm: _BatchNorm) -> nn.Module:
    norm = group_norm(batch_norm.num_features)
    norm.eps = batch_norm.eps
    if batch_norm.affine:
        norm.requires_grad_(batch_norm.weight.requires_grad)
        norm.load_state_dict({"weight": batch_norm.weight.detach(), "bias": batch_norm.bias.detach()})
    # timm's batch norm of EfficientNet and others has the layer's dropout and activation inside it
    after = [layer for name in ("drop", "act") if (layer := getattr(batch_norm, name, None)) is not None]
    return nn.Sequential(norm, *after) if after else norm
