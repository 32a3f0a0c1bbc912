"""Checkpoints and other files of a run that were damaged, edited or replaced: refused or fallen back from, in one line.

One run is trained for the module; every test works on a copy of it.
"""

import hashlib
import json
import os
import shutil
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save

from mixzoo.core.errors import CheckpointError, NonFiniteError
from mixzoo.core.json_file import read_object
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import newest, non_finite, remove_older, saved
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics
from mixzoo.training.loop import Loop
from toys import edited, toy_config, toy_zoo

FLAGS = {"mixer": "dirichlet:k=3", "objective": "amr:beta=0.1", "autoencoder": "toy_net:dropout=0.2"}


class Notes(ProgressDisplay):
    """Keeps the notes; stops the run with a KeyboardInterrupt in place of step `stop`, if there is one."""

    def __init__(self, stop=None):
        self.notes, self.facts, self.stop = [], [], stop

    def begin(self, facts):
        self.facts = facts

    def train(self, line):
        if line["step"] == self.stop:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)


def config():
    """Without metrics, which take longer than the steps."""
    return replace(toy_config(toy_zoo(), flags=FLAGS, log_every=1), metrics=())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps, from one end to the other."""
    home = tmp_path_factory.mktemp("whole") / "run"
    start(toy_zoo(), config(), home)
    return home


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The same run killed at step 11, with checkpoints of steps 5 and 10."""
    home = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(KeyboardInterrupt):
        start(toy_zoo(), config(), home, lambda *_: Notes(11))
    assert [path.name for path in saved(home / "checkpoints")] == ["step-00000005", "step-00000010"]
    return home


@pytest.fixture
def run(killed, tmp_path):
    """A copy of the killed run."""
    return shutil.copytree(killed, tmp_path / "run")


def test_a_reader_of_a_run_that_trains_finds_the_checkpoint_that_replaced_the_one_it_was_reading(run, whole):
    checkpoints, seen = run / "checkpoints", []

    def overtaken(state, manifest, checkpoint):
        seen.append(checkpoint.name)
        if len(seen) == 1:
            shutil.copytree(whole / "checkpoints/step-00000012", checkpoints / "step-00000012")
            remove_older(checkpoints, 12, 1)
            raise CheckpointError(f"{checkpoint}: cannot be read: No such file or directory")

    found, _, manifest, damaged = newest(checkpoints, overtaken)
    assert (found.name, manifest.progress.step, damaged) == ("step-00000012", 12, [])
    assert seen == ["step-00000010", "step-00000012"]


def weights(home):
    newest = saved(home / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


def metrics(home):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(home / "metrics.jsonl")]


def newest_of(run):
    return run / "checkpoints" / "step-00000010"


