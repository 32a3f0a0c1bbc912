"""What is made beside the steps, in a thread: the same numbers, errors at their own step, and no thread afterwards.

A GPU has such threads: for the draws of the next steps, and for pictures. Here a CPU has them, which computes the same.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass, replace

import pytest
import torch

from mixzoo import LinearMixer
from mixzoo.core.errors import Interrupted, LeaveBlock, StorageError
from mixzoo.data.batches import on_device
from mixzoo.evaluation.pictures import views
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.runs.run import resume, start
from mixzoo.training import blocks as module
from mixzoo.training import picture_writer
from mixzoo.training.blocks import NAME, Blocks, StepInputs, kinds_of
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import saved
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics
from mixzoo.training.worker import ThreadSettings, Worker
from toys import TOY_PLUGIN, toy_config, toy_zoo

CPU = torch.device("cpu")
STEPS = 12
SCHEDULE = "schedule:a=mixup,b=(bernoulli:k=3)"


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not {NAME, picture_writer.NAME} & {thread.name for thread in threading.enumerate()}


@dataclass(frozen=True)
class Fails(LinearMixer):
    """Mixup, which fails in the second half of the training."""

    k = 2

    def draw(self, shape, rng):
        return self.draw_at(shape, rng, 0.0)

    def draw_at(self, shape, rng, progress):
        if progress >= 0.5:
            raise LookupError(f"no draw at {progress}")
        alpha = torch.rand(1, shape.batch, generator=rng)
        return shape.broadcast(torch.cat([alpha, 1 - alpha]))


@dataclass(frozen=True)
class Global(LinearMixer):
    """A mixer that breaks the rules: it uses torch's global generator."""

    k = 2

    def draw(self, shape, rng):
        alpha = torch.rand(1, shape.batch)
        return shape.broadcast(torch.cat([alpha, 1 - alpha]))


def zoo_with_faults():
    zoo = toy_zoo()
    zoo.registered += [RegisteredPart("mixer", part.__name__.lower(), TOY_PLUGIN, part) for part in (Fails, Global)]
    return zoo


def scene(mixer="mixup", objective="amr"):
    """A function that makes the draws of a step, and one that says which images it takes."""
    zoo = zoo_with_faults()
    config = toy_config(zoo, flags={"objective": objective, "mixer": mixer})
    data = config.parts["dataset"].load(0)
    players = build_players(zoo, config, data, CPU)
    return (
        lambda step: players.draw(0, step, batch=16, progress=step / STEPS),
        on_device(data.train, CPU, 16).order.own,
    )


def same(one: StepInputs, two: StepInputs) -> bool:
    return kinds_of(one) == kinds_of(two) and all(map(torch.equal, one.tensors, two.tensors))


@pytest.mark.bit_exact
@pytest.mark.parametrize(("objective", "mixer"), [("amr", "bernoulli:k=3"), ("amr", SCHEDULE), ("dae", "mixup")])
@pytest.mark.parametrize("ahead", [True, False])
def test_what_is_made_ahead_is_what_each_step_makes(ahead, objective, mixer):
    draw, index = scene(mixer, objective)
    with Blocks(draw, CPU, STEPS, index, ahead=ahead) as blocks:
        for step in (0, 1, 2, 3, 4, 5, 9, 10, 2, 3, 4, 11):  # also those that were not asked for
            assert same(blocks.at(step), StepInputs(draw(step), index(step)))
        assert (blocks._thread is not None) == ahead


def test_blocks_grow_and_none_goes_beyond_the_last_step():
    """Where a mixer whose law changes over training would be asked for more than all of it."""
    draw, index = scene()
    made = []

    def recorded(step):
        made.append((step, threading.current_thread().name))
        return draw(step)

    with Blocks(recorded, CPU, STEPS, index, ahead=True) as blocks:
        lengths = {blocks.at(step) and len(blocks._block.made) for step in range(STEPS)}
    assert made == [(0, "MainThread"), *((step, NAME) for step in range(1, STEPS))]
    assert lengths == {1, 2, 4, 5}


