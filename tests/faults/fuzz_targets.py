"""The readers of mixzoo as functions of bytes, for fuzzing: test_fuzz.py and benchmarks/fuzz.py call them.

A target writes the bytes where a reader finds them, and reads. Whatever the bytes are, it returns, or raises an error
of mixzoo's own (`MixzooError`); anything else that it raises is a bug.
"""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from mixzoo.core.errors import DataError, MixzooError
from mixzoo.core.json_file import read_object
from mixzoo.data import picture_file
from mixzoo.registry.config import resolve
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.spec_repairs import repaired
from mixzoo.runs.directory import environment_of, last_committed, read_status
from mixzoo.runs.listing import find_runs
from mixzoo.runs.reading import read_past_environment, scored_step
from mixzoo.runs.run import result, start
from mixzoo.runs.stored_scores import Score, read_scores, score_file, write_score
from mixzoo.training.checkpoint import newest, restore, saved
from mixzoo.training.checkpoint_manifest import HASH, MANIFEST, read_manifest
from mixzoo.training.logs import read_metrics
from mixzoo_datasets import celeba, cifar, sprites
from mixzoo_datasets.files import read_each
from mixzoo_datasets.folder import image_size, read_pixels
from mixzoo_datasets.idx import read_idx
from mixzoo_datasets.reading import reason
from mixzoo_datasets.svhn import read_mat
from toys import toy_config, toy_zoo

PIXELS = 1_000_000  # of a picture, here: 50 million are allowed, but take longer to decode than an input may
SCORE = str(score_file(Path(), "knn"))
RUN_FILES = ("status.json", "environment.json", "results.json", "metrics.jsonl", "run.toml", SCORE)


