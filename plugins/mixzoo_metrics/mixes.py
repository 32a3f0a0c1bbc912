"""Scores of decoded mixes: how close they are to the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from mixzoo import Better, FinishedRun, batches, eval_mode, random_mixes, rng_for


@dataclass(frozen=True, kw_only=True)
class MixDistance:
    """How far decoded random mixes are from the data, if those densely cover a curve (AMR section 7.3).

        mean over mixes of  min over data x of ‖g(h_mix) - x‖₂,  x in all three splits

    Mixes are of test images and drawn as in training. For comparison: `reconstructions` is the same distance for
    g(f(x)), and `blends` for α x₁ + (1 - α) x₂ with α ~ U(0, 1), which mixes the data themselves.
    """

    better: ClassVar[Mapping[str, Better]] = {"mean": "less", "reconstructions": "less"}

    mixes: Annotated[int, Ge(1), "random mixes, and as many blends"] = 2000

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        test = run.data.test
        mixes = random_mixes(run.autoencoder, run.mixer, test, count=self.mixes, seed=run.seed, device=run.device)
        with eval_mode(run.autoencoder):
            decoded = [
                run.autoencoder.decode(run.autoencoder.encode(x)).cpu() for x in batches(test.images, run.device)
            ]
        return {
            "mean": _distance(mixes, run),
            "reconstructions": _distance(torch.cat(decoded), run),
            "blends": _distance(self._blends(run), run),
        }

    def _blends(self, run: FinishedRun) -> Float[Tensor, "mixes channels height width"]:
        rng = rng_for(run.seed, "blends")
        test = run.data.test
        first, second = (
            torch.cat(list(batches(test.images, "cpu", torch.randint(len(test), (self.mixes,), generator=rng))))
            for _ in range(2)
        )
        return torch.lerp(first, second, torch.rand(self.mixes, 1, 1, 1, generator=rng))


def _distance(images: Float[Tensor, "n channels height width"], run: FinishedRun) -> float:
    """Mean Euclidean distance of the images to their nearest image of the data."""
    nearest = torch.full((len(images),), torch.inf)
    for split in (run.data.train, run.data.validation, run.data.test):
        for x in batches(split.images, "cpu"):
            nearest = torch.minimum(nearest, torch.cdist(images.flatten(1), x.flatten(1)).amin(1))
    return nearest.double().mean().item()
