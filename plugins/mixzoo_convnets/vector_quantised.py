"""The convolutions of ACAI around a codebook: each position of a code becomes the nearest of a few entries."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixzoo import BuildContext, Reconstructs
from mixzoo_convnets.layers import Border, Depth, Init, Latent, Norm, Scales, Slope, Style, code_positions, halvings


@dataclass(frozen=True, kw_only=True)
class VQ:
    """Convolutional auto-encoder with a codebook (van den Oord et al. 2017), for `--objective vqvae`.

    The code is the encoder's map [latent, height / 2^scales, width / 2^scales], as it comes; the decoder takes each
    position's nearest entry of the codebook first, so that mixes of codes are quantised as well.
    """

    latent: Latent = 16
    entries: Annotated[int, Ge(2), "of the codebook; the paper has 512 for CIFAR-10"] = 128
    depth: Depth = 16
    scales: Scales | None = None
    norm: Norm = "none"
    slope: Slope = 0.2
    border: Border = 0
    init: Init = "fan_in"

    skipped_checks: ClassVar[dict[str, str]] = {
        "gradients_reach_every_parameter": "the codebook learns by a term of its own, which calls quantise (vqvae)"
    }

    def build(self, context: BuildContext) -> "QuantisedAutoEncoder":
        return QuantisedAutoEncoder(self, context)


class QuantisedAutoEncoder(Reconstructs, nn.Module):
    """f, a codebook and g."""

    def __init__(self, options: VQ, context: BuildContext) -> None:
        super().__init__()
        scales = halvings(context.image_shape, options.scales, options.border)
        style = Style(options.norm, options.slope, options.init)
        channels, depth, latent = context.image_shape[0], options.depth, options.latent
        self.latent_shape = (latent, *code_positions(context.image_shape, scales, options.norm))
        self.f = style.encoder(channels=channels, depth=depth, latent=latent, scales=scales, border=options.border)
        self.g = style.decoder(channels=channels, depth=depth, latent=latent, scales=scales)
        self.codebook = nn.Parameter(torch.randn(options.entries, latent))

    def encode(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch latent code_height code_width"]:
        code: Tensor = self.f(x)
        return code

    def decode(
        self, h: Float[Tensor, "batch latent code_height code_width"]
    ) -> Float[Tensor, "batch channels height width"]:
        entries, _ = self.quantise(h)
        image: Tensor = self.g(h + (entries - h).detach())  # the gradient goes straight through to h
        return image

    def quantise(
        self, h: Float[Tensor, "batch latent code_height code_width"]
    ) -> tuple[Float[Tensor, "batch latent code_height code_width"], Int[Tensor, "batch positions"]]:
        """The nearest entry at each position, with the codebook's gradient, and its number."""
        positions = h.flatten(2).mT  # [batch positions latent]
        index = torch.cdist(positions, self.codebook.to(h.dtype)).argmin(-1)
        return self.codebook[index].mT.reshape(h.shape), index
