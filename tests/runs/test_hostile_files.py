"""Harmful or damaged data files: one DataError each, no program started, no blocking, no gigabytes."""

import ast
import gzip
import io
import os
import random
import signal
import socket
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from test_datasets_refusals import idx_bytes, png_header, write_images

from mixzoo import DataError
from mixzoo.core.errors import ConfigError, Interrupted, escaped
from mixzoo.training.signals import interruptible
from mixzoo_datasets import celeba, cifar, files, idx
from mixzoo_datasets.celeba import CelebA
from mixzoo_datasets.cifar import CIFAR10
from mixzoo_datasets.emnist import EMNIST
from mixzoo_datasets.files import read_each
from mixzoo_datasets.folder import Folder, walk_files
from mixzoo_datasets.idx import IMAGES, LABELS, MNIST, read_idx
from mixzoo_datasets.mat import read_arrays
from mixzoo_datasets.sprites import ARCHIVE, Sprites, read_member
from mixzoo_datasets.svhn import SVHN, read_mat

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / "photos" / "a", 20)
    return tmp_path / "photos"


def load(path, **options):
    return Folder(path=str(path), **options).load(0)


def stream(path):
    return Folder(path=str(path)).stream(0)


def refusal(read):
    """The message of the DataError that reading raises, or ''. Nothing else may be raised."""
    try:
        read()
    except DataError as err:
        return str(err)
    return ""


# --- which decoder reads an image


def test_an_image_that_is_postscript_starts_no_program(photos, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin32c", "gswin64c"):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # as in a process that has not looked for it yet
    (photos / "a" / "z.png").write_bytes(EPS)
    for read in (load, stream):
        with pytest.raises(
            DataError, match=r"1 of 21 images cannot be read: a/z\.png \(not an image in PNG, JPEG, BMP"
        ):
            read(photos)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["TGA", "SGI", "PCX", "ICO", "DDS", "JPEG2000", "MSP", "XBM"])
def test_an_image_of_another_format_is_refused_whatever_its_name(photos, kind):
    image = Image.new("1" if kind in ("MSP", "XBM") else "RGB", (8, 8))
    image.save(photos / "a" / "z.png", format=kind)
    with pytest.raises(DataError, match=r"a/z\.png \("):
        load(photos)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm"])
def test_every_format_that_is_offered_is_read(tmp_path, ending):
    (tmp_path / "a").mkdir()
    for i in range(10):
        Image.new("L", (8, 8), 10 + 20 * i).save(tmp_path / "a" / f"{i}.{ending}")
    assert len(load(tmp_path).train) == 8


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiffs_are_read(tmp_path, compression):
    (tmp_path / "a").mkdir()
    for i in range(10):
        Image.new("L", (8, 8), 10 + 20 * i).save(tmp_path / "a" / f"{i}.tif", compression=compression)
    images = load(tmp_path).train.images
    assert sorted(images[:, 0, 0, 0].tolist()) == sorted(set(images[:, 0, 0, 0].tolist()) & set(range(10, 200, 20)))


def test_a_picture_of_celeba_that_is_postscript_is_refused(tmp_path):
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)
    (tmp_path / "celeba" / celeba.ATTRIBUTES).write_text("1\nMale Heavy_Makeup Wearing_Lipstick\na.jpg 1 1 1\n")
    (tmp_path / "celeba" / celeba.PARTITION).write_text("a.jpg 0\n")
    (tmp_path / "celeba" / "img_align_celeba" / "a.jpg").write_bytes(EPS)
    with pytest.raises(DataError, match=r"img_align_celeba/a\.jpg \(not an image in PNG"):
        CelebA(root=str(tmp_path)).load(0)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm"])
