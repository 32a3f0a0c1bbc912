"""Encoder f: images in [-1, 1], normalised for the model, through timm's layers to the maps of the code."""

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo_timm.backbone import Features
from mixzoo_timm.norms import Norm, batch_norms, replace_batch_norms

E = TypeVar("E", bound="Encoder")


class Encoder(nn.Module):
    """timm's layers and a 1x1 convolution.

    `chosen` means that the user gave `norm`; then ValueError is raised if the model has no batch norm.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: Features, *, latent: int, norm: Norm, freeze: bool, chosen: bool) -> None:
        super().__init__()
        if chosen and not batch_norms(features.net):
            raise ValueError(f"norm={norm} has no effect: {features.name!r} has no batch norm; leave norm= out")
        if norm == "group":
            replace_batch_norms(features.net)
        self.net = features.net
        self.to_code = nn.Conv2d(features.channels, latent, 1)
        self.norm, self.freeze = norm, freeze
        # In the checkpoint, since another release of timm may have other defaults.
        self.register_buffer("mean", torch.tensor(features.mean).reshape(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(features.deviation).reshape(1, -1, 1, 1))
        if freeze:
            self.net.requires_grad_(False)
        self.train()

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch latent code_height code_width"]:
        """Codes of images; a grey image is copied to all channels of the model, like a grey photograph."""
        normalised = ((x + 1) / 2 - self.mean) / self.deviation
        (maps,) = self.net(normalised)
        code: Tensor = self.to_code(maps)
        return code

    def train(self: E, mode: bool = True) -> E:
        """Training mode, except for parts with fixed statistics: a frozen timm part and fixed batch norms."""
        super().train(mode)
        if self.freeze:
            self.net.eval()
        elif self.norm == "fixed":
            for batch_norm in batch_norms(self.net):
                batch_norm.eval()  # its scale and shift are still trained
        return self
