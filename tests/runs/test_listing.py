"""Runs found by the files that they keep: listed, chosen, ordered, removed; no torch is loaded for it."""

import csv
import io
import json
import os
import platform
import re
import subprocess
import sys
from time import perf_counter

import pytest

from mixzoo.core.errors import ConfigError, LockedError, StorageError
from mixzoo.runs import listing
from mixzoo.runs.directory import lock
from mixzoo.runs.listing import age, find_runs, matching, ordered
from mixzoo.runs.stored_scores import Score, write_score

RUN_FILE = """[mixer]
name = "{mixer}"
k = {k}
[objective]
name = "amr"
lam = {lam}
[train]
seed = {seed}
steps = 400
deterministic = true
"""


def made(path, *, mixer="mixup", k=2, lam=10.0, seed=0, state="completed", step=400, better=None, **numbers):
    """The files of a run, without its training."""
    path.mkdir(parents=True)
    (path / "run.toml").write_text(RUN_FILE.format(mixer=mixer, k=k, lam=lam, seed=seed))
    (path / "status.json").write_text(json.dumps({"state": state, "exit": 0, "last_committed": step, "reason": ""}))
    if numbers:
        kept = {name.replace("__", "."): value for name, value in numbers.items()}
        results = {"steps": step, "numbers": kept, "better": better or {}, "picture": "pictures/a.png"}
        (path / "results.json").write_text(json.dumps(results))
    return path


@pytest.fixture
def folder(tmp_path):
    made(tmp_path / "a", probe__test_accuracy_at_best_validation=0.9)
    made(tmp_path / "b", mixer="dirichlet", k=3, probe__test_accuracy_at_best_validation=0.95, seed=1)
    made(tmp_path / "deep" / "c", state="failed", step=100, lam=2.5)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    made(tmp_path / "sweep" / "seed=3", seed=3, probe__test_accuracy_at_best_validation=0.5)
    (tmp_path / "no run").mkdir()
    (tmp_path / "a" / "checkpoints").mkdir()
    return tmp_path


def names(records):
    return [record.path.name for record in records]


def test_runs_are_found_wherever_they_are_and_a_member_knows_its_sweep(folder):
    (folder / "deep" / "a").symlink_to(folder / "a")
    records = find_runs([folder, folder / "a", folder / "deep" / "a"])
    assert names(records) == ["a", "b", "c", "seed=3"]
    assert [record.sweep for record in records] == [None, None, None, folder / "sweep"]
    assert [record.seed for record in records] == [0, 1, 0, 3]
    assert find_runs([folder / "sweep"])[0].sweep == folder / "sweep"
    assert records[1].part("mixer") == "dirichlet:k=3"
    assert records[0].part("mixer") == "mixup"
    assert age(records[0]).endswith(" s")


def test_a_damaged_run_is_listed_with_the_reason_and_hides_no_other(folder):
    damages = {
        "run.toml": [b"= 3", b"\xff", b"[train]\nseed = 'abc'", b"[train]\nsteps = inf", b"a = " + b"[" * 5000],
        "status.json": [b"[", b'{"state": "flying"}'],
        "results.json": [b"{}"],
        "scores/knn-0.json": [b'{"metric": "kn n:("}'],
    }
    (folder / "a" / "scores").mkdir()
    for name, contents in damages.items():
        file = folder / "a" / name
        before = file.read_bytes() if file.exists() else None
        for content in contents:
            file.write_bytes(content)
            records = find_runs([folder])
            assert [record.state for record in records] == ["damaged", "completed", "failed", "completed"], content
            assert str(folder / "a") in records[0].problem, content
            assert "\n" not in records[0].problem
        file.write_bytes(before) if before is not None else file.unlink()


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["mixer=dirichlet"], ["b"]),
        (["mixer.k=2", "state=completed"], ["a", "seed=3"]),
        (["objective.lam=2.5"], ["c"]),
        (["objective.lam=10"], ["a", "b", "seed=3"]),
        (["seed=1"], ["b"]),
        (["train.deterministic=true", "state=failed"], ["c"]),
        (["mixer=nothing"], []),
        (["mixer=dirichlet:k=3"], ["b"]),
        (["objective.lam=2.5e0"], ["c"]),
        (["train.deterministic=True", "seed=3"], ["seed=3"]),
    ],
)
def test_conditions_choose_runs(folder, conditions, expected):
    assert names(matching(find_runs([folder]), conditions)) == expected


