"""The discriminator of a stand-in batch, and a record of which of its outputs are read."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from mixzoo.core.parts import Scores
from mixzoo.core.random import rng_for


class StandInDiscriminator(nn.Module):
    """A small, smooth D for inputs [batch, ...] of any shape, for penalties that call D directly.

    Scores has logits [batch], label logits [batch, num_labels] and a reconstruction of the input's shape.
    """

    def __init__(self, num_labels: int, seed: int) -> None:
        super().__init__()
        rng = rng_for(seed, "stand-in/discriminator")
        self.frequencies = nn.Parameter(torch.randn(8, generator=rng))
        self.head = nn.Parameter(torch.randn(8, 1 + num_labels, generator=rng))

    def forward(self, x: Tensor) -> Scores:
        flat = x.flatten(1)
        # Projections on sine waves, because the number of weights must not depend on the size of the input.
        wave = torch.linspace(0, 3, flat.shape[1], device=x.device, dtype=x.dtype)
        features = torch.tanh(flat @ torch.sin(wave[:, None] * self.frequencies.to(x)) / flat.shape[1] ** 0.5)
        output = features @ self.head.to(x)
        return Scores(output[:, 0], output[:, 1:], x * output[:, 0].reshape(-1, *[1] * (x.ndim - 1)))


class RecordingMapping(Mapping[str, Tensor]):
    """A mapping that calls `record` whenever a value is read."""

    def __init__(self, values: Mapping[str, Tensor], record: Callable[[], object]) -> None:
        self._values, self._record = values, record

    def __getitem__(self, name: str) -> Tensor:
        self._record()
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
