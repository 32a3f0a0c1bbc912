"""Rows of bad_input.py: `mixzoo data check`, runs that leave bad files out, kinds of pictures, pipes as data files."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bad_input import TINY, Finished, Row, mixzoo
from bad_input_data import MNIST_FILES, bind, digits_in, idx, photos, trained

Make = Callable[[Path], object]
FOLDER = ("--data", "folder:path=f")


def two_bad(folder: Path) -> None:
    """Thirty good images; a text and half of a PNG with their names."""
    good = photos(folder)
    (good / "text.png").write_bytes(b"hello")
    (good / "half\x1b[31m.png").write_bytes((good / "00.png").read_bytes()[:90])


def checked(*arguments: str, prepare: Make = lambda folder: None) -> Make:
    """`mixzoo data check` after the folder is prepared."""

    def run(folder: Path) -> Finished:
        prepare(folder)
        return mixzoo(folder, "data", "check", *arguments)

    return run


def with_picture(name: str, save: Callable[[Path], object], exit_code: int, says: str) -> Row:
    """A run on a folder with one more picture."""

    def prepare(folder: Path) -> None:
        save(photos(folder) / name)

    return Row(f"a folder with {name}", trained(*FOLDER, prepare=prepare), exit_code, says)


def hollow(side: int) -> bytes:
    """A PNG without pixels whose header says side x side."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def array(values: object) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(np.full((32, 32), values)).save(path)


def mixed_sizes(folder: Path) -> None:
    Image.new("L", (9, 8)).save(photos(folder) / "small.png")


def bad_mnist(folder: Path) -> None:
    raw = digits_in(folder)
    (raw / MNIST_FILES[0]).write_bytes(b"junk")
    (raw / MNIST_FILES[3]).write_bytes(idx(20, content=bytes(19) + b"\x4d"))


def bad_cifar(folder: Path) -> None:
    (folder / "cifar-10-batches-bin").mkdir()
    (folder / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(b"x" * 100)


def fifo(path: str, beside: Make = lambda folder: None) -> Make:
    """A pipe at the path, after the files beside it are made."""

    def make(folder: Path) -> None:
        beside(folder)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).unlink(missing_ok=True)
        os.mkfifo(folder / path)

    return make


def celeba(folder: Path, name: str = "a.jpg") -> None:
    (folder / "celeba" / "img_align_celeba").mkdir(parents=True)
    attributes = f"1\nMale Heavy_Makeup Wearing_Lipstick\n{name} 1 1 1\n"
    (folder / "celeba" / "list_attr_celeba.txt").write_text(attributes)
    (folder / "celeba" / "list_eval_partition.txt").write_text(f"{name} 0\n")


def then_resumed(change: Make, *flags: str) -> Make:
    """A tiny run on photos with a bad file among them, a change in its data, and a resume with more steps."""

    def run(folder: Path) -> Finished:
        two_bad(folder)
        trained_run = mixzoo(folder, "train", *TINY, *FOLDER, "--skip-bad", "3", "--out", "run")
        assert trained_run.exit_code == 0, trained_run.text
        change(folder / "f" / "a")
        return mixzoo(folder, "resume", "run", "--steps", "4", *flags)

    return run


def skipped(*flags: str, prepare: Make = two_bad) -> Make:
    return trained(*FOLDER, *flags, prepare=prepare)


def unreadable_class(folder: Path) -> None:
    photos(folder)
    (folder / "f" / "b").mkdir()
    (folder / "f" / "b" / "x.png").write_bytes(b"hello")