def seal(checkpoint, manifest):
    """Write a manifest with the hash that goes with it, so that only its values can give it away."""
    content = json.dumps(manifest).encode() if isinstance(manifest, dict) else manifest
    (checkpoint / "manifest.json").write_bytes(content)
    (checkpoint / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


def falls_back(run, whole, *words):
    """Resuming names the newest checkpoint and why, goes on from the one before, and ends at the same numbers."""
    show = Notes()
    resume(toy_zoo(), run, lambda *_: show)
    (note,) = [note for note in show.notes if "step-00000010" in note]
    for word in words:
        assert word in note, note
    assert "\n" not in note
    assert metrics(run) == metrics(whole)
    assert weights(run) == weights(whole)


# manifest.json

FIELDS = {
    "step 9": ({"step": 9}, "it records step 9"),
    "step 0": ({"step": 0}, "expected an integer from 0 to 0"),  # the probe's best step is beyond it
    "step -3": ({"step": -3}, "'step' is -3, expected an integer from 0"),
    "step true": ({"step": True}, "'step' is True, expected an integer"),
    "step 1e30": ({"step": 1e30}, "'step' is 1e+30, expected an integer"),
    "step 10.0": ({"step": 10.0}, "'step' is 10.0, expected an integer"),
    "step text": ({"step": "10"}, "'step' is '10', expected an integer"),
    "step null": ({"step": None}, "'step' is None, expected an integer"),
    "step list": ({"step": [10]}, "'step' is [10], expected an integer"),
    "format 3": ({"format": 3}, "format 3; this version of mixzoo reads formats 1 and 2"),
    "too many bytes": ({"metrics_bytes": 10**7}, "metrics_bytes is 10000000, but metrics.jsonl has"),
    "bytes -1": ({"metrics_bytes": -1}, "'metrics_bytes' is -1, expected an integer from 0"),
    "files a list": ({"files": []}, "'files' is [], expected an object"),
    "files a number": ({"files": 3}, "'files' is 3, expected an object"),
    "files null": ({"files": None}, "'files' is None, expected an object"),
    "files empty": ({"files": {}}, "is missing"),
    "a path": ({"files": {"../x.safetensors": {"sha256": "0" * 64, "bytes": 1}}}, "is not the name of a tensor file"),
    "no hash": ({"files": {"mixer.safetensors": {"sha256": "0", "bytes": 1}}}, "is not a SHA-256"),
    "probe null": ({"probe": None}, "'probe' is None, expected an object"),
    "no run": ({"run": 3}, "'run' is 3, expected a text"),
    "an escape": ({"step": "\x1b[31m"}, "'step' is '\\x1b[31m'"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_manifest_with_a_wrong_value_is_fallen_back_from(run, whole, name):
    values, reason = FIELDS[name]
    manifest = json.loads((newest_of(run) / "manifest.json").read_text())
    seal(newest_of(run), {**manifest, **values})
    falls_back(run, whole, reason)


@pytest.mark.parametrize("value", [1.5, -0.5, "0.9", True, None])
def test_a_best_validation_that_is_no_accuracy_is_fallen_back_from(run, whole, value):
    manifest = json.loads((newest_of(run) / "manifest.json").read_text())
    manifest["probe"]["best_validation"] = value
    seal(newest_of(run), manifest)
    falls_back(run, whole, "'best_validation' is", "expected a number from")


def test_an_edited_manifest_is_told_by_its_hash_and_checked_by_sha256sum(run, whole):
    manifest = newest_of(run) / "manifest.json"
    hashed, name = (newest_of(run) / "manifest.sha256").read_text().split()
    assert (hashed, name) == (hashlib.sha256(manifest.read_bytes()).hexdigest(), "manifest.json")
    text = manifest.read_text()
    found = json.loads(text)["probe"]["best_validation"]
    manifest.write_text(text.replace(f'"best_validation": {found}', '"best_validation": 0.9'))
    falls_back(run, whole, "damaged (its SHA-256 is not the one in manifest.sha256)")


BYTES = {
    "nested": (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested more than 12 deep"),
    "a list": (b"[]", "it contains [], expected an object"),
    "empty": (b"", "cannot be read"),
    "no text": (b"\xff\xfe", "cannot be read"),
    "twice": (b'{"format": 2, "format": 1}', "'format' occurs twice"),
    "NaN": (b'{"format": NaN}', "NaN is not standard JSON"),
    "digits": (b'{"format": ' + b"9" * 5000 + b"}", "cannot be read"),
    "huge": (b" " * 1_000_001, "1000001 bytes, expected at most 1000000"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_manifest_that_is_no_object_is_fallen_back_from(run, whole, name):
    content, reason = BYTES[name]
    seal(newest_of(run), content)
    falls_back(run, whole, reason)


@pytest.mark.parametrize(("off", "reason"), [(-10, "inside a line"), ("line", "before a line of step")])
def test_a_count_of_metrics_that_is_no_line_end_of_its_step_is_fallen_back_from(run, whole, off, reason):
    manifest = json.loads((newest_of(run) / "manifest.json").read_text())
    lines = (run / "metrics.jsonl").read_bytes()[: manifest["metrics_bytes"]].splitlines(keepends=True)
    manifest["metrics_bytes"] -= 10 if off == -10 else len(lines[-1])
    seal(newest_of(run), manifest)
    falls_back(run, whole, reason)


# files of a checkpoint that are no files

OTHER_FILES = {
    "a pipe": (os.mkfifo, "not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a folder": (lambda path: path.mkdir(), "not a regular file"),
    "a loop": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "nothing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("file", ["manifest.json", "manifest.sha256", "autoencoder.safetensors"])
@pytest.mark.parametrize("name", OTHER_FILES)
def test_what_is_no_file_is_not_waited_for(run, whole, file, name):
    make, reason = OTHER_FILES[name]
    (newest_of(run) / file).unlink()
    make(newest_of(run) / file)
    falls_back(run, whole, reason)


def test_a_file_larger_than_its_manifest_says_is_not_read(run, whole):
    with (newest_of(run) / "autoencoder.safetensors").open("r+b") as file:
        file.truncate(10**12)  # sparse
    falls_back(run, whole, "autoencoder.safetensors: 1000000000000 bytes, expected at most")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_newest_checkpoint_that_is_a_link_or_a_file_is_passed_over_and_replaced(run, whole, kind):
    newest, elsewhere = newest_of(run), run / "elsewhere"
    newest.rename(elsewhere)
    newest.symlink_to(elsewhere) if kind == "link" else newest.write_text("")
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    falls_back(run, whole, "a symbolic link or a file, which is not followed")
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


# tensors, with manifests that go with them


def rewrite(checkpoint, stem, change):
    """Change the tensors of a file and make the manifest and its hash go with them."""
    tensors = load_file(checkpoint / f"{stem}.safetensors")
    content = save(change(tensors))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"][f"{stem}.safetensors"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (checkpoint / f"{stem}.safetensors").write_bytes(content)
    seal(checkpoint, manifest)


def without(key):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name != key}


def instead(key, **other):
    return lambda tensors: {
        other.get("name", k) if k == key else k: other["to"](v) if k == key else v for k, v in tensors.items()
    }


def put(key, change):
    return lambda tensors: {**tensors, key: change(tensors.get(key, torch.zeros(())))}


MOMENTS = {
    "a field missing": (without("0.exp_avg"), "0.exp_avg is missing"),
    "step missing": (without("0.step"), "0.step is missing"),
    "all missing": (lambda tensors: {}, "it has no moments"),
    "of another shape": (put("0.exp_avg", lambda t: torch.zeros(1, 1)), "0.exp_avg is torch.float32 [1, 1], not"),
    "of another type": (put("0.exp_avg", lambda t: t.double()), "0.exp_avg is torch.float64"),
    "infinite": (put("0.exp_avg_sq", lambda t: t * torch.inf), "0.exp_avg_sq contains NaN or infinity"),
    "a negative square": (put("1.exp_avg_sq", lambda t: t - 1), "contains a number below 0"),
    "step a half": (put("0.step", lambda t: t + 0.5), "expected a whole number from 1 to 10"),
    "step beyond": (put("0.step", lambda t: t + 100), "expected a whole number from 1 to 10"),
    "key x.y": (put("x.y", lambda t: t), "x.y is not a moment of a parameter"),
    "key 999.z": (put("999.z", lambda t: t), "999.z is not a moment of a parameter"),
    "key 999.step": (put("999.step", lambda t: t), "999.step is not a moment of a parameter"),
    "key 0.zzz": (put("0.zzz", lambda t: t), "0.zzz is not a moment of a parameter"),
    "key -1.step": (put("-1.step", lambda t: t), "-1.step is not a moment of a parameter"),
    "key 00.step": (put("00.step", lambda t: t), "00.step is not a moment of a parameter"),
    "key with an escape": (put("\x1b[31m", lambda t: t), "\N{REPLACEMENT CHARACTER}[31m is not a moment"),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_that_are_not_those_of_the_parameters_are_fallen_back_from(run, whole, name):
    change, reason = MOMENTS[name]
    rewrite(newest_of(run), "adam-autoencoder", change)
    falls_back(run, whole, "[adam-autoencoder]: does not fit this network: ", reason)


WEIGHTS = {
    "missing": (without("g.bias"), "g.bias is missing"),
    "of another shape": (put("g.bias", lambda t: t[None]), "g.bias is float32 [1, 1], not float32 [1]"),
    "of another type": (put("g.bias", lambda t: t.double()), "g.bias is float64 [1], not float32 [1]"),
    "not finite": (put("g.bias", lambda t: t * torch.nan), "g.bias contains NaN or infinity"),
    "of a name with an escape": (put("\x1b[31m", lambda t: t), "\N{REPLACEMENT CHARACTER}[31m is not in the network"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit_are_fallen_back_from_by_resume_and_when_opened(run, whole, name):
    change, reason = WEIGHTS[name]
    rewrite(newest_of(run), "autoencoder", change)
    opened = open_run(toy_zoo(), run, "cpu")
    assert opened.step == 5
    assert any(reason in line for line in opened.changed)
    falls_back(run, whole, "[autoencoder]: does not fit this network: ", reason)


@pytest.mark.parametrize("stem", ["autoencoder", "adam-autoencoder", "adam-probe", "discriminator"])
def test_a_checkpoint_without_one_of_its_files_is_fallen_back_from(run, whole, stem):
    manifest = json.loads((newest_of(run) / "manifest.json").read_text())
    del manifest["files"][f"{stem}.safetensors"]
    (newest_of(run) / f"{stem}.safetensors").unlink()
    seal(newest_of(run), manifest)
    falls_back(run, whole, f"{stem}.safetensors is missing")


HEADERS = [b"", b"\0" * 7, struct.pack("<Q", 2**63), struct.pack("<Q", 10) + b"{", b"PK\x03\x04 no tensors", b"<html>"]


@pytest.mark.parametrize("content", HEADERS)
def test_what_is_no_file_of_tensors_is_fallen_back_from(run, whole, content):
    manifest = json.loads((newest_of(run) / "manifest.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"]["autoencoder.safetensors"] = {"sha256": digest, "bytes": len(content)}
    (newest_of(run) / "autoencoder.safetensors").write_bytes(content)
    seal(newest_of(run), manifest)
    falls_back(run, whole, "damaged (autoencoder.safetensors: ")


def test_where_no_checkpoint_is_left_there_is_one_line_that_names_each(run):
    for checkpoint in saved(run / "checkpoints"):
        (checkpoint / "manifest.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"no usable checkpoint \(.*step-00000010.*; .*step-00000005.*\)") as err:
        resume(toy_zoo(), run)
    assert "\n" not in str(err.value)
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        open_run(toy_zoo(), run, "cpu")


# older checkpoints


def as_format_1(checkpoint):
    """The checkpoint as mixzoo wrote it before manifests had hashes."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"] = {name: file["sha256"] for name, file in manifest["files"].items()}
    for key in ("run", "environment", "metrics_sha256"):
        del manifest[key]
    (checkpoint / "manifest.json").write_text(json.dumps({**manifest, "format": 1}, indent=2))
    (checkpoint / "manifest.sha256").unlink()


def test_a_checkpoint_of_an_older_version_resumes_with_a_note(run, whole):
    for checkpoint in saved(run / "checkpoints"):
        as_format_1(checkpoint)
    falls = Notes()
    resume(toy_zoo(), run, lambda *_: falls)
    assert [
        note for note in falls.notes if "step-00000010: made by an older mixzoo, whose manifest has no hash" in note
    ]
    assert (metrics(run), weights(run)) == (metrics(whole), weights(whole))


# leftovers


def test_what_a_kill_left_behind_is_removed(run):
    leftovers = [run / ".tmp-status.json", run / "pictures" / ".tmp-step-00000008.png"]
    folders = [run / "checkpoints" / ".tmp-step-00000011", run / "checkpoints" / ".tmp-old-step-00000001"]
    for path in leftovers:
        path.write_text("half")
    for path in folders:
        path.mkdir()
        (path / "autoencoder.safetensors").write_bytes(b"half")
    half_purged = shutil.copytree(newest_of(run), run / "checkpoints" / "step-00000003")
    (half_purged / "manifest.json").unlink()
    resume(toy_zoo(), run)
    assert not any(path.exists() for path in (*leftovers, *folders, half_purged))


def test_new_checkpoints_stay_beside_a_stray_one_of_a_later_step(run):
    (run / "checkpoints" / "step-99999999").mkdir()
    toml = run / "run.toml"
    toml.write_text(toml.read_text().replace("keep_checkpoints = 2", "keep_checkpoints = 1"))
    resume(toy_zoo(), run)
    assert [path.name for path in saved(run / "checkpoints")] == ["step-00000012", "step-99999999"]
    assert json.loads((run / "status.json").read_text())["last_committed"] == 12
    assert open_run(toy_zoo(), run, "cpu").step == 12


def test_other_names_are_no_checkpoints(run):
    for name in ("step-9", "step-abc", "xstep-00000011", "step-٠٠٠٠٠٠٩٩"):
        (run / "checkpoints" / name).mkdir()
    assert [path.name for path in saved(run / "checkpoints")] == ["step-00000005", "step-00000010"]
    remove_older(run / "checkpoints", 10, 1)
    assert [path.name for path in saved(run / "checkpoints")] == ["step-00000010"]
    assert (run / "checkpoints" / "step-abc").is_dir()


# moments are state


@pytest.mark.parametrize("numbers", [{"weight_decay": 1e30}, {"weight_decay": 1e38}])
def test_infinite_moments_are_not_committed(tmp_path, numbers):
    zoo = toy_zoo()
    with pytest.raises(NonFiniteError, match=r"step \d+: .* is not finite"):
        start(zoo, toy_config(zoo, **numbers), tmp_path / "run")
    for checkpoint in saved(tmp_path / "run" / "checkpoints"):
        for file in checkpoint.glob("*.safetensors"):
            assert all(tensor.isfinite().all() for tensor in load_file(file).values())
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("failed", 6)


def test_a_moment_that_is_not_finite_is_named_by_its_parameter(run, monkeypatch):
    seen = []

    def spoil(self, progress):
        (parameter, *_) = self.players.optimisers["autoencoder"].param_groups[0]["params"]
        self.players.optimisers["autoencoder"].state[parameter]["exp_avg_sq"].fill_(torch.inf)
        seen.append(non_finite(self.players))
        return plain(self, progress)

    plain = Loop._commit
    monkeypatch.setattr(Loop, "_commit", spoil)
    with pytest.raises(NonFiniteError, match=r"step 12: Adam's exp_avg_sq of autoencoder\.f\.0\.weight is not"):
        resume(toy_zoo(), run)
    assert seen == ["Adam's exp_avg_sq of autoencoder.f.0.weight"]
    monkeypatch.undo()
    resume(toy_zoo(), run)  # from the last checkpoint, which is finite


@pytest.mark.parametrize("lr", [1e9, 1e30])
def test_a_first_step_that_diverges_is_not_finite_and_no_traceback(tmp_path, lr):
    zoo = toy_zoo()
    with pytest.raises(NonFiniteError, match="finite"):
        start(
            zoo, toy_config(zoo, lr=lr, steps=1, weight_decay=1e9, flags={"objective": "amr:lam=1e30"}), tmp_path / "r"
        )
    assert json.loads((tmp_path / "r" / "status.json").read_text())["exit"] == 6


# other files of a run


DAMAGES = {
    "a list": "[]",
    "a number": "3",
    "nothing": "",
    "wrong types": '{"state": [], "packages": 3, "parts": {}}',
    "a pipe": None,
}


def damage(file, content):
    file.unlink()
    os.mkfifo(file) if content is None else file.write_text(content)


def notes_of_resuming(run):
    show = Notes()
    resume(toy_zoo(), run, lambda *_: show)
    return show.notes


@pytest.mark.parametrize("name", ["status.json", "environment.json"])
@pytest.mark.parametrize("content", DAMAGES)
def test_a_derived_file_that_is_damaged_is_written_anew_with_a_warning(run, whole, name, content):
    before = read_object(run / name)
    damage(run / name, DAMAGES[content])
    opened = open_run(toy_zoo(), run, "cpu")
    assert opened.step == 10
    found = [note for note in notes_of_resuming(run) if name in note]
    assert len(found) == 1, found
    assert found[0].startswith("warning: ")
    assert found[0].endswith("it is written anew" if name == "status.json" else "has of it is used")
    assert metrics(run) == metrics(whole)
    assert weights(run) == weights(whole)
    if name == "environment.json":
        assert read_object(run / name).text("started") == before.text("started")


def test_an_environment_that_is_gone_with_those_of_the_checkpoints_is_that_of_now(run, whole):
    for checkpoint in saved(run / "checkpoints"):
        as_format_1(checkpoint)
    (run / "environment.json").unlink()
    notes = notes_of_resuming(run)
    assert any("environment.json" in n and "whether data and versions are those that the run began" in n for n in notes)
    assert read_object(run / "environment.json").text("data") == "toy bars"
    assert weights(run) == weights(whole)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"steps": 12, "numbers": {"a": "b"}, "picture": "x"}',
        '{"steps": 12, "numbers": {}, "picture": "/x"}',
    ],
)
def test_results_that_are_damaged_are_computed_again(whole, tmp_path, content):
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "results.json").write_text(content)
    (note,) = [note for note in notes_of_resuming(run) if "results.json" in note]
    assert note.endswith("; the run is scored again")
    assert (run / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    shutil.rmtree(run / "checkpoints")
    (run / "results.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"results\.json"):
        resume(toy_zoo(), run)


def flip(file, at, bit=0):
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["status.json", "environment.json", "results.json"])
def test_a_flipped_bit_of_a_json_file_is_found_wherever_it_is(whole, tmp_path, name):
    content = (whole / name).read_bytes()
    file = tmp_path / name
    for at in range(len(content)):
        file.write_bytes(content)
        flip(file, at, at % 8)
        try:
            found = read_object(file)
        except CheckpointError:
            continue
        assert found.values == read_object(whole / name).values, at  # the e of 1e-05


def test_a_json_file_that_was_edited_is_refused_with_what_to_do_and_one_of_an_older_version_is_read(whole, tmp_path):
    file = shutil.copy(whole / "status.json", tmp_path / "status.json")
    text = file.read_text()
    file.write_text(text.replace("completed", "running"))
    advice = r'edited by hand: its SHA-256 is not .*; undo the edit or, if it is meant, remove the line "sha256"$'
    with pytest.raises(CheckpointError, match=advice):
        read_object(file)
    file.write_text(text.replace('"sha256"', '"sha25"'))
    with pytest.raises(CheckpointError, match=advice):
        read_object(file)
    older = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    file.write_text(json.dumps({**older, "state": "running"}))
    assert read_object(file).text("state") == "running"


def test_a_checkpoint_that_is_gone_is_said_where_a_run_is_opened_or_resumed(run, whole):
    edited(run / "status.json", last_committed=10)
    shutil.rmtree(newest_of(run))
    line = f"{newest_of(run)}: it is gone, and was committed; the newest is of step 5"
    assert open_run(toy_zoo(), run, "cpu").changed == [line]
    assert f"warning: {line}" in notes_of_resuming(run)
    assert weights(run) == weights(whole)


def test_lines_of_metrics_that_were_changed_are_said_and_do_not_end_the_run(run, whole):
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(lines.replace('"images_per_second"', '"images_per_sekond"', 1))
    notes = notes_of_resuming(run)
    assert [note for note in notes if "metrics.jsonl: damaged, or edited: its lines up to step 10 are not" in note]
    assert (metrics(run)[1:], weights(run)) == (metrics(whole)[1:], weights(whole))
    assert not [note for note in notes_of_resuming(run) if "metrics.jsonl" in note]  # of the new lines


def test_values_of_run_toml_that_may_change_are_said(run):
    toml = run / "run.toml"
    toml.write_text(toml.read_text().replace("evaluate_every = 4", "evaluate_every = 6"))
    assert f"{toml}: train.evaluate_every was 4 and is 6" in notes_of_resuming(run)


def test_a_run_is_opened_with_a_warning_if_its_run_toml_is_not_what_it_was_trained_with(run):
    toml = run / "run.toml"
    assert open_run(toy_zoo(), run, "cpu").changed == []
    toml.write_text(toml.read_text().replace("k = 3", "k = 2"))
    assert open_run(toy_zoo(), run, "cpu").changed == [f"{toml}: mixer.k was 3 and is 2"]


def test_a_run_whose_metrics_are_gone_is_refused_with_the_reason(run):
    (run / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"no usable checkpoint .*metrics_bytes is \d+, but metrics.jsonl has 0"):
        resume(toy_zoo(), run)