def test_runs_are_ordered_by_any_key_and_those_without_it_come_last(folder):
    records = find_runs([folder])
    assert names(ordered(records, "score")) == ["seed=3", "a", "b", "c"]
    assert names(ordered(records, "-score")) == ["b", "a", "seed=3", "c"]
    assert names(ordered(records, "-path")) == ["seed=3", "c", "b", "a"]
    os.utime(folder / "b" / "run.toml", (0, 0))
    os.utime(folder / "b" / "status.json", (0, 0))
    assert names(ordered(find_runs([folder]), "-age"))[0] == "b"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--sort", "scor"], "--sort scor: no run has it (mixer, objective, score, seed, state, step, steps, or one of "
         "their options). Did you mean 'score'?"),
        (["--where", "mixer"], "--where mixer: write KEY=VALUE, such as objective=amr or train.seed=1"),
        (["--where", "mixter=a"], "--where mixter: no run has it"),
        (["--json", "--csv"], "--json and --csv cannot be combined; give one of them"),
        (["nothing"], "nothing: no such folder; give a run, a sweep, or a folder of them"),
        (["afile"], "afile: it is a file; give a run, a sweep, or a folder of them"),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_one_line(mixzoo, folder, arguments, line):
    (folder / "afile").write_text("")
    code, out, err = mixzoo("runs", *([folder] if arguments[0].startswith("-") else []), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert line in err


def test_pictures_and_pages_of_runs_beside_them_are_passed_over(folder):
    beside = [folder / "a-curves.png", folder / "report.html"]
    for file in beside:
        file.write_text("")
    assert [record.path.name for record in find_runs([folder / "a", *beside])] == ["a"]
    with pytest.raises(ConfigError, match=r"a-curves\.png: it is a file"):
        find_runs(beside)


def test_scores_that_were_computed_later_are_listed_if_they_are_of_the_newest_checkpoint(folder):
    write_score(folder / "a", Score("knn:k=5", 400, {"accuracy": 0.8}))
    write_score(folder / "b", Score("knn:k=5", 300, {"accuracy": 0.7}))
    a, b, *_ = find_runs([folder])
    assert a.value("knn:k=5.accuracy") == 0.8
    assert b.value("knn:k=5.accuracy") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mixer = 3\n", "its mixer is 3, which is not a table"),
        ("train = [5]\n", "its train is [5], which is not a table"),
        ("[mixer]\nname = 3\n", "the name of its mixer is 3, which is not a text"),
    ],
)
def test_a_run_file_of_other_types_is_damaged_and_hides_no_other_run(mixzoo, folder, text, reason):
    (folder / "a" / "run.toml").write_text(text)
    code, _, err = mixzoo("compare", folder)
    assert code == 0
    assert f"a/run.toml: {reason}" in err
    assert len(find_runs([folder])) == 4


def test_a_file_in_place_of_the_folder_of_scores_is_one_line(folder):
    (folder / "a" / "scores").write_text("")
    with pytest.raises(StorageError, match="a/scores: the folder of scores could not be made: File exists"):
        write_score(folder / "a", Score("knn:k=5", 400, {"accuracy": 0.8}))


def test_a_list_without_runs_says_what_to_do(mixzoo, folder, tmp_path):
    assert mixzoo("runs")[::2] == (0, "mixzoo: no runs in runs; `mixzoo train` makes one in runs/, and `mixzoo runs "
                                   "FOLDER` lists another folder\n")  # fmt: skip
    code, out, err = mixzoo("runs", folder, "--where", "mixer=dirichlet", "--where", "seed=0", "--json")
    assert (code, out) == (0, "[]\n")
    assert err == "mixzoo: none of the 4 runs has mixer=dirichlet and seed=0; `mixzoo runs` lists what they have\n"


@pytest.mark.parametrize("command", ["runs", "ls"])
def test_the_list_is_a_table_or_json_or_csv(mixzoo, folder, command):
    code, out, _ = mixzoo(command, folder)
    assert code == 0
    assert [line.split()[1:] for line in out.splitlines()][3][:5] == ["failed", "100/400", "amr", "mixup", "0"]
    _, out, _ = mixzoo(command, folder, "--json")
    rows = json.loads(out)
    assert [row["seed"] for row in rows] == [0, 1, 0, 3]
    assert rows[1]["config"]["mixer"] == {"name": "dirichlet", "k": 3}
    _, out, _ = mixzoo(command, folder, "--csv")
    assert [row["mixer"] for row in csv.DictReader(io.StringIO(out))] == ["mixup", "dirichlet:k=3", "mixup", "mixup"]


