"""Where a run keeps its data: the same batches from everywhere, prefetching, resuming, errors, ending workers."""

import multiprocessing
import os
import pickle
import signal
import threading
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from test_run import StopAt, weights, without_clock

from mixzoo import Source
from mixzoo.core.errors import ConfigError, DataError, Interrupted
from mixzoo.data import free_memory, placement
from mixzoo.data.batches import BatchOrder, DeviceSplit, HostSplit
from mixzoo.data.streaming import StreamedSplit
from mixzoo.evaluation import codes
from mixzoo.evaluation.pictures import views
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import resume, start
from mixzoo.testing.metrics import MetricCase
from mixzoo.training import blocks, picture_writer
from mixzoo_datasets.folder import Folder, image_size, read_pixels
from toys import ToyData, toy_config, toy_zoo

CPU = torch.device("cpu")
PLACES = [("device", None), ("host", None), ("stream", 0), ("stream", 1), ("stream", 2)]


def config_of(photos, **numbers):
    zoo = toy_zoo()
    flags = {"dataset": f'folder:path="{photos}"', "autoencoder": "toy_net:dropout=0.2", "mixer": "dirichlet:k=3"}
    return zoo, toy_config(zoo, flags=flags, log_every=1, **numbers)


def placed(recipe, **numbers):
    train = toy_config(toy_zoo(), **numbers).train
    return placement.load_data(recipe, "folder", train, CPU), train


def batches_of(recipe, **numbers):
    where, train = placed(recipe, **numbers)
    return placement.train_batches(where, train, CPU), train


def workers():
    return multiprocessing.active_children()


@pytest.mark.bit_exact
@pytest.mark.parametrize(("data_on", "count"), PLACES)
def test_batches_are_the_same_wherever_the_data_are(photos, data_on, count):
    data = Folder(path=str(photos)).load(0)
    images, train = batches_of(Folder(path=str(photos)), data_on=data_on, workers=count)
    assert type(images) is {"device": DeviceSplit, "host": HostSplit, "stream": StreamedSplit}[data_on]
    assert (images.order.images, images.device) == (48, CPU)
    whole = DeviceSplit(data.train.images, data.train.labels, BatchOrder(train.seed, 48, 16))
    with images:
        for step in range(7):
            for got, expected in zip(images.batch(step), whole.batch(step), strict=True):
                assert torch.equal(got, expected)
    assert workers() == []


@pytest.mark.parametrize(("data_on", "count"), PLACES[1:])
def test_a_run_is_the_same_bit_for_bit_wherever_its_data_are(tmp_path, photos, data_on, count):
    for home, numbers in (("whole", {"data_on": "device"}), ("other", {"data_on": data_on, "workers": count})):
        start(*config_of(photos, **numbers), tmp_path / home)
    assert without_clock(tmp_path / "other") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "other") == weights(tmp_path / "whole")
    results = [(tmp_path / home / "results.json").read_text() for home in ("whole", "other")]
    assert results[0] == results[1]


@pytest.mark.bit_exact
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("step", [1, 4, 8])  # of 3 an epoch
def test_a_streamed_run_stopped_within_an_epoch_and_resumed_equals_an_unbroken_one(tmp_path, photos, step, count):
    zoo, config = config_of(photos, data_on="stream", workers=count)
    start(zoo, config, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"stopped by SIGTERM after step {step};"):
        start(zoo, config, tmp_path / "stopped", lambda *_: StopAt(step))
    assert workers() == []
    resume(zoo, tmp_path / "stopped")
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_workers_are_forked_before_the_threads_of_a_run_on_a_gpu_begin(tmp_path, photos, monkeypatch):
    """A fork copies a lock that another thread holds, and nobody releases the copy. Here a run on the CPU has them."""
    threads, restart, make = [], StreamedSplit._restart, blocks.Blocks._make
    for module in (blocks, picture_writer):
        monkeypatch.setattr(module, "beside_steps", lambda device: True)
    monkeypatch.setattr(
        StreamedSplit,
        "_restart",
        lambda *given: threads.append({t.name for t in threading.enumerate()}) or restart(*given),
    )
    drawing = set()
    monkeypatch.setattr(
        blocks.Blocks, "_make", lambda *given: drawing.add(threading.current_thread().name) or make(*given)
    )
    start(*config_of(photos, data_on="stream", workers=1), tmp_path / "run")
    (alive,) = threads
    assert not alive & {blocks.NAME, picture_writer.NAME}
    assert blocks.NAME in drawing


