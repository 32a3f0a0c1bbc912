"""dSprites, redrawn: real images, factors and attributes, and the errors for a file that is not the original."""

import os
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch

from mixzoo import DataError
from mixzoo.core.errors import ConfigError
from mixzoo.registry.zoo import load_zoo
from mixzoo_datasets import sprites
from mixzoo_datasets.sprites import ARCHIVE, ATTRIBUTES, FACTORS, TOTAL, VALUES, Sprites, draw_chunks, factor_classes

ZOO = load_zoo()
DATA = Sprites(images=2000).load(0)
SPLITS = (DATA.train, DATA.validation, DATA.test)


@pytest.fixture
def frames():
    """Real images and the indices of their factors."""
    default = Path(__file__).parents[2] / "shared" / "data"
    file = Path(os.environ.get("MIXZOO_TEST_DATA", default)) / "dSprites" / "reference_frames.npz"
    if not file.is_file():
        pytest.skip(f"no real frames at {file}; MIXZOO_TEST_DATA names another folder")
    with np.load(file, allow_pickle=False) as archive:
        return torch.from_numpy(archive["imgs"]), torch.from_numpy(archive["latents_classes"][:, 1:]).long()


@pytest.mark.parametrize(("shape", "exact", "at_most"), [(0, 64, 0), (1, 64, 0), (2, 188, 2)])
def test_what_is_drawn_is_what_the_original_shows(frames, shape, exact, at_most):
    real, classes = frames
    of_shape = classes[:, 0] == shape
    wrong = (draw_chunks(classes[of_shape])[:, 0] // 255 != real[of_shape]).sum((1, 2))
    assert int((wrong == 0).sum()) == exact
    assert int(wrong.max()) == at_most


def test_the_index_counts_the_last_factor_first():
    numbers = torch.tensor([0, 1, 32, 32 * 32, 40 * 32 * 32, 6 * 40 * 32 * 32, TOTAL - 1])
    assert factor_classes(numbers).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [2, 5, 39, 31, 31],
    ]


def test_factors_are_the_values_of_the_original_and_determine_the_picture():
    assert [len(s) for s in SPLITS] == [1600, 200, 200]
    assert (DATA.class_names, DATA.factor_names) == (("square", "ellipse", "heart"), FACTORS)
    for column, values in enumerate(VALUES):
        found = torch.cat([s.factors[:, column] for s in SPLITS]).unique()
        torch.testing.assert_close(found, values.float())
    assert torch.equal(DATA.train.labels, DATA.train.factors[:, 0].long() - 1)
    assert DATA.train.images.unique().tolist() == [0, 255]


def test_the_middle_of_a_picture_is_where_its_position_says():
    white = DATA.train.images[:, 0].double() / 255
    pixels = torch.arange(64) + 0.5
    area = white.sum((1, 2))
    x, y = (white.sum(1) * pixels).sum(1) / area, (white.sum(2) * pixels).sum(1) / area
    convex = DATA.train.labels < 2  # a heart's own middle is off its position
    assert (x - 16 - 32 * DATA.train.factors[:, 3])[convex].abs().max() < 0.5
    assert (y - 16 - 32 * DATA.train.factors[:, 4])[convex].abs().max() < 0.5


def test_the_area_grows_with_the_square_of_the_scale():
    area = (DATA.train.images[:, 0] > 0).sum((1, 2)).double()
    for shape, whole in ((0, (2 * 9.598) ** 2), (1, pi * 12.7662 * 7.2125)):
        of_shape = DATA.train.labels == shape
        expected = whole * DATA.train.factors[of_shape, 1].double() ** 2
        assert (area[of_shape] / expected - 1).abs().max() < 0.1
        assert (area[of_shape] / expected).mean().item() == pytest.approx(1, abs=0.01)


def test_fewer_images_are_the_first_of_the_same_order():
    few = Sprites(images=20).load(0)
    assert [len(s) for s in (few.train, few.validation, few.test)] == [16, 2, 2]
    assert torch.equal(few.train.images, DATA.train.images[:16])


