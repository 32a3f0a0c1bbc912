"""Every mixer side by side: a row per mixer, along one path between the same three test images."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, Mixer
from mixzoo.evaluation.pictures.grid import Row
from mixzoo.evaluation.pictures.interpolation import decode_mixes_at
from mixzoo.evaluation.pictures.mixes import fixed_images

CORNERS = 3


def rows(autoencoder: AutoEncoder, mixers: Mapping[str, Mixer], split: Split, *, steps: int, device: str) -> list[Row]:
    """A row of pixels mixed by plain mixup, then a row per mixer with its decoded mixes at the same points.

    The path goes from the first image to the second and on to the third, with `steps` mixes per leg including both
    ends, and then to the middle of the three, which mixers of two sources leave out. Raises ValueError if steps < 2.
    """
    x, labels = fixed_images(split, CORNERS, device)
    return mixer_rows(autoencoder, mixers, x, labels, steps=steps)


def mixer_rows(
    autoencoder: AutoEncoder,
    mixers: Mapping[str, Mixer],
    x: Float[Tensor, "3 channels height width"],
    labels: Tensor | None,
    *,
    steps: int,
) -> list[Row]:
    """The same rows for three images, on the network's device."""
    if steps < 2:
        raise ValueError(f"a leg of {steps} mixes has no two ends; steps must be at least 2")
    points = path(steps).to(x.device)
    blended = Row("pixels, mixup", torch.einsum("pk,kchw->pchw", points, x))
    return [blended, *(Row(name, _decode(autoencoder, m, x, labels, points)) for name, m in mixers.items())]


def path(steps: int) -> Float[Tensor, "points 3"]:
    """Points of the triangle: from the first corner to the second and the third along the edges, then the middle."""
    t = torch.linspace(0, 1, steps)[:, None]
    first, second, third = torch.eye(CORNERS)
    legs = [(1 - t) * first + t * second, (1 - t[1:]) * second + t[1:] * third]
    return torch.cat([*legs, torch.full((1, CORNERS), 1 / CORNERS)])


def _decode(
    autoencoder: AutoEncoder,
    mixer: Mixer,
    x: Float[Tensor, "3 channels height width"],
    labels: Tensor | None,
    points: Float[Tensor, "points 3"],
) -> Float[Tensor, "decoded channels height width"]:
    """The decoded mixes at the points; a mixer of two sources has one on each edge and none in the middle."""
    if mixer.k >= CORNERS:
        padding = points.new_zeros(mixer.k - CORNERS)
        return decode_mixes_at(autoencoder, mixer, x, labels, [torch.cat([point, padding]) for point in points])
    pairs = [([0, 1], point[:2]) if point[2] == 0 else ([1, 2], point[1:]) for point in points[:-1]]
    return torch.cat(
        [
            decode_mixes_at(autoencoder, mixer, x[ends], None if labels is None else labels[ends], [point])
            for ends, point in pairs
        ]
    )
