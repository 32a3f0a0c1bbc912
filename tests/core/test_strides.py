"""Input tensors get canonical strides, whatever reader or caller they come from."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from test_run import weights, without_clock

import mixzoo
from mixzoo import Dataset, Split
from mixzoo.core.strides import canonical, canonical_strides, is_canonical
from mixzoo.data import placement
from mixzoo.data.batches import BatchOrder, DeviceSplit, to_images
from mixzoo.evaluation.codes import batches
from mixzoo.registry.zoo import RegisteredPart, load_zoo
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import start
from mixzoo_datasets.folder import Folder
from mixzoo_datasets.svhn import read_mat
from toys import TOY_PLUGIN, ToyData, toy_config, toy_zoo

CPU = torch.device("cpu")
SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=5).map(tuple)


@given(SHAPES)
def test_canonical_strides_are_those_of_a_fresh_tensor(shape):
    assert canonical_strides(shape) == torch.empty(shape, device="meta").stride()


@given(SHAPES, st.randoms(use_true_random=False))
def test_a_tensor_in_any_order_of_axes_becomes_canonical_and_keeps_its_numbers(shape, random):
    axes = random.sample(range(len(shape)), len(shape))
    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape).permute(axes)
    copy = canonical(tensor)
    assert torch.equal(copy, tensor)
    assert copy.numel() == 0 or copy.stride() == torch.empty(tensor.shape).stride()
    assert (copy is tensor) == is_canonical(tensor)


def test_contiguous_is_not_enough():
    grey = torch.zeros(4, 8, 8, 1).permute(0, 3, 1, 2)
    assert grey.contiguous().stride() == (64, 1, 8, 1)
    assert canonical(grey).stride() == (64, 64, 8, 1)


def splits(data):
    return (data.train, data.validation, data.test)


def tensors(split):
    return [t for t in (split.images, split.labels, split.factors) if t is not None]


def write_images(folder, count, mode, size=(8, 8)):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).convert(mode).save(folder / f"{i:02}.png")


@pytest.mark.parametrize(("mode", "size"), [("L", (8, 8)), ("RGB", (8, 8)), ("L", (8, 1)), ("L", (1, 8))])
def test_a_folder_of_images_is_canonical(tmp_path, mode, size):
    write_images(tmp_path / "photos" / "a", 20, mode, size)
    for split in splits(Folder(path=str(tmp_path / "photos")).load(0)):
        assert is_canonical(split.images)


@pytest.mark.parametrize("images", [1, 2])
def test_svhn_is_canonical(tmp_path, images):
    savemat(tmp_path / "a.mat", {"X": np.zeros((32, 32, 3, images), np.uint8), "y": np.ones((images, 1))})
    assert is_canonical(read_mat(tmp_path / "a.mat").images)


@pytest.mark.parametrize("spec", ["digits", "spiral:points=40", "lines:images=40", "sprites:images=40"])
def test_data_that_are_made_are_canonical(spec):
    loaded = placement.load_data(load_zoo().recipe("dataset", spec), spec, toy_config(toy_zoo()).train, CPU)
    for split in splits(loaded.data):
        assert all(map(is_canonical, tensors(split)))


@dataclass(frozen=True)
class Strided:
    """Bars whose tensors have unusual strides or, if `fresh`, those that torch gives a new tensor."""

    fresh: bool = False

    def load(self, seed: int) -> Dataset:
        return self.changed(lambda images: images)

    def stream(self, seed: int) -> Dataset:
        return self.changed(Read)

    def changed(self, kept):
        def strided(tensor):
            other = tensor.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)
            return tensor if self.fresh else other

        def split(old):
            columns = torch.stack([old.labels] * 3, 1)
            labels = old.labels if self.fresh else columns[:, 0]
            factors = torch.arange(2.0 * len(old)).reshape(-1, 2)
            return Split(kept(strided(old.images)), labels, factors if self.fresh else factors.T.contiguous().T)

        data = ToyData().load(0)
        return replace(data, **{name: split(getattr(data, name)) for name in ("train", "validation", "test")})


@dataclass(frozen=True)
class Read:
    """A source of the images that keeps their strides."""

    images: torch.Tensor

    @property
    def shape(self):
        return tuple(self.images.shape)

    def __len__(self):
        return len(self.images)

    def read(self, index):
        return self.images[index]


@pytest.mark.parametrize("data_on", ["device", "host", "stream"])
def test_whatever_a_data_set_gives_a_run_gets_canonical_tensors(data_on):
    train = toy_config(toy_zoo(), data_on=data_on, workers=0 if data_on == "stream" else None).train
    assert not any(map(is_canonical, tensors(Strided().load(0).train)))
    placed = placement.load_data(Strided(), "strided", train, CPU)
    for split in splits(placed.data):
        assert all(map(is_canonical, (t for t in tensors(split) if isinstance(t, torch.Tensor))))
        assert is_canonical(split.read(torch.tensor([1, 2])))
        for x in batches(split.images, "cpu"):
            assert is_canonical(x)
    with placement.train_batches(placed, train, CPU) as images:
        assert all(map(is_canonical, images.batch(0)))


@pytest.mark.bit_exact
def test_a_run_is_the_same_to_the_last_bit_however_its_images_lie(tmp_path):
    zoo = toy_zoo()
    zoo.registered += [RegisteredPart("dataset", "strided", TOY_PLUGIN, Strided)]
    for name in ("true", "false"):
        config = toy_config(zoo, flags={"dataset": f"strided:fresh={name}"}, log_every=1)
        start(zoo, config, tmp_path / name)
    assert without_clock(tmp_path / "true") == without_clock(tmp_path / "false")
    assert weights(tmp_path / "true") == weights(tmp_path / "false")
    assert (tmp_path / "true" / "results.json").read_text() == (tmp_path / "false" / "results.json").read_text()
    opened = open_run(zoo, tmp_path / "false", "cpu")
    assert is_canonical(opened.data.test.images)


@pytest.mark.bit_exact
def test_images_of_a_caller_are_canonical_before_a_network_sees_them():
    grey = torch.rand(4, 8, 8, 1).permute(0, 3, 1, 2)
    for stored in (grey, (grey * 255).to(torch.uint8)):
        assert is_canonical(to_images(stored))
        split = DeviceSplit(stored, torch.zeros(4, dtype=torch.int64), BatchOrder(0, images=4, batch_images=2))
        assert is_canonical(split.batch(0)[0])


@pytest.mark.bit_exact
def test_codes_given_to_mix_are_canonical_and_the_mix_is_the_same():
    h = torch.randn(6, 4, 4, 1, generator=torch.Generator().manual_seed(0)).permute(0, 3, 1, 2)
    seen = []

    class Sees(type(mixzoo.create("mixer", "mixup"))):
        def __call__(self, h, draw, labels=None):
            seen.append(h)
            return super().__call__(h, draw, labels)

    mixed = mixzoo.mix(h, Sees(), seed=3)
    assert is_canonical(seen[0])
    assert is_canonical(mixed.h)
    assert torch.equal(mixed.h, mixzoo.mix(canonical(h), "mixup", seed=3).h)


def test_ci_runs_the_bit_exact_tests_as_a_cpu_without_avx_512_would():
    root = Path(__file__).parents[2]
    command = 'ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 pytest -n auto -m "bit_exact and not slow"'
    assert command in (root / ".ci" / "run").read_text()
    assert command in (root / "CONTRIBUTING.md").read_text()