def test_attributes_are_read_off_the_factors():
    data = ZOO.recipe("dataset", "sprites:images=2000,attributes=large+right+heart").load(0)
    assert (data.attribute_names, data.class_names) == (("large", "right", "heart"), ())
    shape, scale, _, x, _ = data.train.factors.T
    assert torch.equal(data.train.labels, torch.stack([scale > 0.75, x > 0.5, shape == 3], 1).long())
    every = Sprites(images=2000, attributes="+".join(ATTRIBUTES)).load(0)
    assert every.train.labels.shape == (1600, 7)
    _, _, orientation, _, y = every.train.factors.T
    assert torch.equal(every.train.labels[:, 4].bool(), orientation.cos() < 0)
    assert torch.equal(every.train.labels[:, 6].bool(), y > 0.5)
    assert torch.equal(every.train.labels[:, :3].sum(1), torch.ones(1600, dtype=torch.int64))
    assert data.fingerprint != every.fingerprint


def test_attributes_may_stand_between_commas_in_quotes():
    assert ZOO.recipe("dataset", 'sprites:attributes="square, low"').load(0).attribute_names == ("square", "low")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("square+big", r"'big' is not one of square, ellipse, heart, large, turned, right, low"),
        ("low+low", r"'low' is given twice"),
        ("low+", r"'' is not one of square"),
    ],
)
def test_unknown_attributes_are_refused(given, words):
    with pytest.raises(ConfigError, match=f"sprites.*{words}"):
        ZOO.recipe("dataset", f"sprites:attributes={given}")


# --- the original's file


@pytest.fixture
def small(monkeypatch):
    """An original of 3 x 1 x 4 x 2 x 2 = 48 images."""
    monkeypatch.setattr(sprites, "COUNTS", (3, 1, 4, 2, 2))
    monkeypatch.setattr(sprites, "TOTAL", 48)
    classes = factor_classes(torch.arange(48))
    images = (draw_chunks(classes)[:, 0] // 255).numpy()
    return {"imgs": images, "latents_classes": np.pad(classes.numpy(), ((0, 0), (1, 0)))}


def test_the_originals_file_gives_the_images_of_the_same_numbers(small, tmp_path):
    np.savez(tmp_path / ARCHIVE, **small)
    drawn, read, by_name = (Sprites(images=40, path=p).load(0) for p in (None, str(tmp_path), f"{tmp_path}/{ARCHIVE}"))
    assert drawn.fingerprint == read.fingerprint == by_name.fingerprint
    assert f"from {tmp_path}" in read.source
    small["imgs"][:, 0, 0] = 1
    np.savez(tmp_path / ARCHIVE, **small)
    assert Sprites(images=40, path=str(tmp_path)).load(0).train.images[:, 0, 0, 0].tolist() == [255] * 32


BAD = {
    "no array": (lambda a: {"imgs": a["imgs"]}, r"no array 'latents_classes'; is it the original file\?"),
    "cut": (lambda a: a | {"imgs": a["imgs"][:40]}, r"imgs is \[40, 64, 64\] of uint8, expected \[48, 64, 64\]"),
    "grey": (lambda a: a | {"imgs": a["imgs"] * 255}, r"imgs are uint8 up to 255, expected uint8 of 0 and 1"),
    "shuffled": (lambda a: a | {"latents_classes": a["latents_classes"][::-1]}, "not in the original's order"),
    "pickled": (lambda a: a | {"imgs": np.array([{}])}, r"imgs is \[1\] of object, expected"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_not_the_original_is_one_line(small, tmp_path, kind):
    change, words = BAD[kind]
    np.savez(tmp_path / ARCHIVE, **change(small))
    with pytest.raises(DataError, match=words) as refused:
        Sprites(images=40, path=str(tmp_path)).load(0)
    assert str(tmp_path / ARCHIVE) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_a_file_that_is_not_an_npz_is_one_line(tmp_path, content):
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as npz .*; the file is damaged"):
        Sprites(path=str(tmp_path)).load(0)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no such file; path= must be the original dsprites_.*npz; without path="):
        Sprites(path=str(tmp_path)).load(0)