@dataclass(frozen=True)
class Target:
    """A reader, and valid inputs that a fuzzer begins with."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


def holds(target: Target, content: bytes) -> bool:
    """Whether the reader takes the bytes; False if it refuses them. Raises what no reader may raise."""
    try:
        target.read(content)
    except MixzooError as err:
        lines = str(err).split("\n")
        assert len(lines) in (1, 3), f"{len(lines)} lines"  # a malformed spec has a caret under the mistake
        assert all(line.isprintable() for line in lines), "not printable"
        return False
    return True


@cache
def home() -> Path:
    """A folder of this process, in memory where there is such a place, that is removed when it ends."""
    import atexit

    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="mixzoo-fuzz-", dir=root))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def zoo():
    return toy_zoo()


@cache
def trained():
    """A finished run of toy parts, with one checkpoint, and its config."""
    from dataclasses import replace

    config = replace(toy_config(zoo(), steps=2, evaluate_every=2, checkpoint_every=2), metrics=())
    start(zoo(), config, home() / "run")
    (checkpoint,) = saved(home() / "run" / "checkpoints")
    return config, checkpoint


@cache
def players():
    from mixzoo.data import placement
    from mixzoo.training.build import build_players
    from mixzoo.training.devices import pick_device

    config, _ = trained()
    device = pick_device("cpu")
    data = placement.load_data(config.parts["dataset"], config.names["dataset"], config.train, device).data
    return build_players(zoo(), config, data, device)


def chosen(content: bytes, names: list[str] | tuple[str, ...]) -> tuple[str, bytes]:
    """What the first byte stands for, and the other bytes."""
    return (names[content[0] % len(names)], content[1:]) if content else (names[0], b"")


# --- what a person types or writes


def spec(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    list(repaired(text[:300], lambda: {}))
    read = parse_spec(text, "--mixer", "mixer")
    assert parse_spec(str(read)) == read
    zoo().recipe("mixer", read, "--mixer")


def spec_seeds() -> list[bytes]:
    return [b"dirichlet:k=4,alpha=0.5", b"one_of:a=(dirichlet:k=3),b=(mixup)", b'cutmix:k="3"', b"mixzoo/bernoulli:p=1"]


def toml(content: bytes) -> None:
    file = home() / "run.toml"
    file.write_bytes(content)
    resolve(zoo(), file, {}, {}).to_toml()


def toml_seeds() -> list[bytes]:
    small = b'metrics = ["knn"]\nmixer = "dirichlet:k=3"\n[dataset]\nname = "digits"\n[train]\nsteps = 10\nlr = 1e-4\n'
    return [trained()[0].to_toml().encode(), small]


# --- what a run leaves


def manifest(content: bytes) -> None:
    folder = home() / "manifests" / "step-00000002"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_bytes(content)  # its hash is right, so that the fields are looked at
    (folder / HASH).write_text(f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n")
    read_manifest(folder)


def manifest_seeds() -> list[bytes]:
    return [(trained()[1] / MANIFEST).read_bytes()]


def checkpoint(content: bytes) -> None:
    """One file of a whole checkpoint is replaced; with the first bit, the hashes are made right again."""
    whole = trained()[1]
    names = sorted(file.name for file in whole.iterdir())
    name, rest = chosen(content, names)
    folder = home() / "damaged" / "checkpoints" / whole.name
    if not folder.exists():
        shutil.copytree(whole, folder)
    try:
        (folder / name).write_bytes(rest)
        if content and content[0] >= 128 and name.endswith(".safetensors"):
            import json

            table = json.loads((whole / MANIFEST).read_text())
            table["files"][name] = {"sha256": hashlib.sha256(rest).hexdigest(), "bytes": len(rest)}
            text = json.dumps(table).encode()
            (folder / MANIFEST).write_bytes(text)
            (folder / HASH).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
        newest(folder.parent)
        restore(folder.parent, players())
    finally:
        for each in {name, MANIFEST, HASH}:
            shutil.copy(whole / each, folder / each)


def checkpoint_seeds() -> list[bytes]:
    files = sorted(trained()[1].iterdir())
    seeds = [bytes([i]) + file.read_bytes() for i, file in enumerate(files)]
    first = 128 + (-128 % len(files))  # the first number of the first file whose hashes are made right
    return seeds + [bytes([first + i]) + file.read_bytes() for i, file in enumerate(files) if len(files) + first < 256]


def run_files(content: bytes) -> None:
    """One of the files of a finished run is replaced, and everything that reads such files is called."""
    whole = trained()[1].parents[1]
    name, rest = chosen(content, RUN_FILES)
    folder = home() / "copy"
    if not folder.exists():
        shutil.copytree(whole, folder)
        (folder / "scores").mkdir()
    (folder / name).write_bytes(rest)
    try:
        refused = None
        for read in (
            lambda: [(record.state, record.problem, record.numbers) for record in find_runs([folder])],
            lambda: read_status(folder),
            lambda: environment_of(read_object(folder / "environment.json")),
            lambda: read_past_environment(folder),
            lambda: result(folder),
            lambda: (last_committed(folder), scored_step(folder)),
            lambda: read_scores(folder),
            lambda: read_metrics(folder / "metrics.jsonl"),
        ):
            try:
                read()
            except MixzooError as err:
                refused = err
        if refused is not None:
            raise refused
    finally:
        if (whole / name).exists():
            shutil.copy(whole / name, folder / name)
        else:
            (folder / name).unlink()


def run_file_seeds() -> list[bytes]:
    whole, scored = trained()[1].parents[1], home() / "scored"
    scored.mkdir(exist_ok=True)
    write_score(scored, Score("knn", 2, {"knn.accuracy": 0.5}, {"knn.accuracy": "more"}, samples={"test": 48}))
    files = [scored / name if name == SCORE else whole / name for name in RUN_FILES]
    return [bytes([i]) + file.read_bytes() for i, file in enumerate(files)]


# --- data files


def idx(content: bytes) -> None:
    name, rest = chosen(content, ("a", "b.gz", "c.gz"))
    for old in home().glob("idx-*"):
        old.unlink()
    file = home() / f"idx-{name}"
    file.write_bytes(gzip.compress(rest, 1) if name == "c.gz" else rest)
    read_idx(home() / f"idx-{name.removesuffix('.gz')}", axes=3)


def idx_seeds() -> list[bytes]:
    whole = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 4, 4) + bytes(range(32))
    return [b"\0" + whole, b"\1" + gzip.compress(whole, mtime=0), b"\2" + whole]


def picture(content: bytes) -> None:
    folder = home() / "pictures"
    folder.mkdir(exist_ok=True)
    file = folder / "a.png"
    file.write_bytes(content)
    limit, picture_file.MAX_PIXELS = picture_file.MAX_PIXELS, PIXELS
    try:
        list(read_each([file], folder, partial(image_size, size=8, mode="auto")))
        list(read_each([file], folder, partial(read_pixels, size=8, mode="auto")))
    finally:
        picture_file.MAX_PIXELS = limit


def picture_seeds() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    seeds = []
    for kind in picture_file.PICTURE_FORMATS:
        with io.BytesIO() as file:
            Image.fromarray(noise).save(file, format=kind)
            seeds.append(file.getvalue())
    return seeds


def mat(content: bytes) -> None:
    file = home() / "a.mat"
    file.write_bytes(content)
    read_mat(file)


def mat_seeds() -> list[bytes]:
    from scipy.io import savemat

    seeds = []
    for compressed in (False, True):
        with io.BytesIO() as file:
            savemat(file, {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.ones((1, 1))}, do_compression=compressed)
            seeds.append(file.getvalue())
    return seeds


def cifar_batch(content: bytes) -> None:
    name, rest = chosen(content, (cifar.PICKLED, cifar.BINARY))
    root = home() / name
    (root / name).mkdir(parents=True, exist_ok=True)
    ending = ".bin" if name == cifar.BINARY else ""
    (root / name / f"test_batch{ending}").write_bytes(rest)
    cifar.read_batches(root, cifar.TEST)


def cifar_seeds() -> list[bytes]:
    pixels = bytes(cifar.PIXELS)
    batches = [pickle.dumps({b"labels": [3], b"data": pixels, b"n": 2**70}, protocol) for protocol in (3, 4, 5)]
    return [*(b"\0" + batch for batch in batches), b"\1\3" + pixels]


def npz(content: bytes) -> None:
    """As sprites reads the original archive, with a smaller shape."""
    file = home() / "a.npz"
    file.write_bytes(content)
    try:
        with zipfile.ZipFile(file) as archive:
            sprites.read_member(archive, "imgs", (3, 4, 4), file)
    except (DataError, MemoryError):
        raise
    except Exception as err:
        raise DataError(f"{file}: cannot be read as npz ({reason(err)})") from err


def npz_seeds() -> list[bytes]:
    seeds = []
    for save in (np.savez, np.savez_compressed):
        with io.BytesIO() as file:
            save(file, imgs=np.zeros((3, 4, 4), np.uint8))
            seeds.append(file.getvalue())
    return seeds


def lists(content: bytes) -> None:
    """CelebA's two lists."""
    first, _, second = content.partition(b"\0")
    (home() / "attributes").write_bytes(first)
    (home() / "partition").write_bytes(second)
    _, values = celeba.read_attributes(home() / "attributes")
    celeba.read_partition(home() / "partition", values)


def list_seeds() -> list[bytes]:
    return [b"2\nMale Smiling\na.jpg 1 -1\nb.jpg -1 -1\n\0a.jpg 0\nb.jpg 2\n"]


TARGETS = {
    "spec": Target(spec, spec_seeds),
    "toml": Target(toml, toml_seeds),
    "manifest": Target(manifest, manifest_seeds),
    "checkpoint": Target(checkpoint, checkpoint_seeds),
    "run_files": Target(run_files, run_file_seeds),
    "idx": Target(idx, idx_seeds),
    "picture": Target(picture, picture_seeds),
    "mat": Target(mat, mat_seeds),
    "cifar": Target(cifar_batch, cifar_seeds),
    "npz": Target(npz, npz_seeds),
    "lists": Target(lists, list_seeds),
}
