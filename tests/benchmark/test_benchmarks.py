"""The scripts of benchmarks/ that time a step: they run on toy sizes, reject a wrong step, and compute correctly."""

import json
import sys
from dataclasses import replace
from math import isclose
from pathlib import Path

import pytest
import torch

import cases
import curves_png
import dsprites_start
import on_paper
import scaling
import step
from gpu_kernels import counted_kernels, kernels_of
from mixzoo.benchmark.counting import counted
from mixzoo.benchmark.steps import stepper
from mixzoo.benchmark.timing import Spread
from mixzoo.training.build import build_players
from mixzoo.training.distributed import DistributedContext
from plain import Method

pytestmark = pytest.mark.scripts

HOME = Path(__file__).parents[2]
TINY = ["--depth", "2", "--batch", "8", "--repeats", "2"]


def run(script, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    script.main()
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def own_memory(monkeypatch):
    monkeypatch.setattr(scaling, "keep_freed_memory", lambda: False)  # for the life of a process


def rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_dsprites_start_prints_how_far_each_step_moves_the_discriminator(monkeypatch, capsys):
    out = run(dsprites_start, monkeypatch, capsys, "--steps", 2, "--seeds", 0, "--images", 80)
    found = {row[0]: [float(cell) for cell in row[1:]] for row in rows(out)[1:]}
    assert [found[name][0] for name in dsprites_start.ROWS] == pytest.approx([1.41, 0.58, 1.41], abs=0.02)
    assert found["authors' step"][2] == 1
    assert 0.7 < found["mixzoo"][2] < 1.5 < found["torch's own"][2]


def test_step_times_both_interleaved(monkeypatch, capsys, tmp_path):
    more = ["--methods", "AE+GAN", "ACAI", "--check", "--json", tmp_path / "found.json"]
    out = run(step, monkeypatch, capsys, *TINY, *more)
    named = [(row[0], row[2]) for row in rows(out)[1:]]
    assert named == [(method, name) for method in ("AE+GAN", "ACAI") for name in ("plain trainer", "ours")]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["rows"][0]["of_plain"] == [1, 1, 1]
    assert found["machine"]["threads"] == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_step_times_the_loop_around_it(monkeypatch, capsys, workers):
    out = run(step, monkeypatch, capsys, *TINY, "--methods", "AMR k=3", "--loop", "--workers", workers)
    assert [row[2] for row in rows(out)[1:]] == ["plain trainer", "ours"]


def test_step_does_not_time_a_wrong_step(monkeypatch, capsys):
    wrong = (Method("amr", lam=9), *cases.METHODS["AMR k=2"][1:])
    monkeypatch.setitem(cases.METHODS, "AMR k=2", wrong)
    with pytest.raises(SystemExit, match="nothing is timed"):
        run(step, monkeypatch, capsys, *TINY, "--methods", "AMR k=2", "--check")


ELSEWHERE = ("compile", "graph", "tf32")  # slow here, or for a GPU


@pytest.mark.parametrize("name", [name for name in cases.VARIANTS if not any(word in name for word in ELSEWHERE)])
def test_every_variant_takes_the_same_step(name):
    case = cases.Case("AMR k=2", 4, depth=4)
    step.check_same_step(case, [name], case.data())


def test_a_variant_is_active_only_during_its_steps():
    case = cases.Case("AMR k=2", 4, depth=4)
    data = case.data()
    found = {}
    for name in ("ours", "two passes back through D", "layers one after another"):
        with cases.ours(case, name, data) as one:
            take = cases.wrapped(one, cases.VARIANTS[name].around)
            take()
            found[name] = counted(take)
            assert counted(one).flops == found["ours"].flops
    assert found["two passes back through D"].flops > found["ours"].flops
    assert found["layers one after another"].flops > found["ours"].flops


def test_precisions_are_set_for_a_variant_alone():
    def allowed():
        return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]

    seen = []
    with cases.rounding(products=False, convolutions=False):
        for name in ("eager fp32", "graph tf32", "graph bf16"):
            cases.wrapped(lambda: seen.append(allowed()), cases.VARIANTS[name].around)()
        assert seen == [[False, False], [True, True], [True, True]]
        assert allowed() == [False, False]


@pytest.mark.slow
def test_memory_of_each_side_is_measured_in_its_own_process(monkeypatch, capsys):
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which Linux has")
    out = run(step, monkeypatch, capsys, *TINY, "--methods", "AE+GAN", "--memory")
    plain, ours = rows(out)[-2:]
    assert (plain[2], ours[2]) == ("plain trainer", "ours")
    assert plain[5] == plain[7] == plain[9] == "1.00"
    assert int(plain[4]) >= int(plain[3]) > 50


@pytest.mark.slow
def test_scaling_prints_costs_exponents_and_a_picture(monkeypatch, capsys, tmp_path):
    more = ["--only", "k", "batch", "terms", "--up-to", 32, "--depth", 2, "--repeats", 2]
    out = run(scaling, monkeypatch, capsys, *more, "--picture", tmp_path / "p.png", "--json", tmp_path / "found.json")
    assert out.count("Exponent") == 3
    assert list(json.loads((tmp_path / "found.json").read_text())["seconds"]["k"]) == ["2", "4", "8", "16"]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_scaling_times_every_mixer(monkeypatch, capsys):
    out = run(scaling, monkeypatch, capsys, "--only", "mixers", "--repeats", 1)
    assert {row[0] for row in rows(out)[1:]} == {entry.name for entry in scaling.ZOO.of_kind("mixer")}


def test_scaling_logs_the_stated_number_of_terms():
    with scaling.step_of("terms", 20, 2) as take:
        assert len(take()) == 20


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5])
def test_the_exponent_is_that_of_a_power_law(p):
    cost = {size: Spread(0, 3 * size**p, 0) for size in (2, 8, 16, 64)}
    assert isclose(scaling.exponent(cost), p, abs_tol=1e-9)


