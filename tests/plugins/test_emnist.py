"""A small EMNIST: the publishers' layout, letters counted from 1, transposed images."""

import gzip

import numpy as np
import pytest
import torch
from test_datasets_refusals import idx_bytes

from mixzoo import DataError
from mixzoo.core.strides import is_canonical
from mixzoo.data.placement import load_data as place
from mixzoo_datasets.emnist import CLASSES, EMNIST
from mixzoo_datasets.idx import IMAGES, LABELS
from mixzoo_datasets.splits import resize, shuffled_order
from toys import toy_config, toy_zoo

COUNTS = {"train": 120, "test": 30}


def upright(count):
    """Images that get brighter to the right and from one to the next."""
    ramp = np.linspace(0, 100, 28, dtype=np.uint8)[None, None, :] + np.zeros((count, 28, 1), np.uint8)
    return ramp + np.arange(count, dtype=np.uint8)[:, None, None]


def write(root, split, first=0, counts=COUNTS, ending=""):
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in counts.items():
        labels = np.arange(count) % len(CLASSES[split]) + first
        for kind, array in ((IMAGES, upright(count).transpose(0, 2, 1)), (LABELS, labels)):
            content = idx_bytes(array)
            path = raw / f"emnist-{split}-{part}-{kind}{ending}"
            path.write_bytes(gzip.compress(content) if ending else content)


def load(root, **options):
    return EMNIST(root=str(root), **options).load(0)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(("split", "first"), [("letters", 1), ("balanced", 0), ("digits", 0)])
def test_a_selection_has_its_classes_and_a_validation_split_as_large_as_its_test_split(tmp_path, split, first, ending):
    write(tmp_path, split, first, ending=ending)
    data = load(tmp_path, split=split)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [90, 30, 30]
    assert data.class_names == CLASSES[split]
    assert len(data.class_names) == {"letters": 26, "balanced": 47, "digits": 10}[split]
    order = shuffled_order(120)
    assert torch.equal(data.train.labels, order[:90] % len(CLASSES[split]))
    assert torch.equal(data.validation.labels, order[90:] % len(CLASSES[split]))


def test_images_are_turned_upright_and_enlarged(tmp_path):
    write(tmp_path, "letters", 1)
    data = load(tmp_path)
    assert torch.equal(data.test.images, resize(torch.from_numpy(upright(30))[:, None]))
    assert (data.test.images[..., -1] > data.test.images[..., 0]).all()
    assert all(is_canonical(split.images) for split in (data.train, data.validation, data.test))


def test_letters_are_the_default_and_their_names_are_in_the_order_of_the_labels(tmp_path):
    write(tmp_path, "letters", 1)
    test = load(tmp_path).test
    assert [CLASSES["letters"][label] for label in test.labels[:3].tolist()] == ["a", "b", "c"]


@pytest.mark.parametrize("label", [0, 27])
def test_a_label_that_is_not_a_letter_is_named_as_it_is_in_the_file(tmp_path, label):
    write(tmp_path, "letters", 1)
    path = tmp_path / "EMNIST" / "raw" / f"emnist-letters-test-{LABELS}"
    path.write_bytes(idx_bytes(np.array([1] * 29 + [label])))
    with pytest.raises(DataError, match=rf"test-{LABELS}: label {label} of image 29 is not in 1\.\.26"):
        load(tmp_path)


def test_a_selection_that_is_not_there_names_its_file_and_what_to_do(tmp_path):
    write(tmp_path, "letters", 1)
    words = r"missing EMNIST/raw/emnist-digits-train-images-idx3-ubyte .*; unpack the publishers' gzip\.zip"
    with pytest.raises(DataError, match=words):
        load(tmp_path, split="digits")


@pytest.mark.parametrize("inner", ["EMNIST", "EMNIST/raw"])
def test_a_root_that_is_too_deep_says_which_it_is(tmp_path, inner):
    write(tmp_path, "letters", 1)
    with pytest.raises(DataError, match="missing EMNIST/raw/.*; did you mean root=" + str(tmp_path)):
        load(tmp_path / inner)


def test_fewer_train_images_than_test_images_are_refused(tmp_path):
    write(tmp_path, "digits", counts={"train": 5, "test": 6})
    with pytest.raises(
        DataError, match=r"the train split would be empty .*; needed: more train images than test images"
    ):
        load(tmp_path, split="digits")


def test_a_run_names_it_by_a_spec(tmp_path):
    write(tmp_path, "letters", 1)
    config = toy_config(toy_zoo(), flags={"dataset": f'emnist:split=letters,root="{tmp_path}",train_images=20'})
    data = place(config.parts["dataset"], "emnist", config.train, torch.device("cpu")).data
    assert (len(data.train), data.source) == (
        20,
        f"EMNIST letters under {tmp_path}/EMNIST/raw, 28x28 resized to 32x32; 20 train images chosen by seed 0",
    )
