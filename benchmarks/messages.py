"""What mixzoo says to a slip of the hand: python benchmarks/messages.py [WORD...] > results/messages.md

A row for each message that a new user once found unhelpful: what was typed, what was printed then, what is printed now.
WORD selects the rows in which it occurs. Exits with 1 if a row ends with another exit code, or lacks its message.
"""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bad_input import TINY, Finished, Row, ended, mixzoo, warm
from bad_input_command_line import a_folder, every_mixer, few_pairs
from bad_input_data import MNIST_FILES, digits_in
from bad_input_plugins import DATA, METRIC, MIXER, plugin, trained
from bad_input_zoo import GOOD

HERE = Path(__file__).parent
HEADER = """# Messages, before and now

Printed by `python benchmarks/messages.py`, {versions}. "Before" is
what a new user was shown, shortened; "now" is the line with the message, as it is printed. FOLDER is the row's folder.
The last column is empty if the exit code and the message are as expected."""

SIGNATURE = "def __call__(self, {}): return {}"
IMAGES = """
import sys, warnings
import numpy as np
import mixzoo
run = mixzoo.load("run")
print("encodes as shape", tuple(run.encode({images}).shape))
"""


@dataclass(frozen=True)
class Message:
    """A row: what is typed, and what was printed before."""

    row: Row
    before: str


def typed(line: str, before: str, exit_code: int, says: str) -> Message:
    """A command, as a shell would split it, in an empty folder."""
    return of(
        f"`{line.replace(' '.join(TINY), '...')}`",
        before,
        lambda folder: mixzoo(folder, *shlex.split(line)),
        exit_code,
        says,
    )


def of(situation: str, before: str, run: Callable[[Path], Finished], exit_code: int, says: str) -> Message:
    return Message(Row(situation, run, exit_code, says), before)


def with_file(content: str, *arguments: str, name: str = "run.toml") -> Callable[[Path], Finished]:
    """A command in a folder with this file."""

    def run(folder: Path) -> Finished:
        (folder / name).write_text(content)
        return mixzoo(folder, *arguments)

    return run


def checked(kind: str, text: str) -> Callable[[Path], Finished]:
    """`mixzoo check` of a part of a plugin."""
    return lambda folder: mixzoo(folder, "check", "own", "--plugin", plugin(folder, kind, text))


def in_python(images: str) -> Callable[[Path], Finished]:
    """`encode` of these images, by a run on one channel of 32 x 32, from Python."""

    def run(folder: Path) -> Finished:
        mixzoo(folder, "train", *TINY, "--out", "run")
        done = warm.run("-c", IMAGES.format(images=images), cwd=folder)
        return Finished(done.returncode, (done.stderr.strip().splitlines() or [""])[-1] + "\n" + done.stdout)

    return run


def used_folder(folder: Path) -> Finished:
    (folder / "runs").mkdir()
    return mixzoo(folder, "train", "--out", "runs")


def kmnist(folder: Path) -> Finished:
    (digits_in(folder, "KMNIST") / MNIST_FILES[0]).unlink()
    return mixzoo(folder, "train", "--data", "kmnist:root=.")


