"""Lines at every angle (Berthelot et al. 2019): images whose only factor is known exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float, UInt8
from torch import Tensor

from mixzoo import Dataset, Split
from mixzoo_datasets.splits import TrainImages, build_dataset, shuffle_and_split

SIDE = 32  # pixels
CHUNK = 1000  # images drawn at a time


@dataclass(frozen=True, kw_only=True)
class Lines:
    """White lines on black, 32x32, from the centre outwards at angles in [0, 2π) (Berthelot et al. 2019, section 4.1).

    The angles are evenly spaced; angle 0 points right and π/2 down. The angle is the factor, and there are no labels.
    80 % train, 10 % validation, 10 % test, by the fixed shuffle. The brightness of a pixel is its coverage along the
    line times its coverage across it. The text gives a length of 16 pixels and no width; the authors' code draws 15
    pixels, two in each row or column that the line crosses, at new random angles in every step. Such a line is
    2 pixels wide at angle 0 and √2 at π/4, measured perpendicularly.
    """

    images: Annotated[int, Ge(20), Le(1_000_000), "in all three splits, one for each angle"] = 10_000
    length: Annotated[float, Gt(0), Le(16), "pixels from the centre; 16 in the text, 15 in the authors' code"] = 16.0
    width: Annotated[float, Ge(1), Le(8), "pixels in each row or column that it crosses"] = 2.0
    train_images: TrainImages | None = None

    run_defaults: ClassVar[Mapping[str, Any]] = {"metrics": ("line_interpolation", "reconstruction")}

    def load(self, seed: int) -> Dataset:
        angles = torch.arange(self.images, dtype=torch.float64) * (2 * pi / self.images)
        drawn = torch.cat([draw(some, self.length, self.width) for some in angles.split(CHUNK)])
        whole = Split(drawn, torch.zeros(self.images, dtype=torch.int64), angles.float()[:, None])
        tenth = self.images // 10
        return build_dataset(
            shuffle_and_split(whole, self.images - 2 * tenth, tenth),
            factor_names=("angle",),
            source=f"lines at {self.images} angles",
            needed="20 images",
            train_images=self.train_images,
            seed=seed,
        )


def draw(angles: Float[Tensor, " n"], length: float = 16.0, width: float = 2.0) -> UInt8[Tensor, "n 1 side side"]:
    """A line at each angle, in radians."""
    centre = (
        torch.arange(SIDE, dtype=angles.dtype) + 0.5 - SIDE / 2
    )  # of each pixel, relative to the centre of the image
    x, y = centre[None, None, :], centre[None, :, None]
    cos, sin = (f(angles)[:, None, None] for f in (torch.cos, torch.sin))
    along = cos * x + sin * y  # [n side side], distance along the line
    # Distance from the line, along rows or columns, whichever crosses it at the larger angle.
    across = (cos * y - sin * x).abs() / torch.maximum(cos.abs(), sin.abs())
    covered = (along + 0.5).clamp(0, 1) * (length - along + 0.5).clamp(0, 1) * (width / 2 - across + 0.5).clamp(0, 1)
    return (255 * covered).round().to(torch.uint8)[:, None]
