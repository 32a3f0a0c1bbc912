"""Correct auto-encoders and discriminators, from which the broken ones derive, and a recipe for each class."""

from dataclasses import dataclass

import torch
from torch import nn

from mixzoo import Scores


@dataclass(frozen=True)
class Recipe:
    """Builds a network of the class."""

    network: type

    def build(self, context):
        return self.network(context)


class PlainAutoEncoder(nn.Module):
    """One strided convolution each way."""

    def __init__(self, context):
        super().__init__()
        channels, height, width = context.image_shape
        if height % 4 or width % 4:
            raise ValueError(f"images of {height}x{width}: both sides must be multiples of 4")
        self.latent_shape = (2, height // 4, width // 4)
        self.f = nn.Conv2d(channels, 2, 4, stride=4)
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=4)

    def encode(self, x):
        return self.f(x)

    def decode(self, h):
        return self.g(h)


class FrozenDecoder(PlainAutoEncoder):
    """Trains an encoder for a frozen decoder."""

    def __init__(self, context):
        super().__init__(context)
        self.g.requires_grad_(False)


class Variational(PlainAutoEncoder):
    """It has a posterior and samples from it in training mode."""

    def __init__(self, context):
        super().__init__(context)
        self.spread = nn.Conv2d(context.image_shape[0], 2, 4, stride=4)

    def posterior(self, x):
        return self.f(x), self.spread(x)

    def encode(self, x):
        mean, log_variance = self.posterior(x)
        return mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean


class PlainDiscriminator(nn.Module):
    """A discriminator of logits alone."""

    def __init__(self, context):
        super().__init__()
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * context.image_shape[0], 1))

    def raw(self, x):
        return self.net(x)[:, 0]

    def forward(self, x):
        return Scores(self.raw(x))


class WithLabelLogits(PlainDiscriminator):
    """It also returns label logits."""

    def __init__(self, context):
        super().__init__(context)
        self.head = nn.Linear(16 * context.image_shape[0], context.num_labels) if context.num_labels else None

    def label_logits(self, x):
        return self.head(self.net[:2](x))

    def forward(self, x):
        return Scores(self.raw(x), None if self.head is None else self.label_logits(x))


class WithReconstruction(PlainDiscriminator):
    """It also reconstructs its input."""

    def __init__(self, context):
        super().__init__(context)
        self.body = PlainAutoEncoder(context)

    def reconstruction(self, x):
        return self.body.decode(self.body.encode(x))

    def forward(self, x):
        return Scores(self.raw(x), reconstruction=self.reconstruction(x))
