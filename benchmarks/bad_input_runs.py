"""Rows of bad_input.py: faulty run directories, checkpoints, signals, disks and terminals."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bad_input import TINY, Finished, Row, mixzoo
from mixzoo.core.json_file import read_object, write_json

Change = Callable[[Path], object]


def after(change: Change, *arguments: str) -> Callable[[Path], Finished]:
    """Train a tiny run, change something in its directory, then run a command: `resume run` if none is given."""

    def run(folder: Path) -> Finished:
        trained = mixzoo(folder, "train", *TINY, "--steps", 4, "--checkpoint-every", 2, "--out", "run")
        assert trained.exit_code == 0, trained.text
        status = folder / "run" / "status.json"
        write_json(status, {**read_object(status).values, "state": "running"})
        change(folder / "run")
        return mixzoo(folder, *(arguments or ("resume", "run")))

    return run


def newest(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def edit(file: str, old: str, new: str) -> Change:
    """Replace matches of the pattern `old` by `new` in a file of the run; for a manifest, in the newest one."""

    def change(run: Path) -> None:
        path = newest(run) / file if file == "manifest.json" else run / file
        text = re.sub(old, new, path.read_text())
        assert text != path.read_text(), (file, old)
        path.write_text(text)

    return change


def pipe_for(file: str) -> Change:
    def change(run: Path) -> None:
        (newest(run) / file).unlink()
        os.mkfifo(newest(run) / file)

    return change


def linked(run: Path) -> None:
    """Move the newest checkpoint elsewhere and leave a link to it."""
    shutil.move(newest(run), run / "elsewhere")
    (run / "checkpoints" / "step-00000004").symlink_to(run / "elsewhere")


def all_damaged(run: Path) -> None:
    for manifest in (run / "checkpoints").glob("*/manifest.json"):
        manifest.write_text('{"a":' + "[" * 10_000 + "]" * 10_000 + "}")


def bare(folder: Path) -> Finished:
    """A directory with only a run file, as if killed while it was created."""
    assert mixzoo(folder, "train", *TINY, "--out", "whole").exit_code == 0
    (folder / "run").mkdir()
    shutil.copy(folder / "whole" / "run.toml", folder / "run")
    return mixzoo(folder, "resume", "run")


def signalled(number: int) -> Callable[[Path], Finished]:
    """Send a signal once the first evaluation is printed."""

    def run(folder: Path) -> Finished:
        command = [sys.executable, "-m", "mixzoo", "train", *TINY, "--steps", str(10**6), "--out", "run"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while (line := process.stderr.readline()) and "step 2/" not in line:
                pass
            process.send_signal(number)
            text = process.stderr.read()
        return Finished(process.returncode, text)

    return run


def shell(line: str) -> Callable[[Path], Finished]:
    """Run a shell command in which MIXZOO stands for the mixzoo command."""

    def run(folder: Path) -> Finished:
        text = line.replace("MIXZOO", f"'{sys.executable}' -m mixzoo").replace("TINY", " ".join(TINY))
        ended = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, check=False)
        return Finished(ended.returncode, (ended.stdout + ended.stderr).decode(errors="replace"))

    return run


def escaped_name(run: Path) -> None:
    edit("manifest.json", "autoencoder.safetensors", "\\\\u001b[31mautoencoder.safetensors")(run)


def nothing(run: Path) -> None:
    pass


LONG = "x" * 300
DAMAGED = "damaged (its SHA-256 is not the one in manifest.sha256)"
ROWS = [
    Row("manifest: step 4 -> 7", after(edit("manifest.json", '"step": 4', '"step": 7')), 0, DAMAGED),
    Row(
        "manifest: best_validation",
        after(edit("manifest.json", '"best_validation": .*', '"best_validation": 0.99,')),
        0,
        DAMAGED,
    ),
    Row("manifest: a file's name with an escape", after(escaped_name), 0, DAMAGED),
    Row("manifest nested 10,000 deep, in every checkpoint", after(all_damaged), 4, "nested more than 12 deep"),
    Row("manifest is a pipe", after(pipe_for("manifest.json")), 0, "not a regular file"),
    Row("a file of weights is a pipe", after(pipe_for("autoencoder.safetensors")), 0, "not a regular file"),
    Row("newest checkpoint is a link", after(linked), 0, "a symbolic link or a file, which is not followed"),
    Row(
        "interpolate falls back too",
        after(pipe_for("manifest.json"), "interpolate", "run", "--pairs", "1"),
        0,
        "manifest.json: cannot be read: not a regular",
    ),
    Row(
        "status.json is []",
        after(lambda run: (run / "status.json").write_text("[]")),
        0,
        "it contains [], expected an object; it is written anew",
    ),
    Row(
        "environment.json is null",
        after(lambda run: (run / "environment.json").write_text("null")),
        0,
        "it contains None, expected an object; what the newest checkpoint has of it is used",
    ),
    Row("metrics.jsonl deleted", after(lambda run: (run / "metrics.jsonl").unlink()), 4, "metrics.jsonl has 0 bytes"),
    Row("run.toml: lr edited", after(edit("run.toml", r"\nlr = .*", "\nlr = 0.5")), 4, "train.lr was 0.001 and is 0.5"),
    Row(
        "run.toml: lr edited, --allow-change train.lr",
        after(edit("run.toml", r"\nlr = .*", "\nlr = 0.5"), "resume", "run", "--allow-change", "train.lr"),
        0,
        "train.lr was 0.001 and is 0.5",
    ),
    Row(
        "--steps fewer than done",
        after(nothing, "resume", "run", "--steps", "3"),
        2,
        "the run has done 4 steps; give more than that",
    ),
    Row("--steps more", after(nothing, "resume", "run", "--steps", "6"), 0, "after 6 steps"),
    Row("a run with nothing but run.toml", bare, 0, "after 2 steps"),
    Row("SIGHUP", signalled(signal.SIGHUP), 75, "stopped by SIGHUP after step"),
    Row("SIGUSR1", signalled(signal.SIGUSR1), 75, "stopped by SIGUSR1 after step"),
    Row(
        "--lr 1e9 --steps 1", lambda folder: mixzoo(folder, "train", *TINY, "--lr", "1e9", "--steps", "1"), 6, "finite"
    ),
    Row(
        "--weight-decay 1e30",
        lambda folder: mixzoo(folder, "train", *TINY, "--weight-decay", "1e30"),
        6,
        "Try a lower --weight-decay",
    ),
    Row(
        "--out of 300 characters", lambda folder: mixzoo(folder, "train", *TINY, "--out", LONG), 2, "File name too long"
    ),
    Row("resume of 300 characters", lambda folder: mixzoo(folder, "resume", LONG), 2, "File name too long"),
    Row(
        "--plugin of 300 characters",
        lambda folder: mixzoo(folder, "train", *TINY, "--plugin", f"{LONG}.py"),
        2,
        "File name too long",
    ),
    Row(
        "--config of 300 characters", lambda folder: mixzoo(folder, "train", "--config", LONG), 2, "File name too long"
    ),
    Row(
        "resume of a name with an escape",
        lambda folder: mixzoo(folder, "resume", "a\x1b[31m"),
        4,
        "\N{REPLACEMENT CHARACTER}[31m: no such directory",
    ),
    Row("train 2>/dev/full", shell("MIXZOO train TINY --out run 2>/dev/full"), 0, "after 2 steps"),
    Row("train 2>&-", shell("MIXZOO train TINY --out run 2>&-"), 0, "after 2 steps"),
    Row("train >/dev/full", shell("MIXZOO train TINY --out run >/dev/full"), 0, "the scores are in run/results.json"),
    Row("train 2>&1 | head -1", shell("set -o pipefail; MIXZOO train TINY --out run 2>&1 | head -1"), 0, "run"),
    Row("train with files of at most 10 kB", shell("ulimit -f 10; MIXZOO train TINY --out run"), 8, "File too large"),
]
