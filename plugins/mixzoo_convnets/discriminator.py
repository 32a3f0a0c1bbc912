"""Discriminator D: an encoder without norm, whose output is averaged to one logit per image."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import BuildContext, Scores
from mixzoo_convnets.layers import Border, Depth, Init, Latent, Scales, Slope, Style, halvings

PowerIterations = Annotated[
    int, Ge(0), "of spectral norm on 3x3 convolutions, per training pass; 0 for no spectral norm"
]


@dataclass(frozen=True, kw_only=True)
class ACAI:
    """Critic of Berthelot et al. 2019: an encoder's layers, no norm, slope 0.2; the logit is the mean of its output.

    `latent`, the maps of the last layer, defaults to the auto-encoder's.
    """

    latent: Latent | None = None
    depth: Depth = 16
    scales: Scales | None = None
    slope: Slope = 0.2
    border: Border = 0
    init: Init = "fan_in"
    power_iterations: PowerIterations = 0

    def build(self, context: BuildContext) -> "ConvDiscriminator":
        return ConvDiscriminator(self, context)


@dataclass(frozen=True, kw_only=True)
class AMR:
    """Discriminator of AMR's authors: spectral norm on its 3x3 convolutions (not the first 1x1), slope 0.01, a border.

    It scores all images of a step in one pass with 5 power iterations; the authors made five passes with one each.
    `latent`, the maps of the last layer, defaults to the auto-encoder's.

    Weights are initialised as in the authors' code: torch's own under spectral norm, and a gain near 1 for the first
    convolution, which has none. `init=fan_in` gives that convolution a gain near 4, which multiplies every logit from
    the first step on; D then wins (benchmarks/results/initialisation.md).
    """

    latent: Latent | None = None
    depth: Depth = 16
    scales: Scales | None = None
    slope: Slope = 0.01
    border: Border = 1
    init: Init = "authors"
    power_iterations: PowerIterations = 5

    def build(self, context: BuildContext) -> "ConvDiscriminator":
        return ConvDiscriminator(self, context)


class ConvDiscriminator(nn.Module):
    """The layers and their mean, with a label head if the objective needs one.

    The head, an auxiliary classifier (Odena et al. 2017), takes the maps before the last convolution.
    """

    def __init__(self, options: ACAI | AMR, context: BuildContext) -> None:
        super().__init__()
        scales = halvings(context.image_shape, options.scales, options.border)
        self.layers = Style("none", options.slope, options.init, options.power_iterations).encoder(
            channels=context.image_shape[0],
            depth=options.depth,
            latent=context.latent_shape[0] if options.latent is None else options.latent,
            scales=scales,
            border=options.border,
        )
        _, height, width = context.image_shape
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        self.head = label_head(last.in_channels * (height >> scales) * (width >> scales), context.num_labels)
        self.to(memory_format=torch.channels_last)  # faster without norms in between

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Scores:
        features = self.layers[:-1](x)
        label_logits = None if self.head is None else self.head(features)
        maps = self.layers[-1](features).flatten(1)
        return Scores(maps.mean(1, dtype=torch.promote_types(maps.dtype, torch.float32)), label_logits)


def label_head(features: int, width: int) -> nn.Sequential | None:
    """A linear classifier of an image's features, normalised to mean 0 and variance 1; None for `width` 0.

    Spectral norm makes the features of different images so similar that a classifier without the normalisation learns
    nothing for hundreds of steps.
    """
    return nn.Sequential(nn.Flatten(), nn.LayerNorm(features), nn.Linear(features, width)) if width else None