@pytest.mark.bit_exact
def test_a_run_streamed_in_part_may_be_resumed_from_memory(tmp_path, photos, monkeypatch):
    zoo, config = config_of(photos, data_on="auto")
    start(zoo, config, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(placement, "host_free", lambda: 1000)
        with pytest.raises(Interrupted):
            start(zoo, config, tmp_path / "stopped", lambda *_: StopAt(5))
    resume(zoo, tmp_path / "stopped")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


@pytest.mark.parametrize("count", [0, 2])
def test_an_image_damaged_while_a_run_trains_is_one_line_with_its_path_and_workers_end(tmp_path, photos, count):
    zoo, config = config_of(photos, data_on="stream", workers=count, steps=40)

    class Damage(StopAt):
        def train(self, line):
            if line["step"] == 2:
                for file in (photos / "dogs").iterdir():
                    file.write_bytes(file.read_bytes()[:60])

    with pytest.raises(DataError, match=r"images cannot be read: dogs/\d\d\.png \(") as refused:
        start(zoo, config, tmp_path / "run", lambda *_: Damage(2))
    assert str(refused.value).startswith(str(photos))
    assert "\n" not in str(refused.value)
    assert workers() == []


def test_an_image_that_changes_its_size_while_a_run_trains_is_named(photos):
    source = Folder(path=str(photos)).stream(0).train.images
    file = source.files[source.numbers[3]]
    Image.new("L", (9, 8)).save(file)
    with pytest.raises(DataError, match=rf"1 of 2 images cannot be read: .*{file.name} \(9x8x1 now, expected 8x8x1"):
        source.read(torch.tensor([0, 3]))


def test_a_killed_worker_is_one_line_and_ends_the_others(photos):
    images, train = batches_of(Folder(path=str(photos)), data_on="stream", workers=2, steps=10_000)

    def read_on():
        with images:
            for step in range(train.steps):
                images.batch(step)
                if step == 3:
                    os.kill(workers()[0].pid, signal.SIGKILL)

    with pytest.raises(DataError, match=r"data: a worker process died \(.+\); try fewer --workers"):
        read_on()
    assert workers() == []


def test_workers_ignore_signals(photos):
    images, _train = batches_of(Folder(path=str(photos)), data_on="stream", workers=2, steps=60)
    with images:
        for step in range(60):
            images.batch(step)
            if step in (3, 20):
                for worker in workers():
                    os.kill(worker.pid, signal.SIGTERM if step == 3 else signal.SIGINT)
    assert workers() == []


def test_workers_end_with_any_error_of_the_run(photos):
    images, _train = batches_of(Folder(path=str(photos)), data_on="stream", workers=2)

    def interrupted():
        with images:
            images.batch(0)
            assert len(workers()) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert workers() == []


@pytest.mark.bit_exact
def test_a_batch_out_of_turn_is_read_from_there_and_a_process_reads_only_its_shard(photos):
    where, train = placed(Folder(path=str(photos)), data_on="stream", workers=1)
    split = Folder(path=str(photos)).load(0).train
    whole = DeviceSplit(split.images, split.labels, BatchOrder(train.seed, 48, 16))
    with placement.train_batches(where, train, CPU, shard=lambda index: index[8:]) as images:
        for step in (5, 6, 2, 3):
            for own, of_all in zip(images.batch(step), whole.batch(step), strict=True):
                assert torch.equal(own, of_all[8:])


def test_streaming_moves_no_global_generator(photos):
    images, _train = batches_of(Folder(path=str(photos)), data_on="stream", workers=1)
    before = torch.get_rng_state()
    with images:
        images.batch(0)
    assert torch.equal(torch.get_rng_state(), before)


# --- auto, and refusals


def auto(photos, monkeypatch, host, device="cpu", on_device=None):
    monkeypatch.setattr(placement, "host_free", lambda: host)
    monkeypatch.setattr(placement, "device_free", lambda device: host if on_device is None else on_device)
    train = toy_config(toy_zoo()).train
    return placement.load_data(Folder(path=str(photos)), "folder", train, torch.device(device))


def test_auto_keeps_what_fits_on_the_device_and_says_nothing(photos, monkeypatch):
    for free in (2 * 60 * 64, None):  # sixty images of 64 bytes are just half of it; or nobody knows
        where = auto(photos, monkeypatch, free)
        assert (where.data_on, where.note) == ("device", "")
        assert isinstance(where.data.train.images, torch.Tensor)


def test_auto_streams_what_takes_more_than_half_of_memory_and_says_why(photos, monkeypatch):
    where = auto(photos, monkeypatch, 2 * 60 * 64 - 1)
    assert where.data_on == "stream"
    assert where.note == ("data: streamed from files: 0.0 MB of images is more than half of the 0.0 MB free in memory")
    assert isinstance(where.data.train.images, Source)


def test_auto_keeps_in_host_memory_what_takes_more_than_half_of_the_device(photos, monkeypatch):
    where = auto(photos, monkeypatch, 4_000_000_000, "cuda", 2 * 48 * 64 - 1)
    assert where.data_on == "host"
    assert where.note.startswith("data: kept in host memory: 0.0 MB of images is more than half of the 0.0 MB free on")


def test_the_note_of_auto_is_shown_when_a_run_starts_and_when_it_resumes(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(placement, "host_free", lambda: 1000)
    zoo, config = config_of(photos)
    shows = [StopAt(2), StopAt(100)]
    with pytest.raises(Interrupted):
        start(zoo, config, tmp_path / "run", lambda *_: shows[0])
    resume(zoo, tmp_path / "run", lambda *_: shows[1])
    for show in shows:
        assert [note for note in show.notes if note.startswith("data: streamed from files")]


@pytest.mark.bit_exact
def test_held_out_images_are_held_where_they_are_a_small_part_of_memory(photos, monkeypatch):
    held = auto(photos, monkeypatch, 60 * 64 * 2 - 1).data
    assert isinstance(held.validation.images, torch.Tensor)
    streamed = auto(photos, monkeypatch, 12 * 64 * 8 - 1).data
    assert isinstance(streamed.validation.images, Source)
    assert torch.equal(streamed.validation.read(torch.arange(6)), held.validation.images)


def test_data_that_are_always_in_memory_cannot_be_streamed():
    with pytest.raises(ConfigError, match="--data-on stream: data set 'folder' cannot be streamed; use device, host"):
        placed(ToyData(), data_on="stream")


@pytest.mark.parametrize("data_on", ["device", "host"])
def test_workers_that_would_read_nothing_are_refused(photos, data_on):
    with pytest.raises(ConfigError, match=f"--workers 1 has no effect with --data-on {data_on}; leave it out"):
        placed(Folder(path=str(photos)), data_on=data_on, workers=1)


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--data-on", "disk", "data_on='disk' must be one of 'auto', 'device', 'host', 'stream'."),
        ("--workers", "65", "workers=65 must be an integer >= 0 and <= 64 (or not given)."),
        ("--workers", "-1", "workers=-1 must be an integer >= 0 and <= 64 (or not given)."),
    ],
)
def test_a_bad_data_on_or_number_of_workers_is_refused(mixzoo, flag, value, words):
    assert mixzoo("train", flag, value) == (2, "", f"mixzoo: {flag}: {words}\n")


