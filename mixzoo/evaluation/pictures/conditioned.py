"""Strips of mixes that aim at a label, with the label under each column (AMR Figure 5)."""

import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.core.data import Dataset, Split
from mixzoo.core.labels import label_vectors
from mixzoo.core.parts import AutoEncoder, CodeShape, Mixer
from mixzoo.core.random import to_device
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.pictures.grid import BACKGROUND, GAP, INK, MARGIN, SIDE, enlarge, to_pixels
from mixzoo.evaluation.pictures.interpolation import path_between_two

ON, OFF = "#2a9d4a", "#d1495b"  # colours of attributes that a mix should and should not have
TICK = 11  # pixels, height of a mark and of its name


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
    rows = [_strip(autoencoder, mixer, data.test, pair, width, steps, device) for pair in pairs]

    # The sheet: names of the labels at the left, then a column per image with room for the marks under it.
    font = ImageFont.load_default(TICK)
    _, _, height, wide = rows[0][0].shape
    scale = max(1, -(-SIDE // min(height, wide)))
    cell_w, cell_h = wide * scale + GAP, height * scale + width * TICK + MARGIN
    left = 2 * MARGIN + max(int(font.getlength(name)) for name in names)
    paper = Image.new("RGB", (left + (steps + 2) * cell_w + MARGIN, 2 * MARGIN + len(rows) * cell_h), BACKGROUND)
    pen = ImageDraw.Draw(paper)

    for j, (images, targets) in enumerate(rows):
        top = MARGIN + j * cell_h
        marks = top + height * scale + 1
        for i, pixels in enumerate(to_pixels(images)):
            x = left + i * cell_w
            paper.paste(enlarge(pixels, scale), (x, top))
            for a, on in enumerate(targets[i].tolist()):
                y = marks + a * TICK
                pen.rectangle((x, y + 1, x + wide * scale - 1, y + TICK - 2), fill=ON if on else OFF)
        for a, name in enumerate(names):
            pen.text((MARGIN, marks + a * TICK - 1), name, fill=INK, font=font)
    return paper


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


def _strip(
    autoencoder: AutoEncoder, mixer: Mixer, split: Split, pair: tuple[int, int], width: int, steps: int, device: str
) -> tuple[Float[Tensor, "columns channels height width"], Bool[Tensor, "columns label"]]:
    """The images of one row, with the labels of the two inputs and those that the mixes between them aim at."""
    chosen = torch.tensor(pair)
    x, labels = to_images(split.read(chosen).to(device)), split.labels[chosen].to(device)
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
