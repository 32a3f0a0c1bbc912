"""mixzoo bench: counts are correct, and the table and its JSON hold the measurements."""

import json
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn

from mixzoo.benchmark.ceiling import Ceiling, ceiling, floor
from mixzoo.benchmark.counting import Counts, counted
from mixzoo.benchmark.steps import stepper
from mixzoo.benchmark.table import engine_of
from mixzoo.benchmark.timing import Times, interleaved, ratios, spread
from toys import TOYS, toy_config, toy_zoo

pytestmark = pytest.mark.scripts

CPU = torch.device("cpu")
SMALL = [*TOYS, "--repeats", "2", "--batch-images", "8", "--threads", "1"]


def test_a_spread_is_the_median_and_the_quartiles():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)
    assert ratios([2.0, 6.0, 3.0], [1.0, 2.0, 3.0]).median == 2.0


def test_steps_take_turns_in_alternating_order():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = interleaved(steps, CPU, repeats=3, each=2, warm_up=1)
    assert "".join(calls) == "ab" + "aabb" + "bbaa" + "aabb"
    assert [len(taken.wall) for taken in times.values()] == [3, 3]


def test_sleep_counts_as_wall_time_and_not_as_cpu_time():
    from time import sleep

    times = interleaved({"sleep": lambda: sleep(0.02)}, CPU, repeats=3)["sleep"]
    assert min(times.wall) > 0.019
    assert max(times.cpu) < 0.015


def test_one_thread_is_timed_by_cpu_time():
    times = Times([2.0], [1.0])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert times.clock(CPU) == [1.0]
        torch.set_num_threads(2)
        assert times.clock(CPU) == [2.0]
    finally:
        torch.set_num_threads(threads)


def test_flops_and_bytes_of_a_convolution_equal_the_formula():
    conv, x = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.randn(2, 3, 8, 8)
    one = 2 * prod((2, 5, 8, 8)) * 3 * 9
    with torch.no_grad():
        forward = counted(lambda: conv(x))
    assert forward.flops == one
    assert forward.operations == 1
    assert forward.bytes == 4 * (x.numel() + conv.weight.numel() + prod((2, 5, 8, 8)))
    assert counted(lambda: conv(x).sum().backward()).flops == 2 * one  # forward, and the gradient of the weights
    x.requires_grad_()
    assert counted(lambda: conv(x).sum().backward()).flops == 3 * one


def test_views_do_not_count_as_operations():
    x = torch.randn(4, 6)
    assert counted(lambda: x.view(24)[3:].reshape(3, 7).T).operations == 0


def test_peak_memory_counts_tensors_that_are_alive_together():
    x = torch.zeros(1000)

    def one_after_another():
        for _ in range(5):
            x + 1

    def together():
        return [x + 1 for _ in range(5)]

    assert counted(one_after_another).peak_bytes == 4000
    assert counted(together).peak_bytes == 20000
    assert counted(lambda: x.add_(1)).peak_bytes == 0  # allocated before


def test_the_floor_is_the_largest_of_three_limits():
    limits = Ceiling(flops=100.0, bytes=10.0, launch=0.5)
    assert floor(Counts(1, 1000, 10, 0), limits, launched=1) == (10.0, "flops")
    assert floor(Counts(1, 100, 50, 0), limits, launched=1) == (5.0, "bytes")
    assert floor(Counts(9, 100, 10, 0), limits, launched=9) == (4.5, "launches")


def test_the_ceiling_is_plausible_for_any_machine():
    limits = ceiling(CPU, "fp32", torch.get_num_threads())
    assert limits.flops > 1e9
    assert limits.bytes > 1e8
    assert 0 < limits.launch < 1e-3