@pytest.mark.parametrize(("steps", "expected"), [(4, 2), (7, 3), (0, 1)])
def test_the_block_in_use_and_the_one_ahead_have_a_limit_together(monkeypatch, steps, expected):
    draw, index = scene()
    each = sum(tensor.nbytes for tensor in StepInputs(draw(0), index(0)).tensors)
    monkeypatch.setattr(module, "BLOCK_BYTES", steps * each)
    with Blocks(draw, CPU, 100, index, ahead=True) as blocks:
        for step in range(10):
            blocks.at(step)
            ahead = blocks._asked.result().packed
            held = sum(packed.steps * packed.step_bytes for packed in (blocks._block.packed, ahead))
            assert held <= max(module.BLOCK_BYTES, 2 * each)
        assert ahead.steps == expected


@pytest.mark.bit_exact
def test_a_step_whose_draws_have_another_shape_is_made_alone():
    draw, index = scene()

    def uneven(step):
        draws = draw(step)
        partners, share = draws.mix()
        return replace(draws, named={"mix": (partners.repeat(1 + step // 5, 1), share)})

    with Blocks(uneven, CPU, STEPS, index, ahead=True) as blocks:
        for step in range(STEPS):
            assert same(blocks.at(step), StepInputs(uneven(step), index(step)))


def test_an_error_is_raised_at_its_step_as_it_was():
    draw, index = scene()
    error = LookupError("a fault of the mixer")

    def fails(step):
        if step == 5:
            raise error
        return draw(step)

    with Blocks(fails, CPU, STEPS, index, ahead=True) as blocks:
        for step in range(5):
            blocks.at(step)
        with pytest.raises(LookupError) as raised:
            blocks.at(5)
    assert raised.value is error
    assert "fails" in [entry.name for entry in raised.traceback]


def test_draws_by_the_global_generator_are_made_between_the_steps():
    """The training thread seeds it at every step; a second thread would take numbers from a step."""
    draw, index = scene("global")
    with torch.random.fork_rng(devices=[]), Blocks(draw, CPU, STEPS, index, ahead=True) as blocks:
        for step in range(4):
            torch.manual_seed(step)
            own = draw(step)
            torch.manual_seed(step)
            assert same(blocks.at(step), StepInputs(own, index(step)))
        assert blocks._thread is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, LeaveBlock])
def test_what_a_signal_raises_while_a_step_waits_for_its_draws_ends_the_thread(error):
    draw, index = scene()

    def slow(step):
        time.sleep(0.2 if step else 0)
        return draw(step)

    def stop(number, frame):
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with Blocks(slow, CPU, STEPS, index, ahead=True) as blocks:
            blocks.at(0)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(error):
                blocks.at(1)
    finally:
        signal.signal(signal.SIGALRM, before)


# --- torch's settings of a thread


def test_a_thread_keeps_nothing_of_what_it_made():
    worker = Worker("made in a test", lambda _: Made())
    try:
        result = worker.ask(None).result()
        kept = weakref.ref(result)
        worker.ask(None).result()  # the thread waits, or is about to
        time.sleep(0.05)
        del result
        assert kept() is None
    finally:
        worker.close()


class Made:
    """Something that a thread makes."""


def found_in_a_thread(function):
    worker = Worker("made in a test", lambda _: function())
    try:
        return worker.ask(None).result()
    finally:
        worker.close()


def state():
    """torch's settings that could differ between threads; the smallest number is 0 if denormal ones are flushed."""
    smallest = torch.full((1,), 5e-324, dtype=torch.float64).mul(1.0).gt(0).item()
    return (
        ThreadSettings.of_this(), torch.get_num_threads(), torch.get_default_dtype(), smallest,
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory, torch.get_float32_matmul_precision(),
        torch.is_autocast_cache_enabled(),
    )  # fmt: skip


def restored(setter, before, value):
    setter(value)
    return lambda: setter(before)


SETTINGS = {
    "none": lambda: lambda: None,
    "threads": lambda: restored(torch.set_num_threads, torch.get_num_threads(), 2),
    "dtype": lambda: restored(torch.set_default_dtype, torch.get_default_dtype(), torch.float64),
    "determinism": lambda: restored(torch.use_deterministic_algorithms, False, True),
    "products": lambda: restored(torch.set_float32_matmul_precision, "highest", "medium"),
    "gradients": lambda: restored(torch.set_grad_enabled, True, False),
    "denormals": lambda: restored(torch.set_flush_denormal, False, True),
    "device": lambda: restored(torch.set_default_device, None, "meta"),
    "autocast": lambda: restored(lambda on: torch.set_autocast_enabled("cpu", on), False, True),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_thread_has_torch_as_the_training_thread_has_it(setting):
    usual = state()
    restore = SETTINGS[setting]()
    try:
        own = state() if setting != "device" else ThreadSettings.of_this()
        found = found_in_a_thread(state if setting != "device" else ThreadSettings.of_this)
    finally:
        restore()
    assert found == own
    assert own != usual or setting == "none"
    assert state() == usual


def test_the_thread_has_inference_mode_if_the_training_thread_has_it():
    with torch.inference_mode():
        assert found_in_a_thread(torch.is_inference_mode_enabled)
    assert not found_in_a_thread(torch.is_inference_mode_enabled)


HANGS = """
import time
from mixzoo.training import worker as module
module.CLOSE_SECONDS = 0.1
worker = module.Worker("sleeps", time.sleep)
worker.ask(10_000)
worker.close()
print("closed")
"""


def test_a_draw_that_hangs_does_not_keep_the_process():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


# --- whole runs


@pytest.fixture
def with_a_thread(monkeypatch):
    """Runs on the CPU make their draws ahead, as on a GPU; which threads have made some."""
    names = set()
    draw = module.Blocks._make

    def recorded(blocks, step):
        names.add(threading.current_thread().name)
        return draw(blocks, step)

    monkeypatch.setattr(module, "beside_steps", lambda device: True)
    monkeypatch.setattr(module.Blocks, "_make", recorded)
    return names


def trained(run_dir, mixer=SCHEDULE, display=ProgressDisplay, **settings):
    zoo = zoo_with_faults()
    flags = {"objective": "amr:beta=0.1", "mixer": mixer, "autoencoder": "toy_net:dropout=0.2"}
    start(zoo, toy_config(zoo, flags=flags, log_every=1, **settings), run_dir, lambda *_: display())


def numbers(run_dir):
    """The lines of metrics without the clock, and the bytes of the last weights."""
    lines = read_metrics(run_dir / "metrics.jsonl")
    newest = saved(run_dir / "checkpoints")[-1]
    return (
        [{key: value for key, value in line.items() if key not in CLOCK} for line in lines],
        {file.name: file.read_bytes() for file in newest.glob("*.safetensors")},
    )


class TermAtSeven(ProgressDisplay):
    def train(self, line):
        if line["step"] == 7:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_with_the_thread_is_the_run_without_it_bit_for_bit(tmp_path, request):
    """With dropout, which uses the generators of the training thread, and a mixer whose law follows the progress."""
    trained(tmp_path / "without")
    names = request.getfixturevalue("with_a_thread")
    trained(tmp_path / "with")
    assert names == {"MainThread", NAME}
    assert numbers(tmp_path / "with") == numbers(tmp_path / "without")

    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 7"):
        trained(tmp_path / "stopped", display=TermAtSeven)
    assert NAME not in [thread.name for thread in threading.enumerate()]
    resume(zoo_with_faults(), tmp_path / "stopped")
    assert numbers(tmp_path / "stopped") == numbers(tmp_path / "without")


PICTURES = [f"step-{step:08d}.png" for step in range(4, STEPS + 1, 4)]


def drawn(run_dir):
    """The bytes of each picture."""
    found = {file.name: file.read_bytes() for file in (run_dir / "pictures").iterdir()}
    assert sorted(found) == PICTURES
    return found


def test_pictures_drawn_beside_the_steps_are_those_of_their_own_step(tmp_path, monkeypatch):
    """The networks have changed by the time that a picture is drawn."""
    flags = {"evaluate_every": 4, "checkpoint_every": STEPS}
    trained(tmp_path / "without", **flags)
    monkeypatch.setattr(picture_writer, "beside_steps", lambda device: True)
    threads, sheet = [], views.sheet

    def late(rows):
        threads.append(threading.current_thread().name)
        time.sleep(0.4)
        return sheet(rows)

    monkeypatch.setattr(views, "sheet", late)
    trained(tmp_path / "with", **flags)
    assert threads == [picture_writer.NAME] * 3
    assert drawn(tmp_path / "with") == drawn(tmp_path / "without")


def test_a_checkpoint_is_not_visible_before_the_pictures_up_to_its_step(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_writer, "beside_steps", lambda device: True)
    visible, save = {}, picture_writer.save_png

    def late(image, path, **how):
        time.sleep(0.4)
        visible[path.name] = [checkpoint.name for checkpoint in saved(tmp_path / "run" / "checkpoints")][-1:]
        return save(image, path, **how)

    monkeypatch.setattr(picture_writer, "save_png", late)
    trained(tmp_path / "run", evaluate_every=4, checkpoint_every=2)
    assert visible == dict(zip(PICTURES, (["step-00000002"], ["step-00000006"], ["step-00000010"]), strict=True))


def test_a_picture_that_cannot_be_written_beside_the_steps_ends_the_run_before_a_checkpoint(tmp_path, monkeypatch):
    """After the steps up to the next checkpoint; the run goes on from the one before."""
    monkeypatch.setattr(picture_writer, "beside_steps", lambda device: True)
    whole, run_dir = picture_writer.save_png, tmp_path / "run"

    def full(image, path, **how):
        if path.name == PICTURES[1]:
            raise StorageError(f"{path}: no space left")
        return whole(image, path, **how)

    monkeypatch.setattr(picture_writer, "save_png", full)
    with pytest.raises(StorageError, match=r"step-00000008\.png: no space left"):
        trained(run_dir, evaluate_every=4, checkpoint_every=3)
    assert sorted(entry.name for entry in (run_dir / "checkpoints").iterdir()) == ["step-00000003", "step-00000006"]
    assert json.loads((run_dir / "status.json").read_text())["state"] == "failed"
    monkeypatch.setattr(picture_writer, "save_png", whole)
    resume(zoo_with_faults(), run_dir)
    assert len(drawn(run_dir)) == 3


@pytest.mark.parametrize("beside", [True, False])
def test_a_picture_that_cannot_be_drawn_is_one_line_with_its_path(tmp_path, monkeypatch, beside):
    def no_font(rows):
        raise OSError("cannot open resource")

    monkeypatch.setattr(picture_writer, "beside_steps", lambda device: beside)
    monkeypatch.setattr(views, "sheet", no_font)
    file = tmp_path / "run" / "pictures" / "step-00000004.png"
    with pytest.raises(StorageError, match=f"^{re.escape(str(file))}: the picture could not be drawn: cannot open"):
        trained(tmp_path / "run", evaluate_every=4, checkpoint_every=4)
    assert not [*tmp_path.rglob("checkpoints/*")]


def test_a_mixer_that_fails_in_the_thread_ends_the_run_at_its_step(tmp_path, with_a_thread):
    with pytest.raises(LookupError, match=r"^'?no draw at 0\.5'?$"):
        trained(tmp_path / "run", "fails")
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "train"] == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", "LookupError: no draw at 0.5")
