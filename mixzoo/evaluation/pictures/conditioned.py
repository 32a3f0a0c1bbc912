"""Strips of mixes that aim at a label, with the label under each column (AMR Figure 5)."""

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from mixzoo.core.data import Dataset, Split
from mixzoo.core.labels import label_vectors
from mixzoo.core.parts import AutoEncoder, CodeShape, Mixer
from mixzoo.core.random import to_device
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.pictures.grid import Block, Row, block_sheet
from mixzoo.evaluation.pictures.interpolation import path_between_two


def aims_at_labels(mixer: Mixer, data: Dataset, latent: tuple[int, ...], device: str) -> bool:
    """Whether the mixer conditions its mixes on labels."""
    if not data.build_context().label_width:
        return False
    h = torch.zeros(mixer.k, 1, *latent, device=device)
    labels = torch.stack([data.test.labels[:1]] * mixer.k).to(device)
    point = torch.full((mixer.k,), 1 / mixer.k)
    with torch.no_grad():
        draw = to_device(mixer.at(point, CodeShape(1, latent)), h.device)
        return mixer(h, draw, labels).labels is not None


def conditioned_strips(
    autoencoder: AutoEncoder, mixer: Mixer, data: Dataset, *, pairs: list[tuple[int, int]], steps: int, device: str
) -> Image.Image:
    """A row per pair of test images: x₁, mixes conditioned on ỹ_mix between y₁ and y₂, x₂.

    Under each column is a mark for each class or attribute, green if it has more than 1/2 in ỹ_mix and red otherwise.
    """
    width = data.build_context().label_width
    names = data.attribute_names or data.class_names
    rows = []
    for pair in pairs:
        chosen = torch.tensor(pair)
        x, labels = to_images(data.test.read(chosen).to(device)), data.test.labels[chosen].to(device)
        rows.append(conditioned_path(autoencoder, mixer, x, labels, steps, width))
    return block_sheet([Block("", [Row("", images, targets) for images, targets in rows], names)])


def pairs_with_different_labels(split: Split, width: int, pairs: int) -> list[tuple[int, int]]:
    """Pairs among the first examples, each paired with the unused one that differs in the most labels."""
    y = label_vectors(split.labels[None], width)[0]
    free = list(range(min(len(y), 50 * pairs)))
    found: list[tuple[int, int]] = []
    while free and len(found) < pairs:
        first = free.pop(0)
        gaps = [int((y[first] != y[other]).sum()) for other in free]
        if not gaps or max(gaps) == 0:
            continue
        found.append((first, free.pop(gaps.index(max(gaps)))))
    return found


def conditioned_path(
    autoencoder: AutoEncoder,
    mixer: Mixer,
    x: Float[Tensor, "2 channels height width"],
    labels: Int[Tensor, "2 *attributes"],
    steps: int,
    width: int,
) -> tuple[Float[Tensor, "columns channels height width"], Bool[Tensor, "columns label"]]:
    """x₁, mixes and x₂, with the labels of the two images and those that the mixes between them aim at."""
    sources = [min(i, 1) for i in range(mixer.k)]  # sources beyond two repeat the second
    images, targets = [x[:1]], [label_vectors(labels[None, :1], width)[0]]
    with eval_mode(autoencoder):
        h = autoencoder.encode(x)[sources][:, None]
        for point in path_between_two(mixer.k, steps):
            draw = to_device(mixer.at(point, CodeShape(1, tuple(h.shape[2:]))), x.device)
            mixed = mixer(h, draw, labels[sources][:, None])
            assert mixed.labels is not None
            images.append(autoencoder.decode(mixed.h))
            targets.append(mixed.labels)
    images.append(x[1:])
    targets.append(label_vectors(labels[None, 1:], width)[0])
    return torch.cat(images), torch.cat(targets).cpu() > 0.5
