"""Sweeps of toy runs, in their own processes, as a user runs them."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

import warm
from mixzoo.core.errors import CheckpointError, LockedError, SweepError
from mixzoo.evaluation.probe import ProbeRecord
from mixzoo.runs import sweep as sweeps
from mixzoo.runs.directory import lock, write_status
from mixzoo.runs.launcher import Watch
from mixzoo.runs.sweep import Entry, Sweep, check_none_failed
from mixzoo.training.checkpoint import saved
from mixzoo.training.checkpoint_manifest import Progress, manifest_files
from mixzoo.training.logs import CLOCK, read_metrics
from simulated_cuda import install_cards
from toys import SMALL, TOYS, toy_config, toy_zoo

HERE = Path(__file__).parents[1]
PLUGIN = ["--plugin", str(HERE / "toy_parts.py")]


def environment():
    """The environment of this process, with the toy parts importable and torch's default number of threads."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "COLUMNS": "80"}


def command(*arguments):
    return [sys.executable, "-m", "mixzoo", *map(str, arguments), *PLUGIN]


def mixzoo_in(folder, *arguments):
    """Run a command, and the members of its sweep, in processes of their own: (exit code, standard output, errors)."""
    env = {**environment(), warm.EXECUTABLE: warm.python()}
    done = warm.run("-m", "mixzoo", *map(str, arguments), *PLUGIN, cwd=folder, env=env)
    return done.returncode, done.stdout, done.stderr


def metrics(run_dir):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(run_dir / "metrics.jsonl")]


