"""CelebA: how files in its layout are read, and the errors for bad ones."""

import numpy as np
import pytest
import torch
from PIL import Image

from mixzoo import DataError
from mixzoo.registry.zoo import load_zoo
from mixzoo.testing import check_part
from mixzoo_datasets.celeba import ATTRIBUTES, PARTITION, CelebA

NAMES = ("Bald", "Male", "Heavy_Makeup", "Smiling", "Wearing_Lipstick")
IMAGES = 40
FILES = [f"{i + 1:06}.jpg" for i in range(IMAGES)]


def attributes_of(i):
    return [i % 2, i % 3 == 0, i % 5 == 0, i % 7 == 0, i % 4 == 1]


@pytest.fixture
def root(tmp_path):
    """Forty noisy pictures, the last one bright only in its central square; 28 train, 6 validation, 6 test."""
    home = tmp_path / "celeba"
    (home / "img_align_celeba").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, file in enumerate(FILES):
        array = rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)
        if i == IMAGES - 1:
            array[:] = 0
            array[35:183, 15:163] = 255
            array[100:110, 15:163] = 230
        Image.fromarray(array).save(home / "img_align_celeba" / file, quality=95)
    rows = [f"{f} " + " ".join("1" if a else "-1" for a in attributes_of(i)) for i, f in enumerate(FILES)]
    (home / ATTRIBUTES).write_text("\n".join([str(IMAGES), " ".join(NAMES) + " ", *rows]) + "\n")
    (home / PARTITION).write_text("".join(f"{f} {(i >= 28) + (i >= 34)}\n" for i, f in enumerate(FILES)))
    return tmp_path


def load(root, seed=0, **options):
    return CelebA(root=str(root), **options).load(seed)


def test_the_splits_are_those_of_the_partition_and_labels_the_named_attributes(root):
    data = load(root)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [28, 6, 6]
    assert data.image_shape == (3, 64, 64)
    assert data.attribute_names == ("Male", "Heavy_Makeup", "Wearing_Lipstick")
    assert data.class_names == ()
    for split, start in ((data.train, 0), (data.validation, 28), (data.test, 34)):
        expected = [[attributes_of(start + i)[c] for c in (1, 2, 4)] for i in range(len(split))]
        assert torch.equal(split.labels, torch.tensor(expected).long())


@pytest.mark.parametrize("size", [32, 64])
def test_only_the_central_square_is_kept(root, size):
    data = load(root, size=size)
    assert data.image_shape == (3, size, size)
    assert data.test.images[-1].min() >= 220


def test_attributes_are_chosen_by_name_in_the_order_given(root):
    spec = f'celeba:root="{root}",attributes=Smiling+Male'
    data = load_zoo().recipe("dataset", spec).load(0)
    assert data.attribute_names == ("Smiling", "Male")
    assert data.train.labels[:, 1].tolist() == [int(i % 3 == 0) for i in range(28)]
    assert load(root, attributes="Smiling, Male").fingerprint == data.fingerprint


def test_a_subset_is_chosen_before_anything_is_decoded(root):
    whole, few = load(root), load(root, train_images=5)
    assert len(few.train) == 5
    assert "5 train images chosen by seed 0" in few.source
    assert torch.equal(few.test.images, whole.test.images)
    assert all((whole.train.images == image).flatten(1).all(1).any() for image in few.train.images)
    other = load(root, train_images=5, seed=1)
    assert not torch.equal(few.train.images, other.train.images)
    with pytest.raises(DataError, match="train_images=29, but the train split has only 28 images"):
        load(root, train_images=29)


@pytest.mark.parametrize("options", ["", ",train_images=10", ",size=32,attributes=Male"])
def test_files_in_its_layout_pass_every_check(root, options):
    report = check_part(f'celeba:root="{root}"{options}', kind="dataset", effort="low")
    assert [outcome.line for outcome in report.failed] == []
    assert len(report.passed) >= 20  # hardly any check is skipped


def said(root, **options):
    with pytest.raises(DataError) as refused:
        load(root, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert str(root) in message
    return message


def test_missing_and_damaged_pictures_are_named_in_one_line(root):
    folder = root / "celeba" / "img_align_celeba"
    (folder / FILES[3]).unlink()
    (folder / FILES[5]).write_bytes(b"no picture")
    (folder / FILES[8]).write_bytes((folder / FILES[8]).read_bytes()[:2000])
    Image.new("RGB", (64, 64)).save(folder / FILES[30])
    message = said(root)
    assert "4 of 40 images cannot be read: " in message
    assert f"{FILES[3]} (No such file or directory)" in message
    assert f"{FILES[5]} (not an image in PNG, JPEG, BMP, GIF, WEBP, TIFF or PPM format)" in message
    assert f"{FILES[8]} (image file is truncated" in message
    assert f"{FILES[30]} (64x64 pixels; expected 178x218)" in message


def test_an_unknown_attribute_is_named_beside_those_there_are(root):
    message = said(root, attributes="Male+Happy")
    assert "'Happy' is not one of Bald, Male, Heavy_Makeup, Smiling, Wearing_Lipstick" in message


BAD = {
    "no list": (
        ATTRIBUTES,
        None,
        "missing celeba/list_attr_celeba.txt",
    ),
    "no partition": (PARTITION, None, "missing celeba/list_eval_partition.txt"),
    "empty": (ATTRIBUTES, "", "0 lines, expected a count, the names, and a line per image"),
    "count": (ATTRIBUTES, "3\nMale Bald\n000001.jpg 1 -1\n", "it announces '3' images but lists 1"),
    "columns": (
        ATTRIBUTES,
        "1\nMale Bald\n000001.jpg 1\n",
        "line 3 must be a file name and -1 or 1 for each of 2 attr",
    ),
    "value": (ATTRIBUTES, "1\nMale\n000001.jpg 0\n", "line 3 must be a file name and -1 or 1 for each of 1 attributes"),
    "blank line": (ATTRIBUTES, "1\nMale\n\n", "line 3 must be a file name"),
    "split": (PARTITION, "000001.jpg 0\n000002.jpg 3\n", "line 2 must be a file name and 0, 1 or 2"),
    "stranger": (PARTITION, "999999.jpg 0\n", "line 1: '999999.jpg' is not in list_attr_celeba.txt"),
    "no test images": (PARTITION, "000001.jpg 0\n000002.jpg 1\n", "the test split would be empty"),
    "not text": (PARTITION, b"\xff\xfe\x00", "cannot be read as text"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_list_is_one_line(root, kind):
    name, content, words = BAD[kind]
    file = root / "celeba" / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert words in said(root)
