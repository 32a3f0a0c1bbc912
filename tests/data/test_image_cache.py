"""The image cache of a stream: the same pixels, no decoding once it is full, and nothing wrong from a damaged one."""

import errno
import json
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image
from test_run import StopAt, weights, without_clock
from test_streaming import config_of, placed

from mixzoo.core.errors import ConfigError, DataError, Interrupted, StorageError
from mixzoo.core.json_file import write_json
from mixzoo.data import placement
from mixzoo.data.batches import BatchOrder, DeviceSplit
from mixzoo.data.image_cache import DIGEST, CachedImages
from mixzoo.data.open_cache import COMPARED
from mixzoo.runs import listing
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo_datasets import folder as folders
from mixzoo_datasets.folder import Folder
from toys import toy_config, toy_zoo

CPU = torch.device("cpu")
ROW = 64  # bytes of an image of 8x8


@pytest.fixture
def home(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The files that this process has decoded."""
    found, read_pixels = [], folders.read_pixels

    def counted(file, **options):
        found.append(file)
        return read_pixels(file, **options)

    monkeypatch.setattr(folders, "read_pixels", counted)
    return found


def cached(photos, home, **numbers):
    return placed(Folder(path=str(photos)), **{"data_on": "stream", "image_cache": str(home), "workers": 0, **numbers})


def train_source(photos, home):
    return cached(photos, home)[0].data.train.images


def pixels(photos):
    return Folder(path=str(photos)).load(0).train.images


def fill(photos, home):
    source = train_source(photos, home)
    return source.read(torch.arange(len(source)))


def test_no_index_and_one_from_the_end_are_those_of_the_source(photos, home):
    data = cached(photos, home)[0].data
    first = fill(photos, home)
    before = images_file(home).read_bytes()
    for images in (data.train.images, data.validation.images, data.test.images):
        source = getattr(images, "source", None)  # small splits may be held in memory
        if source is not None:
            assert images.read(torch.tensor([], dtype=torch.int64)).shape == (0, *images.shape[1:])
            assert torch.equal(images.read(torch.tensor([-1])), source.read(torch.tensor([-1])))
    assert isinstance(data.train.images, CachedImages)
    assert images_file(home).read_bytes() == before
    assert torch.equal(fill(photos, home), first)


def images_file(home):
    (path,) = home.glob("*.images")
    return path


def header(home):
    return images_file(home).with_suffix(".json")


# --- the same pixels


@pytest.mark.bit_exact
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_while_a_cache_fills_and_once_it_is_full(photos, home, workers):
    where, train = cached(photos, home, workers=workers)
    split = Folder(path=str(photos)).load(0).train
    whole = DeviceSplit(split.images, split.labels, BatchOrder(train.seed, 48, 16))
    for full in (False, True):
        if full:  # nothing can be decoded any more
            for file in photos.glob("*/*.png"):
                file.write_bytes(file.read_bytes()[:60])
        with placement.train_batches(where, train, CPU) as images:
            for step in range(4):
                for got, expected in zip(images.batch(step), whole.batch(step), strict=True):
                    assert torch.equal(got, expected)


@pytest.mark.bit_exact
def test_a_run_is_the_same_bit_for_bit_with_a_cache_and_no_other_variant(tmp_path, photos, home):
    start(*config_of(photos, data_on="stream", workers=0), tmp_path / "without")
    for name in ("fills", "reads"):
        zoo, config = config_of(photos, data_on="stream", workers=0, image_cache=str(home))
        show = StopAt(100)
        start(zoo, config, tmp_path / name, lambda *_, show=show: show)
        assert any(f"{0 if name == 'fills' else 60} of 60 images are in the cache {home}" in n for n in show.notes)
        assert without_clock(tmp_path / name) == without_clock(tmp_path / "without")
        assert weights(tmp_path / name) == weights(tmp_path / "without")
        assert (tmp_path / name / "results.json").read_text() == (tmp_path / "without/results.json").read_text()
    assert "train.image_cache" in listing.SAME_RUN


@pytest.mark.bit_exact
def test_a_run_with_a_cache_may_be_resumed_without_it(tmp_path, photos, home):
    zoo, config = config_of(photos, data_on="stream", workers=0, image_cache=str(home))
    start(zoo, config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(zoo, config, tmp_path / "stopped", lambda *_: StopAt(5))
    shutil.rmtree(home)
    assert open_run(zoo, tmp_path / "stopped").step == 5
    assert not home.exists()  # pictures and scores of a run make none
    resume(zoo, tmp_path / "stopped", values=["train.image_cache="])
    assert not home.exists()
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_a_second_run_decodes_only_the_images_that_it_compares(photos, home, decoded):
    assert torch.equal(fill(photos, home), pixels(photos))
    decoded.clear()
    again = fill(photos, home)
    assert 0 < len(decoded) <= COMPARED
    assert torch.equal(again, pixels(photos))


def test_images_are_cached_under_another_name_if_their_pixels_may_differ(tmp_path, photos, home):
    Image.effect_noise((64, 48), 90).save(photos / "cats" / "00.jpg")
    caches = []
    for options in ({"size": 8}, {"size": 8, "decode": "fast"}, {"size": 4}):
        placed(Folder(path=str(photos), **options), data_on="stream", image_cache=str(home))
        caches.append({file.name for file in home.glob("*.images")})
    assert [len(found) for found in caches] == [1, 2, 3]
    os.utime(photos / "cats" / "00.jpg", ns=(1, 1))  # it may have other bytes in its middle
    placed(Folder(path=str(photos), size=8), data_on="stream", image_cache=str(home))
    assert len(list(home.glob("*.images"))) == 4
    shutil.copytree(photos, tmp_path / "moved")  # with the times of the files
    placed(Folder(path=str(tmp_path / "moved"), size=8), data_on="stream", image_cache=str(home))
    assert len(list(home.glob("*.images"))) == 4


def test_a_spawned_worker_reads_the_same_cache(photos, home):
    fill(photos, home)
    expected = pixels(photos)
    source = ForkingPickler.loads(ForkingPickler.dumps(train_source(photos, home)))
    shutil.rmtree(photos)
    assert torch.equal(source.read(torch.arange(48)), expected)


# --- kills, and several processes


def forked(act):
    """A child process that does this, then ends without any cleaning up."""
    child = os.fork()
    if not child:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def test_a_kill_while_a_cache_is_filled_leaves_whole_images_or_none(photos, home, decoded):
    source = train_source(photos, home)
    heard, said = os.pipe()

    def fill_slowly():
        for number in range(len(source)):
            source.read(torch.tensor([number]))
            os.write(said, b".")
            time.sleep(0.01)

    child = forked(fill_slowly)
    for _ in range(10):
        os.read(heard, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for handle in (heard, said):
        os.close(handle)
    decoded.clear()
    assert torch.equal(source.read(torch.arange(48)), pixels(photos))
    assert len(decoded) <= 60 + 48 - 10  # `load` decodes all sixty
    decoded.clear()
    source.read(torch.arange(48))
    assert decoded == []


@pytest.mark.parametrize("part", ["digest", "pixels", "half"])
def test_what_a_kill_leaves_of_an_image_is_decoded_again(photos, home, decoded, part):
    source = train_source(photos, home)
    source.read(torch.arange(48))
    start_of = source.cache.images * DIGEST + 5 * ROW
    at, zeros = {"digest": (5 * DIGEST, DIGEST), "pixels": (start_of, ROW), "half": (start_of + 32, 32)}[part]
    with images_file(home).open("r+b") as file:
        file.seek(at)
        file.write(bytes(zeros))
    for decodes in (1, 0):
        decoded.clear()
        got = source.read(torch.arange(48))
        assert len(decoded) == decodes
        assert torch.equal(got, pixels(photos))


def test_two_runs_fill_one_cache_at_once(photos, home, decoded):
    def fill_backwards():
        source = train_source(photos, home)
        for number in reversed(range(48)):
            source.read(torch.tensor([number, 47 - number]))

    children = [forked(fill_backwards), forked(lambda: fill(photos, home))]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    source = train_source(photos, home)
    decoded.clear()
    got = source.read(torch.arange(48))
    assert decoded == []
    assert torch.equal(got, pixels(photos))
    assert not list(home.glob(".tmp*"))


# --- damage


def flip(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def edit(home):
    values = json.loads(header(home).read_text())
    header(home).write_text(json.dumps({**values, "fingerprint": "another"}))


def seal_others(home):
    write_json(header(home), {"fingerprint": "another"})


DAMAGE = {
    "header, a bit": (lambda home: flip(header(home), 100), r"damaged, or edited by hand"),
    "header, edited": (edit, r"damaged, or edited by hand"),
    "header, of other images": (seal_others, r"it is of other images"),
    "header, deep": (lambda home: header(home).write_text("[" * 100_000), r"nested more than"),
    "header, large": (lambda home: header(home).write_text(" " * 2_000_000), r"expected at most"),
    "pixels, cut off": (lambda home: os.truncate(images_file(home), 100), r"damaged: 100 bytes, expected 4800"),
    "pixels, longer": (lambda home: os.truncate(images_file(home), 9999), r"damaged: 9999 bytes, expected 4800"),
    "pixels, foreign": (
        lambda home: images_file(home).write_bytes(np.random.default_rng(0).bytes(4800)),
        rf"warning: {COMPARED} of the {COMPARED} cached images looked at are damaged; decoded again",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_one_line_and_gives_no_wrong_pixel(photos, home, damage):
    fill(photos, home)
    act, words = DAMAGE[damage]
    act(home)
    where, _ = cached(photos, home)
    (warning,) = [line for line in where.cache_notes if line.startswith("warning: ")]
    assert "\n" not in warning
    assert re.search(words, warning)
    assert torch.equal(where.data.train.images.read(torch.arange(48)), pixels(photos))
    assert [line for line in cached(photos, home)[0].cache_notes if line.startswith("warning")] == []


def test_a_cache_of_code_that_decoded_otherwise_is_built_anew(photos, home, monkeypatch):
    fill(photos, home)
    read_pixels = folders.read_pixels
    monkeypatch.setattr(folders, "read_pixels", lambda file, **options: 255 - read_pixels(file, **options))
    recipe, train = Folder(path=str(photos)), toy_config(toy_zoo(), data_on="stream", image_cache=str(home)).train
    opened = placement.load_data(recipe, "folder", train, CPU, fill_cache=False)
    assert not isinstance(opened.data.train.images, CachedImages)
    where, _ = cached(photos, home)
    assert "is not what decoding gives now; the image cache is built anew" in where.cache_notes[0]
    assert torch.equal(where.data.train.images.read(torch.arange(48)), pixels(photos))


def test_a_cache_that_is_removed_while_a_run_reads_it_is_not_missed(photos, home):
    source = train_source(photos, home)
    for act in (lambda: os.truncate(images_file(home), 70), lambda: images_file(home).unlink()):
        act()
        assert torch.equal(source.read(torch.tensor([3, 1, 3])), pixels(photos)[[3, 1, 3]])


def test_a_fifo_in_place_of_a_cache_is_refused(photos, home):
    fill(photos, home)
    path = images_file(home)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StorageError, match=r"\.images: not a regular file; remove it, or name another folder"):
        cached(photos, home)


# --- room


def test_a_link_in_place_of_the_images_is_never_written_through(photos, home, tmp_path):
    """In a shared folder it would let others have a file of this user overwritten."""
    fill(photos, home)
    (images,) = home.glob("*.images")
    victim = tmp_path / "victim"
    victim.write_bytes(bytes(images.stat().st_size))
    source = train_source(photos, home)
    images.unlink()
    images.symlink_to(victim)
    assert torch.equal(source.read(torch.arange(48)), pixels(photos))  # a run that has begun decodes
    with pytest.raises(StorageError, match=r"\.images: a symbolic link; remove it, or name another folder$"):
        cached(photos, home)
    assert not any(victim.read_bytes())


def test_a_cache_that_does_not_fit_is_refused_at_the_start(photos, home, monkeypatch):
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1000))
    words = r"no room for the image cache: need 0\.005 MB, have 0\.001 MB at .*cache; name a folder on another disk"
    with pytest.raises(StorageError, match=words) as refused:
        cached(photos, home)
    assert refused.value.exit_code == 8


def test_a_disk_that_cannot_reserve_the_cache_is_refused_at_the_start_and_one_that_never_does_is_not(
    photos, home, monkeypatch
):
    """A quota, say, of which the free space of the disk tells nothing."""

    def fails(number):
        def fallocate(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", fallocate)

    fails(errno.EDQUOT)
    words = r"no room for the image cache.*: Disk quota exceeded.*; name a folder on another disk, or leave"
    with pytest.raises(StorageError, match=words):
        cached(photos, home)
    fails(errno.EOPNOTSUPP)
    assert cached(photos, home)[0].cache_notes[0].startswith("data: 0 of 60 images are in the cache")


def test_a_full_cache_needs_no_more_room(photos, home, monkeypatch):
    fill(photos, home)
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=0))
    assert cached(photos, home)[0].cache_notes[0].startswith("data: 60 of 60 images are in the cache")


def test_a_disk_that_fills_up_meanwhile_only_ends_the_filling(photos, home, monkeypatch):
    source = train_source(photos, home)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    assert torch.equal(source.read(torch.arange(48)), pixels(photos))


# --- refusals


@pytest.mark.parametrize("data_on", ["device", "host"])
def test_a_cache_without_effect_is_refused(mixzoo, photos, home, data_on):
    found = mixzoo("train", "--data", f"folder:path={photos}", "--data-on", data_on, "--image-cache", "kept")
    line = f"mixzoo: --image-cache kept has no effect with --data-on {data_on}; use --data-on stream, or leave it out\n"
    assert found == (2, "", line)


def test_auto_says_that_a_cache_is_not_used_by_data_in_memory(photos, home):
    where, _ = cached(photos, home, data_on="auto", workers=None)
    assert list(where.cache_notes) == ["data: the image cache is not used, as the images fit in memory"]
    assert not home.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\0b", r"a.b: embedded null byte; give the path of a folder"),
        ("~nobody-of-this-name/x", r"~nobody-of-this-name/x: .*; give the path of a folder"),
        ("a\udcff", r"a.: its name is not UTF-8; give another folder$"),
        ("FILE", r"FILE: not a folder; give the path of a folder, which is made if it is not there$"),
        ("FILE/a/b", r"FILE/a/b: /.*/FILE is not a folder; give the path of a folder"),
        ("LINK", r"LINK: not a folder; give the path of a folder"),
        ("x" * 300, r"x{80}\.\.\. \(300 characters\): File name too long; give a folder that you may write to"),
    ],
)
@pytest.mark.parametrize("data_on", ["stream", "auto"])
def test_a_bad_folder_is_refused_before_the_data_are_loaded(tmp_path, monkeypatch, text, words, data_on):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    (tmp_path / "LINK").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=f"^--image-cache {words}"):
        placed(Folder(path="no-such-folder"), data_on=data_on, image_cache=text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FILE", "LINK"]


def test_a_file_in_place_of_a_cache_is_the_exit_code_of_an_option_and_no_trouble_for_a_run_that_is_read(
    mixzoo, tmp_path, photos, home
):
    (tmp_path / "FILE").write_text("")
    data = ("--data", f"folder:path={photos}", "--data-on", "stream", "--image-cache", "FILE")
    for more in ((), ("--seeds", "0,1")):
        code, _, err = mixzoo("train", *data, *more, "--out", "run")
        assert (code, err.partition(";")[0]) == (2, "mixzoo: --image-cache FILE: not a folder")
        assert not (tmp_path / "run").exists()
    train = toy_config(toy_zoo(), data_on="stream", image_cache=str(tmp_path / "FILE")).train
    assert placement.load_data(Folder(path=str(photos)), "folder", train, CPU, fill_cache=False).data.train.images


@dataclass(frozen=True, kw_only=True)
class Nameless(Folder):
    """A folder whose data set has no fingerprint, or whose source reads what no cache keeps."""

    floats: bool = False

    def stream(self, seed):
        data = super().stream(seed)
        if not self.floats:
            return replace(data, fingerprint="")
        return replace(data, train=replace(data.train, images=Floats(data.train.images)))


class Floats:
    def __init__(self, source):
        self.source, self.shape = source, source.shape

    def __len__(self):
        return len(self.source)

    def read(self, index):
        return self.source.read(index).float()


def test_data_that_no_cache_can_keep_are_refused(photos, home):
    numbers = {"data_on": "stream", "image_cache": str(home)}
    with pytest.raises(ConfigError, match="--image-cache: data set 'folder' has no fingerprint, by which"):
        placed(Nameless(path=str(photos)), **numbers)
    where, _ = placed(Nameless(path=str(photos), floats=True), **numbers)
    with pytest.raises(DataError, match=r"--image-cache keeps torch.uint8 \[1, 8, 8\], and the data set reads torch.f"):
        where.data.train.images.read(torch.tensor([0]))