def test_damaged_images_are_read_or_named_and_never_a_traceback(tmp_path, ending):
    (tmp_path / "a").mkdir()
    whole = io.BytesIO()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (12, 9, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(whole, format={"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), exif=exif)
    random.seed(ending)
    for i in range(60):
        content = bytearray(whole.getvalue())
        if i % 3 == 0:
            content = content[: random.randrange(len(content))]
        for _ in range(random.randrange(1, 6)):
            if content:
                content[random.randrange(len(content))] = random.randrange(256)
        (tmp_path / "a" / f"{i:02}.{ending}").write_bytes(content)
    for read in (lambda path: load(path, size=8), lambda path: Folder(path=str(path), size=8).stream(0)):
        said = refusal(lambda read=read: read(tmp_path))
        assert not said or "images cannot be read: a/" in said


def test_a_png_whose_header_asks_for_gigabytes_is_refused_of_celeba_too(tmp_path):
    (tmp_path / "a.jpg").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(Exception, match="pixels"):
        celeba.check_aligned(tmp_path / "a.jpg")


# --- files that are not regular files


def make_fifo(path):
    os.mkfifo(path)


def make_endless(path):
    path.symlink_to("/dev/zero")


def make_socket(path):
    home = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(home)


def make_loop(path):
    path.symlink_to(path.name)


def make_dangling(path):
    path.symlink_to("nowhere")


KINDS = {
    "a FIFO, not a regular file": make_fifo,
    "a device, not a regular file": make_endless,
    "a socket, not a regular file": make_socket,
    "Too many levels of symbolic links": make_loop,
}


@pytest.mark.parametrize("words", KINDS)
def test_an_image_that_is_not_a_regular_file_is_named_and_not_waited_for(photos, words):
    KINDS[words](photos / "a" / "z.png")
    for read in (load, stream):
        with pytest.raises(DataError, match=rf"1 of 21 images cannot be read: a/z\.png \({words}\)"):
            read(photos)


def test_a_link_to_nowhere_among_images_is_named(photos):
    make_dangling(photos / "a" / "z.png")
    with pytest.raises(DataError, match=r"a/z\.png \(No such file or directory\)"):
        load(photos)


def files_of(root):
    """Recipes, each with the file that it reads first."""
    return {
        "mnist": (MNIST(root=str(root)), f"MNIST/raw/train-{IMAGES}"),
        "mnist labels": (MNIST(root=str(root)), f"MNIST/raw/train-{LABELS}"),
        "mnist.gz": (MNIST(root=str(root)), f"MNIST/raw/train-{IMAGES}.gz"),
        "emnist": (EMNIST(root=str(root)), f"EMNIST/raw/emnist-letters-train-{IMAGES}"),
        "cifar": (CIFAR10(root=str(root)), "cifar-10-batches-py/data_batch_1"),
        "cifar.bin": (CIFAR10(root=str(root)), "cifar-10-batches-bin/data_batch_1.bin"),
        "svhn": (SVHN(root=str(root)), "train_32x32.mat"),
        "celeba": (CelebA(root=str(root)), f"celeba/{celeba.ATTRIBUTES}"),
        "celeba partition": (CelebA(root=str(root)), f"celeba/{celeba.PARTITION}"),
        "sprites": (Sprites(path=str(root / ARCHIVE)), ARCHIVE),
    }


GOOD = {
    f"MNIST/raw/train-{IMAGES}": idx_bytes(np.zeros((1, 28, 28))),
    f"celeba/{celeba.ATTRIBUTES}": b"1\nMale Heavy_Makeup Wearing_Lipstick\na.jpg 1 1 1\n",
}
BESIDE = {
    "mnist labels": (f"MNIST/raw/train-{IMAGES}",),
    "celeba partition": (f"celeba/{celeba.ATTRIBUTES}",),
    "mnist": ("MNIST/raw/train-labels-idx1-ubyte",),
    "mnist.gz": ("MNIST/raw/train-labels-idx1-ubyte",),
    "emnist": ("EMNIST/raw/emnist-letters-train-labels-idx1-ubyte",),
    "svhn": ("test_32x32.mat",),
    "celeba": (f"celeba/{celeba.PARTITION}",),
}


@pytest.mark.parametrize("words", KINDS)
@pytest.mark.parametrize("name", files_of(Path()))
def test_a_data_file_that_is_not_a_regular_file_is_one_line_and_not_waited_for(tmp_path, name, words):
    recipe, file = files_of(tmp_path)[name]
    for other in BESIDE.get(name, ()):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_bytes(GOOD.get(other, b""))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    KINDS[words](tmp_path / file)
    with pytest.raises(DataError, match=words) as refused:
        recipe.load(0)
    assert file.rpartition("/")[2] in str(refused.value)


@pytest.mark.parametrize("name", [*files_of(Path()), "folder"])
@pytest.mark.parametrize("path", ["x" * 300, "nul\0", "/dev/null/x", "loop/x", "file/x"])
def test_a_path_that_cannot_be_accessed_is_one_line(tmp_path, monkeypatch, name, path):
    monkeypatch.chdir(tmp_path)
    make_loop(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"")
    if name == "folder":
        recipe = Folder(path=path)
    elif name == "sprites":
        recipe = Sprites(path=path)
    else:
        recipe = type(files_of(tmp_path)[name][0])(root=path)
    with pytest.raises(DataError) as refused:
        recipe.load(0)
    assert "\n" not in str(refused.value)
    assert escaped(path)[:40] in str(refused.value)


def test_a_folder_that_cannot_be_listed_is_one_line_and_nothing_is_skipped(photos, monkeypatch):
    def refuse(path, *rest):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)  # a test run as root may list everything
    with pytest.raises(DataError, match=r"photos: cannot be listed \(Permission denied\)"):
        list(walk_files(photos))


# --- files that grow


def gz(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1))


def test_a_gz_that_grows_beyond_its_header_is_unpacked_no_further(tmp_path, monkeypatch):
    path = tmp_path / "x-images.gz"
    gz(path, idx_bytes(np.zeros((2, 28, 28))) + bytes(50_000_000))
    read = []
    real = gzip.GzipFile.readinto

    def counted(file, view):
        read.append(len(view))
        return real(file, view)

    monkeypatch.setattr(gzip.GzipFile, "readinto", counted)
    with pytest.raises(DataError, match=r"more than 1584 bytes, but 2x28x28 entries need 1584; the file is damaged"):
        read_idx(tmp_path / "x-images", axes=3)
    assert sum(read) <= 2 * 1584


@pytest.mark.parametrize("count", [0x7FFFFFFF, 3_000_000])
def test_a_gz_whose_header_claims_more_than_it_can_hold_is_not_unpacked(tmp_path, count):
    path = tmp_path / "x-images.gz"
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
    gz(path, head + bytes(1000))
    with pytest.raises(
        DataError, match=rf"at most \d+ bytes, but {count}x28x28 entries need {16 + count * 784}; the file is damaged"
    ):
        read_idx(tmp_path / "x-images", axes=3)


def test_an_idx_file_that_needs_more_memory_than_is_free_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(idx_bytes(np.zeros((2000, 28, 28))))
    monkeypatch.setattr(idx, "host_free", lambda: 3_000_000)
    with pytest.raises(DataError, match=r"x: 2000x28x28 entries take 0\.0 GB of memory, but only 0\.0 GB are free"):
        read_idx(tmp_path / "x", axes=3)


def test_a_member_of_an_archive_that_is_too_large_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "LARGEST", 100)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(f"{cifar.PICKLED}/test_batch")
        member.size = 101
        tar.addfile(member, io.BytesIO(bytes(101)))
    with pytest.raises(DataError, match=r"test_batch has 101 bytes, more than the 100 allowed"):
        cifar.unpack(tmp_path / "x.tar.gz", tmp_path)
    assert not (tmp_path / cifar.PICKLED).exists()


