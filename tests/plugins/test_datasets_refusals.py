"""Data sets: damage that must be noticed, the splits of a folder, and whole downloads from file:// addresses."""

import dataclasses
import gzip
import hashlib
import http.client
import io
import os
import pickle
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from mixzoo import DataError
from mixzoo_datasets import cifar, download, reading, svhn
from mixzoo_datasets.folder import Folder
from mixzoo_datasets.idx import IMAGES, LABELS, MNIST


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder, train=(10_010, 28, 28), test=(5, 28, 28), ending=""):
    folder.mkdir(parents=True)
    for split, shape in (("train", train), ("t10k", test)):
        for name, array in ((IMAGES, np.zeros(shape)), (LABELS, np.zeros(shape[0]))):
            content = idx_bytes(array)
            (folder / f"{split}-{name}{ending}").write_bytes(gzip.compress(content, 1) if ending else content)


def write_images(folder, count, colour=0):
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("L", (8, 8), colour + i).save(folder / f"{i:02}.png")


def sizes(data):
    return [len(split) for split in (data.train, data.validation, data.test)]


# --- IDX files


def test_idx_images_of_another_size_are_refused(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw", train=(3, 20, 20))
    with pytest.raises(DataError, match=f"train-{IMAGES}: images of 20x20 pixels, expected 28x28"):
        MNIST(root=str(tmp_path)).load(0)


@pytest.mark.parametrize("shape", [(0, 28, 28), (3, 28, 0)])
def test_an_idx_file_with_nothing_in_it_is_refused(tmp_path, shape):
    write_mnist(tmp_path / "MNIST" / "raw", test=shape)
    with pytest.raises(DataError, match=f"t10k-{IMAGES}: {'x'.join(map(str, shape))} entries, so the file is empty"):
        MNIST(root=str(tmp_path)).load(0)


def test_an_empty_split_says_how_many_images_it_takes(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw", train=(100, 28, 28))
    with pytest.raises(
        DataError, match=r"empty \(105 images in all\); needed: more than 10,000 train images and a test"
    ):
        MNIST(root=str(tmp_path)).load(0)
    write_images(tmp_path / "few", 9)
    with pytest.raises(
        DataError, match=r"empty \(9 images in all\); needed: at least 10, so that a tenth can be held out"
    ):
        Folder(path=str(tmp_path / "few")).load(0)
    for name in ("train", "test"):
        write_mat(tmp_path / f"{name}_32x32.mat", np.ones((1, 1)))
    with pytest.raises(DataError, match="needed: at least 2 train images and a test image"):
        svhn.SVHN(root=str(tmp_path)).load(0)


def test_the_home_of_an_unknown_user_is_refused():
    with pytest.raises(DataError, match="~nobody-of-that-name/data: no such folder"):
        MNIST(root="~nobody-of-that-name/data").load(0)


# --- CIFAR-10


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_cifar_batches_written_by_a_later_python_are_read_too(tmp_path, protocol):
    count = 10_000  # so long a list that a frame of the pickle ends within it
    pixels, labels = np.zeros((count, cifar.PIXELS), np.uint8), [i % 10 for i in range(count)]
    pixels[:, 0] = labels
    names = [f"{i:08}.png" for i in range(count)]
    (tmp_path / cifar.PICKLED).mkdir()
    content = {b"filenames": names, b"labels": labels, b"data": pixels}
    (tmp_path / cifar.PICKLED / "test_batch").write_bytes(pickle.dumps(content, protocol=protocol))
    split = cifar.read_batches(tmp_path, cifar.TEST)
    assert split.labels.tolist() == labels
    assert split.images[:, 0, 0, 0].tolist() == labels


def test_a_cifar_batch_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / cifar.PICKLED).mkdir()
    (tmp_path / cifar.PICKLED / "test_batch").write_bytes(b"x")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading, "open_regular", refuse)  # a test run as root may read everything
    with pytest.raises(DataError, match=r"test_batch: cannot be read \(Permission denied\)"):
        cifar.read_batches(tmp_path, cifar.TEST)


# --- SVHN


def write_mat(path, labels, compressed=False):
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8)
    savemat(path, {"X": images, "y": labels}, do_compression=compressed)


@pytest.mark.parametrize("label", [1.5, np.nan, np.inf, -1.0, 11.0])
def test_an_svhn_label_that_is_not_a_digit_is_named_and_not_rounded(tmp_path, label):
    write_mat(tmp_path / "x.mat", np.array([[1.0], [label]]))
    with pytest.raises(DataError, match=rf"label {label} of image 1 is not a whole number in 0\.\.10"):
        svhn.read_mat(tmp_path / "x.mat")


