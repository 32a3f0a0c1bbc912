"""Disks that refuse, directories that are gone or half made, paths that no disk takes, screens that are gone."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch
from PIL import Image
from test_signals import HERE, started, weights

from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    Interrupted,
    LockedError,
    OutOfMemoryError,
    StorageError,
    is_out_of_memory,
)
from mixzoo.core.json_file import read_object
from mixzoo.core.storage import write_whole
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.runs import directory
from mixzoo.runs import run as run_module
from mixzoo.runs.directory import lock, new_directory, write_status
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo.training import checkpoint, loop, picture_writer
from mixzoo.training.checkpoint import saved
from mixzoo.training.logs import MetricsFile, PlainLines, ProgressDisplay, read_metrics
from mixzoo.training.signals import interruptible
from toys import SMALL, TOYS, ToyData, edited, toy_config, toy_zoo


class At(ProgressDisplay):
    """Does something once a step has been logged."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def train(self, line):
        if line["step"] == self.step:
            self.act()


def run_with(home, act, step=7, **numbers):
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, log_every=1, **numbers), home, lambda *_: At(step, act))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = tmp_path_factory.mktemp("whole") / "run"
    run_with(home, lambda: None)
    return home


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def failed_with_8(home):
    status = json.loads((home / "status.json").read_text())
    return (status["state"], status["exit"], status["last_committed"]) == ("failed", 8, 5)


# a disk that refuses while the run goes on


def test_a_disk_that_is_full_for_metrics_ends_the_run_and_keeps_the_checkpoint(tmp_path, whole):
    home, real = tmp_path / "run", os.write

    def some_bytes_then_full(handle, content):
        if os.readlink(f"/proc/self/fd/{handle}").endswith("metrics.jsonl"):
            real(handle, content[:10]) if len(content) > 100 else full()
            return 10 if len(content) > 100 else full()
        return real(handle, content)

    with (
        pytest.MonkeyPatch.context() as context,
        pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written: No space left on device"),
    ):
        run_with(home, lambda: context.setattr(os, "write", some_bytes_then_full))
    assert failed_with_8(home)
    assert len(read_metrics(home / "metrics.jsonl")) == 8  # steps 1 to 7 and an evaluation; no torn line
    assert (home / "metrics.jsonl").read_bytes().endswith(b"\n")
    resume(toy_zoo(), home)
    assert weights(home) == weights(whole)


@pytest.mark.parametrize("replaced", [False, True])
def test_metrics_that_are_deleted_while_the_run_writes_to_them_end_it_at_the_next_checkpoint(tmp_path, replaced):
    home = tmp_path / "run"

    def act():
        (home / "metrics.jsonl").unlink()
        if replaced:
            (home / "metrics.jsonl").write_text("")

    reason = "another file has replaced it" if replaced else "No such file"
    with pytest.raises(StorageError, match=rf"metrics\.jsonl: cannot be written: {reason}"):
        run_with(home, act)
    assert failed_with_8(home)
    assert [path.name for path in saved(home / "checkpoints")] == ["step-00000005"]
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl has 0 bytes"):
        resume(toy_zoo(), home)


GONE = r"/run: the run directory is gone: it was moved or removed while .*`mixzoo resume` goes on with one"


