"""What a forked process does: a command of mixzoo with the toy parts, the checks of a run directory, its comparison.

Each returns its exit code and a value of JSON.
"""

import contextlib
import hashlib
import json
import os
import signal
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import mutants
import together
from safetensors.torch import save

from mixzoo.cli import app
from mixzoo.core.errors import CheckpointError, MixzooError, escaped
from mixzoo.core.json_file import read_object
from mixzoo.registry import catalogue, zoo
from mixzoo.runs import directory
from mixzoo.runs import run as run_module
from mixzoo.runs.listing import find_runs
from mixzoo.runs.trained_run import Run
from mixzoo.training import memory
from mixzoo.training.checkpoint import newest, read_whole, saved
from mixzoo.training.logs import CLOCK, read_metrics
from mixzoo.training.loop import Loop
from toys import TOYS, ToyData, toy_config, toy_zoo

TRAIN = [
    "train", *TOYS, "--mixer", "dirichlet:k=3", "--steps", "6", "--batch-images", "8", "--log-every", "1",
    "--evaluate-every", "3", "--checkpoint-every", "2", "--device", "cpu", "--threads", "1",
    "--metric", "reconstruction",
]  # fmt: skip
RECORDS = ("status.json", "environment.json", "results.json")
BITS = (".safetensors", ".png")  # files that are the same bytes in an equal run


@cache
def the_zoo():
    return toy_zoo()


@contextlib.contextmanager
def with_toys():
    """The toy parts are installed, for commands in this process."""
    before = zoo.load_zoo, catalogue.load_catalogue, memory.keep_freed_memory
    zoo.load_zoo = lambda *found, **options: the_zoo()
    catalogue.load_catalogue = lambda *found: catalogue.catalogue_of(the_zoo())
    memory.keep_freed_memory = lambda: False
    try:
        yield
    finally:
        zoo.load_zoo, catalogue.load_catalogue, memory.keep_freed_memory = before


def main(arguments, folder):
    """The exit code of a command in a folder."""
    os.chdir(folder)
    sys.argv = ["mixzoo", *map(str, arguments)]
    with with_toys():
        try:
            app.main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0


def command(arguments, folder, mutant=""):
    """A command of mixzoo."""
    with mutants.planted(mutant):
        return main(arguments, folder), None


def warm_up(folder):
    """Import all that runs import, and let torch do once what it does at first."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        home = os.getcwd()
        main([*TRAIN, "--out", "run"], folder)
        main(["interpolate", "run", "--pairs", "1"], folder)
        main(["evaluate", "run", "--metric", "knn"], folder)
        main(["runs", "."], folder)
        os.chdir(home)


def again(arguments, run, whole):
    """The command once more, without a fault; what is wrong with the run afterwards. It changes no part of the run."""
    run = Path(run)
    code = main(arguments, run.parent)
    found = [f"`{arguments[0]}` ended with {code}"] if code else []
    drawn = [path for path in run.glob("pictures/*.png") if not path.name.startswith("step-")]
    found += [f"no picture: {path}" for path in drawn if not path.read_bytes().endswith(b"IEND\xaeB`\x82")]
    for file in run.glob("scores/*.json"):
        read_object(file)
    if arguments[0] == "evaluate" and not list(run.glob("scores/knn-*.json")):
        found.append("no score")
    if arguments[0] == "interpolate" and not drawn:
        found.append("no picture")
    if weights(run) != weights(Path(whole)):
        found.append("other weights")
    return 0, [*found, *(f"left behind: {path}" for path in leftovers(run)), *problems(run, 0)]


def state(run, code, mutant=""):
    """What is wrong with a run directory in which a command has just ended with this code, or was killed."""
    with mutants.planted(mutant):
        return 0, problems(Path(run), code)


def recover(run, whole, mutant="", train=tuple(TRAIN)):
    """Go on with the run, or begin it if it is not there; what is wrong with its end, compared with the whole run."""
    run = Path(run)
    with mutants.planted(mutant):
        arguments = ["resume", run.name] if run.exists() else [*train, "--out", run.name]
        code = main(arguments, run.parent)
        found = [f"`{arguments[0]}` ended with {code}"] if code else []
        return 0, found or [*differences(run, Path(whole)), *problems(run, 0)]


# --- checks


def problems(run, code):
    """What is wrong with the files of a run after a command that ended with this code; killed if it is below 0."""
    found = []
    killed = code < 0
    if not killed:
        found += [f"left behind: {path}" for path in leftovers(run)]
    if not run.exists():
        return found
    steps = []
    for checkpoint in saved(run / "checkpoints"):
        try:
            steps.append(read_whole(checkpoint)[0].progress.step)
        except CheckpointError as err:
            found.append(f"half a checkpoint: {err}")
    for name in RECORDS:
        try:
            if (run / name).exists():
                read_object(run / name)
        except CheckpointError as err:
            found.append(f"torn: {err}")
    return [*found, *lies(run, code, max(steps, default=None))]


def leftovers(run):
    """Temporary files, but for a directory that was not yet a run: another start removes it, an hour later."""
    found = sorted(str(path.relative_to(run.parent)) for path in run.parent.glob("**/.tmp-*"))
    return [path for path in found if not path.startswith(directory.NEW_PREFIX)]


def lies(run, code, newest_step):
    """What status.json says that is not so."""
    try:
        status = read_object(run / "status.json").values
    except CheckpointError:
        return []
    found, committed = [], status["last_committed"]
    if committed is not None and (newest_step is None or newest_step < committed):
        found.append(f"a lie: status.json has step {committed}, and the newest checkpoint is {newest_step}")
    if status["state"] == "completed":
        if not (run / "results.json").exists():
            found.append("a lie: completed, without results")
        elif read_object(run / "results.json").integer("steps") != newest_step:
            found.append("a lie: completed, with results of another step")
    if status["state"] == "failed" and code >= 0 and status["exit"] != code:
        found.append(f"a lie: failed with {status['exit']}, and it was {code}")
    if code == 0 and status["state"] != "completed":
        found.append(f"a lie: the command succeeded, and the run is {status['state']}")
    if code > 0 and status["state"] not in ("failed", "waiting"):
        found.append(f"a lie: the command ended with {code}, and the run is {status['state']}")
    return found


def differences(run, whole):
    """In what a run differs from another that should be equal; a checkpoint more, which a fault has kept, is none."""
    found = []
    for name in BITS:
        mine, others = ({path.relative_to(home): path.read_bytes() for path in home.glob(f"**/*{name}")}
                        for home in (run, whole))  # fmt: skip
        kept = {path.parent for path in others}
        files = sorted({*others, *(path for path in mine if path.parent in kept)})
        found += [f"differs: {path}" for path in files if mine.get(path) != others.get(path)]
    try:
        if metrics(run) != metrics(whole):
            found.append("differs: metrics.jsonl")
        if read_object(run / "results.json").values != read_object(whole / "results.json").values:
            found.append("differs: results.json")
    except MixzooError as err:
        found.append(str(err))
    return found


def metrics(run):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(run / "metrics.jsonl")]


def weights(run):
    """The bytes of the newest whole checkpoint's tensors, by name."""
    checkpoint, *_ = newest(run / "checkpoints")
    return {path.name: path.read_bytes() for path in sorted(checkpoint.glob("*.safetensors"))}


