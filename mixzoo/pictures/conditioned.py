"""Strips of mixes that aim at a label, with the label under each column (Figure 5 of the paper)."""

import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.data.batches import to_images
from mixzoo.draws import to_device
from mixzoo.evaluation.codes import eval_mode
from mixzoo.mixing import label_vectors
from mixzoo.pictures.grid import BACKGROUND, GAP, INK, MARGIN, SIDE, enlarged, to_pixels
from mixzoo.protocols import AutoEncoder, CodeShape, Dataset, Mixer, Split

ON, OFF = "#2a9d4a", "#d1495b"  # an attribute that is asked for, and one that is not
TICK = 11  # pixels, height of one mark and of its name


def aims_at_labels(mixer: Mixer, data: Dataset, latent: tuple[int, ...], device: str) -> bool:
    """Whether the mixer conditions its mixes on a label."""
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
    """A row per pair of test images: x₁, mixes conditioned on ỹ_mix on the way from y₁ to y₂, x₂.

    Under each column a mark for each class or attribute, green where its part of ỹ_mix is more than 1/2, red where not.
    """
    width = data.build_context().label_width
    names = data.attribute_names or data.class_names
    rows = [_strip(autoencoder, mixer, data.test, pair, width, steps, device) for pair in pairs]
    font = ImageFont.load_default(TICK)
    _, _, height, wide = rows[0][0].shape
    scale = max(1, -(-SIDE // min(height, wide)))
    cell_w, cell_h = wide * scale + GAP, height * scale + width * TICK + MARGIN
    left = 2 * MARGIN + max(int(font.getlength(name)) for name in names)
    paper = Image.new("RGB", (left + (steps + 2) * cell_w + MARGIN, 2 * MARGIN + len(rows) * cell_h), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    for j, (images, asked) in enumerate(rows):
        top = MARGIN + j * cell_h
        marks = top + height * scale + 1
        for i, pixels in enumerate(to_pixels(images)):
            x = left + i * cell_w
            paper.paste(enlarged(pixels, scale), (x, top))
            for a, on in enumerate(asked[i].tolist()):
                y = marks + a * TICK
                pen.rectangle((x, y + 1, x + wide * scale - 1, y + TICK - 2), fill=ON if on else OFF)
        for a, name in enumerate(names):
            pen.text((MARGIN, marks + a * TICK - 1), name, fill=INK, font=font)
    return paper


def differing(split: Split, width: int, pairs: int) -> list[tuple[int, int]]:
    """Pairs of the first examples, none used twice, each with the one that differs from it in most labels."""
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
    """The images of one row, and which labels each has, is asked for, or has."""
    chosen = torch.tensor(pair)
    x, labels = to_images(split.read(chosen).to(device)), split.labels[chosen].to(device)
    order = [min(i, 1) for i in range(mixer.k)]  # sources beyond two repeat the second
    weights = torch.linspace(0, 1, steps)
    images, asked = [x[:1]], [label_vectors(labels[None, :1], width)[0]]
    with eval_mode(autoencoder):
        h = autoencoder.encode(x)[order][:, None]
        for t in weights:
            point = torch.cat([torch.stack([1 - t, t]), torch.zeros(mixer.k - 2)])
            draw = to_device(mixer.at(point, CodeShape(1, tuple(h.shape[2:]))), x.device)
            mixed = mixer(h, draw, labels[order][:, None])
            assert mixed.labels is not None
            images.append(autoencoder.decode(mixed.h))
            asked.append(mixed.labels)
    images.append(x[1:])
    asked.append(label_vectors(labels[None, 1:], width)[0])
    return torch.cat(images), torch.cat(asked).cpu() > 0.5