def test_five_hundred_runs_are_listed_and_compared_without_torch(tmp_path):
    for i in range(500):
        made(tmp_path / f"{i}", seed=i % 50, lam=i // 50, probe__best_validation_accuracy=i / 500)
    program = (
        "import sys; from mixzoo.cli.app import main\nsys.argv = ['mixzoo', *sys.argv[1:]]\ntry: main()\n"
        "finally: assert 'torch' not in sys.modules"
    )
    began = perf_counter()
    for command in ("runs", "compare"):
        done = subprocess.run([sys.executable, "-c", program, command, tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "torch" not in done.stderr
    assert perf_counter() - began < 120  # a start alone with torch in it takes seconds; benchmarks/ has the figure


# --- mixzoo rm


def test_a_run_is_removed_after_a_question_and_one_in_use_is_kept(mixzoo, folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert mixzoo("rm", folder / "a")[0] == 0
    assert (folder / "a").is_dir()
    with lock(folder / "a"):
        code, _, err = mixzoo("rm", folder / "a", "--yes")
    assert code == LockedError.exit_code
    assert re.search(r"a: process \d+ on .* is writing to it; wait for it to end, or stop it", err)
    assert mixzoo("rm", folder / "a", folder / "sweep", "--yes")[0] == 0
    assert names(find_runs([folder])) == ["b", "c"]
    assert not list(folder.glob(".tmp*"))


def test_a_run_that_is_named_twice_or_is_in_a_sweep_that_is_named_is_removed_once(mixzoo, folder):
    sweep = folder / "sweep"
    code, _, err = mixzoo("rm", folder / "a", sweep / "seed=3", sweep, folder / "deep" / ".." / "a", sweep, "--yes")
    assert (code, err) == (0, f"removed {folder / 'a'}\nremoved {sweep}\n")


def test_a_sweep_with_a_member_in_use_is_kept(mixzoo, folder):
    with lock(folder / "sweep" / "seed=3"):
        assert mixzoo("rm", folder / "b", folder / "sweep", "--yes")[0] == LockedError.exit_code
    assert names(find_runs([folder])) == ["a", "b", "c", "seed=3"]


def test_what_is_no_run_is_never_removed(mixzoo, folder, monkeypatch):
    (folder / "link").symlink_to(folder / "a")
    for path in (folder, folder / "no run", folder / "link", folder / "nothing"):
        code, _, err = mixzoo("rm", path, "--yes")
        assert (code, err.count("\n")) == (ConfigError.exit_code, 1)
        why = (
            "it is a link, so it is not removed; name"
            if path.is_symlink()
            else "it is neither a run nor a sweep, so it"
        )
        assert why in err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = mixzoo("rm", folder / "a")
    assert code == ConfigError.exit_code
    assert "give --yes to remove without asking" in err
    assert (folder / "a").is_dir()


def killed(path, text=None, **changes):
    """A run whose status says that it runs, with the lock file that a process left."""
    made(path, state="running", step=100, **changes)
    (path / ".lock").write_text(text or f"process 999999999 on {platform.node()}")
    return path


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="locks can be looked up on Linux alone")
def test_a_run_that_was_killed_is_listed_as_killed(tmp_path, mixzoo):
    killed(tmp_path / "a")
    with lock(killed(tmp_path / "b")):
        assert [(r.path.name, r.state) for r in find_runs([tmp_path])] == [("a", "killed"), ("b", "running")]
        with lock(tmp_path / "a"):  # it was not locked by that; this is a resume that has just begun
            assert [record.state for record in find_runs([tmp_path])] == ["running", "running"]
        (tmp_path / "a" / ".lock").write_text(f"process 999999999 on {platform.node()}")
        code, out, _ = mixzoo("runs", str(tmp_path), "--where", "state=killed")
        assert (code, len(out.splitlines())) == (0, 2)
        assert " killed " in out


@pytest.mark.parametrize("text", ["process 999999999 on another", "process one", "", "process ４ on {}", "x" * 300])
def test_a_run_of_another_machine_or_with_a_damaged_lock_file_stays_running(tmp_path, text):
    run = killed(tmp_path / "a", text.format(platform.node()) or " ")
    assert find_runs([run])[0].state == "running"
    (run / ".lock").unlink()
    assert find_runs([run])[0].state == "running"


def test_a_run_stays_running_where_locks_cannot_be_looked_up(tmp_path, monkeypatch):
    run = killed(tmp_path / "a")
    monkeypatch.setattr(listing, "_locked_files", set)
    assert find_runs([run])[0].state == "running"


def test_a_run_whose_locks_are_hidden_stays_running_while_its_process_has_the_file_open(tmp_path, monkeypatch):
    run = killed(tmp_path / "a", f"process {os.getpid()} on {platform.node()}")
    monkeypatch.setattr(listing, "_locked_files", lambda: {0})
    with (run / ".lock").open():
        assert find_runs([run])[0].state == "running"
    assert find_runs([run])[0].state == "killed"


def test_a_run_that_ends_while_it_is_listed_is_listed_with_its_end(tmp_path, monkeypatch):
    run = killed(tmp_path / "a")

    def ends():
        status = json.loads((run / "status.json").read_text())
        (run / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
        return {0}

    monkeypatch.setattr(listing, "_locked_files", ends)
    assert find_runs([run])[0].state == "interrupted"
