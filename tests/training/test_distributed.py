"""Two processes that share each batch do what one does; where one fails or is stopped, both end."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from time import monotonic

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mixzoo.core.errors import ConfigError, MixzooError
from mixzoo.evaluation.codes import encode
from mixzoo.runs.run import resume, start
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import saved
from mixzoo.training.devices import pick_device
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext, joined
from mixzoo.training.engine import build_engine
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics
from mixzoo.training.parallel_checks import check_batch_divides, check_parallel
from mixzoo.training.signals import StopTogether
from toys import toy_config, toy_zoo
from two_processes import (
    CASES,
    all_cases,
    alone,
    begin_differently,
    drifts,
    goes_on,
    in_two,
    is_asked_to_stop,
    is_killed,
    meets_a_bad_number,
    raises,
    trains,
)

QUICK = ("amr, bernoulli of three", "amr, clipped", "a mixer that learns", "amr_supervised, two mixes")
ROUNDING = 1e-13  # of a player's largest gradient, in float64; measured up to 4e-15
DRIFT = 1e-9  # relative, of what 20 steps report; measured up to 2e-11, with norms before which biases have no gradient
WEIGHTS = 1e-7  # after 20 steps of up to 1e-3; measured up to 2e-8, of biases before norms, whose gradient is rounding
NUMBERS = {"steps": 12, "log_every": 1, "evaluate_every": 6, "checkpoint_every": 4}
FLAGS = {"objective": "amr:beta=0.1", "mixer": "dirichlet:k=3", "autoencoder": "toy_net:dropout=0.2"}


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What two processes come to in a case; those of one group of cases are run together."""
    done = {}

    def found(name):
        group = QUICK if name in QUICK else tuple(case for case in CASES if case not in QUICK)
        if group not in done:
            done[group] = tmp_path_factory.mktemp("cases")
            assert in_two(all_cases, done[group], group) == [0, 0]
        return load_file(done[group] / f"{name}.safetensors")

    return found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_two_processes_have_the_gradients_reports_and_weights_of_one(name, of_two):
    one, two = alone(name), of_two(name)
    assert one.keys() == two.keys()
    for player in ("autoencoder", "discriminator", "probe"):
        own = [key for key in one if key.startswith(f"gradient/{player}/")]
        largest = max((one[key].abs().max().item() for key in own), default=0)
        for key in own:
            torch.testing.assert_close(two[key], one[key], rtol=0, atol=ROUNDING * largest)
    reports = [key for key in one if key.startswith("report/")]
    assert len({key.split("/")[1] for key in reports}) == 20
    for key in reports:
        torch.testing.assert_close(two[key], one[key], rtol=DRIFT, atol=DRIFT)
    weights = [key for key in one if key.startswith("weight/")]
    assert {key.split("/")[1] for key in weights} >= {"autoencoder", "probe"}
    for key in weights:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=WEIGHTS)


def test_codes_of_other_processes_teach_the_encoder(of_two, monkeypatch):
    """Without the way back through the gathered codes the gradients are others: the equality above is no accident."""
    (name,) = [name for name in QUICK if "bernoulli" in name]
    one = alone(name)
    with monkeypatch.context() as cut:
        cut.setattr("mixzoo.training.batch.gather_sources", cut_off_partners)
        without = alone(name)
    key = "gradient/autoencoder/0"
    assert (without[key] - one[key]).abs().max() > 1e-3 * one[key].abs().max()


def cut_off_partners(h, partners):
    return torch.stack([h, *(h.detach()[row] for row in partners)])


def without_clock(home):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(home / "metrics.jsonl")]


