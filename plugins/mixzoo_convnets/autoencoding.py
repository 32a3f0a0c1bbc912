"""A discriminator that is an auto-encoder, as in BEGAN (Berthelot et al. 2017): real is what it reconstructs well."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import Parameter

from mixzoo import BuildContext, Scores
from mixzoo_convnets.layers import Border, Depth, Init, Latent, Norm, Scales, Slope, Style, code_positions, halvings
from mixzoo_convnets.variational import Output


@dataclass(frozen=True, kw_only=True)
class Autoencoding:
    """Discriminator of GAIA (Sainburg et al. 2018): an auto-encoder, with the layers of ACAI's.

    It redraws each image, and logits(x) = bias - mean |x - D(x)|. The bias is learned, 0 at the beginning: objectives
    other than `gaia`, which reads the redrawn images alone, need it to put the line between real and fake somewhere.
    `latent`, the maps of its code, is the auto-encoder's when not given.
    """

    latent: Latent | None = None
    depth: Depth = 16
    scales: Scales | None = None
    norm: Norm = "none"
    slope: Slope = 0.2
    border: Border = 0
    init: Init = "fan_in"
    output: Output = "tanh"

    def build(self, context: BuildContext) -> "AutoencodingDiscriminator":
        channels, depth = context.image_shape[0], self.depth
        scales = halvings(context.image_shape, self.scales, self.border)
        code_positions(context.image_shape, scales, self.norm)
        latent = context.latent_shape[0] if self.latent is None else self.latent
        style = Style(self.norm, self.slope, self.init)
        f = style.encoder(channels=channels, depth=depth, latent=latent, scales=scales, border=self.border)
        g = style.decoder(channels=channels, depth=depth, latent=latent, scales=scales)
        return AutoencodingDiscriminator(nn.Sequential(f, g, *([nn.Tanh()] if self.output == "tanh" else [])))


class AutoencodingDiscriminator(nn.Module):
    """Layers that reconstruct an image, and the bias of its logit."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.bias = Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Scores:
        reconstruction = self.layers(x)
        return Scores(self.bias - (x - reconstruction).abs().flatten(1).mean(1), reconstruction=reconstruction)
