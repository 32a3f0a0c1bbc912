"""The Slurm launcher without Slurm: its calls of sbatch and squeue, and what a job does (with: test_on_slurm.py)."""

import os
import re
import sys
import time
from importlib.util import find_spec

import pytest

from mixzoo import ConfigError, Job, Lost
from mixzoo_launchers import member, slurm
from mixzoo_launchers.member import Member, stop
from mixzoo_launchers.slurm import Slurm, SlurmTask, Squeue
from mixzoo_launchers.slurm_job import ENDED, SUBMITTED, Group, read, write

POLITE = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); "
    "print('ready', file=sys.stderr, flush=True); time.sleep(60)"
)


def job_of(tmp_path, code, name="a", **environment):
    directory = tmp_path / name
    directory.mkdir(exist_ok=True)
    return Job(name, directory, (sys.executable, "-c", code), directory / "output.log", tmp_path, environment)


def ended(part):
    until = time.monotonic() + 60
    while (code := part.poll()) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    return code


def began(job):
    until = time.monotonic() + 60
    while not (job.log.exists() and "ready" in job.log.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)


def command(tmp_path, monkeypatch, name, script):
    """Put a shell script into PATH."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    if not os.environ["PATH"].startswith(str(folder)):
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("submitit", r"launcher 'slurm' needs the package submitit: pip install 'mixzoo\[slurm\]'"),
        (
            "squeue",
            "launcher 'slurm' needs Slurm's command squeue, which this machine lacks: go to one of the cluster's",
        ),
    ],
)
def test_what_is_missing_is_one_line_before_anything_is_made(mixzoo, tmp_path, monkeypatch, lacks, message):
    monkeypatch.setattr(slurm, "find_spec", lambda name: None if name == lacks else True)
    monkeypatch.setattr(slurm, "which", lambda name: None if name == lacks else name)
    for more in ([], ["--seeds", "1,2"]):
        code, _, err = mixzoo("train", "--data", "toy_data", "--on", "slurm", *more)
        assert (code, err.count("\n")) == (2, 1)
        assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("submitit") is None, reason="needs submitit")
@pytest.mark.parametrize(
    ("options", "says", "message"),
    [
        ("", "sbatch: error: fetch_config: DNS\nsbatch: fatal: no configuration source", "no configuration source"),
        (
            ":partition=huge,memory=0.5,runs_per_gpu=2",
            "sbatch: error: invalid partition specified: huge",
            "specified: huge",
        ),
        (":qos=high", "", "failed"),
    ],
)
def test_a_job_that_slurm_would_not_take_is_one_line_before_anything_is_made(
    mixzoo, tmp_path, monkeypatch, options, says, message
):
    elsewhere = tmp_path.parent / f"{tmp_path.name}-slurm"
    elsewhere.mkdir()
    for name in ("srun", "squeue"):
        command(elsewhere, monkeypatch, name, "exit 1")
    command(elsewhere, monkeypatch, "sbatch", f'echo "$@" > {elsewhere}/given; echo "{says}" >&2; exit 1')
    for more in ([], ["--seeds", "1,2"]):
        code, _, err = mixzoo("train", "--data", "toy_data", "--on", f"slurm{options}", *more)
        assert (code, err.count("\n")) == (2, 1)
        assert re.search(rf"launcher 'slurm': Slurm would not take such a job \(.*{message}.*\); see .* `sinfo`", err)
    assert list(tmp_path.iterdir()) == []
    given = (elsewhere / "given").read_text().split()
    assert given[0] == "--test-only"
    assert set(given) >= {"--time=240", "--cpus-per-task=1", "--wrap=true"}
    if "partition" in options:
        assert set(given) >= {"--partition=huge", "--mem=512M", "--gpus-per-node=1"}


def test_a_warning_before_the_beginning_of_a_job_is_refused():
    with pytest.raises(
        ConfigError, match=r"warning=120 seconds are not less than time=2 minutes.*; give more time= or"
    ):
        Slurm(time=2).check()


def test_a_job_ends_as_it_has_written_or_is_lost_if_squeue_knows_it_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "GONE_SECONDS", 0.0)
    command(tmp_path, monkeypatch, "squeue", f"cat {tmp_path}/jobs; exit $(cat {tmp_path}/code)")
    (tmp_path / "code").write_text("0")
    jobs, task = tmp_path / "jobs", SlurmTask(tmp_path, "7_1", Squeue())
    for state in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"):
        jobs.write_text(f"7_0 FAILED\n7_1 {state}\n")
        assert task.poll() is None
    jobs.write_text("7_0 RUNNING\n")
    (tmp_path / "code").write_text("1")  # the controller is down: nothing is known
    assert task.poll() is None
    (tmp_path / "code").write_text("0")
    assert task.poll() == Lost("its job 7_1 has ended without a word (no longer known to Slurm)")
    jobs.write_text("7_1 NODE_FAIL\n")
    assert task.poll() == Lost("its job 7_1 has ended without a word (NODE_FAIL)")
    jobs.write_text("7_1 CANCELLED\n")
    assert task.poll() == Lost("its job 7_1 was cancelled", again=False)
    write(tmp_path / ENDED, {"job": "6", "exit": 3, "reason": ""})  # of an earlier job
    assert task.poll() == Lost("its job 7_1 was cancelled", again=False)
    write(tmp_path / ENDED, {"job": "7_1", "exit": 6, "reason": ""})
    assert task.poll() == 6
    write(tmp_path / ENDED, {"job": "7_1", "exit": None, "reason": "too often"})
    assert task.poll() == Lost("too often", again=False)


def test_a_run_that_is_in_the_queue_is_found_there_again(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "squeue", f"cat {tmp_path}/jobs; exit $(cat {tmp_path}/code)")
    job = job_of(tmp_path, "pass")
    assert Slurm().attach(job) is None
    write(job.directory / SUBMITTED, {"job": "7_1"})
    (tmp_path / "jobs").write_text("7_1 PENDING\n")
    (tmp_path / "code").write_text("0")
    assert Slurm().attach(job).job == "7_1"
    (tmp_path / "jobs").write_text("7_1 CANCELLED\n")
    assert Slurm().attach(job) is None
    (tmp_path / "code").write_text("1")
    with pytest.raises(
        ConfigError, match=r"^launcher 'slurm': squeue does not answer \(failed\), so no job is begun twice"
    ):
        Slurm().attach(job)


@pytest.mark.skipif(find_spec("submitit") is None, reason="needs submitit")
def test_runs_of_a_gpu_share_a_job_of_an_array_with_the_options_that_were_given(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "srun", "exit 1")
    command(tmp_path, monkeypatch, "sbatch", f"cat $1 > {tmp_path}/script; echo Submitted batch job 12")
    jobs = [job_of(tmp_path, "pass", name) for name in "abcde"]
    write(jobs[0].directory / ENDED, {"job": "3", "exit": 0})
    given = Slurm(partition="gpu", time=90, runs_per_gpu=2, cpus=3, memory=1.5, account="us")
    tasks = given.begin_all(jobs, 3)
    assert [task.job for task in tasks] == ["12_0", "12_0", "12_1", "12_1", "12_2"]
    assert [read(job.directory / SUBMITTED)["job"] for job in jobs] == [task.job for task in tasks]
    assert read(jobs[0].directory / ENDED) == {}
    script = (tmp_path / "script").read_text()
    for line in ("partition=gpu", "time=90", "cpus-per-task=6", "mem=3GB", "account=us", "gpus-per-node=1", "requeue"):
        assert re.search(rf"^#SBATCH --{line}$", script, re.MULTILINE), (line, script)
    assert "#SBATCH --signal=USR2@120" in script
    assert "#SBATCH --array=0-2%2" in script
    command(tmp_path, monkeypatch, "sbatch", "echo sbatch: error: invalid partition specified: gpu >&2; exit 1")
    with pytest.raises(ConfigError, match=r"^launcher 'slurm': sbatch: error: invalid partition specified: gpu"):
        given.begin(jobs[0])


def test_a_run_whose_directory_is_locked_is_begun_again_until_it_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(member, "AGAIN_SECONDS", 0.05)
    code = f"import pathlib, sys; sys.exit(0 if pathlib.Path({str(tmp_path / 'free')!r}).exists() else 5)"
    locked = Member(job_of(tmp_path, code))
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert locked.poll() is None
    (tmp_path / "free").touch()
    assert ended(locked) == 0
    monkeypatch.setattr(member, "LOCKED_SECONDS", 0.0)
    (tmp_path / "free").unlink()
    assert ended(Member(job_of(tmp_path, code))) == 5


def test_a_run_that_was_stopped_alone_goes_on_in_its_job(tmp_path, monkeypatch):
    monkeypatch.setattr(member, "OWN_STOP_SECONDS", 0.05)
    second = str(tmp_path / "second")
    code = f"import pathlib, sys; p = pathlib.Path({second!r}); sys.exit(0 if p.exists() else p.touch() or 75)"
    assert ended(Member(job_of(tmp_path, code))) == 0


def test_runs_are_stopped_by_one_signal_and_those_that_have_ended_keep_their_exit_codes(tmp_path):
    jobs = [job_of(tmp_path, code, name) for name, code in {"a": POLITE, "b": "raise SystemExit(6)"}.items()]
    members = [Member(job) for job in jobs]
    assert ended(members[1]) == 6
    began_or_begin = members[0].poll()
    assert began_or_begin is None
    began(jobs[0])
    stop(members, signal_seconds=0.0)
    assert [member.poll() for member in members] == [75, 6]


@pytest.mark.skipif(find_spec("submitit") is None, reason="needs submitit")
def test_a_job_writes_how_its_runs_ended_and_queues_the_rest_again(tmp_path, monkeypatch):
    monkeypatch.setattr(member, "SIGNAL_SECONDS", 0.0)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    done, slow = job_of(tmp_path, "raise SystemExit(6)"), job_of(tmp_path, POLITE, "slow")
    Group((done,), 3)()
    assert read(done.directory / ENDED) == {"job": "12_3", "exit": 6, "reason": ""}
    group = Group((done, slow), 3)
    group.members = [Member(slow)]
    group.members[0].poll()
    began(slow)
    again = group.checkpoint().function
    assert (again.jobs, again.stops, again.members) == ((done, slow), 1, [])
    assert read(slow.directory / ENDED) == {}
    monkeypatch.setenv("SLURM_RESTART_COUNT", "5")  # one of them was a stop in time
    again()
    assert read(slow.directory / ENDED)["reason"] == "its job was lost 4 times, with the node or what Slurm runs there"
    assert read(done.directory / ENDED)["exit"] == 6
    assert Group((done,), 3).checkpoint() is None