def weights(run_dir):
    newest = saved(run_dir / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


def equals_the_run_alone(folder, member):
    """Whether `mixzoo train --config MEMBER/run.toml` gives the member's metrics and weights bit for bit."""
    alone = folder / f"alone-{member.name}"
    code, _, err = mixzoo_in(folder, "train", "--config", member / "run.toml", "--out", alone)
    assert code == 0, err
    assert (alone / "run.toml").read_bytes() == (member / "run.toml").read_bytes()
    assert (alone / "results.json").read_bytes() == (member / "results.json").read_bytes()
    assert len(weights(alone)) >= 3
    return metrics(alone) == metrics(member) and weights(alone) == weights(member)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep of two seeds times two weights: its directory, standard output and standard error."""
    folder = tmp_path_factory.mktemp("sweep")
    grid = ["--seeds", "1,2", "--grid", "objective.lam=5,10", "--mixer", "bernoulli:k=9"]
    code, out, err = mixzoo_in(folder, "train", *TOYS, *SMALL, *grid)
    assert code == 0, err
    (sweep_dir,) = (folder / "runs").iterdir()
    return sweep_dir, out, err


NAMES = [f"seed={seed},objective.lam={lam}" for lam in (5, 10) for seed in (1, 2)]


def test_a_sweep_directory_has_a_complete_run_for_each_member(sweep):
    sweep_dir, _, _ = sweep
    assert re.fullmatch(r"\d{8}-\d{6}-toy_data-amr-bernoulli-sweep", sweep_dir.name)
    assert {path.name for path in sweep_dir.iterdir()} == {*NAMES, "sweep.json", ".lock"}
    for name in NAMES:
        assert {path.name for path in (sweep_dir / name).iterdir()} == {
            *("run.toml", "environment.json", "status.json", "metrics.jsonl", "results.json"),
            *("pictures", "checkpoints", ".lock", "output.log"),
        }
        assert json.loads((sweep_dir / name / "status.json").read_text())["state"] == "completed"
        assert "threads = 1\n" in (sweep_dir / name / "run.toml").read_text()
        assert json.loads((sweep_dir / name / "environment.json").read_text())["threads"] == 1


@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]])
def test_training_a_members_run_file_alone_gives_the_same_run_bit_for_bit(sweep, tmp_path, name):
    assert equals_the_run_alone(tmp_path, sweep[0] / name)


def test_members_have_different_metrics(sweep):
    sweep_dir, _, _ = sweep
    assert len({str(metrics(sweep_dir / name)) for name in NAMES}) == 4


def test_progress_is_a_line_for_each_evaluation_with_the_members_name(sweep):
    _, _, err = sweep
    for name in NAMES:
        assert f"{name}: step 2/4  probe: validation" in err
        assert f"{name}: step 4/4  probe: validation" in err
        assert f"{name}: completed\n" in err
        assert err.count(f"{name}: warning: the mixer takes k=9 sources from batches of 8 images") == 1


def test_a_sweep_ends_with_the_table_that_compare_prints(sweep, mixzoo, monkeypatch):
    sweep_dir, out, _ = sweep
    monkeypatch.setenv("COLUMNS", "80")
    code, table, _ = mixzoo("compare", sweep_dir)
    assert (code, out) == (0, f"{table}sweep    runs/{sweep_dir.name}\n")
    rows = [line for line in table.splitlines() if line.startswith("│")]
    assert [re.split(" +", row)[1:4:2] for row in rows[:2]] == [["objective.lam=5.0", "2"], ["objective.lam=10.0", "2"]]
    l1 = [
        json.loads((sweep_dir / name / "results.json").read_text())["numbers"]["reconstruction.l1"]
        for name in NAMES[:2]
    ]
    assert f"{mean(l1):.4g} ± {stdev(l1):.4g}" in rows[0]
    assert "raw pixels" in rows[2]
    assert "…" not in out  # no number is cut, on a narrow screen either


def test_sweep_json_has_the_same_scores_and_means(sweep):
    sweep_dir, _, _ = sweep
    found = json.loads((sweep_dir / "sweep.json").read_text())
    assert found["command"][:2] == ["train", "--data"]
    assert [member["name"] for member in found["members"]] == NAMES
    for member in found["members"]:
        results = json.loads((sweep_dir / member["name"] / "results.json").read_text())
        assert (member["state"], member["exit"], member["steps"]) == ("completed", 0, 4)
        assert member["numbers"] == results["numbers"]
    five = [member["numbers"]["reconstruction.l1"] for member in found["members"][:2]]
    assert [average["point"] for average in found["averages"]] == [{"objective.lam": "5"}, {"objective.lam": "10"}]
    assert found["averages"][0]["runs"] == 2
    assert found["averages"][0]["mean"]["reconstruction.l1"] == mean(five)
    assert found["averages"][0]["std"]["reconstruction.l1"] == stdev(five)


def test_resuming_a_completed_sweep_shows_its_table_again_and_changes_no_run(sweep):
    sweep_dir, out, _ = sweep
    before = {file: file.stat().st_mtime_ns for name in NAMES for file in (sweep_dir / name).rglob("*")}
    assert mixzoo_in(sweep_dir.parents[1], "resume", f"runs/{sweep_dir.name}") == (0, out, "")
    assert {file: file.stat().st_mtime_ns for name in NAMES for file in (sweep_dir / name).rglob("*")} == before


def test_the_other_members_run_if_one_diverges(tmp_path):
    grid = ["--grid", "train.lr=1e30,1e-3", "--jobs", "1"]
    code, out, err = mixzoo_in(tmp_path, "train", *TOYS, *SMALL, *grid, "--out", "sweep")
    assert code == 10, err
    last = err.splitlines()[-1]
    assert last.startswith("mixzoo: 1 of 2 runs failed: train.lr=1e30 (step ")
    assert last.endswith(f". `{shlex.join(['mixzoo', 'resume', 'sweep', *PLUGIN])}` tries them again")
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    states = {member["name"]: (member["state"], member["exit"]) for member in found["members"]}
    assert states == {"train.lr=1e30": ("failed", 6), "train.lr=1e-3": ("completed", 0)}
    assert "is not finite" in found["members"][0]["reason"]
    assert [average["runs"] for average in found["averages"]] == [0, 1]
    assert re.search(r"│ all runs +│ +1 │", out)  # the one that has scores
    code, _, err = mixzoo_in(tmp_path, "resume", "sweep")  # the one that failed, which fails again
    assert code == 10
    assert "train.lr=1e-3: " not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_sweep_stopped_by_a_signal_and_resumed_has_the_same_result(tmp_path, number):
    long = ["--steps", "2500", "--batch-images", "8", "--log-every", "100", "--evaluate-every", "2500"]
    run = command("train", *TOYS, *long, "--seeds", "1,2,3", "--jobs", "2", "--out", "sweep")
    process = subprocess.Popen(run, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    run_dirs = [tmp_path / "sweep" / f"seed={seed}" for seed in (1, 2, 3)]
    logged = [run_dir / "metrics.jsonl" for run_dir in run_dirs[:2]]
    while process.poll() is None and not all(file.exists() and read_metrics(file) for file in logged):
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert err.splitlines()[-1] == (
        f"mixzoo: stopped by {number.name} with 0 of 3 completed; "
        f"`{shlex.join(['mixzoo', 'resume', 'sweep', *PLUGIN])}` continues the others"
    )
    status = [json.loads((run_dir / "status.json").read_text()) for run_dir in run_dirs]
    assert [s["state"] for s in status] == ["interrupted", "interrupted", "waiting"]
    assert [s["exit"] for s in status[:2]] == [75, 75]
    assert all(0 < s["last_committed"] < 2500 for s in status[:2])
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [m["state"] for m in found["members"]] == ["interrupted", "interrupted", "waiting"]
    assert found["members"][0]["steps"] == status[0]["last_committed"]

    code, out, err = mixzoo_in(tmp_path, "resume", "sweep/seed=1")  # alone, as any run
    assert code == 0, err
    assert "after 2500 steps" in out
    code, out, err = mixzoo_in(tmp_path, "resume", "sweep", "--jobs", "2")
    assert code == 0, err
    assert "seed=1: " not in err
    assert re.search(r"│ all runs +│ +3 │", out)
    assert equals_the_run_alone(tmp_path, run_dirs[1])


def test_resume_refuses_jobs_for_one_run_and_a_sweep_whose_plugin_is_missing(sweep, tmp_path):
    sweep_dir, _, _ = sweep
    code, _, err = mixzoo_in(tmp_path, "resume", sweep_dir / NAMES[0], "--jobs", "2")
    assert (code, err.count("\n")) == (2, 1)
    assert "--jobs 2: a single run is one process" in err
    done = warm.run("-m", "mixzoo", "resume", str(sweep_dir), env=environment(), cwd=tmp_path)
    assert done.returncode == 4
    assert "which is not loaded; add --plugin" in done.stderr


def planned_sweep(tmp_path, *names, devices=None):
    """A sweep none of whose members has started."""
    zoo, sweep_dir = toy_zoo(), tmp_path / "sweep"
    sweep_dir.mkdir()
    for name in names:
        sweeps.prepare(toy_config(zoo, device=(devices or {}).get(name, "auto")), sweep_dir / name)
    sweep = Sweep(sweep_dir, [Entry(name, {}, 0) for name in names], [])
    sweeps._write(sweep)
    return sweep


def committed(run_dir, step):
    """Write a checkpoint of this step, of a network without tensors."""
    checkpoint = run_dir / "checkpoints" / f"step-{step:08d}"
    checkpoint.mkdir(parents=True)
    for name, content in manifest_files(Progress(step, 0, ProbeRecord()), {}, "").items():
        (checkpoint / name).write_bytes(content)


@pytest.mark.bit_exact
def test_resuming_a_prepared_run_starts_it(tmp_path):
    from mixzoo.runs.run import resume, start

    planned_sweep(tmp_path, "a")
    resume(toy_zoo(), tmp_path / "sweep" / "a")
    zoo = toy_zoo()
    start(zoo, toy_config(zoo), tmp_path / "alone")
    assert metrics(tmp_path / "alone") == metrics(tmp_path / "sweep" / "a")
    assert weights(tmp_path / "alone") == weights(tmp_path / "sweep" / "a")


def test_a_process_that_writes_no_status_has_its_signal_or_last_line_as_the_reason(tmp_path):
    sweep = planned_sweep(tmp_path, "a", "b", "c", "d", "e")
    log = sweep.directory / "b" / "output.log"
    log.write_text("warning: x\nmixzoo: b: process 7 on here is writing to it; wait\n")
    (sweep.directory / "d" / "output.log").write_text("")
    for member, status in zip(sweep.members, (-9, 5, -15, 3, 130)):
        sweeps.update(sweep, member, status, stopping=member.name in "ce")
    assert [(m.state, m.reason) for m in sweep.members] == [
        ("failed", "killed by SIGKILL"),
        ("failed", "b: process 7 on here is writing to it; wait"),
        ("interrupted", "killed by SIGTERM"),
        ("failed", "exit code 3"),
        ("interrupted", "exit code 130"),  # of a run that was loading, to which a terminal's Ctrl-C came directly
    ]
    with pytest.raises(
        SweepError, match=r"3 of 5 runs failed: a \(killed by SIGKILL\); b \(b: process 7 .* it\); d \("
    ):
        check_none_failed(sweep)


def test_the_steps_of_a_killed_member_are_those_of_its_newest_checkpoint(tmp_path):
    """Its status.json may be older, because the process was killed between writing the two."""
    sweep = planned_sweep(tmp_path, "a")
    committed(sweep.directory / "a", 30)
    sweeps.update(sweep, sweep.members[0], -9, stopping=False)
    assert (sweep.members[0].state, sweep.members[0].steps) == ("failed", 30)


def test_a_member_that_fails_again_has_its_new_reason(tmp_path, monkeypatch):
    """Even if its new process writes no status and has the same exit code as the old one."""
    sweep = planned_sweep(tmp_path, "a")
    committed(sweep.directory / "a", 30)
    write_status(sweep.directory / "a", "failed", 1, "the old reason")
    stand_in(monkeypatch, tmp_path, "echo 'the new reason' >&2; exit 1")
    (member,) = sweeps.resume(toy_zoo(), sweep.directory, 1, Watch(), []).members
    assert (member.state, member.exit, member.reason, member.steps) == ("failed", 1, "the new reason", 30)


def test_a_signal_without_a_name_is_given_by_its_number(tmp_path):
    sweep = planned_sweep(tmp_path, "a")
    sweeps.update(sweep, sweep.members[0], -35, stopping=False)
    assert sweep.members[0].reason == "killed by signal 35"


@pytest.mark.parametrize(
    "content",
    ["{}", '{"command": [], "members": [{}]}', '{"command": [], "members": [NAME]}', '{"command": [], "members": 3}'],
)
def test_a_damaged_table_of_members_is_named_in_the_error(tmp_path, content):
    sweep = planned_sweep(tmp_path, "a")
    row = json.loads((sweep.directory / "sweep.json").read_text())["members"][0] | {"name": "../elsewhere"}
    (sweep.directory / "sweep.json").write_text(content.replace("NAME", json.dumps(row)))
    with pytest.raises(
        CheckpointError, match=r"sweep\.json: its table of members is damaged .* `mixzoo resume MEMBER`"
    ):
        sweeps.resume(toy_zoo(), sweep.directory, None, Watch(), [])


def test_interpolate_asks_for_one_run_of_a_sweep(mixzoo, tmp_path):
    planned_sweep(tmp_path, "seed=1", "seed=2")
    code, out, err = mixzoo("interpolate", "sweep")
    assert (code, out) == (4, "")
    assert err == "mixzoo: sweep: it is a sweep; name one of its runs, such as sweep/seed=1\n"


def test_resume_fails_if_a_member_is_still_running(tmp_path):
    sweep = planned_sweep(tmp_path, "a", "b")
    before = (sweep.directory / "sweep.json").read_bytes()
    held = lock(sweep.directory / "b")
    with held, pytest.raises(LockedError, match=r"sweep/b: process \d+ on .* is writing to it; wait"):
        sweeps.resume(toy_zoo(), sweep.directory, 1, Watch(), [])
    assert (sweep.directory / "sweep.json").read_bytes() == before
    assert not (sweep.directory / "a" / "output.log").exists()


def test_as_many_members_run_at_once_as_the_cores_have_threads_for_and_four_on_each_gpu(monkeypatch):
    def at_once(*devices, **numbers):
        configs = {d: toy_config(toy_zoo(), device=d, **numbers) for d in devices or ["auto"]}
        return sweeps._at_once(None, configs, sweeps._gpu_pool(configs))

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert at_once(threads=1) == 8
    assert at_once(threads=3) == 2
    assert at_once(threads=16) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert at_once(threads=0) == 2
    with_gpus(monkeypatch, "0,1,2")
    assert at_once() == at_once("auto", "cuda:1") == 12
    assert at_once("cuda:1") == at_once("cuda:1", "cpu") == 4
    assert at_once("cpu", threads=1) == 8
    assert sweeps._at_once(7, {}, sweeps.GpuPool({}, [])) == 7


def stand_in(monkeypatch, tmp_path, script):
    """Members run this script instead of mixzoo."""
    file = tmp_path / "stand-in"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))


def test_the_keys_that_may_change_are_passed_to_the_members(mixzoo, tmp_path, monkeypatch):
    planned_sweep(tmp_path, "a")
    stand_in(monkeypatch, tmp_path, 'echo "$@" >&2; exit 3')
    code, _, err = mixzoo("resume", "sweep", "--allow-change", "train.lr", "--allow-change", "mixer")
    assert code == 10
    assert "sweep/a --allow-change train.lr --allow-change mixer" in err


def with_gpus(monkeypatch, names):
    """As if this process had these GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    install_cards(monkeypatch, len(names.split(",")))


def test_members_are_spread_over_the_gpus_that_the_sweep_may_use(tmp_path, monkeypatch):
    """A stand-in for their command prints the GPUs it sees. A member that names its GPU sees all, and uses that one."""
    with_gpus(monkeypatch, "4, 7")
    stand_in(
        monkeypatch, tmp_path, 'echo "gpu $CUDA_VISIBLE_DEVICES for ${MIXZOO_RUNS_PER_GPU:-1}" >&2; sleep 0.5; exit 3'
    )
    sweep = planned_sweep(tmp_path, *"abcdef", devices={"b": "cuda:1", "d": "cpu", "e": "cuda"})
    sweep = sweeps.resume(toy_zoo(), sweep.directory, None, Watch(), [])
    assert {member.name: member.reason for member in sweep.members} == {
        "a": "gpu 4 for 3",
        "b": "gpu 4, 7 for 4",
        "c": "gpu 4 for 3",
        "d": "gpu 4, 7 for 1",
        "e": "gpu 7 for 4",
        "f": "gpu 4 for 3",
    }


def test_a_terminal_shows_a_row_for_each_run(monkeypatch):
    from mixzoo.cli.sweep import watch_for

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    watch = watch_for()
    watch.close()
    assert screen.getvalue() == ""  # nothing before a run starts: a refusal is one line
    watch = watch_for()
    watch.started("seed=1")
    watch.line("seed=1", "step 2/4  probe: validation 50.0 %")
    watch.ended("seed=1", "completed")
    watch.close()
    last = screen.getvalue().rsplit("latest", 1)[1]
    assert re.search(r"seed=1 +completed +step 2/4  probe: validation 50.0 %", last)


def test_a_deleted_member_is_made_again_and_the_others_stay_readable(sweep, tmp_path):
    """It is trained again to the same metrics and weights."""
    sweep_dir = Path(shutil.copytree(sweep[0], tmp_path / "sweep"))
    before = metrics(sweep_dir / NAMES[1]), weights(sweep_dir / NAMES[1])
    shutil.rmtree(sweep_dir / NAMES[1])
    code, out, err = mixzoo_in(tmp_path, "resume", sweep_dir)
    assert code == 0, err
    assert out == sweep[1].replace(f"runs/{sweep[0].name}", str(sweep_dir))
    assert (metrics(sweep_dir / NAMES[1]), weights(sweep_dir / NAMES[1])) == before
    assert f"{NAMES[1]}: completed" in err
    assert f"{NAMES[0]}: " not in err  # the others do not run again


def test_a_member_that_cannot_be_read_has_failed_and_the_others_run(tmp_path, monkeypatch):
    sweep = planned_sweep(tmp_path, "a", "b")
    (sweep.directory / "a" / "run.toml").write_text("[]")
    stand_in(monkeypatch, tmp_path, "exit 4")
    a, b = sweeps.resume(toy_zoo(), sweep.directory, 1, Watch(), []).members
    assert (a.state, b.state) == ("failed", "failed")
    assert "run.toml" in a.reason
    assert b.reason == "exit code 4"


@pytest.mark.parametrize("damage", ["status.json", "environment.json"])
def test_a_member_with_a_damaged_file_that_is_derived_goes_on(tmp_path, monkeypatch, damage):
    sweep = planned_sweep(tmp_path, "a", "b")
    (sweep.directory / "a" / damage).write_text("[]")
    stand_in(monkeypatch, tmp_path, "exit 4")
    a, b = sweeps.resume(toy_zoo(), sweep.directory, 1, Watch(), []).members
    assert (a.reason, b.reason) == ("exit code 4", "exit code 4")


def test_a_deleted_member_of_an_older_sweep_cannot_be_made_again(tmp_path, monkeypatch):
    sweep = planned_sweep(tmp_path, "a", "b")
    shutil.rmtree(sweep.directory / "a")
    stand_in(monkeypatch, tmp_path, "exit 4")
    a, _ = sweeps.resume(toy_zoo(), sweep.directory, 1, Watch(), []).members
    assert a.state == "failed"
    assert "it is gone, and sweep.json was written by an older mixzoo, without its run file" in a.reason
