"""mixzoo track: a logger gets each step of a run once, whatever happens to the run, and a run is only read."""

import json
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from mixzoo import CheckpointError, ConfigError, LockedError, PluginError
from mixzoo.evaluation.pictures.grid import Row, save_png, sheet
from mixzoo.registry import session
from mixzoo.registry.zoo import Plugin, RegisteredPart, Zoo, load_zoo
from mixzoo.runs import api, log_process
from mixzoo.runs.directory import lock
from mixzoo.runs.listing import find_runs
from mixzoo.runs.tracking import Tracker, logger_named, track_runs
from toys import TOYS

PAGE = Path(__file__).parents[2] / "docs" / "write_a_logger.md"


@dataclass(frozen=True)
class Recorder:
    """Appends what it gets to a list."""

    fails_at: int = 0  # step
    calls: ClassVar[list] = []

    def open(self, run):
        self.calls.append(("open", run.name, dict(run.settings)))
        return self

    def scalars(self, step, values):
        if step == self.fails_at:
            raise OSError("no network")
        self.calls.append((step, *values))

    def picture(self, step, path):
        self.calls.append((step, path.name))

    def finish(self, results):
        self.calls.append(("finish", results))

    def close(self):
        self.calls.append(("close",))


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder.calls


def zoo_with(recipe):
    plugin = Plugin("acme", "acme", "1")
    return Zoo([plugin], [RegisteredPart("logger", "recorder", plugin, recipe)])


ZOO = zoo_with(Recorder)


