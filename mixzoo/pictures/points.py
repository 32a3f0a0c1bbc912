"""Data of points, drawn as scatter plots: the real ones in blue, what a run decodes in orange (AMR Figure 12).

Of points of more than two numbers the first two are drawn, of points of one number that number along a line.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import encode, eval_mode
from mixzoo.evaluation.mixes import random_mixes
from mixzoo.pictures.grid import BACKGROUND, INK, MARGIN, TEXT
from mixzoo.pictures.interpolation import decoded_at, triangular, way
from mixzoo.pictures.mixes import fixed_examples
from mixzoo.protocols import AutoEncoder, Mixer, Split

SIDE = 320  # pixels of a panel
FINER = 4  # times as many while drawing, then reduced: smooth edges
RANGE = 1.2  # a panel shows [-RANGE, RANGE] both ways; what lies outside is put on its border
DOT, LINE = 1.5, 1.0  # pixels: radius of a point, width of a path
REAL, DECODED = "#1f77b4", "#ff7f0e"  # blue and orange, as in Figure 12
SHOWN = 1000  # points of a kind in one panel


class Layer(NamedTuple):
    """Points of one colour, in a path where they are joined."""

    points: Float[Tensor, "n channels 1 1"]
    colour: str
    joined: bool = False


class Panel(NamedTuple):
    """A caption and the layers below it, the last on top."""

    caption: str
    layers: list[Layer]


def are_points(split: Split) -> bool:
    """Whether the split holds points, "images" of height and width 1."""
    return tuple(split.images.shape[2:]) == (1, 1)


def plot(panels: list[Panel], columns: int = 4) -> Image.Image:
    """The panels in rows of `columns`."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    cell_h, cell_w = SIDE + TEXT + 2 * MARGIN, SIDE + MARGIN
    paper = Image.new("RGB", (MARGIN + columns * cell_w, MARGIN + rows * cell_h), BACKGROUND)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(TEXT)
    for number, panel in enumerate(panels):
        left, top = MARGIN + number % columns * cell_w, MARGIN + number // columns * cell_h
        pen.text((left, top), panel.caption, fill=INK, font=font)
        paper.paste(draw_panel(panel), (left, top + TEXT + MARGIN))
    return paper


def draw_panel(panel: Panel) -> Image.Image:
    """One panel without its caption, SIDE x SIDE."""
    side = SIDE * FINER
    paper = Image.new("RGB", (side, side), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    radius = DOT * FINER
    for layer in panel.layers:
        places = [tuple(place) for place in positions(layer.points, side).tolist()]
        if layer.joined:
            pen.line(places, fill=layer.colour, width=int(LINE * FINER))
        for x, y in places:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=layer.colour)
    pen.rectangle((0, 0, side - 1, side - 1), outline=INK, width=FINER)
    return paper.resize((SIDE, SIDE), Image.Resampling.BOX)


def positions(points: Float[Tensor, "n channels 1 1"], side: int) -> Float[Tensor, "n 2"]:
    """Pixel coordinates of the points, x to the right and y upwards."""
    flat = points.detach().float().cpu().flatten(1)
    plane = torch.cat([flat, torch.zeros(len(flat), 1)], 1)[:, :2].clamp(-RANGE, RANGE)
    return (torch.tensor([1.0, -1.0]) * plane / RANGE + 1) * (side - 1) / 2


def real(split: Split) -> Layer:
    """The first points of the split."""
    return Layer(to_images(split.held[:SHOWN]), REAL)


def mix_panels(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> list[Panel]:
    """Reconstructions over the points they are of, and decoded random mixes over the same; always the same draws."""
    shown = split.held[:SHOWN]
    codes = encode(autoencoder, shown, device)
    with eval_mode(autoencoder):
        rebuilt = autoencoder.decode(codes.to(device)).cpu()
    mixes = random_mixes(autoencoder, mixer, split, count=SHOWN, seed=0, device=device)
    return [
        Panel("reconstructions", [real(split), Layer(rebuilt, DECODED)]),
        Panel("decoded random mixes", [real(split), Layer(mixes, DECODED)]),
    ]


def path_panel(
    autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, pairs: int, steps: int, device: str, caption: str = ""
) -> Panel:
    """The way between the points of each pair through `steps` decoded mixes, both ends included."""
    shown = fixed_examples(split, 2 * pairs)
    x, labels = to_images(split.read(shown).to(device)), split.labels[shown].to(device)
    path = way(mixer.k, steps)
    ways = [decoded_at(autoencoder, mixer, x[a : a + 2], labels[a : a + 2], path) for a in range(0, len(x) - 1, 2)]
    return Panel(
        caption or f"{len(ways)} ways of {steps} mixes", [real(split), *(Layer(way, DECODED, True) for way in ways)]
    )


def triangle_panel(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> Panel:
    """Decoded mixes of three points, at a triangular grid of `side` points along an edge."""
    shown = fixed_examples(split, 3)
    x, labels = to_images(split.read(shown).to(device)), split.labels[shown].to(device)
    grid = triangular(side)
    path = [torch.cat([torch.tensor(weights) / (side - 1), torch.zeros(mixer.k - 3)]) for weights in grid]
    mixes = decoded_at(autoencoder, mixer, x, labels, path)
    return Panel(f"{len(grid)} mixes of three points", [real(split), Layer(mixes, DECODED), Layer(x, INK)])