CHANGED = "the data set has changed since the run was started"
PIPE = "a FIFO, not a regular file"
ROWS = [
    Row("`data check f`, two bad files", checked("f", prepare=two_bad), 3, "leave them out with --skip-bad 2"),
    Row("... each with what is allowed", checked("f", prepare=two_bad), 3, "a/half\\x1b[31m.png: image file is trunc"),
    Row("... as JSON", checked("f", "--json", prepare=two_bad), 3, '"usable": false'),
    Row(
        "... that the spec allows",
        checked("folder:path=f,skip_bad=2", prepare=two_bad),
        0,
        "2 bad files, left out by skip_bad=2",
    ),
    Row("... one more than it allows", checked("folder:path=f,skip_bad=1", prepare=two_bad), 3, "2 bad files: repair"),
    Row("`data check f`, two sizes", checked("f", prepare=mixed_sizes), 3, "32x32 (30), 9x8 (1); give size="),
    Row("... with size=", checked("folder:path=f,size=8", prepare=mixed_sizes), 0, "no bad files"),
    Row("`data check f`, no images", checked("f", prepare=lambda f: (f / "f").mkdir()), 3, "contains no images"),
    Row("`data check gone/f`", checked("gone/f"), 3, "gone/f: no such file or folder; give a data set or a path"),
    Row("`data check mnits`", checked("mnits"), 2, "Did you mean 'mnist'?"),
    Row("`data check mnist:root=gone`", checked("mnist:root=gone"), 3, "4 bad files: repair or remove them"),
    Row("`data check .`, two bad files of MNIST", checked(".", prepare=bad_mnist), 3, "label 77 of image 19 is not in"),
    Row(
        "`data check` of one good file of it",
        checked(f"MNIST/raw/{MNIST_FILES[1]}", prepare=bad_mnist),
        0,
        "no bad files",
    ),
    Row("`data check cifar10:root=.`", checked("cifar10:root=.", prepare=bad_cifar), 3, "100 bytes, not a multiple"),
    Row("`data check svhn:root=.`, a pipe", checked("svhn:root=.", prepare=fifo("train_32x32.mat")), 3, PIPE),
    Row(
        "`data check setup.cfg`", checked("setup.cfg", prepare=lambda f: (f / "setup.cfg").touch()), 2, "name the data"
    ),
    Row("`data check`", checked(), 2, "SPEC|PATH is missing"),
    Row(
        "`data chek f`",
        lambda folder: mixzoo(folder, "data", "chek", "f"),
        2,
        "'chek' is not a command of `mixzoo data`",
    ),
    Row(
        "`data check --jsn f`", checked("--jsn", "f"), 2, "no such option of `mixzoo data check`. Did you mean --json?"
    ),
    Row("a folder with two bad files", skipped(), 3, "`mixzoo data check` lists them all, and --skip-bad N leaves out"),
    Row(
        "... `--skip-bad 1`", skipped("--skip-bad", "1"), 3, "2 of 32 images cannot be read, and skip_bad is 1: a/half"
    ),
    Row("... `--skip-bad 2`", skipped("--skip-bad", "2"), 0, "skipped 2 files that cannot be read: a/half"),
    Row(
        "... `--skip-bad 2`, streamed",
        skipped("--skip-bad", "2", "--data-on", "stream", "--workers", "0"),
        0,
        "2 files",
    ),
    Row("... `--skip-bad -1`", skipped("--skip-bad", "-1"), 2, "skip_bad='-1' must be an integer >= 0"),
    Row("... `--skip-bad few`", skipped("--skip-bad", "few"), 2, "--skip-bad few: must be a valid integer"),
    Row(
        "... of a class of its own",
        skipped("--skip-bad", "1", prepare=unreadable_class),
        3,
        "image of class 'b' can be",
    ),
    Row("`--data digits --skip-bad 1`", trained("--data", "digits", "--skip-bad", "1"), 2, "has no option 'skip_bad'"),
    Row(
        "resumed, one more file is bad",
        then_resumed(lambda photos: (photos / "07.png").write_bytes(b"x")),
        4,
        CHANGED,
    ),
    Row(
        "resumed, a bad file is whole again",
        then_resumed(lambda photos: (photos / "text.png").write_bytes((photos / "00.png").read_bytes())),
        4,
        CHANGED,
    ),
    Row("resumed, a file is gone", then_resumed(lambda photos: (photos / "07.png").unlink()), 4, CHANGED),
    with_picture("floats.tif", array(np.float32(0.5)), 3, "(floating-point pixels have no known range; save it with"),
    with_picture(
        "long.tif", array(np.int32(70_000)), 3, "(pixels from 70000 to 70000, of 32 bits, have no known range"
    ),
    with_picture("deep.png", array(np.uint16(65_535)), 0, "after 2 steps"),
    with_picture("inks.jpg", lambda path: Image.new("CMYK", (32, 32)).save(path), 0, "images of 3x32x32"),
    with_picture("hollow.png", lambda path: path.write_bytes(hollow(6_000)), 3, "cannot hold 6000x6000 pixels"),
    with_picture("far.png", lambda path: path.write_bytes(hollow(8_000)), 3, "8000x8000 pixels; at most 50,000,000"),
    with_picture(
        "huge.png", lambda path: path.write_bytes(hollow(60_000)), 3, "far too many pixels; at most 50,000,000"
    ),
    Row(
        "mnist: labels are a pipe",
        trained("--data", "mnist:root=.", prepare=fifo(f"MNIST/raw/{MNIST_FILES[1]}", digits_in)),
        3,
        PIPE,
    ),
    Row(
        "cifar10: a batch is a pipe",
        trained("--data", "cifar10:root=.", prepare=fifo("cifar-10-batches-bin/data_batch_1.bin")),
        3,
        PIPE,
    ),
    Row(
        "celeba: the partition is a pipe",
        trained("--data", "celeba:root=.", prepare=fifo("celeba/list_eval_partition.txt", celeba)),
        3,
        PIPE,
    ),
    Row(
        "celeba: a list names a file elsewhere",
        trained("--data", "celeba:root=.", prepare=lambda f: celeba(f, "/etc/passwd")),
        3,
        "'/etc/passwd' is not the name of a file in img_align_celeba",
    ),
    Row(
        "sprites:path is a text",
        trained("--data", "sprites:path=s.npz", prepare=lambda f: (f / "s.npz").write_bytes(b"hello")),
        3,
        "s.npz: cannot be read as npz (File is not a zip file)",
    ),
    Row(
        "sprites:path is a socket",
        trained("--data", "sprites:path=s.npz", prepare=lambda f: bind(f / "s.npz")),
        3,
        "a socket, not a regular file",
    ),
]
