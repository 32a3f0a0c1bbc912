"""Encoder f and decoder g of ACAI and of AMR: one architecture with two sets of defaults."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import BuildContext, Reconstructs
from mixzoo_convnets.layers import Border, Depth, Init, Latent, Norm, Scales, Slope, Style, code_positions, halvings


@dataclass(frozen=True, kw_only=True)
class ACAI:
    """Convolutional auto-encoder of Berthelot et al. 2019: no norm, slope 0.2, no border, fan-in initialisation.

    The code is a map [latent, height / 2^scales, width / 2^scales]. Berthelot et al. use depth 16 for MNIST, otherwise
    64.
    """

    latent: Latent = 2
    depth: Depth = 16
    scales: Scales | None = None
    norm: Norm = "none"
    slope: Slope = 0.2
    border: Border = 0
    init: Init = "fan_in"

    def build(self, context: BuildContext) -> "ConvAutoEncoder":
        return ConvAutoEncoder(self, context)


@dataclass(frozen=True, kw_only=True)
class AMR:
    """Convolutional auto-encoder of AMR's authors: instance norm, slope 0.01, a border around the image.

    By default weights are initialised with a variance scaled by fan-in, as intended. `init=authors` reproduces the
    authors' code, whose formula assumed another library's order of the weight axes and gave the scale of every norm a
    random sign.
    """

    latent: Latent = 2
    depth: Depth = 16
    scales: Scales | None = None
    norm: Norm = "instance"
    slope: Slope = 0.01
    border: Border = 1
    init: Init = "fan_in"

    def build(self, context: BuildContext) -> "ConvAutoEncoder":
        return ConvAutoEncoder(self, context)


class ConvAutoEncoder(Reconstructs, nn.Module):
    """f and g as two stacks of layers."""

    def __init__(self, options: ACAI | AMR, context: BuildContext) -> None:
        super().__init__()
        channels = context.image_shape[0]
        latent, depth, border = options.latent, options.depth, options.border
        scales = halvings(context.image_shape, options.scales, border)
        style = Style(options.norm, options.slope, options.init)
        self.latent_shape = (latent, *code_positions(context.image_shape, scales, options.norm))
        self.f = style.encoder(channels=channels, depth=depth, latent=latent, scales=scales, border=border)
        self.g = style.decoder(channels=channels, depth=depth, latent=latent, scales=scales)

    def encode(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch latent code_height code_width"]:
        code: Tensor = self.f(x)
        return code

    def decode(
        self, h: Float[Tensor, "batch latent code_height code_width"]
    ) -> Float[Tensor, "batch channels height width"]:
        image: Tensor = self.g(h)
        return image
