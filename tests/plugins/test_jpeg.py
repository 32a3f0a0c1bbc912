"""JPEG files: `decode=fast` is the picture with other rounding, and the exact way is Pillow's own, pixel for pixel."""

import io
from math import ceil

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mixzoo import ConfigError
from mixzoo.registry.zoo import load_zoo
from mixzoo_datasets.folder import Folder, decode_smaller, read_pixels

TURN = 0x0112  # the rotation tag


def jpeg(width, height, *, mode="RGB", turn=1, seed=0):
    """A smooth picture with some noise, as the bytes of a JPEG file."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noisy = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
    stream, exif = io.BytesIO(), Image.Exif()
    exif[TURN] = turn
    Image.fromarray(noisy).convert(mode).save(stream, "JPEG", quality=90, exif=exif)
    return stream.getvalue()


def by_hand(content, size):
    """The upright picture's central square, resized."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("turn", [1, 3, 6])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_exact_pixels_are_those_of_the_upright_central_square_resized(mode, turn):
    content = jpeg(90, 61, mode=mode, turn=turn)
    assert np.array_equal(read_pixels(content, 16, "rgb"), by_hand(content, 16))


def difference(content, size, mode="rgb"):
    exact, fast = (read_pixels(content, size, mode, decode).astype(int) for decode in ("exact", "fast"))
    assert exact.shape == fast.shape
    return np.abs(exact - fast)


@pytest.mark.parametrize(("width", "height", "size"), [(130, 97, 16), (129, 71, 8), (65, 300, 4), (1001, 643, 32)])
@pytest.mark.parametrize("turn", [1, 2, 3, 4, 5, 6, 7, 8])
def test_fast_pixels_differ_only_in_rounding_whatever_the_sides_and_the_rotation_tag(width, height, size, turn):
    apart = difference(jpeg(width, height, turn=turn), size)
    assert 0 < apart.mean() < 4
    assert apart.max() < 25


def test_fast_pixels_of_a_shifted_picture_would_be_noticed():
    content = jpeg(130, 97)
    exact = read_pixels(content, 16, "rgb").astype(int)
    assert np.abs(exact[:, 1:] - exact[:, :-1]).mean() > 8  # a shift by one pixel is more than the bound above


@pytest.mark.parametrize("mode", ["grey", "auto"])
def test_fast_pixels_of_a_grey_file_and_of_grey_images_are_close_too(mode):
    assert difference(jpeg(130, 97, mode="L"), 16, mode).mean() < 3


def test_a_small_jpeg_and_other_formats_are_read_as_ever():
    assert not difference(jpeg(60, 63), 16).any()
    stream = io.BytesIO()
    Image.open(io.BytesIO(jpeg(130, 97))).save(stream, "PNG")
    assert not difference(stream.getvalue(), 16).any()


@pytest.mark.parametrize(("width", "height", "by"), [(319, 255, 1), (400, 256, 2), (1024, 768, 4), (2000, 1100, 8)])
def test_the_decoder_divides_the_sides_as_far_as_twice_the_size_allows(width, height, by):
    with Image.open(io.BytesIO(jpeg(width, height))) as image:
        decode_smaller(image, 64)
        image.load()
        assert image.size == (ceil(width / by), ceil(height / by))


def test_fast_images_are_the_same_loaded_and_streamed(tmp_path):
    for number in range(12):
        (tmp_path / f"{number:02}.jpg").write_bytes(jpeg(90, 70, seed=number))
    recipe = Folder(path=str(tmp_path), size=16, decode="fast")
    loaded, streamed = recipe.load(0), recipe.stream(0)
    assert torch.equal(streamed.train.read(torch.arange(len(loaded.train))), loaded.train.images)
    assert not torch.equal(loaded.train.images, Folder(path=str(tmp_path), size=16).load(0).train.images)


@pytest.mark.parametrize("name", ["folder", "hf"])
def test_fast_without_a_size_is_refused(name):
    with pytest.raises(ConfigError, match="decode=fast has no effect without size; give size=, or leave it out"):
        load_zoo().recipe("dataset", f"{name}:path=photos,decode=fast")