def test_free_memory_is_what_the_kernel_says_within_the_limit_of_a_container(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(free_memory, "MEMINFO", meminfo)
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)
    assert free_memory.host_free() is None
    meminfo.write_text("MemTotal:  90 kB\nMemAvailable:     70 kB\n")
    assert free_memory.host_free() == free_memory.device_free(CPU) == 70 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_memory.host_free() == 70 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_memory.host_free() == 4000
    assert free_memory.device_free(torch.device("meta")) is None


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A container that may use 5000 bytes, of which 4000 are left."""
    monkeypatch.setattr(free_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    return tmp_path


@pytest.mark.parametrize(
    ("told", "free"),
    [("active_file 9\ninactive_file 500\nanon 7\n", 4500), ("inactive_file 9999\n", 5000), ("?", 4000)],
)
def test_files_that_a_container_read_a_while_ago_are_free_memory(container, told, free):
    (container / "memory.stat").write_text(told)
    assert free_memory.host_free() == free


@pytest.mark.parametrize(("processes", "free"), [("4", 1000), ("1", 4000), ("many", 4000)])
def test_processes_of_one_machine_share_its_free_memory(container, monkeypatch, processes, free):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert free_memory.host_free() == free_memory.device_free(CPU) == free


# --- streamed data in pictures and metrics


class Watched:
    """A source that records the largest number of images read at once."""

    def __init__(self, images):
        self.images, self.most = images, 0

    @property
    def shape(self):
        return tuple(self.images.shape)

    def __len__(self):
        return len(self.images)

    def read(self, index):
        self.most = max(self.most, len(index))
        return self.images[index]


def watched(run):
    """The run with its data streamed, and its sources."""
    splits = {name: getattr(run.data, name) for name in ("train", "validation", "test")}
    sources = {name: Watched(split.images) for name, split in splits.items()}
    streamed = {name: replace(split, images=sources[name]) for name, split in splits.items()}
    return replace(run, data=replace(run.data, **streamed)), sources


@pytest.mark.parametrize(
    "spec",
    [
        *("logistic_regression", "reconstruction", "conditioned_labels:steps=4,mixes=20", "label_arithmetic:steps=4"),
        *("disentanglement:votes=20", "mix_distance:mixes=5", "line_interpolation:pairs=5"),
    ],
)
def test_no_metric_reads_a_streamed_split_whole(spec, monkeypatch):
    monkeypatch.setattr(codes, "EVALUATION_BATCH", 24)
    monkeypatch.setattr("mixzoo_metrics.lines.BATCH", 24)
    monkeypatch.setattr("mixzoo.evaluation.mixes.EVALUATION_BATCH", 24)
    run, sources = watched(MetricCase(None, 1, 300, 0).run())
    assert load_zoo().recipe("metric", spec)(run)
    limit = 64  # a batch of the classifier of labels
    assert 0 < max(source.most for source in sources.values()) <= limit
    assert all(len(source) > limit for source in sources.values())


@pytest.mark.bit_exact
def test_pictures_of_a_streamed_split_are_those_of_the_same_held():
    run = MetricCase(None, 1, 60, 0).run()
    run.autoencoder.eval()
    streamed, sources = watched(run)
    held, drawn = (views.mixes(r.autoencoder, r.mixer, r.data.test, "cpu") for r in (run, streamed))
    assert held.tobytes() == drawn.tobytes()
    assert 0 < sources["test"].most < len(sources["test"])


def test_a_streamed_split_is_not_treated_as_held(photos):
    split = Folder(path=str(photos)).stream(0).train
    with pytest.raises(ValueError, match=r"read from their files as needed; use read\(index\), or"):
        _ = split.held
    assert split.read(torch.tensor([1])).shape == (1, 1, 8, 8)


# --- the folder


def test_a_header_says_what_the_image_will_be(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    cases = [(mode, "png", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    cases += [
        ("RGB", "jpg", {"exif": turned}),
        ("RGB", "tif", {"exif": turned}),
        ("L", "tif", {}),
        ("CMYK", "jpg", {}),
        ("L", "gif", {}),
        ("RGB", "gif", {}),
        ("L", "bmp", {}),
    ]
    for number, (mode, ending, save) in enumerate(cases):
        file = tmp_path / f"{number}.{ending}"
        Image.new(mode, (8, 5)).save(file, **save)
        for size in (None, 4):
            for channels in ("auto", "grey", "rgb"):
                height, width, found = read_pixels(file, size, channels).shape
                assert image_size(file, size, channels) == (found, height, width), (mode, ending, size, channels)


@pytest.mark.parametrize("swapped", [True, False])
def test_a_rotated_tiff_is_measured_right_whether_pillow_turns_its_size_at_opening_or_not(
    tmp_path, monkeypatch, swapped
):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (8, 5)).save(tmp_path / "a.tif", exif=turned)
    monkeypatch.setattr(TiffImageFile, "size", property(lambda image: (5, 8) if swapped else (8, 5)))
    assert image_size(tmp_path / "a.tif", None, "auto") == (3, 8, 5)


@pytest.mark.bit_exact
def test_grey_images_among_coloured_ones_stream_as_they_load(photos):
    Image.new("RGB", (8, 8), "red").save(photos / "cats" / "00.png")
    loaded, streamed = Folder(path=str(photos)).load(0), Folder(path=str(photos)).stream(0)
    assert streamed.image_shape == (3, 8, 8)
    assert torch.equal(streamed.train.read(torch.arange(48)), loaded.train.images)


def test_bad_headers_and_sizes_are_named_before_a_stream_begins(photos):
    (photos / "dogs" / "03.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1 of 60 images cannot be read: dogs/03.png \(not an image in PNG"):
        Folder(path=str(photos)).stream(0)
    Image.new("L", (9, 8)).save(photos / "dogs" / "03.png")
    with pytest.raises(DataError, match=r"images of 2 sizes: 8x8 \(59\), 9x8 \(1\); give size="):
        Folder(path=str(photos)).stream(0)


def test_the_fingerprint_covers_names_lengths_and_both_ends_of_every_file(photos):
    def mark():
        data = Folder(path=str(photos)).stream(0)
        assert data.fingerprint == Folder(path=str(photos)).load(0).fingerprint
        return data.fingerprint

    large = photos / "cats" / "00.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(large)
    large.write_bytes(large.read_bytes() + bytes(20_000))  # a reader stops at the end of the image
    marks = [mark()]
    for place in (-1, 10_000):
        content = bytearray(large.read_bytes())
        content[place] = 1
        large.write_bytes(content)
        marks.append(mark())
    assert marks[0] != marks[1]
    assert marks[1] == marks[2]  # the middle of a file of more than 8192 bytes is not covered
    large.write_bytes(large.read_bytes() + b"0")
    marks.append(mark())
    large.rename(photos / "cats" / "000.png")
    marks.append(mark())
    assert len(set(marks)) == 4


def test_streamed_images_are_not_held(photos):
    data = Folder(path=str(photos)).stream(0)
    assert len(pickle.dumps(data.train.images.numbers)) > 0
    held = [value for value in vars(data.train.images).values() if isinstance(value, torch.Tensor)]
    stamps = 2 * len(data.train.images.files)  # of the files of all splits
    assert sum(map(torch.numel, held)) == len(data.train) + stamps < prod(data.train.images.shape)


@pytest.mark.parametrize("options", ["", ",train_images=20", ",size=4", ",mode=rgb"])
def test_a_folder_passes_every_check_of_a_stream(photos, options):
    from mixzoo.testing import check_part

    report = check_part(f'folder:path="{photos}"{options}', kind="dataset", effort="low")
    assert [outcome.line for outcome in report.failed] == []
    assert len(report.passed) >= 20  # hardly any check is skipped
