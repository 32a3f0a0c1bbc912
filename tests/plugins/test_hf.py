"""Data sets in the Hugging Face format: the pixels of `folder`, streams that resume exactly, and each refusal."""

import io
import json
import os
import pickle
import re
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from test_run import StopAt, weights, without_clock

from mixzoo import ConfigError, DataError, Interrupted, Source, check_data
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import resume, start
from mixzoo.testing.datasets import dataset_checks
from mixzoo.testing.report import run_checks
from mixzoo.training.signals import interruptible
from mixzoo_datasets import hf_archives
from mixzoo_datasets.folder import Folder
from mixzoo_datasets.hf import HF
from toys import toy_config, toy_zoo

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed; pip install 'mixzoo[hf]'")

CLASSES = ("even", "odd")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test reaches for the network; the cache is in the folder that conftest.py makes for all caches."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixty digits of 8x8 pixels, as PNG files in a folder for each class."""
    root = tmp_path_factory.mktemp("hf") / "photos"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
    digits = load_digits()
    for i, (image, digit) in enumerate(zip(digits.images[:60], digits.target)):
        (root / CLASSES[digit % 2] / f"{i:02}.png").write_bytes(png((image * 15).astype(np.uint8)))
    return root


def columns(photos, **other):
    """Columns with the files' bytes and classes, in the order in which `folder` has them."""
    files = sorted(photos.glob("*/*.png"))
    return {
        "picture": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
        "parity": [CLASSES.index(file.parent.name) for file in files],
        **other,
    }


FEATURES = datasets.Features({"picture": datasets.Image(), "parity": datasets.ClassLabel(names=list(CLASSES))})


def table(rows, features=FEATURES):
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(scope="module")
def parquet(photos):
    """The same images as two Parquet files."""
    folder = photos.parent / "parquet"
    folder.mkdir()
    rows = table(columns(photos))
    for part in (0, 1):
        file = folder / f"train-{part:05}-of-00002.parquet"
        rows.select(range(30 * part, 30 * part + 30)).to_parquet(str(file))
    return folder


@pytest.fixture(scope="module")
def saved(photos):
    """The same images as `save_to_disk` writes them."""
    table(columns(photos)).save_to_disk(str(photos.parent / "saved"))
    return photos.parent / "saved"


def assert_same(data, expected):
    assert data.class_names == expected.class_names
    for name in ("train", "validation", "test"):
        split, wanted = getattr(data, name), getattr(expected, name)
        index = torch.arange(len(wanted))
        assert torch.equal(split.read(index), wanted.read(index))
        assert torch.equal(split.labels, wanted.labels)


@pytest.mark.parametrize("kind", ["photos", "parquet", "saved"])
@pytest.mark.parametrize("options", [{}, {"size": 6, "mode": "rgb", "train_images": 20}])
def test_loaded_and_streamed_images_are_those_of_a_folder(request, photos, kind, options):
    expected = Folder(path=str(photos), **options).load(3)
    recipe = HF(path=str(request.getfixturevalue(kind)), **options)
    loaded, streamed = recipe.load(3), recipe.stream(3)
    assert_same(loaded, expected)
    assert_same(streamed, expected)
    assert loaded.fingerprint == streamed.fingerprint
    assert isinstance(streamed.train.images, Source)


def test_it_passes_the_checks_of_data_sets(parquet):
    report = run_checks(HF(path=str(parquet)), "dataset", dataset_checks, effort="low")
    assert [outcome.line for outcome in report.failed] == []
    assert not report.skipped
    assert len(report.passed) + len(report.doubtful) == 21


def test_a_stream_is_pickled_without_its_images(parquet):
    images = HF(path=str(parquet)).stream(0).train.images
    content = pickle.dumps(images)
    assert b"IHDR" not in content
    index = torch.tensor([5, 0, 5, 47])
    assert torch.equal(pickle.loads(content).read(index), images.read(index))  # noqa: S301


