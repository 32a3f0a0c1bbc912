"""Pictures between triples of images, drawn beforehand, for a page that cannot run the decoder."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from mixzoo.runs.report.mixing import weighed
from mixzoo.runs.trained_run import Run

SIDE = 9  # points along each side of the triangle
TRIPLES = 4
LARGEST_TILE = 64  # pixels


def atlas(run: Run, x: Float[Tensor, "batch channels height width"]) -> dict[str, Any]:
    """Decoded mixes Σᵢ wᵢ hᵢ of a few triples of x, at a triangular grid of weights: one sprite for each triple.

    Tiles follow one another row by row, `columns` in each, in the order of `points`.
    """
    steps = SIDE - 1
    points = [(i / steps, j / steps, (steps - i - j) / steps) for i in range(SIDE) for j in range(SIDE - i)]
    codes = run.encode(x, value_range=(-1, 1))
    triples = [[i, i + 1, i + 2] for i in range(0, len(x) - 2, 3)][:TRIPLES]
    drawn = []
    for triple in triples:
        mixes = torch.stack([weighed(codes[triple], torch.tensor(point)) for point in points])
        drawn.append({"images": triple, "sprite": sprite(_small(run.decode(mixes)), SIDE)})
    height, width = _small(x[:1]).shape[2:]
    return {"points": points, "columns": SIDE, "tile": [height, width], "triples": drawn}


def _small(images: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n channels tall wide"]:
    """At most LARGEST_TILE pixels high and wide."""
    scale = LARGEST_TILE / max(images.shape[2:])
    return images if scale >= 1 else interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)


def sprite(images: Float[Tensor, "n channels height width"], columns: int) -> str:
    """The images as tiles of one picture, as a data: URI."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    sheet = torch.zeros(rows * columns, channels, height, width)
    sheet[:n] = ((images.clamp(-1, 1) + 1) * 127.5).round()
    tiles = sheet.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    pixels = tiles.reshape(rows * height, columns * width, channels).to(torch.uint8).numpy()
    buffer = BytesIO()
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(buffer, "WEBP", quality=85, method=4)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"
