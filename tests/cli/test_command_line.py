"""A command line that the parser rejects is one line; no terminal, pipe or full disk causes a traceback."""

import io
import os
import subprocess
import sys

import pytest

from mixzoo.cli.streams import safe_streams
from mixzoo.core.errors import StorageError
from mixzoo.registry.catalogue import catalogue_of
from toys import toy_zoo

MISUSED = {  # what is typed: the start of the message, and another part of it
    "train --mixr mixup": (
        "--mixr: no such option of `mixzoo train`",
        "Did you mean --mixer? See `mixzoo train --help`",
    ),
    "train -mixer mixup": ("-mixer: no such option of `mixzoo train`", "Did you mean --mixer?"),
    "train --batch_images 8": ("--batch_images: no such option", "Did you mean --batch-images?"),
    "train --LR 1": ("--LR: no such option", "Did you mean --lr?"),
    "train --mixr=mixup": ("--mixr: no such option", "Did you mean --mixer?"),
    "train --epochs 3": ("--epochs: no such option", "Did you mean --steps?"),
    "train --resume": ("--resume: no such option", "Did you mean `mixzoo resume`?"),
    "train --frobnicate": ("--frobnicate: no such option of `mixzoo train`. See `mixzoo train --help`", ""),
    "train —mixer mixup": ("—mixer: flags begin with two plain hyphens", "Did you mean --mixer?"),
    "train mixer=mixup": ("mixer=mixup: `mixzoo train` does not take this word", "Did you mean --mixer?"),
    "train mixup": ("mixup: `mixzoo train` does not take this word; a value follows its flag", ""),
    "train --deterministic true": ("--deterministic true: it takes no value", "--deterministic or --no-deterministic"),
    "train --name a": ("--name: no such option", "Did you mean --out?"),
    "train --wandb": ("--wandb: no such option", "Did you mean --log-to?"),
    "train --cpu": ("--cpu: no such option", "Did you mean --device cpu?"),
    "resume --lr 1": ("--lr: no such option of `mixzoo resume`", "Did you mean --set train.lr=VALUE?"),
    "compare --metric knn": ("--metric: no such option", "Did you mean --score?"),
    "train --mixer dirichlet:k=3, alpha=2": (
        "alpha=2: the value of --mixer has no spaces",
        "Did you mean --mixer dirichlet:k=3,alpha=2?",
    ),
    "train --mixer dirichlet:k = 3 --lr 1": ("=: the value of --mixer has no", "Did you mean --mixer dirichlet:k=3? "),
    "train --seeds 1 2, 3": ("2,: the value of --seeds has no spaces", "Did you mean --seeds 1,2,3?"),
    "train --metric knn mig": (
        "mig: --metric takes one value, and may be repeated",
        "Did you mean --metric knn --metric mig?",
    ),
    "train --out=my run": ("run: a value with spaces goes in quotes", "Did you mean --out 'my run'?"),
    "evaluate a": ("--metric is missing: ", "write `mixzoo evaluate ... --metric "),
    "embed a --images test": ("--out is missing: A file ending in .npz or", "write `mixzoo embed ... --out FILE`"),
    "train --out=": ("an empty word after --out=; is it a variable of the shell that is not set?", ""),
    "train --mixer mixup dirichlet": ("dirichlet: `mixzoo train` does not take this word", "See"),
    "help": ("'help' is not a command", "Did you mean `mixzoo --help`?"),
    "run": ("'run' is not a command", "Did you mean `mixzoo train`?"),
    "list mixers extra": ("extra: `mixzoo list` does not take this word", "See `mixzoo list --help`"),
    "train --mixer": ("--mixer: a value must follow it; see `mixzoo train --help`", ""),
    "train --recompute=3": ("--recompute: it takes no value; see `mixzoo train --help`", ""),
    "--mixer mixup": ("--mixer: an option of train, interpolate", "write `mixzoo train --mixer`"),
    "-x": ("-x: no such option of `mixzoo`", "See `mixzoo --help`"),
    "lst": ("'lst' is not a command (train, resume, ", "Did you mean 'list'?"),
    "TRAIN": ("'TRAIN' is not a command", "Did you mean 'train'?"),
    "frobnicate": ("'frobnicate' is not a command (train, resume, ", ""),
    "interpolate": ("RUN is missing: The run's directory; write `mixzoo interpolate RUN`", ""),
    "show mixer": ("NAME is missing: The part's name", "see `mixzoo show --help`"),
}


