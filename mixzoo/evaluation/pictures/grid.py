"""Labelled rows of images as one PNG file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixzoo.core.storage import whole_file

MARGIN, GAP, TEXT = 6, 2, 13  # pixels: around the sheet, between images, height of text
SIDE = 64  # pixels, to which smaller images are enlarged at least
HEADING, TICK = 20, 11  # pixels: height of a title's line; of a mark and of its name
BACKGROUND, INK = "white", "black"
ON, OFF = "#009e73", "#d55e00"  # of marks: green and red that people of any colour vision tell apart


class Row(NamedTuple):
    """A label and the images to the right of it."""

    label: str
    images: Float[Tensor, "n channels height width"]  # in [-1, 1]; values outside are clipped
    marks: Bool[Tensor, "n mark"] | None = None  # green or red under each image, a line for each of the block's marks


class Block(NamedTuple):
    """Rows under a title, such as those between the same two images."""

    title: str  # '' for none
    rows: Sequence[Row]
    marks: Sequence[str] = ()  # the name of each line of marks


def sheet(rows: Sequence[Row], scale: int | None = None) -> Image.Image:
    """The rows one below the other; images are enlarged by a whole number, so that their pixels stay sharp."""
    return block_sheet([Block("", rows)], scale)


def block_sheet(blocks: Sequence[Block], scale: int | None = None) -> Image.Image:
    """The blocks one below the other, all images enlarged alike: `scale` times, or to SIDE pixels at least."""
    rows = [row for block in blocks for row in block.rows]
    _, _, height, width = rows[0].images.shape
    scale = readable_scale(height, width) if scale is None else scale
    cell_w, cell_h = width * scale + GAP, height * scale + GAP

    # Columns are as wide as an image; at the left is room for the longest label, at the right for a longer title.
    font, small = ImageFont.load_default(TEXT), ImageFont.load_default(TICK)
    labels = [int(font.getlength(row.label)) for row in rows]
    names = [int(small.getlength(name)) for block in blocks for name in block.marks]
    left = 2 * MARGIN + max([*labels, *names])
    inside = max(len(row.images) for row in rows) * cell_w
    titles = max(int(font.getlength(block.title)) for block in blocks)
    tall = sum(
        HEADING * bool(block.title) + sum(cell_h + _marks_height(block, row) for row in block.rows) for block in blocks
    )
    paper = Image.new("RGB", (left + max(inside, titles) + MARGIN, 2 * MARGIN + tall), BACKGROUND)
    pen = ImageDraw.Draw(paper)

    top = MARGIN
    for block in blocks:
        if block.title:
            pen.text((left, top + 2), block.title, fill=INK, font=font)
            top += HEADING
        for row in block.rows:
            pen.text((MARGIN, top + cell_h // 2 - TEXT // 2), row.label, fill=INK, font=font)
            for i, pixels in enumerate(to_pixels(row.images)):
                paper.paste(enlarge(pixels, scale), (left + i * cell_w, top))
            if row.marks is not None:
                _draw_marks(pen, row.marks, block.marks, left, top + height * scale + 1, cell_w)
            top += cell_h + _marks_height(block, row)
    return paper


def _marks_height(block: Block, row: Row) -> int:
    """Pixels under the images of a row, for its marks."""
    return 0 if row.marks is None else len(block.marks) * TICK + MARGIN - GAP


def _draw_marks(
    pen: ImageDraw.ImageDraw, marks: Bool[Tensor, "n mark"], names: Sequence[str], left: int, top: int, cell_w: int
) -> None:
    font = ImageFont.load_default(TICK)
    for a, name in enumerate(names):
        y = top + a * TICK
        pen.text((MARGIN, y - 1), name, fill=INK, font=font)
        for i, on in enumerate(marks[:, a].tolist()):
            x = left + i * cell_w
            pen.rectangle((x, y + 1, x + cell_w - GAP - 1, y + TICK - 2), fill=ON if on else OFF)


def beside(pictures: Sequence[tuple[str, Image.Image]], title: str = "", most_wide: int = 4) -> Image.Image:
    """Pictures of one size with a label above each, in rows of at most `most_wide`, under a title if there is one."""
    font = ImageFont.load_default(TEXT)
    columns = min(most_wide, len(pictures))
    wide = max(pictures[0][1].width, *(int(font.getlength(label)) + 2 * MARGIN for label, _ in pictures))
    tall, head = pictures[0][1].height + HEADING, HEADING * bool(title)
    across = max(columns * wide, int(font.getlength(title)) + 2 * MARGIN)
    paper = Image.new("RGB", (across, head + -(-len(pictures) // columns) * tall), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    pen.text((MARGIN, 2), title, fill=INK, font=font)
    for number, (label, picture) in enumerate(pictures):
        x, y = number % columns * wide, head + number // columns * tall
        pen.text((x + MARGIN, y + 2), label, fill=INK, font=font)
        paper.paste(picture, (x, y + HEADING))
    return paper


def readable_scale(height: int, width: int) -> int:
    """How many times an image is enlarged if nobody says: until its shorter side has SIDE pixels."""
    return max(1, -(-SIDE // min(height, width)))


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


def save_png(image: Image.Image, path: Path, *, parents: bool = True) -> Path:
    """Write the file atomically. Raises StorageError if it cannot be written.

    Its folder is made if it is not there, and with `parents` those above it.
    """
    with whole_file(path, "the picture could not be written") as temporary:
        path.parent.mkdir(parents=parents, exist_ok=True)
        image.save(temporary, format="PNG")
    return path
