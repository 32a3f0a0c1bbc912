"""Points of the plane on a spiral (AMR section 7.3): data that one plot can show completely."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from mixzoo import Dataset, Split, rng_for
from mixzoo_datasets.splits import TrainImages, build_dataset, shuffle_and_split

EXTENT = 0.9  # distance of the outer end from the origin; the rest of [-1, 1] is for noise


@dataclass(frozen=True, kw_only=True)
class Spiral:
    """Points (x, y) in [-1, 1] on an Archimedean spiral (AMR section 7.3, Figure 12), evenly spaced along its length.

        (x, y) = 0.9 (φ / φ_max) (cos φ, sin φ) + noise N(0, 1),  φ in (0, φ_max],  φ_max = 2π turns

    No labels; the angle φ is the factor. A point is an "image" [2, 1, 1]. 80 % train, 10 % validation, 10 % test, by
    the fixed shuffle. The paper gives neither its spiral nor its number of points.
    """

    points: Annotated[int, Ge(20), Le(1_000_000), "in all three splits"] = 10_000
    turns: Annotated[float, Ge(0.1), Le(20), "from the origin to the outer end"] = 2.0
    noise: Annotated[
        float, Ge(0), Le(0.5), "standard deviation of the noise added to each point; points are clipped to [-1, 1]"
    ] = 0.0
    train_images: TrainImages | None = None

    run_defaults: ClassVar[Mapping[str, Any]] = {
        "autoencoder": "mlp",
        "discriminator": "mlp",
        "metrics": ("mix_distance", "reconstruction"),
        "train": {"steps": 4000, "log_every": 100, "evaluate_every": 1000, "checkpoint_every": 1000},
    }

    def load(self, seed: int) -> Dataset:
        angles = self._angles()
        where = EXTENT * angles / (2 * pi * self.turns) * torch.stack([angles.cos(), angles.sin()])  # [2 n]
        where = where + self.noise * torch.randn(where.shape, dtype=where.dtype, generator=rng_for(0, "spiral"))
        points = where.T.clamp(-1, 1).float()[:, :, None, None]
        whole = Split(points, torch.zeros(self.points, dtype=torch.int64), angles.float()[:, None])
        tenth = self.points // 10
        return build_dataset(
            shuffle_and_split(whole, self.points - 2 * tenth, tenth),
            factor_names=("angle",),
            source=f"spiral of {self.turns:g} turns, {self.points} points",
            needed="20 points",
            train_images=self.train_images,
            seed=seed,
        )

    def _angles(self) -> Float[Tensor, " n"]:
        """Angles of points evenly spaced along the curve, by inverting its length: ∝ φ√(1 + φ²) + asinh φ at φ."""
        fine = torch.linspace(0, 2 * pi * self.turns, 100_001, dtype=torch.float64)
        length = fine * (1 + fine**2).sqrt() + fine.asinh()
        wanted = torch.arange(1, self.points + 1, dtype=torch.float64) / self.points * length[-1]
        right = torch.searchsorted(length, wanted).clamp(1, len(fine) - 1)
        part = (wanted - length[right - 1]) / (length[right] - length[right - 1])
        return fine[right - 1] + part * (fine[right] - fine[right - 1])