def write(run, *, train=(), evaluate=(), state="running", results=None, started="noon", committed=0):
    """The files of a run with these steps, as the run writes them."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.toml").write_text('[mixer]\nname = "mixup"\nk = 2\n\n[train]\nseed = 0\nsteps = 8\n')
    (run / "environment.json").write_text(json.dumps({"started": started}))
    lines = [{"kind": "train", "step": step, "D(real)": step / 4, "images_per_second": 9.0} for step in train]
    lines += [{"kind": "evaluate", "step": step, "validation_accuracy": 0.5} for step in evaluate]
    lines.sort(key=lambda line: line["step"])
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in evaluate:
        save_png(sheet([Row("mix", torch.zeros(2, 1, 8, 8))]), run / "pictures" / f"step-{step:08d}.png")
    if results:
        found = {"steps": committed, "scored_step": committed, "numbers": results, "better": {}}
        (run / "results.json").write_text(json.dumps(found))
    status = {"state": state, "exit": 0, "last_committed": committed or None, "reason": ""}
    (run / "status.json").write_text(json.dumps(status))


def track(run, logs, *, zoo=ZOO, to="recorder", **more):
    return track_runs(zoo, find_runs([run]), to, logs, **more)


def test_a_second_call_adds_only_what_is_new_and_the_run_is_only_read(tmp_path, calls):
    run, logs = tmp_path / "run", tmp_path / "logs"
    write(run, train=(2, 4), evaluate=(4,))
    assert track(run, logs) == [logs / "recorder" / "run"]
    settings = {"mixer.name": "mixup", "mixer.k": 2, "train.seed": 0, "train.steps": 8}
    first = [
        ("open", "run", settings), (2, "D/real", "images_per_second"), (4, "D/real", "images_per_second"),
        (4, "validation_accuracy"), (4, "step-00000004.png"), ("close",),
    ]  # fmt: skip
    assert calls == first

    # The end of the run, then a score that is added later.
    write(run, train=(2, 4, 6, 8), evaluate=(4, 8), state="completed", results={"probe.test": 0.5}, committed=8)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    track(run, logs)
    assert [call[0] for call in calls[len(first) :]] == ["open", 6, 8, 8, 8, "finish", "close"]
    assert calls[-2] == ("finish", {"probe.test": 0.5})
    track(run, logs)
    assert calls[-1] == ("close",)
    assert len(calls) == len(first) + 7
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_a_follow_over_a_kill_and_a_resume_has_every_step_once(tmp_path, calls):
    """The run is killed after step 5, with a checkpoint at step 3: the resumed run writes steps 4 and 5 again."""
    run = tmp_path / "run"
    write(run, train=(1, 2, 3, 4, 5), evaluate=(4,), committed=3)
    later = iter([
        {"train": (1, 2, 3), "evaluate": (), "committed": 3},  # metrics cut back; the picture of step 4 stays
        {"train": (1, 2, 3, 4), "evaluate": (4,), "committed": 3},
        {"train": range(1, 9), "evaluate": (4, 8), "state": "completed", "results": {"a": 1.0}, "committed": 8},
    ])  # fmt: skip
    track(run, tmp_path / "logs", follow=True, wait=lambda: write(run, **next(later)))
    assert [call[0] for call in calls] == ["open", 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8, 8, "finish", "close"]
    assert next(later, None) is None


def test_a_logger_that_fails_is_one_error_and_the_next_call_goes_on_after_what_it_has(tmp_path, calls):
    run, logs = tmp_path / "run", tmp_path / "logs"
    write(run, train=(1, 2, 3))
    message = re.escape("logger 'recorder' (plugin 'acme' of acme 1): scalars raised OSError: no network")
    with pytest.raises(PluginError, match=message):
        track(run, logs, to="recorder:fails_at=2")
    assert [call[0] for call in calls] == ["open", 1, "close"]
    track(run, logs)
    assert [call[0] for call in calls[3:]] == ["open", 2, 3, "close"]


def test_a_log_of_another_run_is_refused(tmp_path, calls):
    run, logs = tmp_path / "run", tmp_path / "logs"
    write(run, train=(1,), committed=1)
    (folder,) = track(run, logs)
    write(tmp_path / "other" / "run", train=(1,))
    with pytest.raises(ConfigError, match=f"holds the log of {run}; give another folder with --logs"):
        track(tmp_path / "other" / "run", logs)
    write(run, train=(1,), started="later", committed=1)
    with pytest.raises(ConfigError, match=r"holds the log of an earlier run in .*run, started noon; remove it"):
        track(run, logs)
    with lock(folder), pytest.raises(LockedError, match="is writing to it"):
        track(run, logs)


@pytest.mark.parametrize("follow", [False, True])
def test_two_runs_of_one_name_are_refused_before_either_is_logged(tmp_path, calls, follow):
    for folder in ("a", "b"):
        write(tmp_path / folder / "run", train=(1,), state="completed")
    records = find_runs([tmp_path])
    with pytest.raises(ConfigError, match=r"b/run: its log would be in .*recorder/run, as that of .*a/run; track them"):
        track_runs(ZOO, records, "recorder", tmp_path / "logs", follow=follow)
    assert calls == []
    twice = [records[0], records[0]]  # the same run is no other one
    assert track_runs(ZOO, twice, "recorder", tmp_path / "logs", follow=follow) == [tmp_path / "logs/recorder/run"]
    assert [call[0] for call in calls] == ["open", 1, "close"]


@pytest.mark.parametrize("follow", [False, True])
def test_runs_beside_damaged_ones_are_logged_before_the_error(tmp_path, calls, follow):
    for name in ("a", "b", "c"):
        write(tmp_path / "runs" / name, train=(1,), state="completed")
    for name in ("a", "b"):
        (tmp_path / "runs" / name / "status.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"a/status\.json: cannot be read: .*; and 1 more$"):
        track(tmp_path / "runs", tmp_path / "logs", follow=follow)
    assert [call[:2] for call in calls] == [("open", "c"), (1, "D/real"), ("close",)]


def test_only_finite_numbers_are_logged(tmp_path, calls):
    run = tmp_path / "run"
    write(run)
    huge = "1" + "0" * 400
    (run / "metrics.jsonl").write_text(f'{{"kind": "train", "step": 1, "a": NaN, "b": {huge}, "c": true, "d": 2}}\n')
    track(run, tmp_path / "logs")
    assert calls[1] == (1, "d")


def test_what_no_logger_can_take_is_one_line(tmp_path):
    run = tmp_path / "run"
    write(run, train=(1,))

    @dataclass(frozen=True)
    class Shut:
        pass

    @dataclass(frozen=True)
    class Silent:
        def open(self, run):
            return None

    @dataclass(frozen=True)
    class Nosy:
        def open(self, run, more):
            return None

    with pytest.raises(PluginError, match=r"cannot be called with only a run: missing .*; expected open\(run\) -> a"):
        log_process.log_to(zoo_with(Nosy), "recorder")  # before a run is made
    with pytest.raises(PluginError, match=r"is not a valid Logger: it lacks open; expected open\(run\) -> a session"):
        track(run, tmp_path / "logs", zoo=zoo_with(Shut))
    with pytest.raises(PluginError, match=r"open returned None; expected open\(run\) -> a session with scalars"):
        track(run, tmp_path / "logs", zoo=zoo_with(Silent))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train"}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot be read: line 2 is"):
        track(run, tmp_path / "logs")
    logger, contract, _ = logger_named(ZOO, "recorder")
    (record,) = find_runs([run])
    (run / "run.toml").unlink()
    gone = pytest.raises(CheckpointError, match="run: no run is there any more")
    with Tracker(logger, contract, record, tmp_path / "gone") as tracker, gone:
        tracker.replay()


def lines_logger():
    """The plugin of docs/write_a_logger.md."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "Lines" in block)
    return code


