"""Scores of interpolations between images with a known angle (Berthelot et al. 2019, section 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from mixzoo import Better, DataError, Dataset, FinishedRun, batches, encode, eval_mode, rng_for

BATCH = 500  # images decoded or compared at a time


@dataclass(frozen=True, kw_only=True)
class LineInterpolation:
    """Mean distance and smoothness of interpolations between test images (Berthelot et al. 2019, section 4.1).

        x̂_n = g((1 - t_n) f(x₁) + t_n f(x₂)),  t_n = (n - 1) / (N - 1);  d(x̂, x) = 1 - ⟨x̂, x⟩ / (‖x̂‖ ‖x‖)
        q_n = argmin over data q of d(x̂_n, x_q), with angle θ_n;  θ is unwrapped: no step is longer than π
        mean_distance = mean over n of d(x̂_n, x_{q_n})
        smoothness    = max over n of |θ_{n+1} - θ_n| / |θ_N - θ_1|  -  1 / (N - 1)

    Both are 0 for a perfect interpolation and are averaged over pairs. The data are all three splits, in [-1, 1]. The
    interpolation is linear and between two codes, whatever the run's mixer. Pairs with θ_1 = θ_N have no smoothness
    and are left out (the authors' code includes them in the number it divides by); if no pair is left, so is the score.
    """

    better: ClassVar[Better] = "less"

    pairs: Annotated[int, Ge(1), "of test images, chosen by the run's seed"] = 500
    steps: Annotated[int, Ge(2), "N, images of an interpolation with both ends; 16 in the authors' code"] = 16
    factor: Annotated[str, "name of the factor that gives the angle, in radians"] = "angle"

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if the angle of the images is not known."""
        if self.factor not in data.factor_names:
            raise DataError(
                f"{data.source}: no factor {self.factor!r} gives the angle of an image (its factors: "
                f"{', '.join(data.factor_names) or 'none'})"
            )

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        distances, angles = self.nearest_along(run)
        smooth, defined = smoothness(angles)
        numbers = {"mean_distance": distances.mean().item()}
        return numbers | ({"smoothness": smooth[defined].mean().item()} if defined.any() else {})

    def nearest_along(self, run: FinishedRun) -> tuple[Float[Tensor, "pairs steps"], Float[Tensor, "pairs steps"]]:
        """d(x̂_n, x_{q_n}) and θ_n, not yet unwrapped, along each interpolation."""
        similarity, angles = self._nearest(run, self._interpolations(run).flatten(0, 1))
        return (1 - similarity).reshape(self.pairs, self.steps), angles.reshape(self.pairs, self.steps)

    def _nearest(
        self, run: FinishedRun, images: Float[Tensor, "m channels height width"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """The cosine similarity of each image to the nearest image of the data, and that image's angle."""
        column = run.data.factor_names.index(self.factor)
        best, angles = torch.full((len(images),), -torch.inf, dtype=torch.float64), torch.zeros(len(images)).double()
        for split in (run.data.train, run.data.validation, run.data.test):
            assert split.factors is not None
            known, start = split.factors[:, column].double(), 0
            for x in batches(split.images, "cpu"):
                similarity, nearest = nearest_of(images, x)
                nearer = similarity > best
                best = torch.where(nearer, similarity, best)
                angles = torch.where(nearer, known[start + nearest], angles)
                start += len(x)
        return best, angles

    def _interpolations(self, run: FinishedRun) -> Float[Tensor, "pairs steps channels height width"]:
        """The decoded interpolations, on the CPU."""
        test = run.data.test
        ends = torch.randint(len(test), (2, self.pairs), generator=rng_for(run.seed, "line_interpolation"))
        first, second = encode(run.autoencoder, test.images, run.device)[ends]
        t = torch.linspace(0, 1, self.steps).reshape(1, -1, *[1] * (first.ndim - 1))
        codes = torch.lerp(first[:, None], second[:, None], t).flatten(0, 1)
        with eval_mode(run.autoencoder):
            decoded = torch.cat([run.autoencoder.decode(h.to(run.device)).cpu() for h in codes.split(BATCH)])
        return decoded.reshape(self.pairs, self.steps, *decoded.shape[1:])


def nearest_of(
    images: Float[Tensor, "m channels height width"], data: Float[Tensor, "n channels height width"]
) -> tuple[Float[Tensor, " m"], Tensor]:
    """The cosine similarity of each image to the nearest one in `data`, and the index of that one."""
    found = [(normalize(part.flatten(1)) @ normalize(data.flatten(1)).T).max(1) for part in images.split(BATCH)]
    return torch.cat([f.values for f in found]).double(), torch.cat([f.indices for f in found])


def smoothness(angles: Float[Tensor, "pairs steps"]) -> tuple[Float[Tensor, " pairs"], Bool[Tensor, " pairs"]]:
    """How far the longest step exceeds an equal part of the whole change, and where θ_1 and θ_N differ at all."""
    steps = angles.diff(dim=1)
    steps = steps - 2 * pi * (steps / (2 * pi)).round()  # unwrapped
    whole = steps.sum(1).abs()
    defined = whole > 1e-4
    return steps.abs().amax(1) / whole.clamp(min=1e-4) - 1 / steps.shape[1], defined
