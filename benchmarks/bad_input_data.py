"""Rows of bad_input.py: data files that are missing, damaged, malicious, or unusable for a run."""

import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bad_input import TINY, Finished, Row, mixzoo

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
Make = Callable[[Path], object]


def photos(folder: Path, name: str = "a") -> Path:
    """Thirty noisy grey images of one class under folder/f."""
    (folder / "f" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / "f" / name / f"{i:02}.png")
    return folder / "f" / name


def idx(*shape: int, content: bytes | None = None) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return head + (bytes(int(np.prod(shape))) if content is None else content)


def digits_in(folder: Path, name: str = "MNIST") -> Path:
    """An MNIST of zeros, as torchvision lays it out."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    for file, count in zip(MNIST_FILES, (10_010, 10_010, 20, 20)):
        (raw / file).write_bytes(idx(count, 28, 28) if "images" in file else idx(count))
    return raw


def bind(path: Path) -> None:
    home = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(home)


def trained(*flags: str, prepare: Make = lambda folder: None, env: Make = lambda folder: None) -> Make:
    """A tiny run with these flags, after the folder is prepared."""

    def run(folder: Path) -> Finished:
        prepare(folder)
        variables = env(folder)
        return mixzoo(folder, "train", *TINY, *flags, env=variables if isinstance(variables, dict) else None)

    return run


def in_folder(situation: str, name: str, make: Make, says: str) -> Row:
    """A folder of good images and one extra file."""
    return Row(
        f"a folder with {situation}",
        trained("--data", "folder:path=f", prepare=lambda folder: make(photos(folder) / name)),
        3,
        says,
    )


def in_mnist(situation: str, file: str, make: Make, says: str) -> Row:
    """An MNIST with one file replaced."""

    def prepare(folder: Path) -> None:
        raw = digits_in(folder)
        (raw / file.removesuffix(".gz")).unlink(missing_ok=True)
        make(raw / file)

    return Row(f"mnist: {situation}", trained("--data", "mnist:root=.", prepare=prepare), 3, says)


def writes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def fake_ghostscript(folder: Path) -> dict[str, str]:
    """Puts a `gs` on PATH that leaves a trace if it is started for an EPS file."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "gs"
    program.write_text(f"#!/bin/sh\necho STARTED >&2\ntouch {folder}/started\nexit 1\n")
    program.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def postscript(folder: Path) -> Finished:
    env = fake_ghostscript(folder)
    (photos(folder) / "z.png").write_bytes(EPS)
    ended = mixzoo(folder, "train", *TINY, "--data", "folder:path=f", env=env)
    return Finished(ended.exit_code, ended.text + ("a program was started" if (folder / "started").exists() else ""))


PLUGIN = '''
from dataclasses import dataclass, replace

import torch

from mixzoo import Dataset, Split, hookimpl


@dataclass(frozen=True)
class Given:
    """Noise of any number of channels, or points with a NaN among them."""

    channels: int = 4
    nan: bool = False

    def load(self, seed):
        rng = torch.Generator().manual_seed(0)
        splits = [self.split(n, rng) for n in (32, 16, 16)]
        if self.nan:
            splits[2].images[3] = float("nan")
        return Dataset(*splits, class_names=("a", "b"), source="noise", fingerprint="noise")

    def split(self, n, rng):
        images = torch.randint(0, 256, (n, self.channels, 32, 32), generator=rng, dtype=torch.uint8)
        labels = torch.arange(n) % 2
        return Split(images[:, :, :1, :1] / 127.5 - 1 if self.nan else images, labels)


@hookimpl
def mixzoo_datasets():
    return {"given": Given}
'''


def with_plugin(*flags: str) -> Make:
    return trained("--plugin", "given.py", *flags, prepare=lambda folder: (folder / "given.py").write_text(PLUGIN))


def loop(path: Path) -> None:
    path.symlink_to(path.name)


