"""Run directories that are wrong on purpose: each is one change of a run that was stopped after step 4 of 6.

`CASES` has a name and a function of the run's directory for each. `try_case` gives each command a copy, in a process of
its own: none may hang, end with a traceback, or go on as if nothing were wrong with something that is.
"""

import hashlib
import json
import os
import shutil
import socket
import struct
from dataclasses import dataclass, field

import torch
from forked import HUNG
from iofaults import Bench
from safetensors.torch import load_file, save

from toys import edited

COMMANDS = ("resume", "runs", "load", "evaluate", "interpolate")
NEWEST, OLDER = "checkpoints/step-00000004", "checkpoints/step-00000002"
ALLOWED = (0, 2, 3, 4, 5, 8, 9)
DEEP = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@dataclass
class Outcome:
    """What each command did with a case: its exit code and last line; and what is wrong with that."""

    name: str
    codes: dict[str, int] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


# --- changes


def seal(checkpoint, manifest):
    """Write a manifest with the hash that goes with it."""
    content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    (checkpoint / "manifest.json").write_bytes(content)
    (checkpoint / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


def manifest(*path, to):
    """Another value in the newest manifest, whose hash goes with it."""

    def change(run):
        values = inner = json.loads((run / NEWEST / "manifest.json").read_text())
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        seal(run / NEWEST, values)

    return change


def tensors(stem, change):
    """Other tensors in a file of the newest checkpoint, with a manifest that goes with them."""

    def apply(run):
        file = run / NEWEST / f"{stem}.safetensors"
        found = load_file(file)
        content = change(found)
        content = content if isinstance(content, bytes) else save(found if content is None else content)
        file.write_bytes(content)
        values = json.loads((run / NEWEST / "manifest.json").read_text())
        values["files"][file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        seal(run / NEWEST, values)

    return apply


def value(name, **values):
    """Other values in a JSON file of the run, whose hash goes with them."""
    return lambda run: edited(run / name, **values)


def content(name, data):
    return lambda run: (run / name).write_bytes(data)


def toml(old, new):
    def change(run):
        text = (run / "run.toml").read_text()
        assert old in text, old
        (run / "run.toml").write_text(text.replace(old, new, 1))

    return change


def gone(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def bound_socket(path):
    home = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(home)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(10**12)


INSTEAD = {
    "missing": lambda path: None,
    "a FIFO": os.mkfifo,
    "a socket": bound_socket,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(300)),
    "1 TB, sparse": sparse,
}
FILES = (
    "run.toml", "status.json", "environment.json", "metrics.jsonl", ".lock", "checkpoints", "pictures", NEWEST,
    f"{NEWEST}/manifest.json", f"{NEWEST}/manifest.sha256", f"{NEWEST}/autoencoder.safetensors",
    f"{NEWEST}/adam-probe.safetensors",
)  # fmt: skip


def instead(name, make):
    def change(run):
        gone(run / name)
        make(run / name)

    return change


def _with(found, **new):
    return {**found, **new}


TYPES = {
    "null": None,
    "true": True,
    "a text": "7",
    "a list": [],
    "an object": {},
    "-1": -1,
    "1e30": 1e30,
    "10^40": 10**40,
}
JUNK = {
    "nested 10,000 deep": DEEP,
    "a key twice": b'{"state": "running", "state": "completed", "format": 2, "format": 2}',
    "NaN": b'{"state": NaN, "format": NaN}',
    "5,000 digits": b'{"exit": ' + b"9" * 5000 + b"}",
    "not UTF-8": b"\xff\xfe{}",
    "a list": b"[]",
    "HTML": b"<html><body>404</body></html>",
}


def _cases():
    for name in FILES:
        for what, make in INSTEAD.items():
            yield f"{name} is {what}", instead(name, make)
    for name in ("status.json", "environment.json"):
        for what, data in JUNK.items():
            yield f"{name} is {what}", content(name, data)
    for what, data in JUNK.items():
        yield f"manifest.json is {what}, with its hash", lambda run, data=data: seal(run / NEWEST, data)
    for key in ("step", "format", "metrics_bytes", "files", "probe", "run"):
        for what, other in TYPES.items():
            if (key, what) not in {("files", "an object"), ("run", "a text")}:
                yield f"manifest: {key} is {what}", manifest(key, to=other)
    for key in ("best_validation", "best_step", "last_test"):
        for what in ("null", "true", "a text", "1e30"):
            yield f"manifest: probe.{key} is {what}", manifest("probe", key, to=TYPES[what])
    for key, other in (("environment", 3), ("environment", {"threads": "x"}), ("longer", {}), ("metrics_sha256", "0")):
        yield f"manifest: {key} is {other!r}", manifest(key, to=other)
    yield "manifest: files is empty", manifest("files", to={})
    for name in ("../../x.safetensors", "/etc/passwd", "a\0b.safetensors", "\x1b[31m.safetensors", "x" * 300):
        yield f"manifest: a file {name[:20]!r}", manifest("files", name, to={"sha256": "0" * 64, "bytes": 1})
    for what, other in (("sha256", "0" * 64), ("sha256", "x"), ("bytes", -1), ("bytes", 10**18)):
        yield f"manifest: {what} of a file is {other!r:.12}", manifest("files", "mixer.safetensors", to={
            "sha256": "0" * 64, "bytes": 1, what: other})  # fmt: skip

    # Status and environment, with hashes that go with their values.
    for key, other in (
        ("state", "flying"), ("state", 3), ("state", "\x1b[31mred"), ("exit", 999), ("exit", "0"), ("reason", []),
        ("last_committed", 10**20), ("last_committed", -4), ("last_committed", 6), ("last_committed", None),
        ("state", "completed"),
    ):  # fmt: skip
        yield f"status: {key} is {other!r:.20}", value("status.json", **{key: other})
    for key, other in (
        ("data_fingerprint", "another"), ("data_fingerprint", 3), ("threads", -1), ("threads", 10**9), ("threads", "2"),
        ("processes", 2), ("packages", []), ("packages", {"torch": 2}), ("packages", {"torch": "0.1"}), ("parts", 3),
        ("parts", [{"kind": "mixer", "name": "gone", "distribution": "gone", "version": "1"}]), ("changes", "x"),
        ("changes", [{"step": 4, "key": "train.lr", "was": "1", "now": "2"}]), ("device", "\x1b[31m"), ("python", 3),
    ):  # fmt: skip
        yield f"environment: {key} is {str(other)[:30]!r}", value("environment.json", **{key: other})

    # Tensors, with hashes that go with them.
    for what, change in {
        "NaN": lambda t: _with(t, **{"g.bias": t["g.bias"] * torch.nan}),
        "float64": lambda t: _with(t, **{"g.bias": t["g.bias"].double()}),
        "of another shape": lambda t: _with(t, **{"g.bias": t["g.bias"][None]}),
        "one too many": lambda t: _with(t, more=torch.zeros(1)),
        "a name with an escape": lambda t: _with(t, **{"\x1b[31m": torch.zeros(1)}),
        "a name of 10,000 letters": lambda t: _with(t, **{"x" * 10_000: torch.zeros(1)}),
        "none": lambda t: {},
        "a pickle": lambda t: b"\x80\x04\x95cos\nsystem\n(S'touch owned'\ntR.",
        "a zip": lambda t: b"PK\x03\x04" + bytes(100),
        "a header of 2^63 bytes": lambda t: struct.pack("<Q", 2**63) + b"{}",
        "a header of 100 MB": lambda t: struct.pack("<Q", 10**8) + b"{}",
        "bytes at the end": lambda t: save(t) + b"more",
    }.items():
        yield f"autoencoder.safetensors: {what}", tensors("autoencoder", change)
    for what, change in {
        "step 0.5": lambda t: _with(t, **{"0.step": t["0.step"] * 0 + 0.5}),
        "step 1,000": lambda t: _with(t, **{"0.step": t["0.step"] * 0 + 1000}),
        "infinite": lambda t: _with(t, **{"0.exp_avg": t["0.exp_avg"] * torch.inf}),
        "a square below 0": lambda t: _with(t, **{"0.exp_avg_sq": t["0.exp_avg_sq"] - 1}),
        "x.y": lambda t: _with(t, **{"x.y": torch.zeros(1)}),
        "999.step": lambda t: _with(t, **{"999.step": torch.zeros(())}),
        "-1.exp_avg": lambda t: _with(t, **{"-1.exp_avg": torch.zeros(1)}),
        "none": lambda t: {},
    }.items():
        yield f"adam-autoencoder.safetensors: {what}", tensors("adam-autoencoder", change)

    # Files in one another's place, and other names.
    yield (
        "two files of tensors swapped",
        lambda run: _swap(run / NEWEST / "autoencoder.safetensors", run / NEWEST / "discriminator.safetensors"),
    )
    yield (
        "the older manifest in the newer checkpoint",
        lambda run: _copy(run, ("manifest.json", "manifest.sha256"), OLDER, NEWEST),
    )
    yield "the older checkpoint under the newer name", lambda run: _replace(run / OLDER, run / NEWEST)
    yield "the newest checkpoint is a link to the older", lambda run: (gone(run / NEWEST), (run / NEWEST).symlink_to(
        "step-00000002"))  # fmt: skip
    yield "status.json is environment.json", lambda run: shutil.copy(run / "environment.json", run / "status.json")
    yield "environment.json is status.json", lambda run: shutil.copy(run / "status.json", run / "environment.json")
    for name in ("step-99999999", "step-00000005", "step-abc", "step-9", ".tmp-step-00000006", "step-\x1b[31m"):
        yield f"an empty folder {name!r} in checkpoints", lambda run, name=name: (run / "checkpoints" / name).mkdir()
    yield (
        "both checkpoints damaged",
        lambda run: [(run / name / "autoencoder.safetensors").write_bytes(b"") for name in (NEWEST, OLDER)],
    )
    yield "a sweep.json beside run.toml", content("sweep.json", b"{}")
    for what, data in JUNK.items():
        yield f"results.json is {what}", content("results.json", data)
        yield f"a score is {what}", lambda run, data=data: _score(run, data)

    # run.toml
    for old, new in (
        ("seed = 0", "seed = 1"), ("lr = 0.001", "lr = 0.5"), ("k = 3", "k = 2"),
        ("batch_images = 8", "batch_images = 9"),
        ("steps = 6", "steps = 3"), ("steps = 6", "steps = -1"), ("evaluate_every = 3", "evaluate_every = 2"),
        ("salt = 0", "salt = 1"), ('name = "toy_net"', 'name = "nothing"'),
        ('name = "toy_net"', 'name = "\\u001b[31m"'),
        ("seed = 0", "seed = nan"), ("seed = 0", "seed = 0\nseed = 1"), ("seed = 0", "seed = " + "9" * 5000),
        ("seed = 0", "unknown = 1"), ("seed = 0", "seed = " + "[" * 2000), ("[train]", "[train]\n[train]"),
    ):  # fmt: skip
        yield f"run.toml: {new[:30]!r}", toml(old, new)
    yield (
        "run.toml begins with a byte order mark",
        lambda run: (run / "run.toml").write_bytes(b"\xef\xbb\xbf" + (run / "run.toml").read_bytes()),
    )

    # metrics.jsonl
    yield "metrics.jsonl: the first line twice", _lines(lambda lines: [lines[0], *lines])
    yield "metrics.jsonl: the first line gone", _lines(lambda lines: lines[1:])
    yield (
        "metrics.jsonl: a line that is no JSON",
        _lines(lambda lines: [b"?" * (len(lines[0]) - 1) + b"\n", *lines[1:]]),
    )
    yield "metrics.jsonl: half a line at the end", _lines(lambda lines: [*lines, b'{"kind": "tr'])
    yield "metrics.jsonl: without its last line's end", _lines(lambda lines: [*lines[:-1], lines[-1][:-1]])
    if os.geteuid():  # who may read everything is refused nothing
        for name in ("run.toml", "status.json", "metrics.jsonl", "checkpoints", f"{NEWEST}/manifest.json"):
            yield f"{name} may not be read", lambda run, name=name: (run / name).chmod(0)


def _score(run, data):
    (run / "scores").mkdir()
    (run / "scores" / "knn-0.json").write_bytes(data)


def _swap(one, other):
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _copy(run, names, source, target):
    for name in names:
        shutil.copy(run / source / name, run / target / name)


def _replace(source, target):
    shutil.rmtree(target)
    shutil.copytree(source, target)


def _lines(change):
    def apply(run):
        lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        (run / "metrics.jsonl").write_bytes(b"".join(change(lines)))

    return apply


CASES = dict(_cases())


# --- what the commands make of them


class Trials(Bench):
    """The bench of iofaults, with a run that was killed, and the weights at each of its steps."""

    def __init__(self, server, home):
        super().__init__(server, home)
        self.known = {}
        for folder in (self.halted, self.whole):
            for checkpoint in (folder / "run" / "checkpoints").iterdir():
                self.known[int(checkpoint.name[5:])] = hashlib.sha256(
                    (checkpoint / "autoencoder.safetensors").read_bytes()
                ).hexdigest()

    def try_case(self, name):
        outcome, jobs = Outcome(name), []
        for command in COMMANDS:
            place = self.home / "trials" / command
            gone(place)
            shutil.copytree(self.halted, place)
            CASES[name](place / "run")
            jobs.append(("hostile", {"name": command, "run": place / "run"}))
        for command, ended in zip(COMMANDS, self.server.run_all(jobs, timeout=60)):
            lines = ended.err.strip().splitlines()
            told = [line for line in lines if line.startswith("mixzoo: ")]
            outcome.codes[command] = ended.code
            outcome.lines[command] = (told or [line for line in lines if "warning" in line] or [""])[-1]
            outcome.problems += [f"{command}: {problem}" for problem in self._wrong(command, ended, told)]
        return outcome

    def _wrong(self, command, ended, told):
        if ended.code == HUNG:
            return ["it hung"]
        if "Traceback" in ended.err or ended.code not in ALLOWED:
            return [f"ended with {ended.code}: {ended.err[-300:]}"]
        if not ended.err.replace("\n", "").isprintable():
            return [f"not printable: {ended.err[-300:]!r}"]
        if ended.code:
            return [] if len(told) == 1 else [f"not one line: {ended.err[-300:]}"]
        said = "warning" in ended.err or told
        if command == "resume":
            from jobs import differences

            run = self.home / "trials" / command / "run"
            found = [line for line in differences(run, self.whole / "run") if not line.endswith(".png")]
            named = said or " was " in ended.err  # a value of run.toml that may change
            return [] if not found or named else [f"silently other: {found[:3]}"]
        if command == "load":
            step, digest = ended.value
            if digest != self.known.get(step):
                return [f"unknown weights of step {step}"]
            return [] if said or step == max(self._steps()) else [f"silently of step {step}"]
        return []

    def _steps(self):
        return [int(path.name[5:]) for path in (self.halted / "run" / "checkpoints").iterdir()]
