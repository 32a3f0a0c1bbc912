"""Strips between pairs of test images, and the triangle of all mixes of three (AMR Figure 3, as images)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, CodeShape, Mixer
from mixzoo.core.random import to_device
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.pictures.grid import BACKGROUND, GAP, MARGIN, Row, enlarge, readable_scale, to_pixels
from mixzoo.evaluation.pictures.mixes import fixed_images


def strips(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, pairs: int, steps: int, device: str) -> list[Row]:
    """A row per pair: the first image, `steps` mixes on the path between them including both ends, the second image.

    Both ends are decoded, so they are reconstructions. Further sources of a mixer with k > 2 have weight 0.
    """
    x, labels = fixed_images(split, 2 * pairs, device)
    points = path_between_two(mixer.k, steps)
    rows = []
    for a in range(0, len(x) - 1, 2):
        ends = [a, a + 1]
        mixed = decode_mixes_at(autoencoder, mixer, x[ends], labels[ends], points)
        rows.append(Row(f"{_name(labels[a])} to {_name(labels[a + 1])}", torch.cat([x[[a]], mixed, x[[a + 1]]])))
    return rows


def triangle(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> Image.Image:
    """Mixes of three test images at the points of a triangular grid with `side` points along an edge.

    The corners are the reconstructions of the three. Raises ValueError if the mixer has k < 3.
    """
    x, labels = fixed_images(split, 3, device)
    return triangle_of(autoencoder, mixer, x, labels, side=side)


def triangle_of(
    autoencoder: AutoEncoder,
    mixer: Mixer,
    x: Float[Tensor, "3 channels height width"],
    labels: Tensor | None,
    *,
    side: int,
    scale: int | None = None,
) -> Image.Image:
    """The same for three images: the first at the top, the second at the left, the third at the right."""
    if mixer.k < 3:
        raise ValueError(f"a triangle needs a mixer of three sources, but this one mixes {mixer.k}")
    images = to_pixels(decode_mixes_at(autoencoder, mixer, x, labels, triangle_points(mixer.k, side)))
    height, width = images.shape[1:3]
    scale = readable_scale(height, width) if scale is None else scale
    cell_h, cell_w = height * scale + GAP, width * scale + GAP
    paper = Image.new("RGB", (2 * MARGIN + side * cell_w, 2 * MARGIN + side * cell_h), BACKGROUND)
    for (a, _, c), pixels in zip(triangle_grid(side), images):
        top = side - 1 - a
        left = (side - 1 - top) / 2 + c
        paper.paste(enlarge(pixels, scale), (MARGIN + int(left * cell_w), MARGIN + top * cell_h))
    return paper


def path_between_two(k: int, steps: int) -> list[Float[Tensor, " k"]]:
    """Points of the simplex from the first source to the second, including both."""
    return [torch.cat([torch.stack([1 - t, t]), torch.zeros(k - 2)]) for t in torch.linspace(0, 1, steps)]


def triangle_grid(side: int) -> list[tuple[int, int, int]]:
    """The points of a triangular grid with `side` points along an edge; the three numbers sum to side - 1."""
    return [(a, b, side - 1 - a - b) for a in range(side) for b in range(side - a)]


def triangle_points(k: int, side: int) -> list[Float[Tensor, " k"]]:
    """The points of that grid in the simplex of k sources; sources beyond three have weight 0."""
    return [torch.cat([torch.tensor(point) / (side - 1), torch.zeros(k - 3)]) for point in triangle_grid(side)]


def _name(label: Int[Tensor, "*attributes"]) -> str:
    """The class number, or the digits 0 and 1 of all attributes."""
    return "".join(map(str, label.flatten().tolist()))


def decode_mixes_at(
    autoencoder: AutoEncoder,
    mixer: Mixer,
    x: Float[Tensor, "corners channels height width"],
    labels: Tensor | None,
    points: Sequence[Float[Tensor, " k"]],
) -> Float[Tensor, "points channels height width"]:
    """The decoded mix of the images `x` at each point of the simplex; sources beyond `x` repeat its last image.

    `x` and `labels` are on the network's device; without labels, a mixer that mixes by them raises an error.
    """
    sources = [min(i, len(x) - 1) for i in range(mixer.k)]
    y = None if labels is None else labels[sources][:, None]
    with eval_mode(autoencoder):
        h = autoencoder.encode(x)[sources][:, None]  # [k 1 *latent]
        shape = CodeShape(1, tuple(h.shape[2:]))
        codes = [mixer(h, to_device(mixer.at(p, shape), x.device), y).h for p in points]
        return autoencoder.decode(torch.cat(codes))
