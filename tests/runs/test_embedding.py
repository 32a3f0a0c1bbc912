"""Codes of images in a file: the same as from Python."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from mixzoo import Run
from mixzoo.runs.run import start
from toys import toy_config, toy_zoo


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, steps=2), folder / "run")
    (folder / "photos" / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.jpg", "deep/c.png"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / "photos" / name)
    (folder / "photos" / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_codes_of_a_split_and_its_labels_are_those_of_python(mixzoo, run, tmp_path, ending):
    out = tmp_path / f"codes.{ending}"
    code, printed, err = mixzoo("embed", run / "run", "--images", "test", "--out", out)
    assert (code, printed, err) == (0, "", f"48 codes in {out}\n")
    found = np.load(out) if ending == "npz" else load_file(out)
    opened = Run(run / "run", zoo=toy_zoo())
    assert np.array_equal(found["codes"], opened.encode(opened.data.test.images).numpy())
    assert np.array_equal(found["labels"], opened.data.test.labels.numpy())


def test_codes_of_a_folder_are_those_of_python_in_the_order_of_the_names(mixzoo, run, tmp_path):
    code, _, err = mixzoo("embed", run / "run", "--images", run / "photos", "--out", tmp_path / "codes.npz")
    assert code == 0, err
    with np.load(tmp_path / "codes.npz") as found:
        files = [str(run / "photos" / name) for name in ("a.jpg", "b.png", "deep/c.png")]
        assert found["files"].tolist() == files
        assert np.array_equal(found["codes"], Run(run / "run", zoo=toy_zoo()).encode(files).numpy())


def test_broken_pictures_are_all_named_and_left_out_on_request(mixzoo, run, tmp_path):
    photos = shutil.copytree(run / "photos", tmp_path / "photos")
    for name in ("aa.png", "z.png"):
        (photos / name).write_bytes(b"no picture")
    command = ["embed", run / "run", "--images", photos, "--out", tmp_path / "codes.npz"]
    code, _, err = mixzoo(*command)
    assert (code, err.count("\n"), (tmp_path / "codes.npz").exists()) == (3, 1, False)
    reason = "it is not a readable picture"
    assert (
        f"2 of 5 pictures cannot be read: {photos}/aa.png: {reason}; {photos}/z.png: {reason}. Remove them, or" in err
    )
    code, _, err = mixzoo(*command, "--skip-bad")
    assert code == 0
    assert err.splitlines()[0] == f"mixzoo: left out: {photos}/aa.png: {reason}"
    with np.load(tmp_path / "codes.npz") as found:
        assert [file.rpartition("/")[2] for file in found["files"]] == ["a.jpg", "b.png", "c.png"]
        assert np.array_equal(found["codes"], Run(run / "run", zoo=toy_zoo()).encode(found["files"].tolist()).numpy())
    for file in ("a.jpg", "b.png", "deep/c.png"):
        (photos / file).write_bytes(b"")
    code, _, err = mixzoo(*command, "--skip-bad")
    assert (code, "5 of 5 pictures cannot be read" in err) == (3, True)


@pytest.mark.parametrize(
    ("images", "out", "line"),
    [
        ("test", "codes.csv", "name a file that ends in .npz or .safetensors"),
        (
            "nothing",
            "codes.npz",
            "--images nothing: no such folder; give a folder of pictures, or test, train, validation",
        ),
        ("run", "codes.npz", "no pictures in it (.png"),
    ],
)
def test_what_cannot_be_embedded_is_one_line_and_writes_nothing(mixzoo, run, tmp_path, images, out, line):
    given = run / "run" / "checkpoints" if images == "run" else images
    code, _, err = mixzoo("embed", run / "run", "--images", given, "--out", tmp_path / out)
    assert (code, err.count("\n")) == (2, 1)
    assert line in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_line(mixzoo, run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = mixzoo("embed", run / "run", "--images", "test", "--out", tmp_path / "file" / "codes.npz")
    assert (code, err.count("\n")) == (8, 1)
    assert "cannot be written" in err
    assert torch.is_grad_enabled()