def test_a_run_directory_that_is_deleted_is_not_made_again(tmp_path):
    with pytest.raises(StorageError, match=GONE):
        run_with(tmp_path / "run", lambda: shutil.rmtree(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


PLACES = [  # the directory is moved before one of these is called
    (loop.Loop, "step"), (loop.Loop, "_commit"), (views, "mixes_to_draw"), (picture_writer, "save_png"),
    (checkpoint, "write_flushed"), (run_module, "load_selected"), (run_module, "scores"),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[name for _, name in PLACES])
def test_a_run_directory_that_is_moved_ends_the_run_and_is_not_made_again(tmp_path, monkeypatch, whole, owner, name):
    home, moved, plain = tmp_path / "run", tmp_path / "moved", getattr(owner, name)

    def after_the_move(*arguments, **settings):
        if home.exists() and (name != "step" or arguments[1] == 6):
            home.rename(moved)
        return plain(*arguments, **settings)

    monkeypatch.setattr(owner, name, after_the_move)
    with pytest.raises(StorageError, match=GONE):
        run_with(home, lambda: None)
    monkeypatch.setattr(owner, name, plain)
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    resume(toy_zoo(), moved)
    assert weights(moved) == weights(whole)


@pytest.mark.parametrize("what", ["pictures", "checkpoints"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, what):
    home = tmp_path / "run"

    def act():
        shutil.rmtree(home / what)
        (home / what).write_text("a file in its place")

    with pytest.raises(StorageError, match=f"run/{what}"):
        run_with(home, act)
    assert json.loads((home / "status.json").read_text())["exit"] == 8


def test_a_status_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    calls = []

    def first_fails(home, *rest):
        calls.append(rest)
        if rest[0] == "running" and len(calls) == 2:
            raise StorageError(f"{home}/status.json: cannot be written: No space left on device")
        write_status(home, *rest)

    monkeypatch.setattr("mixzoo.runs.run.write_status", first_fails)
    monkeypatch.setattr("mixzoo.runs.directory.write_status", write_status)
    with pytest.raises(StorageError, match=r"status\.json: cannot be written: No space left"):
        run_with(tmp_path / "run", lambda: None)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("failed", 8)
    assert "No space left" in status["reason"]
    monkeypatch.undo()
    resume(toy_zoo(), tmp_path / "run")


def test_the_status_of_a_run_on_a_full_disk_is_written_over_the_old_one(tmp_path, whole, monkeypatch):
    home = shutil.copytree(whole, tmp_path / "run")
    monkeypatch.setattr("mixzoo.core.storage.write_flushed", full)  # a new file has no room
    directory.try_status(home, "failed", 8, "no room")
    assert read_object(home / "status.json").text("reason") == "no room"
    (home / "status.json").unlink()
    directory.try_status(home, "failed", 8, "no room")
    (home / "status.json").symlink_to(whole / "status.json")
    directory.try_status(home, "failed", 8, "no room")
    assert read_object(whole / "status.json").text("state") == "completed"


def test_a_lock_file_that_cannot_be_written_is_one_line_and_a_status(tmp_path, whole, monkeypatch):
    home = shutil.copytree(whole, tmp_path / "run")
    write_status(home, "interrupted", 75, "")
    monkeypatch.setattr(directory, "write_all", full)
    with pytest.raises(StorageError, match=r"\.lock: cannot be written: No space left on device"):
        resume(toy_zoo(), home)
    monkeypatch.undo()
    status = json.loads((home / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("failed", 8)
    with lock(home):
        pass  # it was let go


def test_a_lock_or_metrics_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    for name in (".lock", "metrics.jsonl"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(StorageError, match=r"\.lock: cannot be written: not a regular file"), lock(tmp_path):
        pass
    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written: not a regular file"):
        MetricsFile(tmp_path / "metrics.jsonl")


# directories that are half made


def test_a_run_with_nothing_but_its_run_file_begins(tmp_path, whole):
    home = tmp_path / "run"
    home.mkdir()
    shutil.copy(whole / "run.toml", home)
    resume(toy_zoo(), home)
    assert weights(home) == weights(whole)
    assert json.loads((home / "environment.json").read_text())["data"] == "toy bars"


@pytest.mark.parametrize("name", ["run.toml", "environment.json", "status.json"])
def test_a_disk_that_is_full_while_a_directory_is_made_leaves_none(tmp_path, monkeypatch, name):
    import mixzoo.core.storage as storage

    def full_for(path, content, plain=storage.write_flushed):
        full() if path.name == f".tmp-{name}" else plain(path, content)

    monkeypatch.setattr(storage, "write_flushed", full_for)
    with pytest.raises(StorageError, match=rf"{tmp_path}/run/{name}: cannot be written: No space left on device"):
        run_with(tmp_path / "run", lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_there_with_its_files_or_not_at_all(tmp_path):
    seen = []

    def fill(home):
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        (home / "run.toml").write_text("")

    with new_directory(tmp_path / "run", "x", fill) as home:
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        assert (home / "run.toml").exists()
        with pytest.raises(LockedError, match="is writing to it"), lock(home):
            pass
    assert len(seen) == 1
    assert "run" not in seen[0]


def test_what_a_kill_left_of_a_new_directory_is_removed_an_hour_later(tmp_path):
    """Not what is in use, nor what is young: its process may not have locked it yet."""
    old, young, used = (tmp_path / f"{directory.NEW_PREFIX}{name}" for name in ("old", "young", "used"))
    for folder in (old, young, used):
        folder.mkdir()
        (folder / "run.toml").write_text("")
    with lock(used):
        for folder in (old, used):
            os.utime(folder, (0, 0))
        with new_directory(tmp_path / "run", "x", lambda home: None):
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young.name, used.name, "run"])


def test_of_two_runs_that_make_one_directory_the_second_is_refused(tmp_path):
    def late():
        second = new_directory(tmp_path / "run", "x", lambda home: (home / "run.toml").write_text(""))
        with pytest.raises(ConfigError, match=r"exists already; `mixzoo resume .*run` continues a run"), second:
            pass

    with new_directory(tmp_path / "run", "x", lambda home: (home / "run.toml").write_text("first")):
        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
    assert (tmp_path / "run" / "run.toml").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_loser_of_two_resumes_finds_out_before_it_loads_the_data(tmp_path, whole, monkeypatch):
    home = shutil.copytree(whole, tmp_path / "run")
    write_status(home, "interrupted", 75, "")
    monkeypatch.setattr("mixzoo.data.placement.load_data", lambda *_: pytest.fail("loaded"))
    with lock(home), pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        resume(toy_zoo(), home)


# paths


def looping(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop" / "run"


def through_a_file(folder):
    (folder / "file").write_text("")
    return folder / "file" / "run"


PATHS = {
    "too long": (lambda folder: folder / ("x" * 300), "File name too long"),
    "through a file": (through_a_file, "Not a directory"),
    "a loop": (looping, "Too many levels of symbolic links"),
    "with a NUL": (lambda folder: folder / "a\0b", "no path can have a NUL byte"),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_no_disk_takes_is_one_line(tmp_path, name):
    make, reason = PATHS[name]
    path, zoo = make(tmp_path), toy_zoo()
    for act in (
        lambda: start(zoo, toy_config(zoo), path),
        lambda: resume(zoo, path),
        lambda: open_run(zoo, path, "cpu"),
    ):
        with pytest.raises(ConfigError, match=reason) as refused:
            act()
        assert "\n" not in str(refused.value)
        assert "\0" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in PATHS if name != "with a NUL"])
def test_a_path_that_no_disk_takes_is_one_line_of_each_command(mixzoo, tmp_path, name):
    path = PATHS[name][0](tmp_path)
    for arguments in (
        ("train", *TOYS, "--out", path),
        ("train", *TOYS, "--config", path),
        ("train", *TOYS, "--plugin", f"{path}.py"),
        ("train", *TOYS, "--seeds", "1,2", "--out", path),
        ("resume", path),
        ("interpolate", path),
    ):
        code, _, err = mixzoo(*arguments)
        assert code in (2, 4), (arguments, err)
        assert (err.count("\n"), err[:8]) == (1, "mixzoo: "), (arguments, err)


def test_a_dangling_link_is_there(mixzoo, tmp_path):
    (tmp_path / "run").symlink_to("nowhere")
    code, _, err = mixzoo("train", *TOYS, "--out", "run")
    assert code == 2
    assert "--out run: exists already and is not a run; --out names the new directory" in err


def test_names_with_terminal_escapes_are_shown_without_them(mixzoo, tmp_path):
    code, _, err = mixzoo("resume", "a\x1b[31mb")
    assert (code, err) == (
        4,
        "mixzoo: a\N{REPLACEMENT CHARACTER}[31mb: no such directory; `mixzoo train` makes one\n",
    )


# screens


class Broken:
    """A standard error that cannot be written."""

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error

    def isatty(self):
        return False


@pytest.mark.parametrize("stream", [Broken(OSError(28, "full")), Broken(BrokenPipeError()), Broken(ValueError()), None])
def test_a_screen_that_cannot_be_written_ends_no_run(tmp_path, whole, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, log_every=1), tmp_path / "run", lambda steps, start=0: PlainLines(steps))
    assert weights(tmp_path / "run") == weights(whole)


def test_facts_of_the_run_are_printed_before_its_first_step(mixzoo):
    _, _, err = mixzoo("train", *TOYS, *SMALL, "--device", "cpu", "--threads", "1", "--out", "run")
    lines = err.splitlines()
    assert lines[:5] == [
        "run         run",
        "data        toy bars: images of 1x8x8, 96 train, 48 validation, 48 test",
        "code        2x4x4, 32 numbers (an image: 64)",
        "parameters  autoencoder 67, discriminator 77, probe 99",
        "device      cpu, 1 threads",
    ]
    assert re.match(r"step 1/4  \d+ images/s  autoencoder: ", lines[5])
    assert lines[6].startswith("step 2/4  probe: ")


def test_an_evaluation_between_two_lines_of_metrics_shows_the_terms_too(mixzoo, tmp_path):
    _, _, err = mixzoo("train", *TOYS, *SMALL, "--log-every", "50", "--out", "run")
    lines = [line for line in err.splitlines() if line.startswith("step ")]
    assert [line.split("/")[0] for line in lines] == ["step 1", "step 2", "step 4"]
    assert all("images/s  autoencoder: " in line and line == line.rstrip() for line in lines)
    kinds = [line["kind"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert kinds == ["evaluate", "evaluate"]  # they are shown and not written


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("how", ["full", "a pipe that closes", "closed"])
def test_a_run_ends_with_its_own_code_whatever_becomes_of_its_output(tmp_path, stream, how):
    other = "stderr" if stream == "stdout" else "stdout"
    arguments = ["train", *TOYS, *SMALL, "--out", "run"]
    if how == "closed":
        command = [sys.executable, "-m", "mixzoo", *arguments, "--plugin", str(HERE / "toy_parts.py")]
        closes = "1>&-" if stream == "stdout" else "2>&-"
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        code = subprocess.run(
            ["sh", "-c", f'exec "$@" {closes}', "sh", *command], cwd=tmp_path, env=environment
        ).returncode
    elif how == "full":
        with open("/dev/full", "w") as full_device:
            process = started(tmp_path, *arguments, **{stream: full_device, other: subprocess.DEVNULL})
            code = process.wait(timeout=100)
    else:
        process = started(tmp_path, *arguments, **{other: subprocess.DEVNULL})
        getattr(process, stream).close()
        code = process.wait(timeout=100)
    assert code == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "completed"


def test_memory_that_a_part_cannot_have_is_no_broken_contract(tmp_path, monkeypatch):
    def load(self, seed):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(ToyData, "load", load)
    with pytest.raises(OutOfMemoryError, match="out of memory with batches of 16 images; use a smaller --batch-images"):
        run_with(tmp_path / "run", lambda: None)


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ImportError("libtorch_python.so: failed to map segment from shared object"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_what_says_that_memory_is_out(error, out):
    assert is_out_of_memory(error) is out


# real limits


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = ["mixzoo", *{arguments!r}]
from mixzoo.__main__ import main
main()
"""
TIGHT = """
import resource, sys
import torch, mixzoo.runs.run, mixzoo.cli.summary, sklearn.linear_model, rich.table, safetensors.torch, tomli_w
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + {limit}, in_use + {limit}))
sys.argv = ["mixzoo", *{arguments!r}]
from mixzoo.__main__ import main
main()
"""


def limited(folder, script, limit, arguments):
    """A command of mixzoo in a process that has only so many bytes of memory, or for each file."""
    script = script.format(limit=limit, arguments=[*arguments, "--plugin", str(HERE / "toy_parts.py")])
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "what"), [(20_000, "metrics.jsonl"), (2000, "environment.json"), (100, "run.toml")])
def test_a_limit_of_file_sizes_is_a_disk_that_refuses(tmp_path, limit, what):
    arguments = ["train", *TOYS, *SMALL, "--log-every", "1", "--steps", "400", "--checkpoint-every", "400"]
    done = limited(tmp_path, FULL, limit, [*arguments, "--evaluate-every", "400", "--out", "run"])
    assert done.returncode == 8, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"mixzoo: run/{what}: cannot be written: File too large"
    assert (tmp_path / "run").exists() == (what == "metrics.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [10, 60, 150, 400])
def test_a_machine_without_memory_left_is_one_line(tmp_path, megabytes):
    """As its plugins load, as its data load, in a step."""
    arguments = ["train", *TOYS, "--batch-images", "50000", "--data", "toy_data:images=60000", "--steps", "2"]
    more = ["--device", "cpu", "--threads", "1", "--evaluate-every", "1", "--out", "run"]
    done = limited(tmp_path, TIGHT, megabytes * 10**6, [*arguments, *more])
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mixzoo: out of memory ")


def test_an_integer_that_no_float_holds_is_damage(tmp_path):
    (tmp_path / "results.json").write_text('{"steps": 1' + "0" * 400 + "}")
    with pytest.raises(CheckpointError, match=r"'steps' is 1000.*expected a number"):
        read_object(tmp_path / "results.json").number("steps")


@pytest.mark.parametrize(
    "write", [lambda path: write_whole(path, b"{}"), lambda path: save_png(Image.new("1", (1, 1)), path)]
)
def test_a_signal_inside_a_write_leaves_no_file_behind(tmp_path, monkeypatch, write):
    monkeypatch.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted), interruptible(tmp_path):
        write(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_results_are_kept_if_the_environment_is_gone_at_the_end(tmp_path):
    home = tmp_path / "run"
    run_with(home, lambda: (home / "environment.json").unlink())
    status = json.loads((home / "status.json").read_text())
    assert status["state"] == "completed"
    assert json.loads((home / "results.json").read_text())["steps"] == status["last_committed"]


def test_the_seconds_of_a_stopped_run_are_counted(tmp_path):
    home = tmp_path / "run"
    with pytest.raises(Interrupted):
        run_with(home, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = json.loads((home / "environment.json").read_text())
    assert stopped["seconds"] > 0
    resume(toy_zoo(), home)
    assert json.loads((home / "environment.json").read_text())["seconds"] > stopped["seconds"]


def test_a_resume_that_fails_says_so_of_a_run_that_a_kill_left_running(tmp_path, whole):
    home = shutil.copytree(whole, tmp_path / "run")
    write_status(home, "running")
    edited(home / "environment.json", data_fingerprint="another")
    with pytest.raises(CheckpointError, match="the data set has changed"):
        resume(toy_zoo(), home)
    assert json.loads((home / "status.json").read_text())["state"] == "failed"


def test_a_file_system_without_locks_is_not_another_process(tmp_path, monkeypatch):
    def without_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(directory.fcntl, "flock", without_locks)
    with pytest.raises(StorageError, match=r"cannot be locked .No locks available."), lock(tmp_path):
        pass


# room, before the first step


def with_free(monkeypatch, size):
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=size))


def test_a_run_that_does_not_fit_on_its_disk_is_refused_before_its_first_step(tmp_path, monkeypatch, whole):
    with_free(monkeypatch, 40_000)
    room = rf"need 0\.\d+ MB, have 0\.040 MB at {tmp_path}/"
    with pytest.raises(StorageError, match=rf"^no room for the run's checkpoints and pictures: {room}run$"):
        run_with(tmp_path / "run", lambda: pytest.fail("it trained"))
    assert list(tmp_path.iterdir()) == []

    home = shutil.copytree(whole, tmp_path / "resumed")
    with pytest.raises(StorageError, match=rf"{room}resumed$"):
        resume(toy_zoo(), home, lambda *_: At(13, lambda: pytest.fail("it trained")), steps=24)
    assert weights(home) == weights(whole)
    monkeypatch.undo()
    resume(toy_zoo(), home, steps=24)


def test_a_sweep_needs_the_room_of_all_its_runs(mixzoo, tmp_path, monkeypatch):
    with_free(monkeypatch, 300_000)
    code, _, err = mixzoo("train", *TOYS, *SMALL, "--seeds", "1,2,3,4,5,6,7,8", "--out", "sweep")
    assert code == 8
    assert re.search(
        r"no room for the checkpoints and pictures of 8 runs: need \d\.\d+ MB, have 0\.300 MB at sweep\n", err
    )
    assert not (tmp_path / "sweep").exists()
    assert mixzoo("train", *TOYS, *SMALL, "--out", "run")[0] == 0


def test_a_disk_that_is_full_for_a_checkpoint_says_what_it_needs(tmp_path, monkeypatch):
    import mixzoo.training.checkpoint as checkpoint

    home = tmp_path / "run"
    reason = r"the checkpoint could not be written: No space left on device; need 0\.\d{3} MB, have \d+\.\d MB"
    with pytest.raises(StorageError, match=rf"{reason} at {home}/checkpoints$"):
        run_with(home, lambda: monkeypatch.setattr(checkpoint, "write_flushed", full))
    assert failed_with_8(home)


def test_the_room_of_a_run_is_about_what_it_writes(whole):
    from mixzoo.runs.room import checkpoint_bytes, run_bytes
    from mixzoo.training.build import build_players

    zoo = toy_zoo()
    config = toy_config(zoo)
    data = ToyData().load(0)
    players = build_players(zoo, config, data, torch.device("cpu"))
    newest = saved(whole / "checkpoints")[-1]
    size = sum(file.stat().st_size for file in newest.iterdir())
    assert size <= checkpoint_bytes(players) <= size + 30_000
    pictures = sum(file.stat().st_size for file in (whole / "pictures").iterdir())
    assert 3 * size + pictures <= run_bytes(config.train, players, data.test) <= 3 * size + 5 * pictures + 100_000
    left = run_bytes(config.train, players, data.test, whole, done=10)
    assert left == checkpoint_bytes(players) + max(file.stat().st_size for file in (whole / "pictures").iterdir())
