"""Scores of images: how close reconstructions are to their inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from mixzoo import Better, FinishedRun, batches, eval_mode


@dataclass(frozen=True)
class Reconstruction:
    """Mean absolute (l1) and mean squared (l2) error of reconstructed test images, in [-1, 1] units."""

    better: ClassVar[Better] = "less"

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        absolute = squared = 0.0
        with eval_mode(run.autoencoder):
            for x in batches(run.data.test.images, run.device):
                error = (run.autoencoder.decode(run.autoencoder.encode(x)) - x).double()
                absolute += error.abs().sum().item()
                squared += error.square().sum().item()
        elements = prod(run.data.test.images.shape)
        return {"l1": absolute / elements, "l2": squared / elements}
