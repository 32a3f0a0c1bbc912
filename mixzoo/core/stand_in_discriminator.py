"""The discriminator of a stand-in batch."""

import torch
from torch import Tensor, nn

from mixzoo.core.parts import Scores
from mixzoo.core.random import rng_for


class StandInDiscriminator(nn.Module):
    """A small smooth D of inputs of any size, for a penalty that goes through D itself."""

    def __init__(self, num_labels: int, seed: int) -> None:
        super().__init__()
        draw = rng_for(seed, "stand-in/discriminator")
        self.frequencies = nn.Parameter(torch.randn(8, generator=draw))
        self.head = nn.Parameter(torch.randn(8, 1 + num_labels, generator=draw))

    def forward(self, x: Tensor) -> Scores:
        flat = x.flatten(1)
        wave = torch.linspace(0, 3, flat.shape[1], device=x.device, dtype=x.dtype)
        features = torch.tanh(flat @ torch.sin(wave[:, None] * self.frequencies.to(x)) / flat.shape[1] ** 0.5)
        output = features @ self.head.to(x)
        return Scores(output[:, 0], output[:, 1:], x * output[:, 0].reshape(-1, *[1] * (x.ndim - 1)))
