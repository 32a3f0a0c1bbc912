"""Strips between pairs of test images, and the triangle of all mixes of three (Figure 3 of the paper, as images)."""

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from mixzoo.data.batches import to_images
from mixzoo.draws import to_device
from mixzoo.evaluation.codes import eval_mode
from mixzoo.pictures.grid import BACKGROUND, GAP, MARGIN, SIDE, Row, enlarged, to_pixels
from mixzoo.pictures.mixes import fixed_examples
from mixzoo.protocols import AutoEncoder, CodeShape, Mixer, Split


def strips(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, pairs: int, steps: int, device: str) -> list[Row]:
    """A row per pair: the first image, `steps` mixes on the way (both ends included), the second image.

    Both ends are decoded, so they are reconstructions. The other k-2 sources of a mixer of more than two have weight 0.
    """
    shown = fixed_examples(split, 2 * pairs)
    x = to_images(split.read(shown).to(device))
    labels = split.labels[shown].to(device)
    path = way(mixer.k, steps)
    rows = []
    for a in range(0, len(shown) - 1, 2):
        ends = [a, a + 1]
        mixed = decoded_at(autoencoder, mixer, x[ends], labels[ends], path)
        rows.append(Row(f"{_called(labels[a])} to {_called(labels[a + 1])}", torch.cat([x[[a]], mixed, x[[a + 1]]])))
    return rows


def triangle(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> Image.Image:
    """Mixes of three test images at the points of a triangular grid, `side` points along an edge; corners are the
    reconstructions of the three. Needs a mixer of k >= 3 (ValueError)."""
    if mixer.k < 3:
        raise ValueError(f"a triangle needs a mixer of three sources, this one mixes {mixer.k}")
    shown = fixed_examples(split, 3)
    x, labels = to_images(split.read(shown).to(device)), split.labels[shown].to(device)
    grid = triangular(side)
    path = [torch.cat([torch.tensor(weights) / (side - 1), torch.zeros(mixer.k - 3)]) for weights in grid]
    images = to_pixels(decoded_at(autoencoder, mixer, x, labels, path))
    scale = max(1, -(-SIDE // min(images.shape[1:3])))
    cell_h, cell_w = (size * scale + GAP for size in images.shape[1:3])
    paper = Image.new("RGB", (2 * MARGIN + side * cell_w, 2 * MARGIN + side * cell_h), BACKGROUND)
    for (a, _, c), pixels in zip(grid, images):
        top = side - 1 - a  # the first image at the top, the second at the left, the third at the right
        left = (side - 1 - top) / 2 + c
        paper.paste(enlarged(pixels, scale), (MARGIN + int(left * cell_w), MARGIN + top * cell_h))
    return paper


def way(k: int, steps: int) -> list[Float[Tensor, " k"]]:
    """Points of the simplex from the first source to the second, both ends included."""
    return [torch.cat([torch.stack([1 - t, t]), torch.zeros(k - 2)]) for t in torch.linspace(0, 1, steps)]


def triangular(side: int) -> list[tuple[int, int, int]]:
    """The points of a triangular grid with `side` points along an edge; the three numbers sum to side - 1."""
    return [(a, b, side - 1 - a - b) for a in range(side) for b in range(side - a)]


def _called(label: Int[Tensor, "*attributes"]) -> str:
    """The number of a class, or the 0 and 1 of every attribute."""
    return "".join(map(str, label.flatten().tolist()))


def decoded_at(
    autoencoder: AutoEncoder,
    mixer: Mixer,
    x: Float[Tensor, "corners channels height width"],
    labels: Tensor,
    path: list[Float[Tensor, " k"]],
) -> Float[Tensor, "points channels height width"]:
    """The decoded mix of the images `x` at each point; sources beyond them repeat the last one."""
    order = [min(i, len(x) - 1) for i in range(mixer.k)]
    with eval_mode(autoencoder):
        h = autoencoder.encode(x)[order][:, None]  # [k 1 *latent]
        shape = CodeShape(1, tuple(h.shape[2:]))
        codes = [mixer(h, to_device(mixer.at(p, shape), x.device), labels[order][:, None]).h for p in path]
        return autoencoder.decode(torch.cat(codes))