@pytest.mark.bit_exact
@pytest.mark.parametrize(("kind", "workers"), [("parquet", 2), ("photos", 0)])
def test_a_streamed_run_stopped_within_an_epoch_and_resumed_equals_an_unbroken_one(request, tmp_path, kind, workers):
    zoo = toy_zoo()
    flags = {"dataset": f'hf:path="{request.getfixturevalue(kind)}"', "autoencoder": "toy_net:dropout=0.2"}
    config = toy_config(zoo, flags=flags, log_every=1, data_on="stream", workers=workers)
    start(zoo, config, tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 4;"):  # of 3 steps an epoch
        start(zoo, config, tmp_path / "stopped", lambda *_: StopAt(4))
    resume(zoo, tmp_path / "stopped")
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


# --- splits and columns


def test_splits_with_usual_names_are_used_and_a_missing_one_is_a_tenth_of_train(photos, tmp_path):
    rows = table(columns(photos))
    given = {"train": rows.select(range(40)), "val": rows.select(range(40, 60)), "extra": rows.select(range(3))}
    datasets.DatasetDict(given).save_to_disk(str(tmp_path / "saved"))
    data = HF(path=str(tmp_path / "saved")).load(0)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [36, 20, 4]
    data = HF(path=str(tmp_path / "saved"), split="val").load(0)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [16, 2, 2]


def test_a_held_out_split_without_labels_is_replaced_by_a_tenth_of_train(photos, tmp_path):
    rows = columns(photos)
    hidden = {**rows, "parity": [-1] * 60}
    datasets.DatasetDict({"train": table(rows), "test": table(hidden)}).save_to_disk(str(tmp_path / "saved"))
    data = HF(path=str(tmp_path / "saved")).load(0)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [48, 6, 6]
    assert data.source.endswith("saved; test has no labels and is not used")
    assert len(HF(path=str(tmp_path / "saved"), label="none").load(0).test) == 60


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        ([10, 9, 200] * 20, "int32", ("9", "10", "200")),
        (["b", "a"] * 30, "string", ("a", "b")),
        ([True, False] * 30, "bool", ("False", "True")),
    ],
)
def test_labels_may_be_integers_words_or_true_and_false(photos, tmp_path, values, kind, names):
    features = datasets.Features({**FEATURES, "kind": datasets.Value(kind)})
    table(columns(photos, kind=values), features).save_to_disk(str(tmp_path / "saved"))
    data = HF(path=str(tmp_path / "saved"), label="kind").load(0)
    assert data.class_names == names
    labels = torch.cat([data.train.labels, data.validation.labels, data.test.labels]).bincount().tolist()
    assert labels == [60 // len(names)] * len(names)


def test_bytes_written_by_another_tool_are_images_if_their_column_is_named(photos, tmp_path):
    rows = {"picture": [row["bytes"] for row in columns(photos)["picture"]]}
    table(rows, None).save_to_disk(str(tmp_path / "saved"))
    data = HF(path=str(tmp_path / "saved"), image="picture").load(0)
    assert data.class_names == ()
    expected = Folder(path=str(photos)).load(0)
    assert torch.equal(data.train.images, expected.train.images)


def test_a_change_of_an_image_or_a_label_changes_the_fingerprint(photos, tmp_path):
    marks = set()
    for number, (key, value) in enumerate([("parity", 0), ("parity", 1), ("picture", {"bytes": png(np.eye(8) > 0)})]):
        rows = columns(photos)
        rows[key][0] = value
        table(rows).save_to_disk(str(tmp_path / str(number)))
        marks.add(HF(path=str(tmp_path / str(number)), mode="grey").stream(0).fingerprint)
    assert len(marks) == 3


def test_a_changed_file_of_a_folder_changes_the_fingerprint(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    before = HF(path=str(tmp_path / "photos")).stream(0).fingerprint
    file = next((tmp_path / "photos" / "odd").iterdir())
    file.write_bytes(png(np.eye(8, dtype=np.uint8)))
    assert HF(path=str(tmp_path / "photos")).stream(0).fingerprint != before


@pytest.fixture
def zipped(photos, tmp_path):
    """The same images in a zip archive, without classes."""
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "train.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, file in enumerate(sorted(photos.glob("*/*.png"))):
            archive.write(file, f"{i:02}.png")
    return tmp_path / "zipped"


def test_images_in_an_archive_are_those_of_a_folder(photos, zipped):
    expected = Folder(path=str(photos)).load(3)
    loaded, streamed = HF(path=str(zipped)).load(3), HF(path=str(zipped)).stream(3)
    for data in (loaded, streamed):
        assert torch.equal(data.train.read(torch.arange(48)), expected.train.read(torch.arange(48)))
    assert loaded.fingerprint == streamed.fingerprint
    pickled = pickle.loads(pickle.dumps(streamed.train.images))  # noqa: S301
    assert torch.equal(pickled.read(torch.tensor([4, 2])), expected.train.read(torch.tensor([4, 2])))


@pytest.mark.bit_exact
def test_workers_that_read_one_archive_give_the_same_run(zipped, tmp_path):
    zoo = toy_zoo()
    flags = {"dataset": f'hf:path="{zipped}"', "autoencoder": "toy_net"}
    for workers in (0, 2):
        config = toy_config(zoo, flags=flags, log_every=1, data_on="stream", workers=workers)
        start(zoo, config, tmp_path / str(workers))
    assert without_clock(tmp_path / "0") == without_clock(tmp_path / "2")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("gone", "No such file or directory"),
        ("text", "train.zip is no zip archive; it may have been changed"),
        ("other", r"the archive train.zip has no file '\d\d.png'; it may have been changed"),
        ("bytes", "in the archive train.zip: .*; unpack it, or make it again"),
        ("password", "the archive train.zip has a password; unpack it"),
        ("pipe", "a FIFO, not a regular file"),
    ],
)
def test_an_archive_that_is_damaged_after_the_start_is_one_line(zipped, damage, words):
    images = HF(path=str(zipped)).stream(0).train.images
    number = int(images.numbers[0])
    file, content = zipped / "train.zip", bytearray((zipped / "train.zip").read_bytes())
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{number:02}.png")
    file.unlink()
    if damage == "text":
        file.write_bytes(b"text")
    elif damage == "other":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.png", b"")
    elif damage == "bytes":
        content[member.header_offset + 30 + len(member.filename) + 40] ^= 255
        file.write_bytes(content)
    elif damage == "password":
        content[member.header_offset + 6] |= 1
        for record in re.finditer(b"PK\\x01\\x02", bytes(content)):
            content[record.start() + 8] |= 1
        file.write_bytes(content)
    elif damage == "pipe":
        os.mkfifo(file)
    with pytest.raises(DataError, match=rf"1 of 1 images cannot be read: train row {number} \({words}"):
        images.read(torch.tensor([0]))


def test_a_file_in_an_archive_that_is_too_long_is_refused(zipped, monkeypatch):
    images = HF(path=str(zipped)).stream(0).train.images
    monkeypatch.setattr(hf_archives, "LONGEST_IMAGE", 20)
    with pytest.raises(DataError, match=r"a file of too many bytes; at most 20 are read of an archive"):
        images.read(torch.tensor([0]))


def test_a_path_of_any_length_in_a_row_makes_no_long_message(photos, tmp_path):
    (tmp_path / "data").mkdir()
    rows = columns(photos)
    for image in rows["picture"]:
        image.update(bytes=None, path=f"zip://{'a' * 5000}::{tmp_path / 'data' / 'a.zip'}")
    table(rows, None).to_parquet(str(tmp_path / "data" / "train.parquet"))
    with zipfile.ZipFile(tmp_path / "data" / "a.zip", "w") as archive:
        archive.writestr("a.png", b"")
    for read in (
        HF(path=str(tmp_path / "data"), image="picture").load,
        HF(path=str(tmp_path / "data"), image="picture").stream,
    ):
        with pytest.raises(DataError, match=r"the archive a\.zip has no file 'aaa") as refused:
            read(0)
        assert len(str(refused.value)) < 2000


def test_a_word_that_is_none_of_the_classes_of_a_card_is_said_as_the_package_says_it(photos, tmp_path):
    (tmp_path / "data").mkdir()
    rows = columns(photos) | {"parity": ["even", "bird"] * 30}
    features = datasets.Features({**FEATURES, "parity": datasets.Value("string")})
    table(rows, features).to_parquet(str(tmp_path / "data" / "train.parquet"))
    file = tmp_path / "data" / "README.md"
    file.write_text(
        "---\ndataset_info:\n  features:\n  - name: picture\n    dtype: image\n  - name: parity\n    dtype:\n"
        "      class_label:\n        names:\n          '0': even\n          '1': odd\n---\n"
    )
    assert_refused(
        HF(path=str(tmp_path / "data")), f"{tmp_path / 'data'}: cannot be read as a data set (Invalid string class"
    )


def test_classes_in_an_archive_which_the_package_cannot_read_are_refused_with_what_to_do(photos, tmp_path):
    shutil.make_archive(str(tmp_path / "data" / "train"), "zip", photos)
    words = f"{tmp_path / 'data'}: the package datasets cannot read classes that are folders in an archive; unpack it"
    assert_refused(
        HF(path=str(tmp_path / "data")), words.replace("unpack it", "unpack the archive, and give path=FOLDER")
    )


def test_a_label_column_of_another_kind_is_noted(photos, tmp_path):
    rows = {"picture": columns(photos)["picture"], "label": [[0.5]] * 60}
    features = {"picture": FEATURES["picture"], "label": datasets.List(datasets.Value("float64"))}
    data = saved_with(tmp_path, rows, datasets.Features(features)).load(0)
    assert data.class_names == ()
    assert data.source.endswith("saved; column label holds List(Value('float64')) and is not used")


# --- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "give hub=OWNER/NAME, a data set of the hub, or path=FOLDER, and not both"),
        ("hub=a/b,path=c", "give hub=OWNER/NAME, a data set of the hub, or path=FOLDER, and not both"),
        ("hub=mnist", "hub='mnist' must be OWNER/NAME, such as ylecun/mnist; a folder is path=FOLDER"),
        ("path=c,revision=main", "revision has no effect with path; leave it out"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, words):
    with pytest.raises(ConfigError) as refused:
        load_zoo().recipe("dataset", f"hf:{options}" if options else "hf")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "training"}, "no split 'training'; give split=NAME, one of train"),
        ({"image": "photo"}, "no column image=photo; the columns are picture, parity"),
        ({"image": "parity"}, "column parity is no column of images; those are picture"),
        ({"label": "class"}, "no column label=class; the columns are picture, parity, and label=none reads none"),
        ({"label": "picture"}, "column picture holds Image("),
        ({"config": "big"}, "config=big has no effect on a data set that was saved; leave it out"),
    ],
)
def test_an_option_that_the_data_do_not_have_says_what_there_is(saved, options, words):
    assert_refused(HF(path=str(saved), **options), f"{saved}: {words}")


def assert_refused(recipe, words):
    """Loading and streaming both give one line that begins so."""
    for read in (recipe.load, recipe.stream):
        with pytest.raises(DataError) as refused:
            read(0)
        assert str(refused.value).startswith(words), refused.value
        assert "\n" not in str(refused.value)


def saved_with(tmp_path, rows, features=FEATURES):
    table(rows, features).save_to_disk(str(tmp_path / "saved"))
    return HF(path=str(tmp_path / "saved"))


ROW = {"bytes": b"not a picture", "path": "a.png"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW, "train row 7 (not an image in PNG, JPEG, BMP, GIF, WEBP, TIFF or PPM format)"),
        (None, "train row 7 (no image; leave such rows out of the data set)"),
    ],
)
def test_a_row_that_is_no_image_is_named(photos, tmp_path, row, words):
    rows = columns(photos)
    rows["picture"][7] = row
    recipe = saved_with(tmp_path, rows)
    assert_refused(recipe, f"{tmp_path / 'saved'}: 1 of 60 images cannot be read: {words}")


def test_a_check_lists_every_row_that_is_no_image(photos, tmp_path):
    rows = columns(photos)
    rows["picture"][3]["bytes"] = b"text"
    rows["picture"][40]["bytes"] = rows["picture"][40]["bytes"][:60]
    report = check_data(f"hf:path={saved_with(tmp_path, rows).path}")
    assert [file.file for file in report.bad] == ["train row 3", "train row 40"]
    assert [file.problem.partition(" ")[0] for file in report.bad] == ["not", "image"]
    assert (report.images, report.usable, report.sizes) == (58, False, {"8x8": 58})
    assert sum(report.classes.values()) == 58
    assert set(report.classes) == set(CLASSES)
    good = check_data(f"hf:path={saved_with(tmp_path / 'good', columns(photos)).path},label=none")
    assert (good.images, good.usable, good.classes) == (60, True, {})


def test_a_check_finds_images_of_several_sizes(photos, tmp_path):
    rows = columns(photos)
    rows["picture"][3]["bytes"] = png(np.zeros((9, 8), np.uint8))
    folder = saved_with(tmp_path, rows).path
    report = check_data(f"hf:path={folder}")
    assert report.problem == f"{folder}: images of 2 sizes: 8x8 (59), 8x9 (1); give size= to resize them"
    assert check_data(f"hf:path={folder},size=8").usable


@pytest.mark.parametrize("path", ["/etc/hostname", "https://example.com/a.png", "a.png", "{}/../../a.png"])
def test_a_path_out_of_the_data_set_is_refused(photos, tmp_path, path):
    folder = tmp_path / "parquet"
    folder.mkdir()
    (tmp_path / "a.png").write_bytes(png(np.eye(8, dtype=np.uint8)))
    rows = columns(photos)
    rows["picture"][7] = {"bytes": None, "path": path.format(folder)}
    table(rows, None).to_parquet(str(folder / "train.parquet"))
    words = "train row 7 (a path outside the data set's own folder; no other file is read)"
    assert_refused(HF(path=str(folder), image="picture"), f"{folder}: 1 of 60 images cannot be read: {words}")


def test_an_image_damaged_behind_its_header_is_named_by_load_and_by_the_stream_that_reads_it(photos, tmp_path):
    rows = columns(photos)
    rows["picture"][7] = {"bytes": rows["picture"][7]["bytes"][:60], "path": "a.png"}
    recipe = HF(path=saved_with(tmp_path, rows).path, size=6)  # with a size, no header says how large an image is
    words = r"1 of (1|60) images cannot be read: train row 7 \(image file is truncated"
    with pytest.raises(DataError, match=words):
        recipe.load(0)
    images = recipe.stream(0).train.images
    index = (images.numbers == 7).nonzero().flatten()
    assert len(index) == 1
    with pytest.raises(DataError, match=words):
        images.read(index)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([None, *[0] * 59], "1 of 60 train images have no label in column parity, such as row 0; give another column"),
        ([0, -1, *[0] * 58], "1 of 60 train images have no label in column parity, such as row 1; give another column"),
        ([None] * 60, "the train images have no labels in column parity; give label=none"),
    ],
)
def test_images_without_labels_are_refused(photos, tmp_path, labels, words):
    recipe = saved_with(tmp_path, columns(photos) | {"parity": labels})
    assert_refused(recipe, f"{tmp_path / 'saved'}: {words}")


def test_a_label_that_is_no_class_is_refused(photos, tmp_path):
    recipe = saved_with(tmp_path, columns(photos))
    file = tmp_path / "saved" / "dataset_info.json"  # which says now that there is one class
    info = json.loads(file.read_text())
    info["features"]["parity"]["names"] = ["even"]
    file.write_text(json.dumps(info))
    assert_refused(
        recipe, f"{tmp_path / 'saved'}: label 1 of train row 30 is not in 0..0, the classes of column parity"
    )


def test_a_class_without_train_images_is_refused(photos, tmp_path):
    rows = table(columns(photos))
    given = {"train": rows.select(range(20)), "test": rows}
    datasets.DatasetDict(given).save_to_disk(str(tmp_path / "saved"))
    assert_refused(
        HF(path=str(tmp_path / "saved")), f"{tmp_path / 'saved'}: class 'odd' of test has no images in train"
    )


def test_classes_that_look_the_same_are_refused(photos, tmp_path):
    features = datasets.Features({**FEATURES, "parity": datasets.Value("string")})
    recipe = saved_with(tmp_path, columns(photos) | {"parity": ["\x1b", "\\x1b"] * 30}, features)
    assert_refused(HF(path=recipe.path, label="parity"), f"{tmp_path / 'saved'}: two classes of column parity are both")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("train", "val", "valid"), "more than one split of validation images (val, valid)"),
        (("test",), "no split 'train'; give split=NAME, one of test"),
    ],
)
def test_splits_that_do_not_fit_together_are_refused(photos, tmp_path, names, words):
    rows = table(columns(photos))
    datasets.DatasetDict(dict.fromkeys(names, rows)).save_to_disk(str(tmp_path / "saved"))
    assert_refused(HF(path=str(tmp_path / "saved")), f"{tmp_path / 'saved'}: {words}")


def test_columns_that_could_be_several_are_refused(photos, tmp_path):
    rows = columns(photos)
    twice = {**rows, "mask": rows["picture"], "shape": rows["parity"]}
    features = datasets.Features({**FEATURES, "mask": FEATURES["picture"], "shape": FEATURES["parity"]})
    where = tmp_path / "saved"
    path = saved_with(tmp_path, twice, features).path
    assert_refused(HF(path=path), f"{where}: 2 columns of images (picture, mask); give image=COLUMN, one of picture, ")
    assert_refused(
        HF(path=path, image="mask"), f"{where}: 2 columns of labels (parity, shape); give label=COLUMN or label=none"
    )


def test_data_without_images_are_refused(tmp_path):
    recipe = saved_with(tmp_path, {"text": ["a", "b"]}, None)
    assert_refused(recipe, f"{tmp_path / 'saved'}: no column of images; give image=COLUMN, one of text")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.csv").write_text("text\na\n")
    assert_refused(
        HF(path=str(tmp_path / "words")), f"{tmp_path / 'words'}: its files are of the format csv; data sets"
    )


def test_folders_that_are_no_data_set_are_one_line(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(HF(path=str(tmp_path / "empty")), f"{tmp_path / 'empty'}: cannot be read as a data set (")
    assert_refused(HF(path=str(tmp_path / "gone")), f"{tmp_path / 'gone'}: no such folder; give path=FOLDER, or hub=")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "train.parquet").write_bytes(b"PAR1")
    assert_refused(HF(path=str(tmp_path / "torn")), f"{tmp_path / 'torn'}: cannot be read as a data set (")
    recipe = saved_with(tmp_path, columns(photos))
    for file in Path(recipe.path).glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    assert_refused(recipe, f"{tmp_path / 'saved'}: cannot be read as a data set (")


def test_a_folder_may_be_called_as_a_format_is(parquet, tmp_path, monkeypatch):
    shutil.copytree(parquet, tmp_path / "csv")
    (tmp_path / "a.csv").write_text("text\na\n")
    monkeypatch.chdir(tmp_path)
    assert len(HF(path="csv").load(0).train) == 48


@pytest.mark.parametrize(
    "named",
    [
        "{parquet}/*.parquet",
        "../{parquet.name}/*.parquet",
        "inside/../../{parquet.name}/*.parquet",
    ],
)
@pytest.mark.parametrize(
    "key", ["data_files: '{}'", "data_files: [{{split: train, path: ['*', '{}']}}]", "data_dir: '{}'"]
)
@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
def test_a_card_that_names_files_elsewhere_is_refused(parquet, monkeypatch, card, key, named):
    folder = parquet.parent / "with_card"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "inside").mkdir(parents=True)
    shutil.copy(parquet / "train-00000-of-00002.parquet", folder / "train.parquet")
    named = named.format(parquet=parquet)
    text = f"configs:\n- config_name: default\n  {key.format(named)}\n"
    (folder / card).write_text(f"---\n{text}---\n" if card == "README.md" else text)
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *args, **options: pytest.fail("it was opened"))
    assert_refused(
        HF(path=str(folder)), f"{folder}: its {card} names a file elsewhere, {named}; only those of the folder"
    )


@pytest.mark.parametrize(
    "named", ["https://example.invalid/a.parquet", "zip://*.parquet::/etc/a.zip", "zip://*.png::a.zip", "a.zip::b.zip"]
)
def test_a_card_that_names_a_url_or_an_archive_is_refused_before_anything_is_asked_for(
    parquet, tmp_path, named, monkeypatch
):
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: '{named}'\n---\n")
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *args, **options: pytest.fail("it was opened"))
    words = (
        f"{tmp_path}: its README.md names a URL or a file in an archive, {named}; download or unpack it, and name files"
    )
    assert_refused(HF(path=str(tmp_path)), words)


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
def test_a_card_that_is_a_pipe_is_refused(parquet, tmp_path, card):
    shutil.copytree(parquet, tmp_path / "data")
    os.mkfifo(tmp_path / "data" / card)
    assert_refused(HF(path=str(tmp_path / "data")), f"{tmp_path / 'data' / card}: not a regular file; remove it")


def test_a_card_that_only_describes_is_read_without_a_word(parquet, tmp_path, capfd):
    shutil.copytree(parquet, tmp_path / "data")
    (tmp_path / "data" / "README.md").write_text("# Digits\n")
    assert len(HF(path=str(tmp_path / "data")).load(0).train) == 48
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "card", ["---\nconfigs: 3\n---\n", "---\nconfigs: [\n---\n", "---\n- a\n---\n", "---\na: 1\n", ""]
)
def test_a_card_without_sense_is_one_line_or_no_matter(parquet, tmp_path, card):
    shutil.copytree(parquet, tmp_path / "data")
    (tmp_path / "data" / "README.md").write_text(card)
    if card.count("---") < 2:
        assert len(HF(path=str(tmp_path / "data")).load(0).train) == 48
    else:
        assert_refused(HF(path=str(tmp_path / "data")), f"{tmp_path / 'data'}: cannot be read as a data set (")


def test_files_named_by_a_card_of_the_folder_are_read(parquet, tmp_path):
    shutil.copytree(parquet, tmp_path / "data" / "deep" / "er")
    (tmp_path / "data" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: [{split: train, path: deep/er/*.parquet}]\n---\n"
    )
    assert len(HF(path=str(tmp_path / "data")).load(0).train) == 48


@pytest.mark.parametrize("kind", ["parquet", "zip"])
def test_a_file_that_changed_with_its_time_kept_is_read_as_it_is_and_the_older_table_as_it_was(photos, tmp_path, kind):
    folder = tmp_path / "data"
    folder.mkdir()

    def write(value):
        rows = columns(photos)
        for image in rows["picture"]:
            image["bytes"] = png(np.full((8, 8), value, np.uint8))
        file = folder / f"train.{kind}"
        if kind == "parquet":
            table(rows).to_parquet(str(file))
        else:
            with zipfile.ZipFile(file, "w") as archive:
                for name in (f"{i}.png" for i in range(60)):
                    archive.writestr(name, rows["picture"][0]["bytes"])
        os.utime(file, (1e9, 1e9))

    index = torch.arange(4)
    write(10)
    before = HF(path=str(folder)).stream(0)
    assert (before.train.read(index) == 10).all()
    write(20)
    after = HF(path=str(folder)).stream(0)
    assert (after.train.read(index) == 20).all()
    assert kind == "zip" or (before.train.read(index) == 10).all()  # images of an archive are not in the table
    assert after.fingerprint != before.fingerprint


def test_a_path_that_the_package_takes_for_a_pattern_is_refused(parquet, tmp_path):
    for name, sign in (("photos[1]", "[1]"), ("photos*", "*"), ("photos?", "?"), ("a::b", "::")):
        shutil.copytree(parquet, tmp_path / name)
        words = f"{tmp_path / name}: its path has {sign}, which the package datasets takes for a pattern; rename that"
        assert_refused(HF(path=str(tmp_path / name)), words)
    shutil.copytree(parquet, tmp_path / "photos[1")  # which is none
    assert len(HF(path=str(tmp_path / "photos[1")).load(0).train) == 48


def test_a_file_in_place_of_its_folder_is_refused(parquet):
    file = parquet / "train-00000-of-00002.parquet"
    assert_refused(HF(path=str(file)), f"{file}: not a folder; give path={parquet}, the folder that holds it")


def test_descriptions_without_sense_and_splits_without_rows_are_one_line(photos, tmp_path):
    words = "cannot be read as a data set (a file that describes it is damaged, or a split has no rows: "
    rows = table(columns(photos))
    datasets.DatasetDict({"train": rows, "test": rows.select([])}).save_to_disk(str(tmp_path / "empty"))
    assert_refused(HF(path=str(tmp_path / "empty")), f"{tmp_path / 'empty'}: {words}")
    rows.save_to_disk(str(tmp_path / "saved"))
    for text in ("{}", "[]", '{"_data_files": 3}'):
        (tmp_path / "saved" / "state.json").write_text(text)
        assert_refused(HF(path=str(tmp_path / "saved")), f"{tmp_path / 'saved'}: {words}")


def test_paths_in_place_of_images_are_refused_with_what_to_do_and_the_page_shows_how(photos, tmp_path, monkeypatch):
    (tmp_path / "parquet").mkdir()
    rows = datasets.load_dataset("imagefolder", data_dir=str(photos), split="train")
    rows.to_parquet(str(tmp_path / "parquet" / "train.parquet"))
    with pytest.raises(
        DataError, match=r"60 of 60 .* and 55 more; store images as bytes, in place of paths"
    ) as refused:
        HF(path=str(tmp_path / "parquet")).load(0)
    assert str(refused.value).count("store images as bytes") == 1
    page = (Path(__file__).parents[2] / "docs" / "large_data.md").read_text()
    (code,) = re.findall(r"```python\n(from datasets .*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"photos"', repr(str(photos))), {})
    assert_same(HF(path="parquet").load(3), Folder(path=str(photos)).load(3))


def test_a_data_set_of_the_hub_without_a_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(HF(hub="nobody/photos"), "nobody/photos: the Hugging Face hub cannot be reached (")
    (tmp_path / "nobody" / "photos").mkdir(parents=True)
    assert_refused(HF(hub="nobody/photos"), "hub=nobody/photos is a folder here; give path=nobody/photos")


def test_what_the_hub_says_is_one_line(monkeypatch):
    def answer(err):
        def fail(*args, **options):
            raise err

        monkeypatch.setattr(datasets, "load_dataset_builder", fail)

    answer(datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub or cannot be accessed."))
    assert_refused(HF(hub="a/b"), "a/b: no such data set on the Hugging Face hub, or it needs a login (Dataset 'a/b' ")
    answer(ValueError("Config name is missing.\nPlease pick one among: ['x', 'y']\nExample of usage:\n\t`load`"))
    words = "a/b: cannot be read as a data set (Config name is missing. Please pick one among: ['x', 'y'])"
    assert_refused(HF(hub="a/b"), words)


def test_a_signal_while_the_package_works_still_stops(parquet, monkeypatch, tmp_path):
    def fail(*args, **options):
        try:  # as the package does while it generates
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception as err:
            raise RuntimeError("while generating") from err

    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    with pytest.raises(Interrupted, match="stopped by SIGTERM"), interruptible(tmp_path):
        HF(path=str(parquet)).load(0)


def test_too_little_memory_that_the_package_wraps_is_no_fault_of_the_files(parquet, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("while generating") from MemoryError()

    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    with pytest.raises(MemoryError):
        HF(path=str(parquet)).load(0)


def test_the_copy_in_the_cache_is_no_revision(monkeypatch):
    class Builder:
        name = "cache"

    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *args, **options: Builder())
    assert_refused(HF(hub="a/b", revision="v1"), "a/b: the hub cannot be reached, and the copy in the cache may not be")


def test_without_the_package_the_message_says_how_to_get_it(parquet, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    words = f'{parquet}: the format needs the package datasets; pip install "mixzoo[hf]"'
    assert_refused(HF(path=str(parquet)), words)