def manifest_of(checkpoint):
    return json.loads((checkpoint / "manifest.json").read_text())


# --- many processes


def prepared(folder):
    """A run that waits for its first step, as a sweep makes one."""
    folder = Path(folder)
    folder.mkdir()
    config = toy_config(the_zoo(), flags={"mixer": "dirichlet:k=3"}, steps=2, checkpoint_every=2, evaluate_every=2)
    run_module.prepare(replace(config, metrics=()), folder / "run")
    return 0, None


def contend(run, gate, others):
    """Resume the run; whoever has its lock waits until all others have given up, which the file `gate` counts."""
    run, gate = Path(run), Path(gate)
    plain = ToyData.load

    def load(self, seed):
        together.wait_for(lambda: gate.exists() and gate.stat().st_size >= others)
        return plain(self, seed)

    ToyData.load = load
    code = main(["resume", run.name], run.parent)
    with gate.open("ab") as file:
        file.write(b".")
    return code, None


def killed_in_a_step(run):
    """Train, and be killed in the first step."""
    Loop.step = lambda self, step, inputs: os.kill(os.getpid(), signal.SIGKILL)
    return main(["resume", Path(run).name], Path(run).parent), None


def read_often(run, times):
    """Read all that a run has, as listings, reports and `load` do; what could not be read, and how often it was."""
    run, found, reads = Path(run), [], 0
    together.wait_for(lambda: (run / "status.json").exists())
    for _ in range(times):
        reads += 1
        try:
            (record,) = find_runs([run])
            if record.problem:
                found.append(record.problem)
            for name in RECORDS:
                if (run / name).exists():
                    read_object(run / name)
            if (run / "metrics.jsonl").exists():
                read_metrics(run / "metrics.jsonl")
            if saved(run / "checkpoints"):
                *_, damaged = newest(run / "checkpoints")
                found += [line for line in damaged if "No such file" not in line]  # removed while it was read
            if record.state == "completed":
                break
        except MixzooError as err:
            found.append(str(err))
    return 0, {"problems": found[:5], "reads": reads}


# --- hostile run directories


def hostile(name, run):
    """What a command makes of a run directory; of `load`, the step and a digest of the weights that it has."""
    run = Path(run)
    arguments = {
        "resume": ["resume", run.name],
        "runs": ["runs", run.parent.name],
        "evaluate": ["evaluate", run.name, "--metric", "knn"],
        "interpolate": ["interpolate", run.name, "--pairs", "1"],
    }
    if name != "load":
        return main(arguments[name], run.parent if name != "runs" else run.parent.parent), None
    os.chdir(run.parent)
    try:
        loaded = Run(run.name, device="cpu", zoo=the_zoo())
        weights = save({key: value.contiguous() for key, value in loaded.autoencoder.state_dict().items()})
        for line in loaded.warnings:
            print(escaped(f"warning: {line}"), file=sys.stderr)
        return 0, [loaded._opened.step, hashlib.sha256(weights).hexdigest()]
    except MixzooError as err:
        print(f"mixzoo: {err}", file=sys.stderr)
        return err.exit_code, None