def test_svhn_labels_that_are_text_are_refused(tmp_path):
    write_mat(tmp_path / "x.mat", np.array(["a", "b"]))
    with pytest.raises(DataError, match="y does not hold real numbers"):
        svhn.read_mat(tmp_path / "x.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_svhn_file_is_named_whatever_scipy_raises(tmp_path, compressed):
    path = tmp_path / "x.mat"
    write_mat(path, np.ones((4, 1), np.uint8), compressed)
    whole = path.read_bytes()
    for parts in range(40):
        path.write_bytes(whole[: len(whole) * parts // 40])
        with pytest.raises(DataError, match=rf"^{path}: not a MATLAB file with X and y .*; the file is damaged$"):
            svhn.read_mat(path)


def test_a_changed_bit_in_a_compressed_svhn_file_is_noticed(tmp_path):
    # Compressed as the published files; without compression nothing is checksummed.
    path = tmp_path / "x.mat"
    write_mat(path, np.ones((4, 1), np.uint8), compressed=True)
    whole = path.read_bytes()
    for position in range(300, len(whole) - 200, 300):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"not a MATLAB file with X and y .*; the file is damaged"):
            svhn.read_mat(path)


# --- folders


def test_a_folder_with_train_validation_and_test_keeps_those_splits(tmp_path):
    for split, count in (("train", 7), ("val", 3), ("test", 2)):
        write_images(tmp_path / split / "cats", count, 10)
        write_images(tmp_path / split / "dogs", count, 200)
    data = Folder(path=str(tmp_path)).load(0)
    assert data.class_names == ("cats", "dogs")
    assert sizes(data) == [14, 6, 4]
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.images[:, 0, 0, 0] >= 200, split.labels == 1)


@pytest.mark.parametrize(("given", "expected"), [("test", [27, 3, 5]), ("valid", [27, 5, 3])])
def test_a_split_without_its_folder_is_a_tenth_of_the_train_images(tmp_path, given, expected):
    write_images(tmp_path / "train", 30)
    write_images(tmp_path / given, 5, 200)
    data = Folder(path=str(tmp_path)).load(0)
    assert sizes(data) == expected
    own, held = (data.test, data.validation) if given == "test" else (data.validation, data.test)
    assert (own.images >= 200).all()
    assert (held.images < 30).all()
    values = torch.cat([data.train.images[:, 0, 0, 0], held.images[:, 0, 0, 0]])
    assert values.sort().values.tolist() == list(range(30))


def test_a_class_may_be_called_train(tmp_path):
    write_images(tmp_path / "car", 10)
    write_images(tmp_path / "train", 10)
    assert Folder(path=str(tmp_path)).load(0).class_names == ("car", "train")


def test_folders_of_splits_that_do_not_fit_together_are_refused(tmp_path):
    for name in ("train/cats", "test/dogs"):
        write_images(tmp_path / name, 10)
    with pytest.raises(DataError, match=r"class 'dogs' of test has no images in train \(cats\)"):
        Folder(path=str(tmp_path)).load(0)
    write_images(tmp_path / "more", 1)
    with pytest.raises(
        DataError, match=r"folders of splits \(test, train\) next to other folders \(more\); move the others"
    ):
        Folder(path=str(tmp_path)).load(0)


def test_two_folders_of_validation_images_are_refused(tmp_path):
    for name in ("train", "val", "valid"):
        write_images(tmp_path / name, 10)
    with pytest.raises(DataError, match=r"more than one folder of validation images \(train, val, valid\); keep one"):
        Folder(path=str(tmp_path)).load(0)


def test_hidden_files_and_folders_are_skipped(tmp_path):
    write_images(tmp_path / "cats", 10)
    write_images(tmp_path / ".ipynb_checkpoints", 10)
    (tmp_path / "cats" / "._00.png").write_bytes(b"what macOS leaves on other disks")
    data = Folder(path=str(tmp_path)).load(0)
    assert data.class_names == ("cats",)
    assert sum(sizes(data)) == 10


def png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 10_000, 60_000])  # Pillow passes the first, warns of the second, raises
def test_a_decompression_bomb_is_named_like_any_bad_file_and_never_decoded(tmp_path, side):
    write_images(tmp_path / "cats", 10)
    (tmp_path / "cats" / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(DataError, match=r"1 of 11 images cannot be read: cats/bomb\.png \(.*pixels"):
        Folder(path=str(tmp_path)).load(0)


def test_floating_point_images_are_refused_and_not_clipped(tmp_path):
    write_images(tmp_path / "cats", 10)
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "cats" / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif \(floating-point pixels have no known range"):
        Folder(path=str(tmp_path)).load(0)


def test_a_bad_file_whose_name_is_not_text_is_named(tmp_path):
    write_images(tmp_path / "cats", 10)
    Path(os.fsdecode(os.fsencode(tmp_path / "cats") + b"/\xff.png")).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cats/\\xff\.png \(not an image in PNG") as caught:
        Folder(path=str(tmp_path)).load(0)
    assert str(caught.value).encode()


# --- whole downloads, from file:// addresses


@pytest.fixture
def mnist_archive(tmp_path, monkeypatch):
    """A small MNIST at a file:// address, which replaces the published one for MNIST(download=True)."""
    folder = tmp_path / "server"
    write_mnist(folder, ending=".gz")
    md5 = {p.stem: hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest() for p in folder.iterdir()}
    archive = dataclasses.replace(MNIST.archive, url=f"{folder.as_uri()}/", md5=md5)
    monkeypatch.setattr(MNIST, "archive", archive)
    return folder


def test_mnist_is_downloaded_once_and_then_read_from_disk(mnist_archive, tmp_path):
    root = tmp_path / "data"
    first = MNIST(root=str(root), download=True).load(0)
    for path in mnist_archive.iterdir():
        path.unlink()
    assert MNIST(root=str(root), download=True).load(0).fingerprint == first.fingerprint
    assert sizes(first) == [10, 10_000, 5]


def test_unpacked_files_are_not_downloaded_again(mnist_archive, tmp_path):
    root = tmp_path / "data"
    write_mnist(root / "MNIST" / "raw")
    MNIST(root=str(root), download=True).load(0)
    assert not list((root / "MNIST" / "raw").glob("*.gz"))


@pytest.fixture
def cifar_archive(tmp_path, monkeypatch):
    """A small CIFAR-10 at a file:// address, which replaces the published one for CIFAR10(download=True)."""
    archive = tmp_path / "server" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in cifar.TRAIN + cifar.TEST:
            labels = [0] * (2002 if name in cifar.TRAIN else 5)
            batch = {b"batch_label": b"x", b"labels": labels, b"data": np.zeros((len(labels), cifar.PIXELS), np.uint8)}
            content = pickle.dumps(batch, protocol=3)
            member = tarfile.TarInfo(f"{cifar.PICKLED}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(cifar, "URL", archive.as_uri())
    monkeypatch.setattr(cifar, "MD5", hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest())
    return archive


def test_cifar_is_downloaded_and_a_file_that_went_missing_is_unpacked_again(cifar_archive, tmp_path):
    recipe = cifar.CIFAR10(root=str(tmp_path / "data"), download=True)
    first = recipe.load(0)
    assert sizes(first) == [10, 10_000, 5]
    cifar_archive.unlink()
    (tmp_path / "data" / cifar.PICKLED / "data_batch_3").unlink()
    assert recipe.load(0).fingerprint == first.fingerprint
    assert not list((tmp_path / "data").rglob(".partial*"))


def test_a_truncated_archive_is_named_and_leaves_no_half_batch(cifar_archive, tmp_path):
    whole = cifar_archive.read_bytes()
    for parts in range(1, 8):
        cifar_archive.write_bytes(whole[: len(whole) * parts // 8])
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: cannot be unpacked"):
            cifar.unpack(cifar_archive, tmp_path)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        true_sizes = {Path(m.name).name: m.size for m in tar}
    written = [p for p in (tmp_path / cifar.PICKLED).iterdir() if not p.name.startswith(".")]
    assert written
    assert all(p.stat().st_size == true_sizes[p.name] for p in written)


def test_an_answer_that_is_not_http_is_reported_in_one_line(tmp_path, monkeypatch):
    def nonsense(url, timeout):
        raise http.client.BadStatusLine("SSH-2.0-OpenSSH")

    monkeypatch.setattr(download.urllib.request, "urlopen", nonsense)
    with pytest.raises(DataError, match=r"^http://x/y: cannot be fetched into .*: SSH-2\.0-OpenSSH$"):
        download.fetch("http://x/y", tmp_path / "y", "0000")
    assert list(tmp_path.iterdir()) == []
