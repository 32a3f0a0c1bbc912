"""Nothing in mixzoo runs code that is found in a file, and no file of a run makes it start a program or connect."""

import ast
import hashlib
import json
import os
import pickle
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mixzoo as api
from mixzoo import MixzooError
from mixzoo.registry.config import resolve
from mixzoo.registry.single_file import SingleFile
from mixzoo.runs.listing import find_runs
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import saved
from mixzoo_datasets.cifar import CIFAR10
from toys import toy_config, toy_zoo

ROOT = Path(api.__file__).parents[1]
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
BARE = {"eval", "exec", "compile", "__import__", "load_module"}
METHODS = {  # module -> its functions that run what they read, or a shell
    "torch": {"load", "save"},
    "yaml": {"load", "load_all", "unsafe_load", "full_load"},
    "os": {"system", "popen"},
    "pandas": {"read_pickle"},
    "runpy": {"run_path", "run_module"},
    "importlib": {"reload"},
}


def dangers(text):
    """What in this source runs code that it reads, as `line: what`."""
    for node in ast.walk(ast.parse(text)):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").partition(".")[0]
            found = [f"{module}.{a.name}" for a in node.names if a.name in METHODS.get(module, ()) or module in MODULES]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = [f"{node.value.id}.{node.attr}"] if node.attr in METHODS.get(node.value.id, ()) else []
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            found = [name] if name in BARE else []
            for word in node.keywords:
                off = isinstance(word.value, ast.Constant) and word.value.value is False
                if word.arg in ("allow_pickle", "shell") and not off:
                    found.append(f"{word.arg}=")
                if word.arg == "weights_only" and off:
                    found.append("weights_only=False")
        yield from (f"{node.lineno}: {what}" for what in found)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import marshal", "import shelve",
        "import dill",
        "from joblib import load", "import joblib.numpy_pickle", "torch.load(x)", "torch.save(x, y)",
        "from torch import load", "f = torch.load", "np.load(x, allow_pickle=True)", "np.load(x, allow_pickle=allowed)",
        "eval(x)", "exec(x)", "compile(x, 'a', 'exec')", "__import__(x)", "yaml.load(x)",
        "from yaml import unsafe_load",
        "subprocess.run(x, shell=True)", "Popen(x, shell=flag)", "os.system(x)", "from os import popen",
        "torch.hub.load_state_dict_from_url(x, weights_only=False)", "runpy.run_path(x)",
    ],
)  # fmt: skip
def test_the_scan_finds_each_way(line):
    assert list(dangers(line))


@pytest.mark.parametrize(
    "line",
    ["import pickletools", "np.load(x, allow_pickle=False)", "json.load(x)", "subprocess.run(x)", "run(x, shell=False)",
     "re.compile(x)", "model.eval()", "safetensors.torch.load(x)", "from safetensors.torch import load"],
)  # fmt: skip
def test_the_scan_passes_what_runs_nothing(line):
    assert not list(dangers(line))


def test_nothing_is_pickled_or_evaluated_and_no_shell_is_started():
    """Neither the core nor a first-party plugin calls a function that runs code found in a file."""
    files = [path for folder in ("mixzoo", "plugins") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 200
    found = {
        f"{path.relative_to(ROOT)}:{what}"
        for path in files
        for what in dangers(path.read_text())
        if "tests" not in path.relative_to(ROOT).parts
    }
    assert not found


# --- what happens when hostile files are read

CANARY = "open('canary-ran', 'w')"
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "pty.spawn",
             "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen", "webbrowser.open", "shutil.unpack_archive",
             "urllib.Request", "ftplib.connect")  # fmt: skip
watched: list[str] | None = None  # what the hook has heard, while a test watches


def hear(event, args):
    if watched is None:
        return
    if event in FORBIDDEN:
        watched.append(f"{event} {args!r:.80}")
    elif event == "compile" and args[0] is not None and "canary-ran" in str(args[0]):
        watched.append("compile of a file's content")
    elif event == "exec" and "canary" in getattr(args[0], "co_filename", ""):
        watched.append("exec of a file's content")