def test_a_curve_is_drawn_through_its_points():
    (axes,) = curves_png.log_log([curves_png.Curve("k", [(1, 1), (10, 10)])], "ms a step by").axes
    assert axes.lines[0].get_xydata().tolist() == [[1, 1], [10, 10]]
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_aspect()) == ("log", "log", 1)


def test_docs_scaling_is_what_the_script_prints():
    text = (HOME / "docs/scaling.md").read_text(encoding="utf-8")
    assert text == on_paper.page() + "\n", "run `python benchmarks/on_paper.py > docs/scaling.md`"


def test_table_1_on_paper_is_45_runs_of_a_hundred_million_steps():
    runs = on_paper.table1()
    assert len(runs) == 45
    assert {run.steps for run in runs if run.data == "mnist"} == {2000 * 50_000 // 64}
    assert {run.steps for run in runs if run.data == "svhn"} == {round(3500 * 65_931 / 64)}
    assert 100e6 < sum(run.steps for run in runs) < 102e6


def test_counts_on_paper_equal_those_of_a_step():
    for method, objective in {"AE+GAN": "aegan", "AMR k=2": "amr", "ACAI": "acai"}.items():
        case, apart = cases.Case(method, 64), "layers one after another"
        with cases.ours(case, apart, case.data()) as one, cases.VARIANTS[apart].around():
            one()
            found, stated = counted(one), on_paper.COUNTED[objective]
            kernels = counted_kernels(one)
            weights = sum(
                p.nbytes for o in one.players.optimisers.values() for g in o.param_groups for p in g["params"]
            )
        assert round(found.flops / 1e9, 2) == stated.gflop
        assert abs(found.bytes / 1e9 / stated.gigabytes - 1) < 0.02
        assert abs(found.operations / stated.operations - 1) < 0.1  # versions of torch differ
        assert abs(kernels / stated.kernels - 1) < 0.1
        assert weights == on_paper.WEIGHT_BYTES


def test_kernels_of_an_operation_follow_the_rules():
    x, weight = torch.zeros(2, 3, 8, 8), torch.zeros(4, 3, 3, 3)
    last = [tensor.to(memory_format=torch.channels_last) for tensor in (x, weight)]
    more = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    assert kernels_of("convolution", (x, weight, torch.zeros(4), *more)) == 1 + 1 + 3
    assert kernels_of("convolution", (*last, None, *more)) == 1
    assert kernels_of("convolution_backward", (x, x, weight, [4], *more, [True, True, True])) == 2 * (1 + 3) + 1
    assert kernels_of("convolution_backward", (x, *last, None, *more, [False, True, False])) == 1
    assert kernels_of("_fused_adam_", ([x] * 31,)) == 2
    assert kernels_of("_foreach_copy_", ([x] * 31, [x] * 31)) == 31
    assert (kernels_of("native_group_norm", ()), kernels_of("rand", ()), kernels_of("mul", ())) == (3, 0, 1)


def test_gpus_on_paper_split_the_runs_and_wait_for_the_longest():
    assert on_paper.makespan([3.0, 1.0, 1.0, 1.0], 1) == 6
    assert on_paper.makespan([3.0, 1.0, 1.0, 1.0], 2) == 3
    assert on_paper.makespan([3.0, 1.0], 100) == 3


def test_a_step_on_paper_waits_for_launches_then_for_memory():
    amr = on_paper.COUNTED["amr"]
    assert on_paper.step_seconds(amr, 8) == on_paper.step_seconds(amr, 64) == 690 * on_paper.H100.kernel
    full = on_paper.filling_batch()
    assert isclose(on_paper.step_seconds(amr, full), on_paper.step_seconds(amr, 64))
    assert isclose(on_paper.step_seconds(amr, 4 * full), 4 * on_paper.step_seconds(amr, 64))
    slow = replace(amr, gflop=1e6)
    assert isclose(on_paper.step_seconds(slow), 1e15 / on_paper.H100.flops)


def test_collectives_on_paper_equal_those_of_a_step_on_two_processes(monkeypatch):
    """Stand-ins count them, and gather and add as if the other process had the same shard."""
    seen = {"all_reduce": [], "all_gather": []}

    def all_gather(parts, own):
        seen["all_gather"].append(len(parts) * own.nbytes)
        for part in parts:
            part.copy_(own)

    monkeypatch.setattr("torch.distributed.all_gather", all_gather)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda total: seen["all_reduce"].append(total.nbytes))
    case = cases.Case("AMR k=2", 64)
    config, placed = case.config(cases.VARIANTS["ours"]), case.data()
    players = replace(
        build_players(cases.ZOO, config, placed.data, torch.device("cpu")), distributed=DistributedContext(0, 2)
    )
    with stepper(cases.ZOO, config, placed, players) as one:
        one()
    assert (len(seen["all_reduce"]), len(seen["all_gather"])) == (on_paper.ALL_REDUCES, on_paper.ALL_GATHERS)
    assert 2 * sum(seen["all_reduce"]) + sum(seen["all_gather"]) == on_paper.exchange_bytes(64)


def test_an_exchange_on_paper_grows_with_gpus_nodes_and_images():
    one, two, node, far = (on_paper.exchange_seconds(gpus, 512) for gpus in (1, 2, 8, 512))
    assert one == 0
    assert 0 < two < node < far
    assert on_paper.exchange_seconds(8, 4096) > node
    nothing_but_latency = 6 * on_paper.H100.near
    assert isclose(two, nothing_but_latency + on_paper.exchange_bytes(512) / 2 / on_paper.H100.link)
