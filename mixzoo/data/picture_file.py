"""Opens files of pictures safely: regular files of known formats, with no more pixels than they may or can hold."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image, ImageFile, TiffImagePlugin

from mixzoo.core.storage import open_regular

PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow starts programs for some others
MAX_PIXELS = 50_000_000  # of one file, by its header, before it is decoded
DEFLATE, LZW = 1032, 4096 * 8 / 12  # bytes that one byte expands to, at most: 258 for 2 bits, 4096 for 12 bits
TIFF_GROWTH = {  # by compression; one that is not here has no bound
    "raw": 1,
    "packbits": 64,
    "tiff_lzw": LZW,
    "tiff_deflate": DEFLATE,
    "tiff_adobe_deflate": DEFLATE,
}
YCBCR = 6  # TIFF's number of a colour space whose channels may be smaller than the picture
BITS_OF_PIXEL = {"1": 1, "L;2": 2, "L;4": 4, "P;1": 1, "P;2": 2, "P;4": 4, "I;16B": 16}  # by Pillow's raw mode


class PictureError(ValueError):
    """A picture that is not used: what is wrong with it, and what is allowed."""

    def __init__(self, problem: str, allowed: str) -> None:
        super().__init__(f"{problem}; {allowed}")
        self.problem, self.allowed = problem, allowed


@contextmanager
def open_picture(file: Path | bytes) -> Iterator[Image.Image]:
    """The picture in a file, or in the bytes of one, with its header read but nothing decoded.

    Raises OSError if the file is not a regular one or cannot be read, PIL.UnidentifiedImageError (an OSError too) if it
    is in none of `PICTURE_FORMATS`, and PictureError if its header says more pixels than `MAX_PIXELS`, or than a file
    of its length can hold: a small file must not take gigabytes. Pillow raises almost anything for damaged bytes.
    """
    with _stream(file) as stream, _quiet, _opened(stream) as image:
        if image.width * image.height > MAX_PIXELS:
            raise PictureError(f"{image.width}x{image.height} pixels", f"at most {MAX_PIXELS:,} are allowed")
        length = stream.seek(0, 2)
        if length < least_length(image):
            raise PictureError(
                f"{length} bytes cannot hold {image.width}x{image.height} pixels", "the file is truncated or made up"
            )
        yield image


def _stream(file: Path | bytes) -> BufferedReader | BytesIO:
    return BytesIO(file) if isinstance(file, bytes) else open_regular(file)


def _opened(stream: BufferedReader | BytesIO) -> Image.Image:
    try:
        return Image.open(stream, formats=PICTURE_FORMATS)
    except Image.DecompressionBombError as err:  # by Pillow's own limit, which is beyond ours
        raise PictureError("far too many pixels", f"at most {MAX_PIXELS:,} are allowed") from err


def least_length(image: Image.Image) -> float:
    """Bytes that a file with this header has at least, by the strongest compression of its format; 0 if unknown."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:  # WebP, whose decoder has all pixels by now
        return 0
    tile = image.tile[0]
    left, top, right, bottom = (image.format == "GIF" and tile.extents) or (0, 0, *image.size)
    width, height = right - left, bottom - top  # a frame may be smaller than the canvas
    if image.format == "PNG":
        bits = BITS_OF_PIXEL.get(str(tile.args)) or 8 * len(image.getbands())  # 16 bits a channel are read as 8
        return height * -(-width * bits // 8) / DEFLATE
    if image.format == "GIF":
        return width * height / LZW
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        growth = TIFF_GROWTH.get(image.info.get("compression", ""))
        subsampled = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == YCBCR
        bits = sum(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        return 0 if growth is None or subsampled else height * -(-width * bits // 8) / growth
    return width * height / 8 if image.format == "PPM" else 0


class _Quiet:
    """Inside, nothing is printed of odd tags and large pictures, of which Pillow warns: we read a picture or raise.

    The filters of warnings belong to the whole process, so threads that are inside at the same time share one change.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._stack = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._stack.close()


_quiet = _Quiet()
