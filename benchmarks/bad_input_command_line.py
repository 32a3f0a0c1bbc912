"""Rows of bad_input.py: the command line itself, its numbers, seeds, grids and run files, and its output streams."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bad_input import TINY, Finished, Row, mixzoo


def typed(line: str, exit_code: int, says: str, env: Mapping[str, str] | None = None) -> Row:
    """A command run in an empty folder."""
    settings = "".join(f"{name}={value} " for name, value in (env or {}).items())
    return Row(f"`{settings}{line}`", lambda folder: mixzoo(folder, *line.split(), env=env), exit_code, says)


def file(situation: str, content: str | bytes, says: str, exit_code: int = 2) -> Row:
    """A run file with this content."""

    def run(folder: Path) -> Finished:
        (folder / "run.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return mixzoo(folder, "train", "--config", "run.toml", "--steps", 0 if exit_code == 2 else 1)

    return Row(f"a run file: {situation}", run, exit_code, says)


def a_folder(folder: Path) -> Finished:
    (folder / "old").mkdir()
    (folder / "old" / "run.toml").write_text("[train]\nsteps = 1\n")
    return mixzoo(folder, "train", "--config", "old")


def a_pipe(folder: Path) -> Finished:
    os.mkfifo(folder / "run.toml")
    return mixzoo(folder, "train", "--config", "run.toml")


def few_pairs(folder: Path) -> Finished:
    mixzoo(folder, "train", *TINY, "--out", "run")
    return mixzoo(folder, "interpolate", "run", "--pairs", 4000, "--device", "cpu")


def every_mixer(folder: Path) -> Finished:
    mixzoo(folder, "train", *TINY, "--out", "run")
    return mixzoo(folder, "interpolate", "run", "--every-mixer", "--device", "cpu")


def written_to(output: str, *arguments: str) -> Finished:
    """The result of a command whose standard output goes to `output`."""
    with open(output, "w") as stream:
        ended = subprocess.run(
            [sys.executable, "-m", "mixzoo", *arguments],
            stdout=stream,
            stderr=subprocess.PIPE,
            timeout=600,
            check=False,
        )
    return Finished(ended.returncode, ended.stderr.decode())


def closed_pipe(folder: Path) -> Finished:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mixzoo", "train", *TINY, "--out", str(folder / "run")]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=600, check=False)
    os.close(write)
    return Finished(ended.returncode, ended.stderr.decode())


ROWS = [
    typed("train --mixr mixup", 2, "--mixr: no such option of `mixzoo train`. Did you mean --mixer?"),
    typed("train -mixer mixup", 2, "Did you mean --mixer?"),
    typed("train --mixer", 2, "--mixer: a value must follow it"),
    typed("train mixup", 2, "a value follows its flag"),
    typed("train --recompute yes", 2, "it takes no value; write --recompute or --no-recompute"),
    typed("lst", 2, "'lst' is not a command"),
    typed("ls", 0, "no runs in runs; `mixzoo train` makes one in runs/"),
    typed("interpolate", 2, "RUN is missing"),
    typed("train --steps 10k", 2, "steps='10k' must be an integer >= 1. Did you mean 10000?"),
    typed("train --steps 0", 2, "steps=0 must be an integer >= 1"),
    typed("train --steps 1.5", 2, "steps=1.5 must be an integer"),
    typed("train --steps 1e3 --lr nan", 2, "lr=nan must be a number > 0. It is not a finite number."),
    typed("train --lr 1e400", 2, "It is not a finite number."),
    typed("train --lr 1e-3,1e-4", 2, "Did you mean --grid train.lr=1e-3,1e-4?"),
    typed("train --seed 1,2,3", 2, "Did you mean --seeds 1,2,3?"),
    typed("train --seeds 1,1", 2, "1 is given twice"),
    typed("train --seeds -1", 2, "seed='-1' must be an integer >= 0"),
    typed("train --seeds 3..1", 2, "a range must go up. Did you mean 1..3?"),
    typed("train --seeds 1..3 --grid lr=1e-3", 2, "Did you mean train.lr?"),
    typed("train --grid lam=5,10", 2, "Did you mean objective.lam?"),
    typed("train --grid mixer=[mixup,slerp]", 2, "give the values without brackets around all of them"),
    typed("train --config nothing.toml", 2, "nothing.toml: no such run file"),
    Row("`train --config FOLDER`", a_folder, 2, "old: it is a folder; did you mean old/run.toml?"),
    file("empty", "", "it is empty"),
    file("a key twice", "[train]\nsteps = 1\nsteps = 2\n", "(at line 3, column 10); a key or table occurs twice"),
    file("not UTF-8", b"[train]\n# \xe9\n", "(byte 10, line 2); save it as UTF-8"),
    file("UTF-16", "[train]".encode("utf-16"), "it is UTF-16 text"),
    file("a byte order mark is no fault", b"\xef\xbb\xbf[trian]\n", "[trian] is not a table of a run file"),
    file("nested too deeply", "[train]\na = " + "[" * 3000, "nested too deeply (at line 2)"),
    file("a list for a number", "[train]\nsteps = [1, 2]\n", "steps=[1, 2] must be an integer"),
    file("a number outside its table", "steps = 3\n", "steps is a number of the run; put it in the table [train]"),
    file("a part as a spec, misspelt", 'mixer = "Dirichlet:K=3"\n', "Did you mean 'dirichlet:k=3'?"),
    file("truncated", "[train]\nsteps = ", "not valid TOML: Invalid value (at line 2, the end of the file)"),
    file("a text that does not end", '[train]\nx = "abc', "Unterminated string (at line 2, the end of the file)"),
    file("a NUL byte", b"[train]\nsteps = 1\0\n", "not valid TOML: Expected newline or end of document"),
    file("a terminal's escape", b"[train]\nsteps = 1\x1b[31m\n", "not valid TOML: Expected newline or end of document"),
    file("an unknown number", "[train]\nstep = 1\n", "run.toml [train]: 'step' is not an option"),
    file("an unknown option", "[mixer]\nname = 'dirichlet'\nkk = 3\n", "'kk' is not an option (allowed: alpha, k)"),
    file("nan", "[train]\nlr = nan\n", "lr=nan must be a number > 0. It is not a finite number."),
    file("1e400", "[train]\nlr = 1e400\n", "lr=inf must be a number > 0. It is not a finite number."),
    file("a negative size", "[train]\nbatch_images = -8\n", "batch_images=-8 must be an integer >= 1"),
    file("a date", "[train]\nsteps = 2026-01-01\n", "must be an integer >= 1"),
    file("5,000 digits", f"[train]\nsteps = {'9' * 5000}\n", "a number of too many digits (at line 2)"),
    file("500 tables in one another", "mixer = " + "{a=" * 500 + "1" + "}" * 500, "nested too deeply (at line 1)"),
    file("a table twice", "[train]\nsteps = 1\n[train]\n", "a key or table occurs twice"),
    file("a part that is a number", "mixer = 3\n", "3 must be a table of name and options or a spec"),
    file("a name that is a number", "[mixer]\nname = 3\n", "must be the name of a mixer, not 3"),
    file("50 MB", b"#" * 50_000_000, "50000000 bytes, a run file has at most 64000"),
    Row("`train --config PIPE`", a_pipe, 2, "no such run file; it is neither a file nor a folder"),
    Row(
        "`train --config /dev/zero`",
        lambda folder: mixzoo(folder, "train", "--config", "/dev/zero"),
        2,
        "/dev/zero: no",
    ),
    typed("train --max-time soon", 2, "--max-time soon: must be a time such as 90m"),
    typed("train --max-time 0", 2, "--max-time 0:"),
    typed("train --max-time -5m", 2, "--max-time -5m"),
    file("an unknown metric", 'metrics = ["fid"]\n', "metrics: unknown metric 'fid'"),
    Row("`interpolate --pairs 4000`", few_pairs, 0, "two to a pair"),
    Row("`interpolate --every-mixer`", every_mixer, 0, "not in the sheet, as they need options or training: chain"),
    *(
        typed("show objective amr", 0, "objective amr", env={"PYTHONIOENCODING": encoding})
        for encoding in ("cp1252", "cp932", "ascii")
    ),
    typed("show objective amr", 0, "objective amr", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Row("`list mixers` to a full disk", lambda folder: written_to("/dev/full", "list", "mixers"), 8, "No space left"),
    Row("`train` into a pipe that is closed", closed_pipe, 0, "step 2/2"),
]
