"""The rule of docs/own_images.md for every mode of a picture, with worked values."""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from mixzoo import ConfigError, DataError, PictureError, open_picture, prepare_images, to_images
from mixzoo.data.picture_file import MAX_PIXELS
from mixzoo_datasets.folder import Folder, image_size, read_pixels


def levels(*values, dtype=np.uint16):
    return Image.fromarray(np.array([values], dtype=dtype))


def palette(*colours, **info):
    image = Image.new("P", (len(colours), 1))
    image.putpalette([channel for colour in colours for channel in colour])
    image.putdata(range(len(colours)))
    image.info.update(info)
    return image


def pixels(mode, *values):
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


RED, HALF = (255, 0, 0), 128
CASES = {  # name -> picture, ending, how it is saved, pixels expected
    "1": (pixels("1", 0, 255), "png", {}, [[0], [255]]),
    "L": (pixels("L", 0, 7, 255), "png", {}, [[0], [7], [255]]),
    "LA: level * alpha / 255": (pixels("LA", (200, 255), (200, 128), (200, 0)), "png", {}, [[200], [100], [0]]),
    "L with one level transparent": (pixels("L", 9, 200), "png", {"transparency": 200}, [[9], [0]]),
    "1 with one level transparent": (pixels("1", 0, 255), "png", {"transparency": 255}, [[0], [0]]),
    "P": (palette((0, 0, 0), (1, 2, 3), RED), "png", {}, [[0, 0, 0], [1, 2, 3], [255, 0, 0]]),
    "P of greys is in colour": (palette((5, 5, 5), (9, 9, 9)), "png", {}, [[5, 5, 5], [9, 9, 9]]),
    "P with one colour transparent": (palette((1, 2, 3), RED), "png", {"transparency": 1}, [[1, 2, 3], [0, 0, 0]]),
    "P with an alpha of each colour": (palette((9, 9, 9), RED), "png", {"transparency": b"\xff\x80"},
                                       [[9, 9, 9], [128, 0, 0]]),
    "P of a GIF": (palette((1, 2, 3), RED), "gif", {}, [[1, 2, 3], [255, 0, 0]]),
    "P of a GIF, transparent": (palette((1, 2, 3), RED), "gif", {"transparency": 1}, [[1, 2, 3], [0, 0, 0]]),
    "PA": (pixels("RGBA", (10, 20, 30, 128)).convert("PA"), "tif", {}, None),
    "RGB": (pixels("RGB", (1, 2, 3)), "png", {}, [[1, 2, 3]]),
    "RGB with one colour transparent": (pixels("RGB", (1, 2, 3), RED), "png", {"transparency": RED},
                                        [[1, 2, 3], [0, 0, 0]]),
    "RGBA: colour * alpha / 255": (pixels("RGBA", (255, 100, 10, 128), (255, 100, 10, 0)), "png", {},
                                   [[128, 50, 5], [0, 0, 0]]),
    "RGBA of a WebP": (pixels("RGBA", (255, 255, 255, 0)), "webp", {"lossless": True}, [[0, 0, 0]]),
    "CMYK: (255 - ink) * (255 - black) / 255": (pixels("CMYK", (0, 255, 255, 0), (0, 0, 0, 128), (255, 0, 0, 128)),
                                                "tif", {}, [[255, 0, 0], [127, 127, 127], [0, 127, 127]]),
    "CMYK of a JPEG": (Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "jpg", {}, [[0, 0, 0]] * 8),
    "I;16: level / 257": (levels(0, 128, 129, 257, 32896, 65535), "png", {}, [[0], [0], [1], [1], [128], [255]]),
    "I;16 of a TIFF": (levels(0, 257, 65535), "tif", {}, [[0], [1], [255]]),
    "I;16 big-endian of a TIFF": (Image.frombytes("I;16B", (2, 1), b"\x01\x01\xff\xff"), "tif", {}, [[1], [255]]),
    "I;16 with one level transparent": (levels(257, 65535), "png", {"transparency": 65535}, [[1], [0]]),
    "I: levels of 16 bits": (levels(0, 257, 65535, dtype=np.int32), "tif", {}, [[0], [1], [255]]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_mode_is_read_by_the_rule(tmp_path, name):
    image, ending, save, expected = CASES[name]
    file = tmp_path / f"a.{ending}"
    image.save(file, **save)
    found = read_pixels(file, None, "auto")
    assert found.dtype == np.uint8
    assert image_size(file, None, "auto") == (found.shape[2], *found.shape[:2])
    if expected is None:  # the palette is Pillow's choice: half of the colour, at most
        assert found.shape == (1, 1, 3)
        assert (np.abs(found.astype(int) - [5, 10, 15]) <= 13).all()
        return
    assert found[0].tolist() == expected
    channels = found.shape[2]
    stored = to_images(torch.from_numpy(found.copy()).permute(2, 0, 1)[None])
    assert (prepare_images(file, (channels, *found.shape[:2])) == stored).all()


@pytest.mark.parametrize(("mode", "channels"), [("rgb", 3), ("grey", 1)])
@pytest.mark.parametrize("name", ["L", "RGB", "P", "I;16: level / 257", "RGBA: colour * alpha / 255"])
def test_the_option_mode_decides_the_channels(tmp_path, name, mode, channels):
    image, ending, save, expected = CASES[name]
    image.save(tmp_path / f"a.{ending}", **save)
    (found,) = read_pixels(tmp_path / f"a.{ending}", None, mode)
    for pixel, wanted in zip(found.tolist(), expected, strict=True):
        red, green, blue = wanted * (3 // len(wanted))
        grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16  # ITU-R 601-2
        assert pixel == ([grey] if channels == 1 else [red, green, blue])


def deep_png(colour_type, row):
    """A PNG of 16 bits a channel and one row, which Pillow does not write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    width = len(row) // {2: 6, 4: 4, 6: 8}[colour_type]
    header = struct.pack(">IIBBBBB", width, 1, 16, colour_type, 0, 0, 0)
    data = zlib.compress(b"\0" + row)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour_type", "row", "expected"),
    [
        (2, [0x0100, 0x80FF, 0xFFFF], [[1, 128, 255]]),
        (4, [0xC800, 0xFFFF], [[200] * 3]),  # grey with alpha, which Pillow opens as RGBA
        (6, [0xFF00, 0x6400, 0x0A00, 0x80FF], [[128, 50, 5]]),
    ],
)
def test_sixteen_bits_of_a_colour_are_its_high_byte(tmp_path, colour_type, row, expected):
    (tmp_path / "a.png").write_bytes(deep_png(colour_type, struct.pack(f">{len(row)}H", *row)))
    assert read_pixels(tmp_path / "a.png", None, "auto")[0].tolist() == expected


CORNERS = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
UPRIGHT = {  # value of the tag -> what a viewer shows of CORNERS
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
    9: [[1, 2, 3], [4, 5, 6]],  # no orientation
}


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("tag", UPRIGHT)
def test_the_rotation_tag_is_applied(tmp_path, tag, ending):
    exif = Image.Exif()
    exif[0x0112] = tag
    file = tmp_path / f"a.{ending}"
    Image.fromarray(CORNERS).save(file, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    found = read_pixels(file, None, "grey")
    assert found[:, :, 0].tolist() == UPRIGHT[tag]
    assert image_size(file, None, "grey") == (1, *found.shape[:2])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (levels(0.5, dtype=np.float32), r"floating-point pixels have no known range; save it with 8 or 16 bits"),
        (levels(0, 65536, dtype=np.int32), r"pixels from 0 to 65536, of 32 bits, have no known range; save it with 8"),
        (levels(-1, 9, dtype=np.int32), r"pixels from -1 to 9, of 32 bits, have no known range"),
    ],
)
def test_pixels_without_a_known_range_are_refused_and_not_clipped(tmp_path, image, words):
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "x.tif")
    with pytest.raises(PictureError, match=words):
        read_pixels(tmp_path / "a" / "x.tif", None, "auto")
    with pytest.raises(DataError, match=rf"x\.tif \({words}"):
        Folder(path=str(tmp_path)).load(0)
    if image.mode != "F":  # an array of floats, whose range is checked as such
        with pytest.raises(ConfigError, match=f"an image cannot be used: {words}"):
            prepare_images(image, (1, 8, 8))


# --- a small file that says it is large


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return bytearray(file.getvalue())


def enlarged(content, old, new):
    assert content.count(old) == 1
    return content.replace(old, new)


def hollow(kind):
    """A small file of a small picture whose header says 6000x6000 pixels."""
    small, side = Image.new("L", (23, 29)), struct.pack("<H", 6000)
    match kind:
        case "png":
            content = saved(small, format="PNG")
            content[16:24] = struct.pack(">II", 6000, 6000)
            content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
            return content
        case "gif":
            content = enlarged(saved(small, format="GIF"), b"," + bytes(4) + bytes([23, 0, 29, 0]),
                               b"," + bytes(4) + side * 2)  # fmt: skip
            content[6:10] = side * 2
            return content
        case "ppm":
            return enlarged(saved(small, format="PPM"), b"23 29", b"6000 6000")
        case compression:
            content = saved(small, format="TIFF", compression=compression)
            for number, length in ((256, 23), (257, 29)):  # width, height
                kind_of_number = 4 if compression == "raw" else 3  # as Pillow and libtiff write it
                old, new = (struct.pack("<HHII", number, kind_of_number, 1, n) for n in (length, 6000))
                content = enlarged(content, old, new)
            return content


@pytest.mark.parametrize("kind", ["png", "gif", "ppm", "raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_small_file_that_says_it_is_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch, kind):
    (tmp_path / "a.png").write_bytes(hollow(kind))  # whatever its name
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(PictureError, match=r"^\d+ bytes cannot hold 6000x6000 pixels; the file is truncated or made"):
        read_pixels(tmp_path / "a.png", None, "auto")
    with pytest.raises(DataError, match=r"a\.png: \d+ bytes cannot hold 6000x6000 pixels"):
        prepare_images(tmp_path / "a.png", (1, 8, 8))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize(
    "save",
    [
        {"format": "PNG"},
        {"format": "GIF"},
        {"format": "TIFF", "compression": "tiff_lzw"},
        {"format": "TIFF", "compression": "tiff_adobe_deflate"},
        {"format": "TIFF", "compression": "packbits"},
        {"format": "TIFF"},
        {"format": "PPM"},
    ],
    ids=lambda save: save.get("compression", save["format"]),
)
def test_a_picture_of_one_colour_compresses_best_and_is_read(tmp_path, mode, save):
    image = Image.new(mode, (3000, 2000))
    if save["format"] in ("GIF", "PPM") and mode in ("I;16", "RGBA", "P"):
        image = image.convert("L" if mode == "I;16" else "RGB")
    (tmp_path / "a.png").write_bytes(saved(image, **save))
    with open_picture(tmp_path / "a.png") as found:
        found.load()
        assert found.size == (3000, 2000)


@pytest.mark.parametrize(("side", "pixels"), [(8_000, "8000x8000"), (60_000, "far too many")])
def test_too_many_pixels_are_refused_from_the_header(tmp_path, side, pixels):
    content = hollow("png")
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    for read in (lambda file: read_pixels(file, None, "auto"), lambda file: prepare_images(file, (1, 8, 8))):
        with pytest.raises((PictureError, DataError), match=rf"{pixels} pixels; at most {MAX_PIXELS:,} are allowed"):
            read(tmp_path / "a.png")


def test_a_pipe_is_not_waited_for_and_a_text_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: a FIFO, not a regular file"):
        prepare_images(tmp_path / "a.png", (1, 8, 8))
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(UnidentifiedImageError), open_picture(tmp_path / "b.png"):
        pass


def test_the_filters_of_warnings_are_as_before_when_threads_have_read_pictures(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    before, meet = list(warnings.filters), Barrier(2)

    def read(_):
        with open_picture(tmp_path / "a.png"):
            meet.wait(10)  # both threads are inside at once

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, range(2)))
    assert warnings.filters == before