def test_a_stepper_takes_the_steps_of_the_run(tmp_path):
    from mixzoo.runs.run import start

    zoo = toy_zoo()
    config = toy_config(zoo, steps=6, log_every=1)
    done = start(zoo, config, tmp_path / "run")
    lines = [json.loads(line) for line in (done.directory / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["kind"] == "train"]
    with stepper(zoo, config) as step:
        reports = [step() for _ in range(6)]
    for line, report in zip(trained, reports, strict=True):
        assert {name: line[name] for name in report} == {name: value.item() for name, value in report.items()}


def test_a_stepper_writes_a_line_of_metrics_when_one_is_due(tmp_path):
    zoo = toy_zoo()
    with stepper(zoo, toy_config(zoo, log_every=2)) as step:
        path = step.loop.metrics._path
        for _ in range(5):
            step.logged()
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 4]
    assert not path.exists()


def test_bench_prints_a_row_for_each_combination(mixzoo):
    more = ["--objective", "amr", "--objective", "ae", "--mixer", "mixup", "--batch-images", "8,16"]
    code, out, _ = mixzoo("bench", *TOYS, *more, "--repeats", "2", "--threads", "1")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if "eager" in line]
    assert [row[:3] for row in rows] == [
        ["amr", "mixup", "8"],
        ["amr", "mixup", "16"],
        ["ae", "mixup", "8"],
        ["ae", "mixup", "16"],
    ]
    assert "limits of this machine in fp32, measured:" in out


def test_bench_as_json_holds_the_measurements(mixzoo):
    code, out, _ = mixzoo("bench", *SMALL, "--json")
    assert code == 0
    printed = json.loads(out)
    (row,) = printed["rows"]
    assert printed["machine"]["threads"] == 1
    assert row["wall_ms"]["low"] <= row["wall_ms"]["median"] <= row["wall_ms"]["high"]
    assert row["images_per_second"] == pytest.approx(8e3 / row["cpu_ms"]["median"])
    assert row["gflop_per_second"] == pytest.approx(1e3 * row["gflop"] / row["cpu_ms"]["median"])
    assert row["of_floor"] == pytest.approx(row["floor_ms"] / row["cpu_ms"]["median"])
    assert row["launched"] > 100
    assert row["peak_mb"] > 0


def test_steps_that_update_d_alone_lower_the_mean_flops(mixzoo):
    _, out, _ = mixzoo("bench", *SMALL, "--d-steps", "1,4", "--json")
    every, fourth = json.loads(out)["rows"]
    assert fourth["gflop"] < every["gflop"]
    assert [row["label"].split()[-1] for row in (every, fourth)] == ["d_steps=1", "d_steps=4"]


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_bench_keeps_the_rows_before_one_that_fails(mixzoo, flags):
    code, out, err = mixzoo("bench", *SMALL, *flags, "--engine", "eager,graph")
    assert code == 2
    assert "--engine graph captures CUDA graphs" in err
    assert out.count("images_per_second" if flags else "eager fp32") == 1


def test_a_row_names_the_engine_that_ran_if_auto_fell_back():
    zoo = toy_zoo()
    with stepper(zoo, toy_config(zoo)) as step:
        assert (engine_of("auto", step), engine_of("compile", step)) == ("eager", "compile")
        on_gpu = replace(step, device=torch.device("cuda"))
        assert engine_of("auto", on_gpu) == "graph+compile"
        notes = ["--engine auto: a CUDA graph without compiled networks ...", "--engine auto: a step at a time ..."]
        assert engine_of("auto", replace(on_gpu, notes=notes[:1])) == "graph"
        assert engine_of("auto", replace(on_gpu, notes=notes)) == "eager"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch-images", "8,x"], "--batch-images '8,x': each must be an integer >= 1, separated by commas"),
        (["--batch-images", "8,0"], "--batch-images"),
        (["--engine", "eager,warp"], "engine"),
        (["--engine", "graph"], "--engine graph captures CUDA graphs"),
        (["--mixer", "mixpu"], "Did you mean 'mixup'?"),
    ],
)
def test_bench_rejects_bad_flags_before_timing_anything(mixzoo, flags, message):
    code, out, err = mixzoo("bench", *TOYS, "--repeats", "2", *flags)
    assert code == 2
    assert message in err
    assert not out