def broken_timm(folder: Path) -> Finished:
    """The example of the docs beside a timm that does not load."""
    (folder / "timm.py").write_text("raise ImportError('libcudart.so.13: no such file')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    script = HERE.parent / "docs/examples/manifold_mixup.py"
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return Finished(done.returncode, done.stdout + done.stderr)


FLOATS = DATA.format(
    arguments="seed", labels="torch.arange(64) % 4", result="Dataset(split, split, split, ('a', 'b', 'c', 'd'))"
).replace("torch.randint(0, 256, (64, 1, 32, 32), dtype=torch.uint8)", "torch.zeros(64, 1, 32, 32).double()")
TRAINING_MODE = METRIC.format(arguments="run", body='run.autoencoder.train(); return {"n": 0.5}')
NOTHING = "it registers no part: is @hookimpl missing"

MESSAGES = [
    typed("train --mixer dirichlet:K=3", "expected an option such as 'k=4'", 2, "names are lower case. Did you mean"),
    typed("train --mixer Dirichlet", "expected a name such as 'mixup'", 2, "names are lower case. Did you mean"),
    typed("train --data /path/MNIST", "expected a name such as 'mixup'", 2, "'mnist:root=/path/MNIST' or 'folder:"),
    typed("train --mixer 'dirichlet:k=3 , alpha=0'", "options go in brackets", 2, "alpha='0' must be a number >= 0.01"),
    typed("train --mixer dirichlet:k=3 , alpha=2", "options go in brackets", 2, "the value of --mixer has no spaces"),
    typed(
        "train --mixer one_of:a=dirichlet:k=3,b=mixup", "brackets are named", 2, "'one_of:a=(dirichlet:k=3),b=mixup'"
    ),
    typed("train --seed 1,2,3", "unable to parse string as an integer", 2, "Did you mean --seeds 1,2,3?"),
    typed(f"train {' '.join(TINY)} --seeds 1..3", "must be an integer", 0, "seed=3: completed"),
    typed("train --grid lr=1e-3,1e-4", "'lr' is no table of a run file", 2, "Did you mean train.lr?"),
    typed("train --device gpu", "26 device names of torch", 2, "use cuda"),
    typed("train --mixr mixup", "possible options: --lr, --mixer", 2, "Did you mean --mixer?"),
    of(
        '`mixer = "dirichlet:k=3"` in a run file',
        "must be a table of name and options",
        with_file('mixer = "dirichlet:k=3"\n', "train", *TINY, "--config", "run.toml"),
        0,
        "dirichlet",
    ),
    of("`train --config FOLDER`", "no such run file", a_folder, 2, "it is a folder; did you mean old/run.toml?"),
    of("`train --out runs`, which exists", "--out is for new runs, or choose another", used_folder, 2, "runs"),
    of(
        '`metrics = ["fid"]` in a run file',
        "a list of names",
        with_file('metrics = ["fid"]\n', "train", "--config", "run.toml"),
        2,
        "fidelity",
    ),
    of(
        "`train --data kmnist:root=.`, a file missing", "no such file; give root=FOLDER", kmnist, 3, "train-images-idx3"
    ),
    typed("train --mixer mixup:k=3", "mixup has no option k", 2, "dirichlet:k=3"),
    typed("train --steps", "Usage: ..., Try ..., Error: ...", 2, "--steps: a value must follow it"),
    typed("compare", "Usage: ..., Try ..., Error: ...", 2, "RUN... is missing"),
    typed("train --name x", "did you mean --mixer?", 2, "Did you mean --out?"),
    of("`interpolate RUN --pairs 4000`", "draws 180, no word", few_pairs, 0, "two to a pair"),
    of(
        "`interpolate RUN --every-mixer`",
        "a line on each mixer that needs an option",
        every_mixer,
        0,
        "not in the sheet",
    ),
    typed("ls", "did you mean 'list'?", 0, "no runs in runs"),
    of(
        "`plugins --errors --plugin FILE` that is empty",
        "none of 7",
        with_file("", "plugins", "--errors", "--plugin", "own.py", name="own.py"),
        0,
        NOTHING,
    ),
    of(
        "`list mixers --plugin FILE` that is empty",
        "accepted; later: not on offer",
        with_file("", "list", "mixers", "--plugin", "own.py", name="own.py"),
        2,
        NOTHING,
    ),
    of(
        "`list mixers --plugin FILE`, a hook without @hookimpl",
        "accepted; later: not on offer",
        with_file(GOOD.replace("@hookimpl", ""), "list", "mixers", "--plugin", "own.py", name="own.py"),
        2,
        NOTHING,
    ),
    of(
        "`check`: a mixer without `__call__`",
        "48 identical lines",
        checked("mixer", MIXER.format(call="")),
        9,
        "h, draw",
    ),
    of(
        "`train`: a mixer whose `__call__` takes the codes alone",
        "a TypeError's traceback",
        trained("mixer", MIXER.format(call=SIGNATURE.format("h", "Mixed(h[0], h[:, :, :1])"))),
        9,
        "expected __call__(h, draw, labels=None) -> Mixed(h, share)",
    ),
    of(
        "`train`: a mixer that returns a tensor",
        "an AttributeError's traceback",
        trained("mixer", MIXER.format(call=SIGNATURE.format("h, draw, labels=None", "h.mean(0)"))),
        9,
        "must `return Mixed(h, share)`",
    ),
    of(
        "`check`: a metric that leaves the network in training mode",
        "draws from the global generator of torch",
        checked("metric", TRAINING_MODE),
        9,
        "eval_mode",
    ),
    *(
        of(
            f"`encode` of {what} (a run on 1 x 32 x 32)",
            "a code without a word, or an obscure error",
            in_python(images),
            code,
            says,
        )
        for what, images, code, says in (
            ("28 x 28 uint8, no batch axis", "np.zeros((28, 28), np.uint8)", 0, "encodes as shape"),
            ("RGB of 32 x 32", "np.zeros((4, 32, 32, 3), np.uint8)", 0, "encodes as shape"),
            ("floats of 0..255", "np.full((4, 1, 32, 32), 200.0)", 1, "floats are in [-1, 1]"),
            ("five axes", "np.zeros((1, 4, 1, 32, 32), np.uint8)", 1, "[channels, height, width]"),
        )
    ),
    of(
        "`train --lr 1e9 --steps 1`",
        "a traceback of scikit-learn",
        lambda folder: mixzoo(folder, "train", *TINY, "--lr", "1e9", "--steps", "1"),
        6,
        "finite",
    ),
    of(
        "`train`: data whose pictures are float64",
        "expected uint8 of 0..255",
        trained("dataset", FLOATS),
        9,
        "float32 in [-1, 1] for",
    ),
    of("`python docs/examples/manifold_mixup.py`, timm broken", "a traceback", broken_timm, 1, "timm"),
    of(
        "`train --steps 2`, fewer than --log-every",
        "`test 13.0 %` and trailing spaces",
        lambda folder: mixzoo(folder, "train", *TINY, "--log-every", "50"),
        0,
        "reconstruct",
    ),
]


def message(row: Row, finished: Finished) -> str:
    """The line that has the message, or else the first one, as a table cell."""
    lines = [line.strip() for line in finished.text.splitlines() if line.strip()] or [""]
    found = next((line for line in lines if row.says in line), lines[0])
    return found.replace("|", "\\|")


def main() -> None:
    chosen = [each for each in MESSAGES if all(word in each.row.situation for word in sys.argv[1:])]
    warm.address()  # starts the process that all rows are forked from
    names = ", ".join(f"{name} {version(name)}" for name in ("mixzoo", "torch", "typer"))
    print(HEADER.format(versions=f"{datetime.now(UTC):%Y-%m-%d}, {names}, Python {platform.python_version()}"))
    print("\n| typed | before | now | exit code | |\n|---|---|---|---|---|")
    wrong = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for each, finished in zip(chosen, pool.map(ended, [each.row for each in chosen])):
            problem = each.row.problem(finished)
            wrong += bool(problem)
            cells = (each.row.situation, each.before, message(each.row, finished), finished.exit_code, problem)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(f"\n{len(chosen) - wrong} of {len(chosen)} as expected.")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