def test_the_logger_of_the_page_logs_a_run_of_a_sweep_by_the_command(tmp_path, mixzoo):
    (tmp_path / "lines.py").write_text(lines_logger())
    write(tmp_path / "runs" / "many" / "seed=1", train=(2,), state="completed", results={"a": 1.0}, committed=2)
    (tmp_path / "runs" / "many" / "sweep.json").write_text("{}")
    code, out, err = mixzoo("track", "runs", "--to", "lines", "--plugin", "lines.py", "--follow")
    assert (code, out, err) == (0, "runs/many/seed=1: logged in logs/lines/many/seed=1\n", "")
    lines = (tmp_path / "logs" / "lines" / "many" / "seed=1" / "lines.txt").read_text().splitlines()
    assert lines == ["2 {'D/real': 0.5, 'images_per_second': 9.0}", "scores {'a': 1.0}"]
    code, _, err = mixzoo("track", "runs", "--to", "linse", "--plugin", "lines.py")
    assert code == 2
    assert "unknown logger 'linse'" in err
    (tmp_path / "empty").mkdir()
    assert mixzoo("track", "empty", "--to", "lines")[2].startswith("mixzoo: empty: no runs found")


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs mixzoo[tensorboard]")
@pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports
def test_tensorboard_reads_the_log_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    write(run, train=(2, 4), evaluate=(4,))
    (folder,) = track(run, tmp_path / "logs", zoo=load_zoo(), to="tensorboard")
    write(run, train=(2, 4, 6), evaluate=(4,), state="completed", results={"probe.test": 0.5}, committed=6)
    track(run, tmp_path / "logs", zoo=load_zoo(), to="tensorboard")
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    assert [(point.step, point.value) for point in found.Scalars("D/real")] == [(2, 0.5), (4, 1.0), (6, 1.5)]
    assert [point.step for point in found.Scalars("validation_accuracy")] == [4]
    assert [point.step for point in found.Images("pictures")] == [4]
    assert [point.value for point in found.Scalars("probe.test")] == [0.5]


def test_a_missing_tensorboard_names_the_extra(tmp_path, monkeypatch):
    run = tmp_path / "run"
    write(run, train=(1,))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"needs the package tensorboard: pip install 'mixzoo\[tensorboard\]'"):
        track(run, tmp_path / "logs", zoo=load_zoo(), to="tensorboard")


BROKEN = """
from dataclasses import dataclass
from mixzoo import hookimpl

@dataclass(frozen=True)
class Broken:
    \"\"\"Never opens.\"\"\"

    def open(self, run):
        raise OSError("no network")

@hookimpl
def mixzoo_loggers():
    return {"broken": Broken}
"""


def test_a_logger_that_fails_beside_a_training_run_warns_once_and_ends_nothing(tmp_path, mixzoo, monkeypatch):
    """The process that a run starts; its standard input is at its end here, as if the run had ended."""
    (tmp_path / "broken.py").write_text(BROKEN)
    write(tmp_path / "run", train=(1, 2))
    niceness = []
    monkeypatch.setattr("os.nice", niceness.append)
    monkeypatch.setattr("mixzoo.cli.track._stdin_is_open", lambda: False)
    code, out, err = mixzoo("track", "run", "--to", "broken", "--plugin", "broken.py", "--while-stdin-is-open")
    assert (code, out, niceness) == (0, "", [10])
    assert err.startswith("mixzoo: warning: logger 'broken' (plugin 'broken' of broken.py ")
    assert err.endswith("; the run is not affected; `mixzoo track run --to broken` logs it later\n")
    assert err.count("\n") == 1


def test_a_run_is_logged_by_a_process_that_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.py").write_text(lines_logger())
    run = tmp_path / "run"
    write(run, state="failed")  # as a resume finds it
    with log_process.logged(run, to="lines", flags=["--plugin", "lines.py"]):
        write(run, train=(2,), state="completed", results={"a": 1.0}, committed=2)
    lines = (tmp_path / "logs" / "lines" / "run" / "lines.txt").read_text().splitlines()
    assert lines == ["2 {'D/real': 0.5, 'images_per_second': 9.0}", "scores {'a': 1.0}"]


def test_a_run_that_is_logged_as_it_trains_starts_one_process_and_waits_for_it(tmp_path, monkeypatch, capsys):
    """Its log is that of `mixzoo track`; if it cannot be started, the run trains without it."""
    run, python = tmp_path / "run", tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{tmp_path}/started"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with log_process.logged(run, to="tensorboard", flags=["--no-plugins"]):
        pass
    arguments = [str(run), "--to", "tensorboard", "--while-stdin-is-open", "--no-plugins"]
    assert (tmp_path / "started").read_text().splitlines() == ["-m", "mixzoo", "track", *arguments]
    assert capsys.readouterr().err == ""
    python.unlink()
    with log_process.logged(run, to="tensorboard"):
        pass
    warning = "mixzoo: warning: logger 'tensorboard' could not be started: No such file or directory\n"
    assert capsys.readouterr().err == warning


def test_a_log_that_cannot_be_kept_beside_a_training_is_refused_before_it(mixzoo):
    code, _, err = mixzoo("train", "--seeds", "1,2", "--log-to", "tensorboard")
    assert code == 2
    assert "--log-to tensorboard: a sweep is logged from another terminal, with `mixzoo track SWEEP" in err
    code, _, err = mixzoo("train", *TOYS, "--log-to", "tensorbord")
    assert (code, "unknown logger 'tensorbord'" in err) == (2, True)
    entry = RegisteredPart("logger", "mine", Plugin(session.NAME, session.NAME, "1"), Recorder)
    with pytest.raises(ConfigError, match="logger 'mine' was registered in this process, and a run is"):
        log_process.log_to(Zoo([entry.plugin], [entry]), "mine")
    with pytest.raises(ConfigError, match="log_to is for a single run"):
        api.train(mixer="mixup", seeds=[1, 2], log_to="tensorboard")