def weights(home):
    newest = saved(home / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


def status(home):
    return json.loads((home / "status.json").read_text())


class Notes(ProgressDisplay):
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.mark.bit_exact
def test_a_run_of_two_stopped_by_a_signal_to_one_and_resumed_equals_an_unbroken_one(tmp_path):
    """Networks with dropout of their own too. Both stop after the same step, and process 0 commits it."""
    assert in_two(trains, tmp_path / "whole", NUMBERS, None, 5, FLAGS) == [0, 0]
    assert in_two(trains, tmp_path / "stopped", NUMBERS, is_asked_to_stop, 2, FLAGS) == [75, 75]
    step = status(tmp_path / "stopped")["last_committed"]
    assert status(tmp_path / "stopped")["state"] == "interrupted"
    assert 2 <= step < 12
    assert in_two(goes_on, tmp_path / "stopped") == [0, 0]
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    kept = json.loads((tmp_path / "whole" / "environment.json").read_text())
    assert kept["processes"] == len(kept["places"]) == 2
    assert all(place.endswith(" cpu") for place in kept["places"])


def test_processes_ask_one_another_about_once_a_second(monkeypatch):
    asked, step, seconds = [], 0, 0.1  # after which steps; the step now; what one takes

    def greatest(self, numbers):
        passed = step - (asked[-1] if asked else 0)
        asked.append(step)
        return [numbers[0], passed * seconds]

    monkeypatch.setattr(DistributedContext, "all_reduce_max", greatest)
    monkeypatch.setattr("mixzoo.training.signals.SECONDS", 1.0)
    together = StopTogether(DistributedContext(1, 2))
    while step < 59:
        step += 1
        assert together("") == ""
    assert asked == [1, 11, 21, 31, 41, 51]
    seconds = 5.0
    while step < 64:
        step += 1
        together("")
    assert asked[6:] == [61, 62, 63, 64]  # steps as slow as that: after each
    assert StopTogether(DistributedContext(1, 2))("SIGTERM") == "SIGTERM"


@pytest.mark.bit_exact
@pytest.mark.slow
def test_a_run_of_two_goes_on_in_one_process_and_says_so(tmp_path):
    zoo, notes = toy_zoo(), Notes()
    start(zoo, toy_config(zoo, **NUMBERS), tmp_path / "one")
    assert in_two(trains, tmp_path / "two", NUMBERS, is_asked_to_stop, 2) == [75, 75]
    resume(toy_zoo(), tmp_path / "two", lambda *_: notes)
    assert any("processes was 2 and is 1; results may differ in the last bits" in line for line in notes.lines)
    for one, two in zip(without_clock(tmp_path / "one"), without_clock(tmp_path / "two"), strict=True):
        assert one.pop("kind") == two.pop("kind")
        assert one == pytest.approx(two, rel=1e-4, abs=1e-4)  # float32, 12 steps


def test_an_error_in_one_process_ends_both_and_the_run_says_which(tmp_path, capfd):
    began = monotonic()
    codes = in_two(trains, tmp_path / "run", NUMBERS, raises)
    assert monotonic() - began < 60
    assert all(codes), codes
    assert status(tmp_path / "run")["state"] == "failed"
    assert status(tmp_path / "run")["reason"] == "process 1: RuntimeError: the planted error"
    assert status(tmp_path / "run")["last_committed"] == 4
    assert capfd.readouterr().err.count("the planted error") == 2  # one traceback: the line that raised it, and it


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_other_and_the_status_names_it(tmp_path, rank):
    """Also if it is process 0, which would have written the status."""
    began = monotonic()
    codes = in_two(trains, tmp_path / "run", NUMBERS, is_killed, 5, None, rank)
    assert monotonic() - began < 60
    assert codes == ([-9, 1] if rank == 0 else [1, -9])
    assert {key: value for key, value in status(tmp_path / "run").items() if key != "sha256"} == {
        "state": "failed",
        "exit": 1,
        "last_committed": 4,
        "reason": f"process {rank} is gone: it was killed, or it crashed; `mixzoo resume` goes on",
    }


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), RuntimeError),
        (RuntimeError("Connection closed by peer\nat 0x7"), MixzooError),
    ],
)
def test_only_what_others_did_is_told_as_that(monkeypatch, error, told):
    """Trouble of this process can come while it waits for them: memory runs out, or a loader's worker dies."""

    def all_reduce(*_):
        raise error

    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    for collective in (DistributedContext(0, 2).barrier, lambda: DistributedContext(0, 2).mean(torch.zeros(1))):
        with pytest.raises(told) as caught:
            collective()
        if told is MixzooError:
            assert str(caught.value) == (
                "another process of the run is gone (Connection closed by peer); `mixzoo resume` goes on"
            )
        else:
            assert caught.value is error


@pytest.mark.slow
def test_trouble_that_all_processes_have_is_told_once(tmp_path, capfd):
    assert in_two(trains, tmp_path / "run", NUMBERS | {"lr": 1e30}) == [6, 6]
    assert (status(tmp_path / "run")["state"], status(tmp_path / "run")["exit"]) == ("failed", 6)
    assert capfd.readouterr().err.count("is not finite") == 1


