"""Labelled rows of images as one PNG file."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.core.errors import StorageError

MARGIN, GAP, TEXT = 6, 2, 13  # pixels: around the sheet, between images, height of text
SIDE = 64  # pixels, to which smaller images are enlarged at least
BACKGROUND, INK = "white", "black"


class Row(NamedTuple):
    """A label and the images to the right of it."""

    label: str
    images: Float[Tensor, "n channels height width"]  # in [-1, 1]; values outside are clipped


def sheet(rows: list[Row]) -> Image.Image:
    """The rows one below the other; images are enlarged by a whole number, so that their pixels stay sharp."""
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
            paper.paste(enlarge(pixels, scale), (left + i * cell_w, top))
    return paper


def channels_shown(channels: int) -> int:
    """How many channels of an image a picture shows: the first as grey, or the first three as red, green and blue."""
    return 3 if channels >= 3 else 1


def channels_note(channels: int) -> str:
    """One line on what pictures show of images with this many channels; '' for one or three."""
    if channels in (1, 3):
        return ""
    shown = "the first three (as red, green and blue)" if channels > 3 else "the first (as grey)"
    return f"pictures: they show only {shown} of the {channels} channels of an image"


def to_pixels(images: Float[Tensor, "n channels height width"]) -> UInt8[Tensor, "n height width rgb"]:
    """Images in [-1, 1] as 8-bit RGB, with three equal channels for grey images; see `channels_shown`."""
    images = images[:, : channels_shown(images.shape[1])]
    bytes_ = ((images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return bytes_.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()


def enlarge(pixels: UInt8[Tensor, "height width rgb"], scale: int) -> Image.Image:
    """One image in which each pixel becomes a square of `scale` x `scale`."""
    image = Image.fromarray(pixels.numpy())
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def save_png(image: Image.Image, path: Path) -> Path:
    """Write the file atomically. Raises StorageError if it cannot be written."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as err:
        raise StorageError(f"{path}: the picture could not be written: {err.strerror or err}") from err
    return path
