"""`mixzoo data check` lists every bad file of any data set; `skip_bad` trains without a few bad files of a folder."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from test_datasets_refusals import write_images, write_mat, write_mnist

import mixzoo as api
from mixzoo import CheckpointError, ConfigError, DataError, check_data
from mixzoo.runs.run import start
from mixzoo_datasets import celeba, cifar
from mixzoo_datasets.folder import Folder
from mixzoo_datasets.idx import IMAGES, LABELS
from toys import SMALL, TOYS, toy_config, toy_zoo


@pytest.fixture
def photos(tmp_path):
    """Thirty images of two classes, and five files that are bad in five ways."""
    root = tmp_path / "photos"
    write_images(root / "a", 20)
    write_images(root / "b", 10, 100)
    (root / "a" / "text.png").write_text("hello")
    (root / "a" / "x\x1b[31m.png").write_bytes((root / "a" / "00.png").read_bytes()[:45])
    os.mkfifo(root / "b" / "pipe.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(root / "b" / "float.tif")
    (root / "b" / "gone.png").symlink_to("nowhere")
    return root


BAD = {  # file -> the beginning of the problem, what is allowed
    "a/text.png": ("not an image in PNG", "save it in one"),
    "a/x\\x1b[31m.png": ("image file is truncated", "the file is damaged"),
    "b/float.tif": ("floating-point pixels", "save it with 8 or 16 bits"),
    "b/gone.png": ("No such file or directory", "it must be there"),
    "b/pipe.png": ("a FIFO, not a regular file", "only regular files are read"),
}


def test_every_bad_file_of_a_folder_is_listed_in_one_pass(photos):
    report = check_data(photos)
    assert {file.file for file in report.bad} == BAD.keys()
    for file in report.bad:
        problem, allowed = BAD[file.file]
        assert file.problem.startswith(problem)
        assert file.allowed.startswith(allowed)
    assert (report.images, report.files) == (30, 35)
    assert report.classes == {"a": 20, "b": 10}
    assert report.sizes == {"8x8": 30}
    assert report.modes == {"L": 30}
    assert not report.usable
    assert str(report).count("\n") == 5 + 5 - 1
    assert "5 bad files: repair or remove them, or leave them out with --skip-bad 5" in str(report)
    assert all(line.isprintable() for line in str(report).split("\n"))


def test_a_spec_that_allows_bad_files_is_usable(photos):
    assert not check_data(f"folder:path={photos},skip_bad=4").usable
    report = check_data(f"folder:path={photos},skip_bad=5")
    assert report.usable
    assert report.to_json()["skipped"] == 5
    assert "5 bad files, left out by skip_bad=5" in str(report)


def test_the_command_prints_a_line_for_each_bad_file_and_ends_with_3(mixzoo, photos):
    code, out, err = mixzoo("data", "check", photos)
    assert (code, err) == (3, "")
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines[:5]] == sorted(BAD)
    assert out.rstrip().endswith("--skip-bad 5")
    code, out, err = mixzoo("data", "check", f"folder:path={photos},skip_bad=9", "--json")
    (report,) = json.loads(out)
    assert (code, err) == (0, "")
    assert report["usable"]
    assert [bad["file"] for bad in report["bad"]] == sorted(BAD)
    assert report["classes"] == {"a": 20, "b": 10}


def test_images_of_several_sizes_are_a_problem_of_the_whole_unless_they_are_resized(tmp_path):
    write_images(tmp_path / "a", 20)
    Image.new("RGB", (9, 8)).save(tmp_path / "a" / "x.png")
    report = check_data(tmp_path)
    assert not report.usable
    assert report.bad == ()
    assert report.sizes == {"8x8": 20, "9x8": 1}
    assert report.modes == {"L": 20, "RGB": 1}
    assert report.problem.endswith("images of 2 sizes: 8x8 (20), 9x8 (1); give size= to resize them")
    assert check_data(f"folder:path={tmp_path},size=8").usable


def test_a_folder_of_too_few_images_has_no_bad_file_and_is_not_usable(tmp_path):
    write_images(tmp_path / "a", 3)
    report = check_data(tmp_path)
    assert (report.bad, report.usable) == ((), False)
    assert "would be empty" in report.problem
    assert "no bad files, but a run cannot use the data set" in str(report)


def test_the_images_of_a_large_folder_are_never_together_in_memory(tmp_path, monkeypatch):
    from mixzoo_datasets import folder

    write_images(tmp_path / "a", 200)
    inside, most = 0, 0
    real = folder.picture_bytes

    def counted(*args, **kwargs):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return real(*args, **kwargs)
        finally:
            inside -= 1

    monkeypatch.setattr(folder, "picture_bytes", counted)
    monkeypatch.setattr(folder, "stack_images", lambda *_: pytest.fail("all images were read into memory"))
    assert check_data(tmp_path).images == 200
    assert 1 <= most <= 2


# --- data sets with a root


def bad_mnist(root):
    write_mnist(root / "MNIST" / "raw", train=(10_010, 28, 28))
    raw = root / "MNIST" / "raw"
    (raw / f"train-{IMAGES}").write_bytes(b"junk")
    labels = bytearray((raw / f"t10k-{LABELS}").read_bytes())
    labels[-1] = 77
    (raw / f"t10k-{LABELS}").write_bytes(labels)
    return {f"MNIST/raw/train-{IMAGES}": "not an IDX file of bytes", f"MNIST/raw/t10k-{LABELS}": "label 77 of image 4"}


def bad_emnist(root):
    bad = bad_mnist(root)
    (root / "EMNIST" / "raw").mkdir(parents=True)
    for file in (root / "MNIST" / "raw").iterdir():
        name = file.name.replace("t10k", "test")
        content = bytearray(file.read_bytes())
        if "labels" in name:
            content[8:] = bytes(77 if label == 77 else 1 for label in content[8:])
        (root / "EMNIST" / "raw" / f"emnist-letters-{name}").write_bytes(content)
    shutil.rmtree(root / "MNIST")
    return {f.replace("MNIST/raw/", "EMNIST/raw/emnist-letters-").replace("t10k", "test"): p for f, p in bad.items()}


def bad_cifar(root):
    (root / cifar.BINARY).mkdir()
    for name in cifar.TRAIN + cifar.TEST:
        (root / cifar.BINARY / f"{name}.bin").write_bytes(bytes(2 * (1 + cifar.PIXELS)))
    (root / cifar.BINARY / "data_batch_2.bin").write_bytes(b"x")
    (root / cifar.BINARY / "test_batch.bin").unlink()
    return {f"{cifar.BINARY}/data_batch_2.bin": "1 bytes, not a multiple", f"{cifar.BINARY}/test_batch.bin": "missing"}


def bad_svhn(root):
    write_mat(root / "train_32x32.mat", np.array([[1.0], [1.5]]))
    os.mkfifo(root / "test_32x32.mat")
    return {"train_32x32.mat": "label 1.5 of image 1", "test_32x32.mat": "not a MATLAB file with X and y (a FIFO"}


def bad_celeba(root):
    folder = root / "celeba"
    (folder / celeba.PICTURES).mkdir(parents=True)
    names = [f"{i}.jpg" for i in range(6)]
    for name in names:
        Image.new("RGB", celeba.ALIGNED).save(folder / celeba.PICTURES / name)
    rows = "".join(f"{name} 1 1 1\n" for name in names)
    (folder / celeba.ATTRIBUTES).write_text(f"6\nMale Heavy_Makeup Wearing_Lipstick\n{rows}")
    (folder / celeba.PARTITION).write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    Image.new("RGB", (20, 30)).save(folder / celeba.PICTURES / "3.jpg")
    (folder / celeba.PICTURES / "4.jpg").unlink()
    return {f"{celeba.PICTURES}/3.jpg": "20x30 pixels", f"{celeba.PICTURES}/4.jpg": "No such file or directory"}


@pytest.mark.parametrize(
    ("name", "damage"),
    [("mnist", bad_mnist), ("emnist", bad_emnist), ("cifar10", bad_cifar), ("svhn", bad_svhn), ("celeba", bad_celeba)],
)
def test_every_bad_file_of_a_data_set_with_a_root_is_listed(tmp_path, name, damage):
    bad = damage(tmp_path)
    for target in (f"{name}:root={tmp_path}", str(tmp_path)):
        report = check_data(target)
        assert {file.file for file in report.bad} == bad.keys()
        assert all(file.problem.startswith(bad[file.file]) for file in report.bad)
        assert not report.usable
        assert "--skip-bad" not in str(report)


def test_a_data_set_is_found_from_inside_and_a_file_of_it_is_checked_alone(tmp_path):
    bad_mnist(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    assert len(check_data(raw).bad) == len(check_data(tmp_path / "MNIST").bad) == 2
    for file, bad in ((f"train-{IMAGES}", 1), (f"train-{LABELS}", 0), (f"t10k-{LABELS}", 1)):
        report = check_data(raw / file)
        assert (report.files, len(report.bad)) == (1, bad)
        assert report.usable == (not bad)


def test_several_data_sets_at_one_place_are_all_checked_by_the_command(mixzoo, tmp_path):
    bad_mnist(tmp_path)
    bad_svhn(tmp_path)
    code, out, _ = mixzoo("data", "check", tmp_path)
    assert code == 3
    assert "mnist under" in out
    assert "svhn under" in out
    with pytest.raises(ConfigError, match=r"several data sets are there \(mnist, svhn\); give a spec"):
        check_data(tmp_path)


@pytest.mark.parametrize(("spec", "images"), [("digits", 1797), ("lines:images=64", 64), ("sprites:images=20", 20)])
def test_a_data_set_without_files_is_loaded_and_counted(spec, images):
    report = check_data(spec)
    assert (report.usable, report.images, report.files) == (True, images, 0)
    assert report.sizes


def test_a_missing_root_is_a_problem_and_no_traceback(tmp_path):
    report = check_data(f"mnist:root={tmp_path}/gone")
    assert not report.usable
    assert len(report.bad) == 4


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (3, ConfigError, "data=3 must be a spec or a path, such as 'folder:path=photos'"),
        ("gone/x", DataError, "gone/x: no such file or folder; give a data set or a path"),
        ("x" * 300 + "/y", DataError, r"no such file or folder"),
        ("mnits", ConfigError, "Did you mean 'mnist'"),
        ("setup.cfg", ConfigError, "a file that no data set has at this place; name the data set and its option"),
    ],
)
def test_what_names_no_data_set_is_refused(unchecked, tmp_path, monkeypatch, data, error, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.cfg").write_text("")
    with pytest.raises(error, match=words):
        check_data(data)


# --- skip_bad


def test_bad_files_are_left_out_of_every_split_the_same_in_memory_and_streamed(photos):
    recipe = Folder(path=str(photos), skip_bad=5)
    held, streamed = recipe.load(0), recipe.stream(0)
    assert held.fingerprint == streamed.fingerprint == recipe.load(1).fingerprint
    assert held.skipped.keys() == streamed.skipped.keys() == BAD.keys()
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(held, name), getattr(streamed, name)
        assert torch.equal(ours.images, theirs.read(torch.arange(len(theirs))))
        assert torch.equal(ours.labels, theirs.labels)
    assert sum(map(len, (held.train, held.validation, held.test))) == 30


def test_the_files_left_out_are_part_of_the_fingerprint_and_the_option_alone_is_not(photos):
    with_bad = Folder(path=str(photos), skip_bad=5).load(0)
    for file in ("a/text.png", "a/x\x1b[31m.png", "b/pipe.png", "b/float.tif", "b/gone.png"):
        (photos / file).unlink()
    without, allowed = Folder(path=str(photos)).load(0), Folder(path=str(photos), skip_bad=5).load(0)
    assert without.fingerprint == allowed.fingerprint != with_bad.fingerprint
    assert torch.equal(without.train.images, with_bad.train.images)


@pytest.mark.parametrize("skip_bad", [0, 4])
def test_more_bad_files_than_allowed_are_refused_with_advice(photos, skip_bad):
    limit = ", and skip_bad is 4" if skip_bad else ""
    for read in (Folder.load, Folder.stream):
        with pytest.raises(
            DataError, match=rf"\d of 35 images cannot be read{limit}: .*; `mixzoo data check` lists them"
        ):
            read(Folder(path=str(photos), skip_bad=skip_bad), 0)


def test_a_class_of_which_nothing_can_be_read_is_refused(tmp_path):
    write_images(tmp_path / "a", 20)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.png").write_text("hello")
    with pytest.raises(DataError, match="no train image of class 'b' can be read; `mixzoo data check` lists them all"):
        Folder(path=str(tmp_path), skip_bad=1).load(0)


def test_a_run_says_first_and_records_which_files_it_leaves_out(mixzoo, photos, tmp_path):
    flags = [*TOYS, "--data", f"folder:path={photos}", *SMALL, "--out", "run", "--metric", "reconstruction"]
    code, _, err = mixzoo("train", *flags)
    assert code == 3
    assert not (tmp_path / "run").exists()
    code, _, err = mixzoo("train", *flags, "--skip-bad", "5")
    assert code == 0, err
    line = next(line for line in err.splitlines() if line.startswith("skipped "))
    assert line.startswith("skipped     5 files that cannot be read: a/text.png (not an image")
    assert line.endswith(" and 2 more")
    recorded = json.loads((tmp_path / "run" / "environment.json").read_text())["data_skipped"]
    assert recorded["files"] == 5
    assert recorded["first"].keys() == BAD.keys()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["skipped_files"] == 5
    assert "skip_bad = 5" in (tmp_path / "run" / "run.toml").read_text()
    api.report(tmp_path / "run", out=tmp_path / "r.html", explore=False)
    page = (tmp_path / "r.html").read_text()
    assert "Files left out of the data" in page
    assert "b/pipe.png" in page


def test_a_file_that_turns_bad_later_is_another_data_set_for_a_resume(photos, tmp_path):
    from mixzoo.runs.run import resume

    zoo = toy_zoo()
    config = toy_config(zoo, flags={"dataset": f"folder:path={photos},skip_bad=6"}, steps=2, batch_images=8)
    run = tmp_path / "run"
    start(zoo, config, run)
    (photos / "a" / "03.png").write_text("hello")
    with pytest.raises(CheckpointError, match="the data set has changed since the run was started"):
        resume(zoo, run, steps=4)


@pytest.mark.parametrize("spec", ["digits", "mnist"])
def test_a_data_set_that_leaves_nothing_out_has_no_such_option(mixzoo, spec):
    code, _, err = mixzoo("train", "--data", spec, "--skip-bad", "1")
    assert code == 2
    assert f"--skip-bad: dataset '{spec}' has no option 'skip_bad'" in err


# --- files that turn bad while a run reads them


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.unlink(), "No such file or directory"),
        (lambda file: file.write_text("hello"), "not an image in PNG"),
        (lambda file: Image.new("L", (9, 9)).save(file), "9x9x1 now, expected 8x8x1"),
        (lambda file: Image.new("L", (8, 8), 77).save(file), "changed since the run started to use it"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "a FIFO, not a regular file"),
    ],
)
def test_a_file_that_vanishes_or_changes_while_it_is_streamed_is_named(tmp_path, change, words):
    write_images(tmp_path / "a", 20)
    data = Folder(path=str(tmp_path)).stream(0)
    data.train.read(torch.arange(16))
    place = int(data.train.images.numbers[3])
    file = data.train.images.files[place]
    change(file)
    with pytest.raises(DataError, match=rf"1 of 16 images cannot be read: a/{file.name} \({words}"):
        data.train.read(torch.arange(16))


def test_a_file_that_is_touched_or_copied_is_not_changed(tmp_path):
    write_images(tmp_path / "a", 20)
    data = Folder(path=str(tmp_path)).stream(0)
    before = data.train.read(torch.arange(16))
    for file in (tmp_path / "a").iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        os.utime(file, (1, 1))
    assert torch.equal(data.train.read(torch.arange(16)), before)
