"""The pictures that runs drew, as data: URIs: decoded and written again, so that only pixels get into the page."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from warnings import catch_warnings, simplefilter

from PIL import Image

from mixzoo.core.errors import one_line
from mixzoo.core.storage import read_regular
from mixzoo.runs.listing import RunRecord
from mixzoo.runs.report.naming import Naming

BUDGET = 1_100_000  # bytes of all pictures of a page, a third more as text
LARGEST_FILE, LARGEST_SIDE, WIDEST = 30_000_000, 20_000, 1200  # bytes that are read; pixels; pixels that are shown


@dataclass(frozen=True)
class Picture:
    """A picture of a run, or the reason that there is none."""

    run: str
    step: int = 0
    uri: str = ""
    width: int = 0  # pixels
    height: int = 0
    note: str = ""


def pictures_of(records: Sequence[RunRecord], naming: Naming) -> list[Picture]:
    """The last picture of each run, or that of the step that its scores are of."""
    return [_picture(record, naming, BUDGET // len(records)) for record in records]


def _picture(record: RunRecord, naming: Naming, most: int) -> Picture:
    name = naming.names[record.path]
    files = sorted((record.path / "pictures").glob("step-*.png"))
    scored = [file for file in files if file.stem == f"step-{record.scored_step:08d}"]
    if not files:
        return Picture(name, note="it has drawn no picture yet; a run draws one each time that it is evaluated")
    file = (scored or files)[-1]
    digits = file.stem.removeprefix("step-")
    step = int(digits) if digits.isascii() and digits.isdigit() else 0
    try:
        image = _opened(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        reason = naming.public(one_line(err) or type(err).__name__)
        return Picture(name, step, note=f"its picture of step {step} cannot be read: {reason}")
    content, image = _encoded(image, most)
    return Picture(name, step, f"data:image/webp;base64,{b64encode(content).decode()}", *image.size)


def _opened(file: Path) -> Image.Image:
    """The picture as RGB, at most WIDEST pixels wide."""
    with catch_warnings():
        simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(BytesIO(read_regular(file, LARGEST_FILE)), formats=["PNG"]) as opened:
            if max(opened.size) > LARGEST_SIDE:
                raise ValueError(f"it is {opened.size[0]}x{opened.size[1]} pixels")
            image = opened.convert("RGB")
    return _narrowed(image, WIDEST)


def _encoded(image: Image.Image, most: int) -> tuple[bytes, Image.Image]:
    """WebP of at most about `most` bytes: without loss if that fits, else with some, else smaller."""
    content = _webp(image, lossless=True)
    while len(content) > most and image.width > 100:
        content = _webp(image, lossless=False)
        if len(content) > most:
            image = _narrowed(image, int(image.width * 0.8))
    return content, image


def _webp(image: Image.Image, *, lossless: bool) -> bytes:
    buffer = BytesIO()
    if lossless:
        image.save(buffer, "WEBP", lossless=True, quality=0, method=0)  # thirty times faster than the smallest
    else:
        image.save(buffer, "WEBP", quality=80, method=4)
    return buffer.getvalue()


def _narrowed(image: Image.Image, width: int) -> Image.Image:
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
