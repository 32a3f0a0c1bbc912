"""Scatter plots of data sets of points: real points in blue, decoded ones in orange (AMR Figure 12).

The first two numbers of a point are drawn; points of one number lie on a line.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, Mixer
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import encode, eval_mode
from mixzoo.evaluation.mixes import random_mixes
from mixzoo.evaluation.pictures.grid import BACKGROUND, INK, MARGIN, TEXT
from mixzoo.evaluation.pictures.interpolation import decode_mixes_at, path_between_two, triangle_points
from mixzoo.evaluation.pictures.mixes import fixed_images

SIDE = 320  # pixels, of a panel
SUPERSAMPLING = 4  # panels are drawn larger by this factor and then reduced, for smooth edges
RANGE = 1.2  # a panel shows [-RANGE, RANGE] on both axes; points outside are moved to its border
DOT, LINE = 1.5, 1.0  # pixels: radius of a point, width of a path
REAL, DECODED = "#1f77b4", "#ff7f0e"  # blue and orange, as in Figure 12
SHOWN = 1000  # points of a layer, at most


class Layer(NamedTuple):
    """Points of one colour, joined to a path if `joined`."""

    points: Float[Tensor, "n channels 1 1"]
    colour: str
    joined: bool = False


class Panel(NamedTuple):
    """A caption and its layers, drawn in order."""

    caption: str
    layers: list[Layer]


def are_points(split: Split) -> bool:
    """Whether the split consists of points, "images" of height and width 1."""
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
    side = SIDE * SUPERSAMPLING
    paper = Image.new("RGB", (side, side), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    radius = DOT * SUPERSAMPLING
    for layer in panel.layers:
        centres = [tuple(centre) for centre in positions(layer.points, side).tolist()]
        if layer.joined:
            pen.line(centres, fill=layer.colour, width=int(LINE * SUPERSAMPLING))
        for x, y in centres:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=layer.colour)
    pen.rectangle((0, 0, side - 1, side - 1), outline=INK, width=SUPERSAMPLING)
    return paper.resize((SIDE, SIDE), Image.Resampling.BOX)


def positions(points: Float[Tensor, "n channels 1 1"], side: int) -> Float[Tensor, "n 2"]:
    """Pixel coordinates of the points, with x to the right and y upwards."""
    flat = points.detach().float().cpu().flatten(1)
    plane = torch.cat([flat, torch.zeros(len(flat), 1)], 1)[:, :2].clamp(-RANGE, RANGE)
    return (torch.tensor([1.0, -1.0]) * plane / RANGE + 1) * (side - 1) / 2


def real(split: Split) -> Layer:
    """The first points of the split."""
    return Layer(to_images(split.held[:SHOWN]), REAL)


def mix_panels(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> list[Panel]:
    """Two panels over the real points: their reconstructions, and decoded random mixes, with fixed draws."""
    codes = encode(autoencoder, split.held[:SHOWN], device)
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
    """The paths between the points of each pair, through `steps` decoded mixes including both ends."""
    x, labels = fixed_images(split, 2 * pairs, device)
    points = path_between_two(mixer.k, steps)
    paths = [
        decode_mixes_at(autoencoder, mixer, x[a : a + 2], labels[a : a + 2], points) for a in range(0, len(x) - 1, 2)
    ]
    return Panel(
        caption or f"{len(paths)} paths of {steps} mixes", [real(split), *(Layer(p, DECODED, True) for p in paths)]
    )


def triangle_panel(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> Panel:
    """Decoded mixes of three points, on a triangular grid with `side` points along an edge."""
    x, labels = fixed_images(split, 3, device)
    mixes = decode_mixes_at(autoencoder, mixer, x, labels, triangle_points(mixer.k, side))
    return Panel(f"{len(mixes)} mixes of three points", [real(split), Layer(mixes, DECODED), Layer(x, INK)])