@pytest.fixture(scope="module")
def hook():
    sys.addaudithook(hear)  # which cannot be taken away; it is deaf outside of these tests


@pytest.fixture
def heard(hook, tmp_path, monkeypatch):
    """What happens during the test; it must end empty, and no canary may have run."""
    global watched
    monkeypatch.chdir(tmp_path)
    watched = heard = []
    yield heard
    watched = None
    assert not list(tmp_path.rglob("canary-ran"))


def connect():
    with socket.socket() as client:
        client.connect_ex(("127.0.0.1", 9))


class Attack:
    def __reduce__(self):
        return os.system, ("touch canary-ran",)


@pytest.mark.parametrize(
    "attack",
    [
        lambda: os.system("true"),
        lambda: pickle.loads(pickle.dumps(Attack)),  # noqa: S301
        lambda: exec(f"if False: {CANARY}"),
        lambda: SingleFile(Path("canary.py").absolute(), b"pass").load(),
        lambda: __import__("subprocess").run(["true"], check=True),
        connect,
    ],
)
def test_the_hook_hears_each_kind_of_attack(heard, attack):
    attack()
    assert heard


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of toy parts."""
    run = tmp_path_factory.mktemp("trained") / "run"
    config = replace(toy_config(toy_zoo(), steps=2, evaluate_every=2, checkpoint_every=2), metrics=())
    start(toy_zoo(), config, run)
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def hostile_pickles():
    torch_file = Path("attack.pt")
    torch.save(Attack(), torch_file)
    return {"torch": torch_file.read_bytes(), "pickle": pickle.dumps(Attack()), "python": CANARY.encode()}


def replaced(run, name, content):
    """A checkpoint file with this content, its hashes made right."""
    (checkpoint,) = saved(run / "checkpoints")
    (checkpoint / name).write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    text = json.dumps(manifest).encode()
    (checkpoint / "manifest.json").write_bytes(text)
    (checkpoint / "manifest.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}  manifest.json\n")


def opened(run):
    """Everything that reads a run's files; how many of the calls refuse them."""
    zoo, refused = toy_zoo(), 0
    for read in (
        lambda: find_runs([run]),
        lambda: api.Run(run, zoo=zoo).encode(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)),
        lambda: api.Run(run, zoo=zoo).results,
        lambda: resume(zoo, run, steps=4),
        lambda: api.report(run, explore=False),
        lambda: api.compare(run),
    ):
        try:
            read()
        except MixzooError:
            refused += 1
    return refused


def test_pickles_and_scripts_in_a_checkpoint_are_refused_and_run_nothing(run, hook, heard):
    global watched
    watched, attacks = None, hostile_pickles()  # made while nobody watches
    watched = heard
    for content in attacks.values():
        replaced(run, "autoencoder.safetensors", content)
        assert opened(run) >= 2
    assert heard == []


@pytest.mark.parametrize("name", ["run.toml", "environment.json", "status.json", "results.json"])
def test_code_in_the_other_files_of_a_run_is_not_run(run, heard, name):
    call = f"__import__('os').system('touch canary-ran') or {CANARY}"
    code = (
        f"mixer = {json.dumps(call)}" if name == "run.toml" else json.dumps({"state": call, "parts": [{"file": call}]})
    )
    for content in (CANARY, code):
        (run / name).write_text(content)
        Path("canary.py").write_text(CANARY)
        opened(run)  # a file that is derived from others is read past
    assert heard == []


def test_code_in_a_run_file_or_a_data_file_is_not_run(heard, tmp_path):
    call = json.dumps(f"__import__('os').system('touch canary-ran') or {CANARY}")
    for number, text in enumerate(
        (f"mixer = {call}", f"[mixer]\nname = {call}", f"metrics = [{call}]", f"[dataset]\nname = 'digits'\n{call} = 1")
    ):
        (tmp_path / f"{number}.toml").write_text(text)
        with pytest.raises(MixzooError):
            resolve(toy_zoo(), tmp_path / f"{number}.toml", {}, {})
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Attack()))
    with pytest.raises(MixzooError):
        CIFAR10(root=str(tmp_path)).load(0)
    assert heard == []