@pytest.mark.parametrize("typed", MISUSED)
def test_a_misused_command_line_is_one_line_that_says_what_to_do(mixzoo, tmp_path, typed):
    beginning, more = MISUSED[typed]
    code, out, err = mixzoo(*typed.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"mixzoo: {beginning}")
    assert more in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_word_is_refused_before_it_becomes_this_folder(mixzoo):
    for words in (["rm", "--yes", ""], ["runs", ""], ["plot", "runs", "--out", ""]):
        code, _, err = mixzoo(*words)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"mixzoo: an empty word after {words[-2]}; is it a variable of the shell")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("train --k 3", "It is an option of a mixer; write --mixer NAME:k=VALUE."),
        ("resume a --k 3", "It is an option of a mixer; write --set mixer.k=VALUE."),
        ("evaluate a --k 3", "It is an option of a metric; write --metric NAME:k=VALUE."),
        ("runs --k 3", "--k: no such option of `mixzoo runs`. See"),
    ],
)
def test_an_option_of_a_part_typed_as_a_flag_is_told_its_place(mixzoo, monkeypatch, typed, says):
    monkeypatch.setattr("mixzoo.registry.catalogue.cached_catalogue", lambda: catalogue_of(toy_zoo()))
    code, _, err = mixzoo(*typed.split())
    assert code == 2
    assert says in err


def test_what_a_user_types_cannot_steer_the_terminal(mixzoo):
    escape = "\x1b[2J"
    words = [[escape], *(["train", typed] for typed in (escape, f"--{escape}", f"—{escape}"))]
    flags = (
        "--mixer",
        "--data",
        "--config",
        "--seed",
        "--seeds",
        "--lr",
        "--grid",
        "--device",
        "--data-root",
        "--jobs",
    )
    words += [["train", flag, f"{escape}{more}"] for flag in flags for more in ("", ":k=3", "=3", "x" * 4000)]
    words += [["train", "--mixer", f"{name}:{escape}=3"] for name in ("mixup", "Mixup")]
    words += [["list", escape], ["show", "mixer", escape], ["interpolate", escape], ["new-plugin", escape]]
    for typed in words:
        code, _, err = mixzoo(*typed)
        assert code in (2, 4), typed
        assert err.replace("\n", "").isprintable(), typed
        assert len(err) < 1000, typed


def test_no_command_at_all_shows_the_help(mixzoo):
    code, _, err = mixzoo()
    assert code == 2
    assert "Commands:" in err


def mixzoo_process(*arguments, **settings):
    command = [sys.executable, "-m", "mixzoo", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False, **settings)


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii"])
def test_characters_that_a_terminal_cannot_encode_are_replaced(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = mixzoo_process("show", "objective", "amr", stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "objective amr" in done.stdout.decode(encoding)
    assert "?" in done.stdout.decode(encoding)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_is_one_line_and_exit_code_8():
    with open("/dev/full", "w") as full:
        done = mixzoo_process("--version", stdout=full)
    assert done.returncode == StorageError.exit_code
    assert done.stderr.startswith(b"mixzoo: standard output cannot be written: No space left on device")
    assert done.stderr.count(b"\n") == 1


def test_a_closed_pipe_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = mixzoo_process("--version", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_standard_streams_are_no_error():
    script = 'exec "$0" -m mixzoo --version >&- 2>&-'
    assert subprocess.run(["sh", "-c", script, sys.executable], timeout=60, check=False).returncode == 0


def test_an_error_on_standard_error_does_not_stop_the_command(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

        def fileno(self):
            return os.dup(2)

    monkeypatch.setattr(sys, "stderr", Full())
    with safe_streams():
        print("step 1/4", file=sys.stderr, flush=True)
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(StorageError, match="standard output cannot be written: No space left"), safe_streams():
        print("scores")


def test_a_value_that_typer_itself_rejects_is_one_line_in_the_same_style():
    """mixzoo's own flags are parsed by its schema; another program's command may leave that to typer."""
    import typer
    from typer._click.exceptions import ClickException

    from mixzoo.cli.usage import usage_message

    app = typer.Typer()

    @app.command()
    def one(count: int = typer.Option(1, "--count", min=1)) -> None:
        pass

    @app.command()
    def other() -> None:
        pass

    for typed, message in {
        "one --count ten": "--count ten: must be a valid integer; see `mixzoo one --help`",
        "one --count=0": "--count 0: must be greater than or equal to 1; see `mixzoo one --help`",
    }.items():
        with pytest.raises(ClickException) as caught:
            app(typed.split(), standalone_mode=False)
        assert usage_message(caught.value, typed.split()) == message
