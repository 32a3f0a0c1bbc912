"""Pictures of any size and mode as a network's input, the same as the folder data set makes of its files."""

import numpy as np
import pytest
import torch
from PIL import Image

from mixzoo import ConfigError, DataError, prepare_images, to_images
from mixzoo_datasets.folder import Folder

GREY, RGB = (1, 32, 32), (3, 32, 32)
RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (40, 28, 3), dtype=np.uint8)


def test_files_are_prepared_as_the_folder_data_set_prepares_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(15):
            Image.fromarray(RNG.integers(0, 256, (30 + i, 41, 3), dtype=np.uint8)).save(tmp_path / name / f"{i:02}.png")
    data = Folder(path=str(tmp_path), size=32).load(0)
    expected = {tuple(x.flatten().tolist()) for split in (data.train, data.validation, data.test)
                for x in to_images(split.held)}  # fmt: skip
    found = prepare_images(sorted(tmp_path.glob("*/*.png")), RGB)
    assert {tuple(x.flatten().tolist()) for x in found} == expected


@pytest.mark.parametrize("shape", [GREY, RGB])
def test_one_picture_is_the_same_however_it_is_given(tmp_path, shape):
    image = Image.fromarray(PHOTO)
    image.save(tmp_path / "photo.png")
    given = [image, tmp_path / "photo.png", str(tmp_path / "photo.png"), PHOTO, PHOTO.transpose(2, 0, 1)[None],
             torch.from_numpy(PHOTO), torch.from_numpy(PHOTO)[None], PHOTO.astype(np.int64), np.asarray(image),
             PHOTO.astype(np.uint16) * 257, PHOTO.astype(">u2") * 257]  # fmt: skip
    first = prepare_images(image, shape)
    assert first.shape == (1, *shape)
    assert first.dtype == torch.float32
    assert first.abs().max() <= 1
    for one in given:
        assert torch.equal(prepare_images(one, shape), first)
    assert torch.equal(prepare_images(given, shape), first.expand(len(given), -1, -1, -1))


def test_bytes_of_the_networks_own_shape_are_those_of_training():
    stored = torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(prepare_images(stored, GREY), to_images(stored))
    assert torch.equal(prepare_images(stored[:, 0].unbind(), GREY), to_images(stored))


def test_images_of_a_network_with_other_channels_are_taken_as_they_are():
    x = torch.rand(2, 7, 8, 8) * 2 - 1
    assert torch.equal(prepare_images(x, (7, 8, 8)), x)
    with pytest.raises(ConfigError, match="the network takes images of 7 channels, which no picture has"):
        prepare_images(Image.fromarray(PHOTO), (7, 8, 8))


def test_floats_are_prepared_as_their_bytes_are_but_for_rounding():
    x = torch.from_numpy(PHOTO).permute(2, 0, 1)[None].float() / 127.5 - 1
    for shape in (GREY, RGB):
        assert (prepare_images(x, shape) - prepare_images(PHOTO, shape)).abs().max() < 0.02
        in_unit = prepare_images((x + 1) / 2, shape, value_range=(0, 1))
        torch.testing.assert_close(in_unit, prepare_images(x, shape), atol=1e-5, rtol=0)


def test_transparency_16_bits_and_rotation_are_read_as_a_viewer_shows_them():
    clear = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    assert (prepare_images(clear, GREY) == -1).all()
    deep = Image.fromarray(np.full((32, 32), 65535, dtype=np.uint16))
    assert (prepare_images(deep, GREY) == 1).all()
    turned = Image.fromarray(PHOTO)
    turned.getexif()[0x0112] = 6  # a quarter turn
    assert torch.equal(prepare_images(turned, RGB), prepare_images(Image.fromarray(np.rot90(PHOTO, -1)), RGB))


@pytest.mark.parametrize(
    ("images", "line"),
    [
        ([], "there are no images; give a PIL image"),
        (None, "None is not an image; give a PIL image"),
        ([PHOTO, 3], "3 is not an image"),
        (torch.rand(2, 1, 32, 32), r"float images are from .* with nothing below 0; say value_range=\(0, 1\)"),
        (torch.full((1, 1, 32, 32), 200.0), r"from 200 to 200; floats are in \[-1, 1\]\. Give bytes \(uint8\) for"),
        (torch.full((1, 1, 32, 32), 3.0) * torch.tensor([-1.0])[:, None, None], r"from -3 to -3, beyond \[-1, 1\]"),
        (torch.full((1, 1, 32, 32), float("nan")), "images hold NaN or infinity"),
        (torch.zeros(0, 1, 32, 32), r"of shape \(0, 1, 32, 32\), which is empty"),
        (np.full((8, 8), 256), "images are torch.int64 from 256 to 256"),
        (torch.zeros(5), r"images are of shape \(5,\)"),
        (torch.zeros(9, 9, 9), r"images are of shape \(9, 9, 9\)"),
        (torch.zeros(2, 9, 8, 9), "no axis of 1, 3 or 1 channels"),
        (torch.zeros(3, 28, 28, dtype=torch.uint8), "3 grey images, or one with 3 channels"),
        (torch.zeros(10, 3, 40, 4, dtype=torch.uint8), "whose channels may be the first axis of a picture or the last"),
        (torch.zeros(32, 32), r"float images are from 0 to 0, with nothing below 0"),
        (Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)), "float images are from 0.5 to 0.5"),
        (np.array(["a"]), "an array of <U1 is not an image"),
        (torch.zeros(1, 1, 32, 32).to_sparse(), "a torch.sparse_coo tensor is not an image"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.complex64), "is not an image"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_in_one_line(images, line):
    with pytest.raises(ConfigError, match=line) as caught:
        prepare_images(images, GREY)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png: it is not a readable picture"):
        prepare_images(tmp_path / "a.png", GREY)
    with pytest.raises(DataError, match=r"b\.png: No such file"):
        prepare_images(tmp_path / "b.png", GREY)


@pytest.mark.parametrize("value_range", [(0, 0), (float("nan"), 1), 5, ("a", "b"), (0,), (0, float("inf"))])
def test_a_range_that_is_none_is_refused(unchecked, value_range):
    with pytest.raises(ConfigError, match=r"value_range=.* must be two numbers, \(low, high\)"):
        prepare_images(torch.zeros(1, 1, 32, 32), GREY, value_range=value_range)
    with pytest.raises(ConfigError, match=r"value_range is for floats, and images are torch\.uint8"):
        prepare_images(torch.zeros(1, 1, 32, 32, dtype=torch.uint8), GREY, value_range=(0, 1))


@pytest.mark.parametrize("shape", [(1, 32), (1, 0, 32), None, (1.0, 2, 3)])
def test_a_shape_that_is_none_is_refused(unchecked, shape):
    with pytest.raises(ConfigError, match=r"image_shape=.* must be \(channels, height, width\)"):
        prepare_images(PHOTO, shape)