ROWS = [
    Row("a folder with PostScript named z.png, gs on PATH", postscript, 3, "a/z.png (not an image in PNG, JPEG, BMP"),
    in_folder(
        "a text named z.png", "z.png", writes(b"hello"), "1 of 31 images cannot be read: a/z.png (not an image in PNG"
    ),
    in_folder(
        "a truncated PNG", "z.png", lambda p: p.write_bytes((p.parent / "00.png").read_bytes()[:90]), "a/z.png ("
    ),
    in_folder("a FIFO named z.png", "z.png", os.mkfifo, "a/z.png (a FIFO, not a regular file)"),
    in_folder("a socket named z.png", "z.png", bind, "a/z.png (a socket, not a regular file)"),
    in_folder(
        "a link to /dev/zero", "z.png", lambda p: p.symlink_to("/dev/zero"), "a/z.png (a device, not a regular file)"
    ),
    in_folder("a link to itself", "z.png", loop, "a/z.png (Too many levels of symbolic links)"),
    in_folder("a link to nowhere", "z.png", lambda p: p.symlink_to("gone"), "a/z.png (No such file or directory)"),
    in_folder("control characters in a name", "z\x1b[31m\n.png", writes(b"x"), "a/z\\x1b[31m\\n.png (not an image"),
    in_folder(
        "a folder named z.png with a bad image",
        "z.png/y.png",
        lambda p: (p.parent.mkdir(), p.write_bytes(b"x")),
        "a/z.png/y.png (not an image",
    ),
    Row(
        "folder:path of 300 characters",
        trained("--data", f"folder:path={'x' * 300}"),
        3,
        "(300 characters): cannot be accessed",
    ),
    Row(
        "folder:path under a file",
        trained("--data", "folder:path=f/a", prepare=lambda f: (f / "f").write_text("")),
        3,
        "f/a: no such folder; give path=FOLDER",
    ),
    Row(
        "folder:path is a link to itself",
        trained("--data", "folder:path=f", prepare=lambda f: loop(f / "f")),
        3,
        "f: cannot be accessed (Too many levels of symbolic links)",
    ),
    Row(
        "mnist:root of 300 characters",
        trained("--data", f"mnist:root={'x' * 300}"),
        3,
        "cannot be accessed (File name too long)",
    ),
    Row("mnist:root is not there", trained("--data", "mnist:root=gone"), 3, "gone: no such folder; give root=FOLDER"),
    Row(
        "mnist:root one folder too deep",
        trained("--data", "mnist:root=MNIST", prepare=digits_in),
        3,
        "did you mean root=",
    ),
    Row(
        "kmnist:root without train images",
        trained("--data", "kmnist:root=.", prepare=lambda f: (digits_in(f, "KMNIST") / MNIST_FILES[0]).unlink()),
        3,
        "missing KMNIST/raw/train-images-idx3-ubyte",
    ),
    Row(
        "emnist of a selection that is not there",
        trained("--data", "emnist:root=.,split=digits"),
        3,
        "missing EMNIST/raw/emnist-digits-train-images-idx3-ubyte",
    ),
    Row(
        "sprites:path is not there",
        trained("--data", "sprites:path=gone.npz"),
        3,
        "gone.npz: no such file; path= must be",
    ),
    Row(
        "sprites:path is a FIFO",
        trained("--data", "sprites:path=s.npz", prepare=lambda f: os.mkfifo(f / "s.npz")),
        3,
        "s.npz: cannot be read as npz (a FIFO, not a regular file)",
    ),
    in_mnist("a FIFO", MNIST_FILES[0], os.mkfifo, "cannot be read (a FIFO, not a regular file)"),
    in_mnist(
        "a link to /dev/zero", MNIST_FILES[0], lambda p: p.symlink_to("/dev/zero"), "a device, not a regular file"
    ),
    in_mnist(
        "a .gz that grows to 1 GB",
        f"{MNIST_FILES[0]}.gz",
        lambda p: p.write_bytes(gzip.compress(idx(10_010, 28, 28) + bytes(10**9), 1)),
        "more than 7847856 bytes",
    ),
    in_mnist(
        "a .gz whose header claims terabytes",
        f"{MNIST_FILES[0]}.gz",
        lambda p: p.write_bytes(gzip.compress(idx(2**31, 28, 28, content=b"x"))),
        "entries need 1683627180048; the file is damaged",
    ),
    in_mnist(
        "a truncated .gz",
        f"{MNIST_FILES[0]}.gz",
        lambda p: p.write_bytes(gzip.compress(idx(10_010, 28, 28))[:-20]),
        "cannot be read (",
    ),
    Row(
        "svhn: a text in place of a .mat",
        trained(
            "--data",
            "svhn:root=.",
            prepare=lambda f: [(f / f"{s}_32x32.mat").write_bytes(b"x" * 500) for s in ("train", "test")],
        ),
        3,
        "not a MATLAB file with X and y",
    ),
    Row(
        "cifar10: a text in place of a batch",
        trained(
            "--data",
            "cifar10:root=.",
            prepare=lambda f: [
                (f / "cifar-10-batches-py").mkdir(),
                (f / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"x" * 500),
            ],
        ),
        3,
        "not a batch file of CIFAR-10",
    ),
    Row("celeba: no lists", trained("--data", "celeba:root=."), 3, "missing celeba/list_attr_celeba.txt"),
    Row(
        "four channels: trains, and says what pictures show",
        with_plugin("--data", "given:channels=4"),
        0,
        "they show only the first three (as red, green and blue) of the 4 channels",
    ),
    Row("two channels", with_plugin("--data", "given:channels=2"), 0, "the first (as grey)"),
    Row(
        "a NaN in a test image",
        with_plugin("--data", "given:nan=true", "--autoencoder", "mlp", "--discriminator", "mlp"),
        3,
        "image 3 of the test split contains NaN or infinity",
    ),
]
