"""Scores of interpolations between images whose angle is known (Berthelot et al. 2019, section 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from mixzoo import FinishedRun
from mixzoo.draws import rng_for
from mixzoo.evaluation.codes import EVALUATION_BATCH, batches, encode, eval_mode


@dataclass(frozen=True, kw_only=True)
class LineInterpolation:
    """Mean distance and smoothness of the way between test images (Berthelot et al. 2019, section 4.1).

        x̂_n = g((1 - t_n) f(x₁) + t_n f(x₂)),  t_n = (n - 1) / (N - 1);  d(x̂, x) = 1 - ⟨x̂, x⟩ / (‖x̂‖ ‖x‖)
        q_n = argmin over data q of d(x̂_n, x_q), with angle θ_n;  θ is unwrapped: no step is longer than π
        mean_distance = mean over n of d(x̂_n, x_{q_n})
        smoothness    = max over n of |θ_{n+1} - θ_n| / |θ_N - θ_1|  -  1 / (N - 1)

    Both are 0 for a perfect interpolation, and averaged over pairs. Data are all three splits, in [-1, 1]. The way
    is straight and of two sources, whatever the run's mixer. Pairs whose θ_1 and θ_N are the same have no
    smoothness; they are left out (the authors' code divides by their number too), and if all are, so is the number.

    Of data without that factor there are no such numbers.
    """

    pairs: Annotated[int, Ge(1), "of test images, chosen by the run's seed"] = 500
    steps: Annotated[int, Ge(2), "N, images along a way, both ends included; 16 in the authors' code"] = 16
    factor: Annotated[str, "name of the factor that is the angle, in radians"] = "angle"

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        if self.factor not in run.data.factor_names:
            return {}
        distances, angles = self.followed(run)
        smooth, counts = smoothness(angles)
        numbers = {"mean_distance": distances.mean().item()}
        return numbers | ({"smoothness": smooth[counts].mean().item()} if counts.any() else {})

    def followed(self, run: FinishedRun) -> tuple[Float[Tensor, "pairs steps"], Float[Tensor, "pairs steps"]]:
        """d(x̂_n, x_{q_n}) along each way, and θ_n as the data have it."""
        similarity, angles = self._nearest(run, self._ways(run).flatten(0, 1))
        return (1 - similarity).reshape(self.pairs, self.steps), angles.reshape(self.pairs, self.steps)

    def _nearest(
        self, run: FinishedRun, images: Float[Tensor, "m channels height width"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """The cosine similarity of each image to the nearest of all the data, and the angle of that one."""
        column = run.data.factor_names.index(self.factor)
        best, angles = torch.full((len(images),), -torch.inf, dtype=torch.float64), torch.zeros(len(images)).double()
        for split in (run.data.train, run.data.validation, run.data.test):
            assert split.factors is not None
            known = split.factors[:, column].double().split(EVALUATION_BATCH)
            for x, their_angles in zip(batches(split.images, "cpu"), known):
                similarity, nearest = nearest_of(images, x)
                nearer = similarity > best
                best, angles = torch.where(nearer, similarity, best), torch.where(nearer, their_angles[nearest], angles)
        return best, angles

    def _ways(self, run: FinishedRun) -> Float[Tensor, "pairs steps channels height width"]:
        """The decoded ways, on the CPU."""
        test = run.data.test
        ends = torch.randint(len(test), (2, self.pairs), generator=rng_for(run.seed, "line_interpolation"))
        first, second = encode(run.autoencoder, test.images, run.device)[ends]
        t = torch.linspace(0, 1, self.steps).reshape(1, -1, *[1] * (first.ndim - 1))
        codes = torch.lerp(first[:, None], second[:, None], t).flatten(0, 1)
        with eval_mode(run.autoencoder):
            decoded = torch.cat([run.autoencoder.decode(h.to(run.device)).cpu() for h in codes.split(EVALUATION_BATCH)])
        return decoded.reshape(self.pairs, self.steps, *decoded.shape[1:])


def nearest_of(
    images: Float[Tensor, "m channels height width"], data: Float[Tensor, "n channels height width"]
) -> tuple[Float[Tensor, " m"], Tensor]:
    """The cosine similarity of each image to the nearest of the data, and which that is."""
    found = [
        (normalize(some.flatten(1)) @ normalize(data.flatten(1)).T).max(1) for some in images.split(EVALUATION_BATCH)
    ]
    return torch.cat([f.values for f in found]).double(), torch.cat([f.indices for f in found])


def smoothness(angles: Float[Tensor, "ways steps"]) -> tuple[Float[Tensor, " ways"], Bool[Tensor, " ways"]]:
    """How much more than its share the longest step of each way takes, and which ways lead anywhere."""
    steps = angles.diff(dim=1)
    steps = steps - 2 * pi * (steps / (2 * pi)).round()  # unwrapped
    whole = steps.sum(1).abs()
    leads = whole > 1e-4
    return steps.abs().amax(1) / whole.clamp(min=1e-4) - 1 / steps.shape[1], leads
