"""Scatter plots of data sets of points: real points in blue, decoded ones in orange (AMR Figure 12).

The first two numbers of a point are drawn; points of one number lie on a line. matplotlib is imported when it is used.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, Mixer
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import encode, eval_mode
from mixzoo.evaluation.mixes import random_mixes
from mixzoo.evaluation.pictures.interpolation import decode_mixes_at, path_between_two, triangle_points
from mixzoo.evaluation.pictures.mixes import fixed_images
from mixzoo.evaluation.pictures.style import figure_bytes, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 3.2  # inches of a panel
RANGE = 1.2  # a panel shows [-RANGE, RANGE] on both axes; points outside are moved to its border
DOT, LINE = 6.0, 1.0  # points: area of a dot, width of a path
REAL, DECODED, CORNER = "#0072B2", "#E69F00", "#000000"  # blue and orange, as in Figure 12
SHOWN = 1000  # points of a layer, at most


class ScatterLayer(NamedTuple):
    """Points of one colour, joined to a path if `joined`."""

    points: Float[Tensor, "n channels 1 1"]
    colour: str
    joined: bool = False


class ScatterPanel(NamedTuple):
    """A caption and its layers, drawn in order."""

    caption: str
    layers: list[ScatterLayer]


def are_points(split: Split) -> bool:
    """Whether the split consists of points, "images" of height and width 1."""
    return tuple(split.images.shape[2:]) == (1, 1)


def scatter_plot(panels: Sequence[ScatterPanel], columns: int = 4) -> "Figure":
    """The panels in rows of `columns`, as a matplotlib figure."""
    from matplotlib.figure import Figure

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with figure_style():
        figure = Figure(figsize=(SIDE * columns, (SIDE + 0.25) * rows), layout="constrained")
        for number, panel in enumerate(panels, 1):
            axes = figure.add_subplot(rows, columns, number)
            axes.set_title(panel.caption, loc="left").set_parse_math(False)
            axes.set(xlim=(-RANGE, RANGE), ylim=(-RANGE, RANGE), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
            for layer in panel.layers:
                x, y = positions(layer.points).T.tolist()
                if layer.joined:
                    axes.plot(x, y, color=layer.colour, linewidth=LINE)
                axes.scatter(x, y, s=DOT, color=layer.colour, linewidths=0, zorder=2)
    return figure


def picture_of(figure: "Figure") -> Image.Image:
    """A matplotlib figure as a picture."""
    return Image.open(BytesIO(figure_bytes(figure, ".png")), formats=("PNG",)).convert("RGB")


def positions(points: Float[Tensor, "n channels 1 1"]) -> Float[Tensor, "n 2"]:
    """The points in the plane, those outside the panel moved to its border."""
    flat = points.detach().float().cpu().flatten(1)
    return torch.cat([flat, torch.zeros(len(flat), 1)], 1)[:, :2].clamp(-RANGE, RANGE)


def real(split: Split) -> ScatterLayer:
    """The first points of the split."""
    return ScatterLayer(to_images(split.held[:SHOWN]), REAL)


def mix_panels(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> list[ScatterPanel]:
    """Two panels over the real points: their reconstructions, and decoded random mixes, with fixed draws."""
    codes = encode(autoencoder, split.held[:SHOWN], device)
    with eval_mode(autoencoder):
        rebuilt = autoencoder.decode(codes.to(device)).cpu()
    return [
        ScatterPanel("reconstructions", [real(split), ScatterLayer(rebuilt, DECODED)]),
        random_panel("decoded random mixes", autoencoder, mixer, split, device),
    ]


def random_panel(
    caption: str,
    autoencoder: AutoEncoder,
    mixer: Mixer,
    split: Split,
    device: str,
    *,
    mixes: int = SHOWN,
    seed: int = 0,
) -> ScatterPanel:
    """Decoded random mixes over the real points."""
    decoded = random_mixes(autoencoder, mixer, split, count=mixes, seed=seed, device=device)
    return ScatterPanel(caption, [real(split), ScatterLayer(decoded, DECODED)])


def path_panel(
    autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, pairs: int, steps: int, device: str, caption: str = ""
) -> ScatterPanel:
    """The paths between the points of each pair, through `steps` decoded mixes including both ends."""
    x, labels = fixed_images(split, 2 * pairs, device)
    points = path_between_two(mixer.k, steps)
    paths = [
        decode_mixes_at(autoencoder, mixer, x[a : a + 2], labels[a : a + 2], points) for a in range(0, len(x) - 1, 2)
    ]
    return ScatterPanel(
        caption or f"{len(paths)} paths of {steps} mixes",
        [real(split), *(ScatterLayer(p, DECODED, True) for p in paths)],
    )


def triangle_panel(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> ScatterPanel:
    """Decoded mixes of three points, on a triangular grid with `side` points along an edge."""
    x, labels = fixed_images(split, 3, device)
    mixes = decode_mixes_at(autoencoder, mixer, x, labels, triangle_points(mixer.k, side))
    return ScatterPanel(
        f"{len(mixes)} mixes of three points", [real(split), ScatterLayer(mixes, DECODED), ScatterLayer(x, CORNER)]
    )
