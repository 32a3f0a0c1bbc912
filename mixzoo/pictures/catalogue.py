"""Every mixer side by side: the same three test images, a row per mixer, one path through the triangle between them."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.data.batches import to_images
from mixzoo.pictures.grid import Row
from mixzoo.pictures.interpolation import decoded_at
from mixzoo.pictures.mixes import fixed_examples
from mixzoo.protocols import AutoEncoder, Mixer, Split

CORNERS = 3


def rows(autoencoder: AutoEncoder, mixers: Mapping[str, Mixer], split: Split, *, steps: int, device: str) -> list[Row]:
    """A row of pixels mixed by plain mixup, then a row per mixer, its decoded mixes at the same points.

    The path goes from the first image to the second and on to the third, `steps` mixes a leg with both ends, then to
    the middle of the three, which a mixer of two sources has no part in. Raises ValueError for steps below 2.
    """
    if steps < 2:
        raise ValueError(f"a leg of {steps} mixes has no two ends; steps must be at least 2")
    shown = fixed_examples(split, CORNERS)
    x, labels = to_images(split.read(shown).to(device)), split.labels[shown].to(device)
    way = path(steps).to(device)
    blended = Row("pixels, mixup", torch.einsum("pk,kchw->pchw", way, x))
    return [blended, *(Row(name, _decoded(autoencoder, m, x, labels, way)) for name, m in mixers.items())]


def path(steps: int) -> Float[Tensor, "points 3"]:
    """Points of the triangle: first corner to second to third along the edges, then the middle."""
    t = torch.linspace(0, 1, steps)[:, None]
    first, second, third = torch.eye(CORNERS)
    legs = [(1 - t) * first + t * second, (1 - t[1:]) * second + t[1:] * third]
    return torch.cat([*legs, torch.full((1, CORNERS), 1 / CORNERS)])


def _decoded(
    autoencoder: AutoEncoder,
    mixer: Mixer,
    x: Float[Tensor, "3 channels height width"],
    labels: Tensor,
    way: Float[Tensor, "points 3"],
) -> Float[Tensor, "shown channels height width"]:
    if mixer.k >= CORNERS:
        rest = way.new_zeros(mixer.k - CORNERS)
        return decoded_at(autoencoder, mixer, x, labels, [torch.cat([point, rest]) for point in way])
    pairs = [([0, 1], point[:2]) if point[2] == 0 else ([1, 2], point[1:]) for point in way[:-1]]
    return torch.cat([decoded_at(autoencoder, mixer, x[ends], labels[ends], [weights]) for ends, weights in pairs])