def test_an_npz_of_another_shape_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000)}
        )
        archive.writestr("imgs.npy", header.getvalue() + bytes(1000))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match=r"imgs is \[1000000, 1000, 1000\] of uint8, expected \[737280, 64, 64\]"):
        Sprites(path=str(tmp_path)).load(0)


def npz(path, claimed, content, packing=zipfile.ZIP_DEFLATED):
    """An archive whose array says that shape, and has those bytes."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": claimed})
        archive.writestr("imgs.npy", header.getvalue() + content)


@pytest.mark.parametrize("more", [-1, 1])
def test_an_npz_whose_array_has_another_length_than_its_header_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch, more
):
    npz(tmp_path / "a.npz", (30, 4, 4), bytes(480 + more))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was unpacked"))
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as archive,
        pytest.raises(
            DataError, match=rf"imgs has {608 + more} bytes, packed as \d+, but needs 608; the file is damaged"
        ),
    ):
        read_member(archive, "imgs", (30, 4, 4), tmp_path / "a.npz")


def test_an_npz_that_needs_more_memory_than_is_free_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    npz(tmp_path / "a.npz", (30, 4, 4), bytes(480))
    monkeypatch.setattr("mixzoo_datasets.sprites.host_free", lambda: 400)
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as archive,
        pytest.raises(DataError, match=r"imgs takes 0\.0 GB of memory, but only 0\.0 GB are free"),
    ):
        read_member(archive, "imgs", (30, 4, 4), tmp_path / "a.npz")


def test_a_batch_of_cifar_that_is_far_too_long_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "LARGEST", 100)
    for folder, ending in ((cifar.PICKLED, ""), (cifar.BINARY, ".bin")):
        (tmp_path / folder / folder).mkdir(parents=True)
        (tmp_path / folder / folder / f"test_batch{ending}").write_bytes(bytes(101))
        with pytest.raises(DataError, match=rf"test_batch{ending}: longer than the 100 bytes allowed"):
            cifar.read_batches(tmp_path / folder, cifar.TEST)


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "a/b.jpg"])
def test_lists_of_celeba_name_files_of_its_own_folder_alone(tmp_path, name):
    (tmp_path / "list").write_text(f"1\nMale\n{name} 1\n")
    with pytest.raises(DataError, match=r"line 3: '.*' is not the name of a file in img_align_celeba"):
        celeba.read_attributes(tmp_path / "list")


# --- MATLAB files


SHAPES = {"X": (32, 32, 3, None), "y": (None, None)}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.float32, np.int64])
def test_a_matlab_file_is_read_as_scipy_reads_it(tmp_path, compressed, dtype):
    rng = np.random.default_rng(0)
    content = {
        "before": np.arange(3.0),
        "words": "text",
        "X": rng.integers(0, 256, (32, 32, 3, 5), dtype=np.uint8),
        "y": rng.integers(0, 11, (5, 1)).astype(dtype),
        "after": [1, 2],
    }
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    arrays = read_arrays(tmp_path / "a.mat", SHAPES)
    for name in SHAPES:
        assert np.array_equal(arrays[name], content[name])
        assert arrays[name].dtype == content[name].dtype


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_matlab_file_is_read_or_one_line(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((2, 1))}, do_compression=compressed)
    whole = path.read_bytes()
    random.seed(7)
    for place in [*range(120, 260), *(random.randrange(len(whole)) for _ in range(150))]:
        content = bytearray(whole)
        content[place % len(whole)] ^= 1 << random.randrange(8)
        path.write_bytes(content)
        said = refusal(lambda: read_mat(path))
        assert not said or said.startswith(str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, "no array y"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((2, 1)) * 1j}, "y does not hold real numbers"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))}, "X is float64"),
    ],
)
def test_other_matlab_files_are_refused(tmp_path, content, words):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(DataError, match=words):
        read_mat(tmp_path / "a.mat")


def test_a_matlab_file_of_version_7_3_says_how_to_save_it(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(100))
    with pytest.raises(DataError, match=r"MATLAB 7\.3 files are not supported; save it with -v7"):
        read_mat(tmp_path / "a.mat")


def test_a_compressed_matrix_that_grows_beyond_its_lengths_is_inflated_no_further(tmp_path):
    savemat(
        tmp_path / "a.mat", {"X": np.zeros((32, 32, 3, 20_000), np.uint8), "y": np.ones((1, 1))}, do_compression=True
    )
    assert (tmp_path / "a.mat").stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"X is \[32, 32, 3, 20000\], expected \[32, 32, 3, 7\]"):
        read_arrays(tmp_path / "a.mat", {"X": (32, 32, 3, 7)})


# --- CIFAR-10's pickles


def test_a_damaged_pickle_is_read_or_one_line(tmp_path):
    import pickle

    content = pickle.dumps({b"labels": [1, 2, 300], b"data": bytes(2 * cifar.PIXELS), "x": 2**70, "y": 1.5}, 2)
    (tmp_path / cifar.PICKLED).mkdir()
    path = tmp_path / cifar.PICKLED / "test_batch"
    random.seed(3)
    for i in range(400):
        damaged = bytearray(content)
        for _ in range(random.randrange(1, 4)):
            damaged[random.choice([random.randrange(60), random.randrange(len(content))])] = random.randrange(256)
        path.write_bytes(damaged[: random.randrange(len(damaged))] if i % 4 == 0 else damaged)
        said = refusal(lambda: cifar.read_batches(tmp_path, cifar.TEST))
        assert not said or str(path) in said


# --- names that a terminal would obey


def test_names_of_files_and_classes_are_shown_escaped(tmp_path):
    root = tmp_path / "pho\x1b[31mtos"
    write_images(root / "a\x1b[2J", 10)
    write_images(root / "b\n", 10)
    data = load(root)
    assert data.class_names == ("a\\x1b[2J", "b\\n")
    assert data.source.isprintable()
    assert "pho\\x1b[31mtos" in data.source
    (root / "b\n" / "x\x1b[31m.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot be read: b\\n/x\\x1b\[31m\.png \(not an image") as refused:
        load(root)
    assert str(refused.value).isprintable()
    assert "pho\\x1b[31mtos: 1 of 21 images" in str(refused.value)


def test_two_classes_that_would_be_shown_alike_are_refused(tmp_path):
    write_images(tmp_path / "a\x1b", 10)
    write_images(tmp_path / "a\\x1b", 10)
    with pytest.raises(DataError, match=r"two class folders are both displayed as a\\x1b; rename one"):
        load(tmp_path)


@pytest.mark.parametrize("error", [DataError, ConfigError])
def test_a_message_is_one_printable_line_whatever_is_in_it(error):
    assert str(error("a\x1b[31m\udcff\nb\u202e \\ é")) == "a\\x1b[31m\\xff\\nb\\u202e \\ é"


def test_a_refusal_of_data_ends_a_command_with_3_and_one_printable_line(mixzoo, tmp_path):
    write_images(tmp_path / "p" / "a\x1b[31m", 10)
    (tmp_path / "p" / "a\x1b[31m" / "z.png").write_bytes(EPS)
    code, out, err = mixzoo("train", "--data", f'folder:path="{tmp_path / "p"}"')
    assert (code, out) == (3, "")
    assert "1 of 11 images cannot be read: a\\x1b[31m/z.png (not an image in PNG, JPEG" in err
    assert err.endswith("\n")
    assert err[:-1].isprintable()


def test_pillow_opens_files_at_one_place_and_with_named_formats():
    root = Path(files.__file__).parents[2]
    code = [path for folder in ("mixzoo", "plugins") for path in (root / folder).rglob("*.py")]
    calls = [
        (path.name, call)
        for path in code
        if "Image.open(" in (text := path.read_text())
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Image.open"
    ]
    opened = {}
    for name, call in calls:
        (formats,) = [ast.unparse(word.value) for word in call.keywords if word.arg == "formats"]
        opened[name] = (ast.unparse(call.args[0]), formats)
    # Files of users are opened there alone, which bounds what is decoded too; the others are mixzoo's own pictures.
    assert opened.pop("picture_file.py") == ("stream", "PICTURE_FORMATS")
    assert opened
    assert all(source.startswith("BytesIO(") and "PNG" in formats for source, formats in opened.values())


def test_a_signal_while_an_image_is_read_is_not_blamed_on_the_image(tmp_path):
    def interrupted(file):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped by SIGTERM"), interruptible(tmp_path):
        list(read_each([tmp_path / "a.png"], tmp_path, interrupted))
