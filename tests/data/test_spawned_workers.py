"""Workers that are spawned, or come from a fork server, know the classes of a --plugin file."""

import multiprocessing
import os
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from test_streaming import workers

from mixzoo.data.batches import BatchOrder
from mixzoo.data.streaming import StreamedSplit, _Reader
from mixzoo.registry.single_file import read_single_file

PLUGIN = '''
"""Bars that are read when they are asked for."""

from dataclasses import dataclass, replace

import torch

from mixzoo import Dataset, Split, hookimpl


@dataclass(frozen=True)
class Made:
    """A source: each image a bar of its own."""

    first: int
    images: int

    @property
    def shape(self):
        return (self.images, 1, 32, 32)

    def __len__(self):
        return self.images

    def read(self, index):
        rows = (self.first + index) % 32
        bars = 255 * (torch.arange(32)[None, :] == rows[:, None]).to(torch.uint8)
        return bars[:, None, :, None].expand(-1, 1, 32, 32)


@dataclass(frozen=True)
class Bars:
    """Bars of 32x32 pixels."""

    def load(self, seed):
        data = self.stream(seed)
        held = {n: getattr(data, n) for n in ("train", "validation", "test")}
        return replace(data, **{n: replace(s, images=s.read(torch.arange(len(s)))) for n, s in held.items()})

    def stream(self, seed):
        train, validation, test = (
            Split(Made(first, count), torch.arange(count) % 2) for first, count in ((0, 64), (3, 16), (7, 16))
        )
        return Dataset(train, validation, test, ("even", "odd"), source="bars", fingerprint="bars")


@hookimpl
def mixzoo_datasets():
    return {"bars": Bars}
'''
MAIN = """
import multiprocessing
import sys

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv.pop(1))
    from mixzoo.cli.app import main

    main()
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "bars.py").write_text(PLUGIN)
    return tmp_path / "bars.py"


def test_what_a_worker_gets_loads_the_plugin_file_that_it_needs(plugin):
    file = read_single_file(plugin)
    module = file.load()
    sent = ForkingPickler.dumps(_Reader(module.Made(0, 64)))
    del sys.modules[file.module_name]  # as in a process that is spawned
    numbers, images = ForkingPickler.loads(sent)[[3, 1]]
    assert numbers == [3, 1]
    assert torch.equal(images, module.Made(0, 64).read(torch.tensor([3, 1])))
    again = sys.modules.pop(file.module_name)
    assert again is not module
    assert again.__spec__.loader.file == file


def test_a_file_that_is_loaded_is_not_run_again(plugin):
    file = read_single_file(plugin)
    module = file.load()
    ForkingPickler.loads(ForkingPickler.dumps(_Reader(module.Made(0, 64))))
    assert sys.modules.pop(file.module_name) is module


def command(tmp_path, *arguments):
    (tmp_path / "main.py").write_text(MAIN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_run_streams_from_a_plugin_file_however_its_workers_start(tmp_path, plugin, method):
    networks = ["--autoencoder", "acai:depth=4", "--discriminator", "acai:depth=4"]
    numbers = ["--steps", "4", "--batch-images", "8", "--threads", "1", "--device", "cpu", "--evaluate-every", "2"]
    ended = command(
        tmp_path, method, "train", "--plugin", str(plugin), "--data", "bars", *networks, *numbers,
        "--data-on", "stream", "--workers", "2", "--out", "run",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert (Path(tmp_path) / "run" / "results.json").exists()


@pytest.mark.slow
def test_a_spawned_worker_reads_the_same_batches(plugin):
    file = read_single_file(plugin)
    source = file.load().Made(0, 64)
    before = multiprocessing.get_start_method()
    labels = torch.arange(64)

    order = BatchOrder(0, images=64, batch_images=8)

    multiprocessing.set_start_method("spawn", force=True)
    try:
        with StreamedSplit(source, labels, order, steps=3, workers=1) as images:
            for step in range(3):
                x, y = images.batch(step)
                assert torch.equal(y, order.own(step))
                assert torch.equal(x > 0, source.read(order.own(step)) > 0)
    finally:
        multiprocessing.set_start_method(before, force=True)
        del sys.modules[file.module_name]
    assert workers() == []
