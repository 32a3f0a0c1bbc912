"""Rows of images with a label before each, as one PNG file."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.errors import StorageError

MARGIN, GAP, TEXT = 6, 2, 13  # pixels: around the sheet, between images, height of a label's type
SIDE = 64  # pixels, the least an image is enlarged to
BACKGROUND, INK = "white", "black"


class Row(NamedTuple):
    """A label and the images beside it."""

    label: str
    images: Float[Tensor, "n channels height width"]  # in [-1, 1]; what lies outside is clipped


def sheet(rows: list[Row]) -> Image.Image:
    """The rows below one another, each image enlarged by a whole number so that its pixels stay square and sharp."""
    _, _, height, width = rows[0].images.shape
    scale = max(1, -(-SIDE // min(height, width)))
    cell_w, cell_h = width * scale + GAP, height * scale + GAP
    font = ImageFont.load_default(TEXT)
    left = 2 * MARGIN + max(int(font.getlength(row.label)) for row in rows)
    columns = max(len(row.images) for row in rows)
    paper = Image.new("RGB", (left + columns * cell_w + MARGIN, 2 * MARGIN + len(rows) * cell_h), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    for j, row in enumerate(rows):
        top = MARGIN + j * cell_h
        pen.text((MARGIN, top + cell_h // 2 - TEXT // 2), row.label, fill=INK, font=font)
        for i, pixels in enumerate(to_pixels(row.images)):
            paper.paste(enlarged(pixels, scale), (left + i * cell_w, top))
    return paper


def channels_shown(channels: int) -> int:
    """How many of an image's channels a picture shows, the first ones: one as grey, or three as red, green and blue."""
    return 3 if channels >= 3 else 1


def channels_note(channels: int) -> str:
    """What pictures show of images of so many channels, in a line; '' for grey and coloured ones."""
    if channels in (1, 3):
        return ""
    shown = "the first three as red, green and blue" if channels > 3 else "the first as grey"
    return f"pictures: of the {channels} channels of an image they show {shown}"


def to_pixels(images: Float[Tensor, "n channels height width"]) -> UInt8[Tensor, "n height width rgb"]:
    """Images in [-1, 1] as 8-bit RGB; grey ones have three equal channels. See `channels_shown` for other numbers."""
    images = images[:, : channels_shown(images.shape[1])]
    bytes_ = ((images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return bytes_.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()


def enlarged(pixels: UInt8[Tensor, "height width rgb"], scale: int) -> Image.Image:
    """One image, each pixel a square of `scale` x `scale`."""
    image = Image.fromarray(pixels.numpy())
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def save_png(image: Image.Image, path: Path) -> Path:
    """Write the file whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as err:
        raise StorageError(f"{path}: the picture could not be written: {err.strerror or err}") from err
    return path