@pytest.mark.parametrize("deferred", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_bad_number_on_one_process_stops_all_at_the_same_step(tmp_path, capfd, deferred):
    numbers = NUMBERS | {"log_every": 3}
    assert in_two(meets_a_bad_number, tmp_path / "run", numbers, deferred) == [6, 6]
    assert [(tmp_path / f"process {rank}").read_text() for rank in range(2)] == ["5", "5"]
    assert capfd.readouterr().err.count("mixzoo: step 5: ") == 1
    content = json.loads((tmp_path / "run" / "nonfinite-step-00000005.json").read_text())
    assert (content["step"], len(content["images"])) == (5, 16)
    assert [path.name for path in saved(tmp_path / "run" / "checkpoints")] == []
    assert status(tmp_path / "run")["exit"] == 6


def test_processes_that_begin_from_different_steps_are_refused(capfd):
    assert 4 in in_two(begin_differently)
    assert "process 1 begins from {'step': 1}, and process 0 from {'step': 0}" in capfd.readouterr().err


def test_weights_that_differ_between_processes_are_named(capfd):
    assert in_two(drifts) == [9, 9]
    assert "autoencoder.bias differs between the 2 processes of the run" in capfd.readouterr().err


@pytest.mark.slow
def test_torchrun_trains_digits_in_two_processes(tmp_path):
    flags = ["--steps", "4", "--batch-images", "8", "--log-every", "2", "--evaluate-every", "4", "--out", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    def run(*arguments):
        command = [*torchrun, "-m", "mixzoo", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=240)

    done = run("train", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("after 4 steps") == 1
    assert done.stderr.count("step 4/4") == 1
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [2, 4, 4]
    again = run("train", "--batch-images", "7")
    assert again.returncode != 0
    assert again.stderr.count("mixzoo: --batch-images 7: the batch of a step is shared by 2 processes") == 1


def test_one_process_started_by_torchrun_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as distributed:
        assert distributed == SINGLE_PROCESS


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set and RANK is not; start several processes with torchrun"),
        ({"WORLD_SIZE": "many"}, "the variable WORLD_SIZE is 'many', and should be a number"),
    ],
)
def test_half_of_torchruns_variables_are_refused(monkeypatch, variables, message):
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message), joined():
        pass


def test_parts_of_a_batch_cover_it_once():
    whole = torch.arange(12)
    assert torch.equal(torch.cat([DistributedContext(rank, 3).shard(whole) for rank in range(3)]), whole)
    share = torch.rand(2, 12, 1)
    assert torch.equal(DistributedContext(1, 3).shard(share, 1), share[:, 4:8])


@pytest.mark.parametrize(("batch", "use"), [(7, "use 6 or 9"), (2, "use 3, or")])
def test_a_batch_that_makes_no_equal_parts_is_refused(batch, use):
    train = toy_config(toy_zoo(), batch_images=batch).train
    with pytest.raises(ConfigError, match=f"--batch-images {batch}: the batch .* shared by 3 processes .*{use}"):
        check_batch_divides(train, DistributedContext(0, 3))
    check_batch_divides(replace(train, batch_images=9), DistributedContext(0, 3))


def unshareable(flags, **numbers):
    zoo = toy_zoo()
    config = toy_config(zoo, flags=flags, **numbers)
    data = config.parts["dataset"].load(0)
    return config, build_players(zoo, config, data, torch.device("cpu"))


def test_terms_of_a_whole_batch_are_refused_in_several_processes():
    config, players = unshareable({"objective": "gaia", "dataset": "digits", "discriminator": "autoencoding"})
    check_parallel(config, players, SINGLE_PROCESS)
    with pytest.raises(
        ConfigError, match=r"objective 'gaia' has terms that are not means over examples .* 2 processes"
    ):
        check_parallel(config, players, DistributedContext(0, 2))


def test_few_labels_are_refused_in_several_processes():
    config, players = unshareable({"objective": "amr_supervised"}, labelled_images=5)
    with pytest.raises(ConfigError, match="labelled_images=5: objective 'amr_supervised' takes means over the known"):
        check_parallel(config, players, DistributedContext(0, 2))


def test_a_batch_norm_is_refused_in_several_processes_unless_it_is_fixed():
    config, players = unshareable({})
    players.autoencoder.f.append(nn.BatchNorm2d(2))
    with pytest.raises(ConfigError, match=r"autoencoder: its f\.3, a batch norm, takes means over a whole batch"):
        check_parallel(config, players, DistributedContext(0, 2))
    players.autoencoder.f[3].eval()
    encode(players.autoencoder, torch.zeros(4, 1, 8, 8, dtype=torch.uint8), "cpu")  # as the loop does now and then
    check_parallel(config, players, DistributedContext(0, 2))


def test_a_device_of_several_processes_is_each_ones_own():
    assert pick_device("cpu", DistributedContext(1, 2)) == torch.device("cpu")
    with pytest.raises(ConfigError, match="'cuda:1': each of 2 processes takes a device of its own; use cpu or cuda"):
        pick_device("cuda:1", DistributedContext(0, 2))


def test_graph_engine_is_refused_in_several_processes():
    config, players = unshareable({}, engine="graph")
    with pytest.raises(ConfigError, match="--engine graph is for one process, and this run has several"):
        build_engine(config.train, replace(players, distributed=DistributedContext(0, 2)), torch.device("cuda"))
