"""Runs: trained twice, stopped, resumed, refused."""

import contextlib
import json
import os
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    LockedError,
    NonFiniteError,
    OutOfMemoryError,
    PluginError,
    StorageError,
)
from mixzoo.core.json_file import read_object
from mixzoo.core.storage import write_text
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.runs.directory import lock
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import saved
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics
from toys import TOY_PLUGIN, ToyDiscriminator, ToyNet, edited, toy_config, toy_zoo

FLAGS = {"mixer": "dirichlet:k=3", "objective": "amr:beta=0.1", "autoencoder": "toy_net:dropout=0.2"}


def trained(run_dir, **numbers):
    zoo = toy_zoo()
    return start(zoo, toy_config(zoo, flags=FLAGS, **numbers), run_dir)


def without_clock(run_dir):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(run_dir / "metrics.jsonl")]


def weights(run_dir):
    """The bytes of every weights file of the newest checkpoint."""
    newest = saved(run_dir / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


class StopAt(ProgressDisplay):
    """Sends the process a signal once a step has been logged."""

    def __init__(self, step, number=signal.SIGTERM):
        self.step, self.number, self.notes = step, number, []

    def train(self, line):
        if line["step"] == self.step:
            os.kill(os.getpid(), self.number)

    def note(self, text):
        self.notes.append(text)


def stopped(run_dir, step, number=signal.SIGTERM, **numbers):
    zoo = toy_zoo()
    with pytest.raises(
        Interrupted, match=f"stopped by {signal.Signals(number).name} after step {step}; `mixzoo resume"
    ):
        start(zoo, toy_config(zoo, flags=FLAGS, **numbers), run_dir, lambda *_: StopAt(step, number))


def test_training_one_config_twice_gives_equal_metrics_and_weights_bit_for_bit(tmp_path):
    trained(tmp_path / "a")
    trained(tmp_path / "b")
    assert without_clock(tmp_path / "a") == without_clock(tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_a_different_seed_gives_different_metrics(tmp_path):
    trained(tmp_path / "a")
    trained(tmp_path / "b", seed=1)
    assert without_clock(tmp_path / "a") != without_clock(tmp_path / "b")


@pytest.mark.bit_exact
@pytest.mark.parametrize("step", range(1, 12))
def test_a_run_stopped_at_any_step_and_resumed_equals_an_uninterrupted_one(tmp_path, step):
    trained(tmp_path / "whole", log_every=1)
    stopped(tmp_path / "stopped", step, log_every=1)
    result = resume(toy_zoo(), tmp_path / "stopped")
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert result.numbers == whole["numbers"]


class Fixed(ToyNet):
    """The toy networks with a batch norm in eval mode."""

    def build(self, context):
        network = super().build(context)
        network.f.append(torch.nn.BatchNorm2d(2).eval())
        return network


@pytest.mark.bit_exact
def test_a_run_with_a_batch_norm_in_eval_mode_stopped_and_resumed_equals_an_uninterrupted_one(tmp_path):
    """The run is stopped after an evaluation, which must leave the norm in eval mode."""
    for name, stop in (("whole", None), ("stopped", 5)):
        zoo = toy_zoo()
        zoo.registered.append(RegisteredPart("autoencoder", "fixed", TOY_PLUGIN, Fixed))
        config = toy_config(zoo, flags={"autoencoder": "fixed"}, log_every=1)
        with pytest.raises(Interrupted) if stop else contextlib.nullcontext():
            start(zoo, config, tmp_path / name, lambda *_, stop=stop: StopAt(stop))
    resume(zoo, tmp_path / "stopped")
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    norm = open_run(zoo, tmp_path / "whole", "cpu").players.autoencoder.f[3]
    assert not norm.num_batches_tracked


@pytest.mark.bit_exact
def test_a_run_stopped_several_times_equals_an_uninterrupted_one(tmp_path):
    trained(tmp_path / "whole", log_every=1)
    stopped(tmp_path / "stopped", 2, log_every=1)
    for step in (5, 6, 11):
        with pytest.raises(Interrupted):
            resume(toy_zoo(), tmp_path / "stopped", lambda *_, step=step: StopAt(step))
    resume(toy_zoo(), tmp_path / "stopped")
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


@pytest.mark.bit_exact
def test_a_run_killed_before_its_first_checkpoint_restarts_with_the_same_result(tmp_path):
    trained(tmp_path / "whole", log_every=1)
    stopped(tmp_path / "killed", 2, log_every=1)
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    resume(toy_zoo(), tmp_path / "killed")
    assert without_clock(tmp_path / "killed") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_run_without_a_checkpoint_cannot_be_opened(tmp_path):
    stopped(tmp_path / "run", 2, log_every=1)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint yet; train it further with `mixzoo resume"):
        open_run(toy_zoo(), tmp_path / "run", "cpu")


@pytest.mark.bit_exact
def test_metrics_written_after_the_last_checkpoint_are_not_repeated(tmp_path):
    """Lines after the checkpoint, and an incomplete line, are removed on resume, as after a kill."""
    trained(tmp_path / "whole", log_every=1)
    stopped(tmp_path / "killed", 7, log_every=1)
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 8}\n{"kind": "tr')
    resume(toy_zoo(), tmp_path / "killed")
    assert without_clock(tmp_path / "killed") == without_clock(tmp_path / "whole")


def test_a_first_ctrl_c_writes_a_checkpoint_and_restores_the_handlers(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stopped(tmp_path / "run", 4, signal.SIGINT, log_every=1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"], status["last_committed"]) == ("interrupted", 75, 4)


@dataclass(frozen=True, kw_only=True)
class Signals:
    """A metric that sends its process a signal, if one is pending."""

    pending: ClassVar[list[int]] = []

    def __call__(self, run):
        if self.pending:
            os.kill(os.getpid(), self.pending.pop())
            time.sleep(5)
        return {"answered": 1.0}


@pytest.mark.bit_exact
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["before the loop", "while scores are computed"])
def test_a_signal_outside_the_loop_interrupts_the_run_and_resuming_gives_the_same_result(
    tmp_path, monkeypatch, number, where
):
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("metric", "signals", TOY_PLUGIN, Signals))
    config = replace(toy_config(zoo), metrics=(("signals", Signals()),))
    start(zoo, config, tmp_path / "whole")
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    if where == "while scores are computed":
        Signals.pending.append(number)
    with monkeypatch.context() as trouble:
        if where == "before the loop":
            trouble.setattr(DistributedContext, "sync_parameters", lambda *_, **known: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as stopped:
            start(zoo, config, tmp_path / "stopped")
    run_dir, by = tmp_path / "stopped", signal.Signals(number).name
    assert str(stopped.value) == f"stopped by {by} between steps; `mixzoo resume {run_dir}` continues it"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    status = json.loads((run_dir / "status.json").read_text())
    assert (status["state"], status["exit"], status["reason"]) == ("interrupted", 75, str(stopped.value))
    assert status["last_committed"] == (None if where == "before the loop" else 12)
    resume(zoo, run_dir)
    assert without_clock(run_dir) == without_clock(tmp_path / "whole")
    assert weights(run_dir) == weights(tmp_path / "whole")
    assert (run_dir / "results.json").read_bytes() == (tmp_path / "whole" / "results.json").read_bytes()


def test_the_status_of_a_training_run_has_the_step_of_its_newest_checkpoint(tmp_path):
    seen = []

    class Look(ProgressDisplay):
        def train(self, line):
            status = json.loads((tmp_path / "run" / "status.json").read_text())
            seen.append((line["step"], status["state"], status["last_committed"]))

    zoo = toy_zoo()
    start(zoo, toy_config(zoo, log_every=1), tmp_path / "run", lambda *_: Look())
    committed = [None] * 5 + [5] * 5 + [10] * 2
    assert seen == [(step, "running", last) for step, last in enumerate(committed, 1)]


def test_resuming_a_completed_run_changes_nothing(tmp_path):
    result = trained(tmp_path / "run")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert resume(toy_zoo(), tmp_path / "run") == result
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


def test_a_completed_run_is_logged_if_that_is_asked_for(tmp_path):
    start(toy_zoo(), toy_config(toy_zoo(), steps=4), tmp_path / "run")
    logged = []

    @contextmanager
    def log(run_dir):
        logged.append(run_dir)
        yield

    resume(toy_zoo(), tmp_path / "run", log=log)
    assert logged == [tmp_path / "run"]


def test_a_run_directory_has_all_the_files_that_later_commands_need(tmp_path):
    result = trained(tmp_path / "run")
    run_dir = tmp_path / "run"
    assert {p.name for p in run_dir.iterdir()} == {
        *("run.toml", "environment.json", "status.json", "metrics.jsonl", "results.json"),
        *("pictures", "checkpoints", ".lock"),
    }
    assert json.loads((run_dir / "status.json").read_text())["state"] == "completed"
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in sorted((run_dir / "pictures").iterdir())] == [f"step-{n:08d}.png" for n in (4, 8, 12)]
    assert [p.name for p in saved(run_dir / "checkpoints")] == ["step-00000010", "step-00000012"]


@pytest.mark.bit_exact
def test_training_from_the_run_toml_of_a_run_repeats_it(tmp_path):
    trained(tmp_path / "a")
    zoo = toy_zoo()
    from mixzoo.registry.config import resolve

    start(zoo, resolve(zoo, tmp_path / "a" / "run.toml", {}, {}), tmp_path / "b")
    assert without_clock(tmp_path / "a") == without_clock(tmp_path / "b")
    assert (tmp_path / "a" / "run.toml").read_text() == (tmp_path / "b" / "run.toml").read_text()


def test_the_best_validation_accuracy_is_reported_with_the_test_accuracy_of_the_same_evaluation(tmp_path):
    numbers = trained(tmp_path / "run", probe_lr=0.05).numbers
    evaluations = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "evaluate"]
    best = max(evaluations, key=lambda line: line["validation_accuracy"])
    assert numbers["probe.best_validation_accuracy"] == best["validation_accuracy"]
    assert numbers["probe.test_accuracy_at_best_validation"] == best["test_accuracy"]
    assert numbers["probe.last_test_accuracy"] == evaluations[-1]["test_accuracy"]


def test_more_discriminator_steps_move_the_autoencoder_less(tmp_path):
    trained(tmp_path / "five", d_steps=5, log_every=1)
    lines = [line for line in read_metrics(tmp_path / "five" / "metrics.jsonl") if line["kind"] == "train"]
    assert all("autoencoder/reconstruct" in line for line in lines)
    assert "d_steps = 5" in (tmp_path / "five" / "run.toml").read_text()
    assert weights(tmp_path / "five") != {}


def test_training_leaves_the_callers_generator_threads_and_flags_unchanged(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    trained(tmp_path / "run", threads=threads + 1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_existing_directory_is_refused_and_left_unchanged(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="run: exists already and is not a run; --out names the new directory that"):
        trained(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    trained(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"`mixzoo resume .*other` continues a run"):
        trained(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "no such directory"),
        ("empty", "has no run.toml, so it is not a run"),
        ("old", "a sweep of an older mixzoo; rename its fleet.json to sweep.json, then resume it"),
    ],
)
def test_resuming_a_directory_that_is_not_a_run_says_why(tmp_path, name, reason):
    for folder in ("empty", "old"):
        (tmp_path / folder).mkdir()
    (tmp_path / "old" / "fleet.json").write_text("{}")
    with pytest.raises(CheckpointError, match=reason):
        resume(toy_zoo(), tmp_path / name)


def test_resuming_a_run_in_use_names_the_process_that_holds_it(tmp_path):
    stopped(tmp_path / "run", 4, log_every=1)
    with lock(tmp_path / "run"), pytest.raises(LockedError, match=f"process {os.getpid()} on .* is writing to it"):
        resume(toy_zoo(), tmp_path / "run")


def test_resume_refuses_a_data_set_that_has_changed(tmp_path):
    stopped(tmp_path / "run", 4, log_every=1)
    file = tmp_path / "run" / "run.toml"
    file.write_text(file.read_text().replace("salt = 0", "salt = 1"))
    with pytest.raises(CheckpointError, match="the data set has changed since the run was started"):
        resume(toy_zoo(), tmp_path / "run", allow_change=["dataset.salt"])


def test_resume_warns_of_differences_in_the_environment(tmp_path):
    stopped(tmp_path / "run", 4, log_every=1)
    file = tmp_path / "run" / "environment.json"
    edited(file, packages={**read_object(file).texts("packages"), "torch": "0.1"})
    display = StopAt(step=None)
    resume(toy_zoo(), tmp_path / "run", lambda *_: display)
    assert any("torch was 0.1 and is" in note for note in display.notes)


def test_resume_uses_the_recorded_number_of_threads(tmp_path):
    stopped(tmp_path / "run", 4, log_every=1, threads=0)
    file = tmp_path / "run" / "environment.json"
    threads = read_object(file).integer("threads") + 1
    edited(file, threads=threads)
    seen = []

    class Watch(ProgressDisplay):
        def train(self, line):
            seen.append(torch.get_num_threads())

    resume(toy_zoo(), tmp_path / "run", lambda *_: Watch())
    assert set(seen) == {threads}


@pytest.mark.bit_exact
def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(tmp_path):
    trained(tmp_path / "whole", log_every=1)
    stopped(tmp_path / "run", 7, log_every=1)
    newest = saved(tmp_path / "run" / "checkpoints")[-1] / "autoencoder.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    display = StopAt(step=None)
    resume(toy_zoo(), tmp_path / "run", lambda *_: display)
    assert any("damaged (its SHA-256 is not the manifest's)" in note for note in display.notes)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert without_clock(tmp_path / "run") == without_clock(tmp_path / "whole")


def test_a_run_without_an_intact_checkpoint_is_refused(tmp_path):
    stopped(tmp_path / "run", 2, log_every=1)
    for checkpoint in saved(tmp_path / "run" / "checkpoints"):
        (checkpoint / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no usable checkpoint .*; start again with `mixzoo train`"):
        resume(toy_zoo(), tmp_path / "run")


def test_a_batch_larger_than_the_training_set_is_refused_before_a_directory_is_made(tmp_path):
    with pytest.raises(
        DataError, match=r"a batch of 97 images from 96 train images makes 0 batches.*--batch-images 96"
    ):
        trained(tmp_path / "run", batch_images=97)
    assert not (tmp_path / "run").exists()


def test_more_sources_than_images_in_a_batch_are_allowed_with_one_warning(tmp_path):
    zoo, display = toy_zoo(), StopAt(step=None)
    start(zoo, toy_config(zoo, flags={"mixer": "dirichlet:k=5"}, batch_images=4), tmp_path / "run", lambda *_: display)
    assert [note for note in display.notes if "k=5 sources from batches of 4 images" in note] == display.notes
    assert len(display.notes) == 1


def test_a_run_that_diverges_stops_and_names_the_step(tmp_path):
    with pytest.raises(NonFiniteError, match=r"step \d+: .* is not finite"):
        trained(tmp_path / "run", lr=1e30)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("failed", 6)


def test_running_out_of_memory_names_the_batch(tmp_path, monkeypatch):
    def full(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ToyDiscriminator, "forward", full)
    with pytest.raises(OutOfMemoryError, match="out of memory with batches of 16 images; use a smaller --batch-images"):
        trained(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["exit"] == 7


@pytest.mark.parametrize("function", ["mixzoo.runs.run.build_engine", "mixzoo.data.placement.train_batches"])
def test_an_error_before_the_first_step_sets_the_status_and_the_run_can_be_resumed(tmp_path, monkeypatch, function):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(function, full)
        with pytest.raises(OutOfMemoryError, match="out of memory with batches of 16 images"):
            trained(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["exit"] == 7
    resume(toy_zoo(), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "completed"


def test_a_discriminator_whose_scores_depend_on_the_batch_is_refused(tmp_path, monkeypatch):
    def normed(self, *given, plain=ToyDiscriminator.__init__):
        plain(self, *given)
        self.norm = torch.nn.BatchNorm2d(1)

    monkeypatch.setattr(ToyDiscriminator, "__init__", normed)
    with pytest.raises(
        ConfigError,
        match=r"^discriminator 'toy_judge': its norm, a batch norm, makes the score of an image depend on the others",
    ):
        trained(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_cannot_be_written_raises_a_storage_error_and_keeps_the_last_one(tmp_path, monkeypatch):
    import mixzoo.training.checkpoint as checkpoint

    written = []

    def full(path, content):
        written.append(path)
        if len(written) > 10:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(checkpoint, "write_flushed", full)
    with pytest.raises(StorageError, match="the checkpoint could not be written: No space left on device"):
        trained(tmp_path / "run")
    kept = saved(tmp_path / "run" / "checkpoints")
    assert [path.name for path in kept] == ["step-00000005"]
    assert not list((tmp_path / "run" / "checkpoints").glob(".tmp*"))


def test_a_small_file_is_flushed_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    """So that a power cut leaves the old file or the new one, and no empty file."""
    calls, replace_plainly = [], os.replace

    def fsync(handle):
        calls.append(("flushed", os.fstat(handle).st_ino, os.fstat(handle).st_size))

    def replace(source, target):
        calls.append(("in its place", os.stat(source).st_ino))
        replace_plainly(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "status.json", "{}\n")
    number, folder = (tmp_path / "status.json").stat().st_ino, tmp_path.stat().st_ino
    assert calls[:2] == [("flushed", number, 3), ("in its place", number)]
    assert [call[:2] for call in calls[2:]] == [("flushed", folder)]


def test_a_part_that_breaks_its_contract_is_named_in_the_error(tmp_path):
    zoo = toy_zoo()

    class Half(ToyNet):
        """No decoder."""

        def build(self, context):
            part = super().build(context)
            return torch.nn.Linear(1, 1) if context else part

    zoo.registered.append(RegisteredPart("autoencoder", "half", TOY_PLUGIN, Half))
    with pytest.raises(
        PluginError,
        match=r"autoencoder 'half' .* is not a valid AutoEncoder: it lacks decode, encode, latent_shape; expected",
    ):
        start(zoo, toy_config(zoo, flags={"autoencoder": "half"}), tmp_path / "run")


def test_an_unusable_device_is_refused_with_advice(tmp_path):
    with pytest.raises(ConfigError, match="--device 'gpu' cannot be used here"):
        trained(tmp_path / "run", device="gpu")


@pytest.mark.bit_exact
def test_a_run_opens_with_the_weights_of_its_newest_checkpoint(tmp_path):
    trained(tmp_path / "run")
    a, b = (open_run(toy_zoo(), tmp_path / "run", "cpu") for _ in range(2))
    assert a.step == 12
    for one, other in zip(a.players.autoencoder.parameters(), b.players.autoencoder.parameters()):
        assert torch.equal(one, other)


def test_a_checkpoint_of_another_network_names_what_does_not_fit(tmp_path, monkeypatch):
    stopped(tmp_path / "run", 4, log_every=1)

    def wider(self, channels, *_):
        torch.nn.Module.__init__(self)
        self.net = torch.nn.Conv2d(channels, 5, 3)

    monkeypatch.setattr(ToyDiscriminator, "__init__", wider)
    with pytest.raises(CheckpointError, match=r"does not fit this network: .*is missing"):
        resume(toy_zoo(), tmp_path / "run")


def test_a_second_ctrl_c_stops_at_once_without_another_checkpoint(tmp_path):
    class TwiceAt(StopAt):
        def train(self, line):
            super().train(line)
            super().train(line)

    zoo = toy_zoo()
    with pytest.raises(KeyboardInterrupt):
        start(zoo, toy_config(zoo, flags=FLAGS, log_every=1), tmp_path / "run", lambda *_: TwiceAt(7, signal.SIGINT))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"], status["last_committed"]) == ("interrupted", 130, 5)


def test_determinism_is_on_by_default_on_a_cpu(tmp_path):
    for name, given, expected in (("a", {}, True), ("b", {"deterministic": False}, False)):
        trained(tmp_path / name, **given)
        assert json.loads((tmp_path / name / "environment.json").read_text())["deterministic"] is expected


def test_freed_memory_is_kept_if_the_libc_supports_it(monkeypatch):
    """In its own process, because the setting lasts as long as the process."""
    import subprocess
    import sys

    code = "from mixzoo.training.memory import keep_freed_memory; print(keep_freed_memory())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert printed in ("True", "False")
    if sys.platform.startswith("linux") and "gnu" in os.confstr("CS_GNU_LIBC_VERSION").replace("glibc", "gnu"):
        assert printed == "True"
    from mixzoo.training.memory import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
