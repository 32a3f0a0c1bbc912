"""Ways to run a step: the same numbers in each, and one line where a machine has not what a way takes."""

import re
import subprocess
import sys
import warnings
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from mixzoo.core.errors import ConfigError
from mixzoo.core.parts import Scores
from mixzoo.core.random import StepDraws
from mixzoo.data.batches import on_device
from mixzoo.registry.config import Train
from mixzoo.training import engine
from mixzoo.training.build import build_players
from mixzoo.training.engine import (
    CLOSE,
    Compiling,
    VerifiedGraphStep,
    WeightsFirst,
    build_engine,
    falls_back,
    in_bfloat16,
    precision_of,
    recorded,
    refuses,
)
from mixzoo.training.graph import MAX_KINDS, CudaGraphStep, Snapshot
from mixzoo.training.step import train_step
from recorder import Rerun
from toys import toy_config, toy_zoo

CPU = torch.device("cpu")
STEPS = 20
ONE_BY_ONE = "a step at a time in place of a CUDA graph"


def scene(objective="amr", mixer="mixup", lr=1e-3, **networks):
    zoo = toy_zoo()
    config = toy_config(zoo, flags={"objective": objective, "mixer": mixer, **networks})
    config = replace(config, train=replace(config.train, lr=lr, probe_lr=lr))
    data = config.parts["dataset"].load(0)
    players = build_players(zoo, config, data, CPU)
    images = on_device(data.train, CPU, config.train.batch_images)

    def draw(step):
        return players.draw(0, step, batch=config.train.batch_images, progress=step / STEPS)

    return players, images, draw


def trained(engine_of, objective="amr", mixer="mixup", d_steps=1, **networks):
    """The reports of some steps, and the weights after them."""
    players, images, draw = scene(objective, mixer, **networks)
    engine, reports = engine_of(players), []
    for step in range(STEPS):
        draws = draw(step)
        report = engine(*images.batch(step), draws, update_autoencoder=step % d_steps == 0)
        reports.append({name: value.item() for name, value in report.items()})
    return reports, [
        p.detach().clone() for o in players.optimisers.values() for g in o.param_groups for p in g["params"]
    ]


def eager(players):
    return lambda *given, **how: train_step(players, *given, **how)


REAL = dict.fromkeys(("autoencoder", "discriminator"), "amr:depth=4,border=0,scales=1")


@pytest.mark.parametrize("d_steps", [1, 3])
@pytest.mark.parametrize(
    ("objective", "mixer"), [("amr", "bernoulli:k=3"), ("ae", "mixup"), ("acai", "dirichlet:k=3"), ("amr", "network")]
)
def test_a_recorded_step_is_the_step_bit_for_bit(objective, mixer, d_steps):
    recorder = Rerun()
    expected = trained(eager, objective, mixer, d_steps)
    found = trained(lambda players: CudaGraphStep(players, recorder), objective, mixer, d_steps)
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))
    assert recorder.recorded == (1 if d_steps == 1 else 2)


@pytest.mark.parametrize("objective", ["amr:r1=1", "amr:beta=0.5"])
def test_a_recorded_step_of_real_networks_is_the_step_bit_for_bit(objective):
    """Their spectral norm has buffers, which every pass changes and every snapshot puts back."""
    expected, recorder = trained(eager, objective, d_steps=2, **REAL), Rerun()
    found = trained(lambda players: CudaGraphStep(players, recorder), objective, d_steps=2, **REAL)
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))


@pytest.mark.bit_exact
def test_warming_up_and_recording_leave_no_trace():
    players, images, draw = scene()
    before = [p.clone() for p in players.autoencoder.parameters()]
    graphed, draws = CudaGraphStep(players, Rerun()), draw(0)
    x, labels = images.batch(0)
    graphed._record(x, labels, draws, True)
    assert all(torch.equal(one, two) for one, two in zip(players.autoencoder.parameters(), before))
    moments = [value for state in players.optimisers["autoencoder"].state.values() for value in state.values()]
    assert moments
    assert not any(value.any() for value in moments)


@pytest.mark.bit_exact
def test_auto_keeps_a_recorded_step_that_agrees_and_trains_as_the_step_does():
    lines, recorder = [], Rerun()

    def checked(players):
        return VerifiedGraphStep(
            CudaGraphStep(players, recorder), eager(players), players, falls_back(lines.append, ONE_BY_ONE)
        )

    expected, found = trained(eager), trained(checked)
    assert (found[0], lines, recorder.recorded) == (expected[0], [], 1)
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))


@pytest.mark.bit_exact
@pytest.mark.parametrize(
    ("recorder", "why"),
    [
        (Rerun(spoil=10 * CLOSE), r"autoencoder/reconstruct differs by 1\.0e-02"),
        (Rerun(fails=True), "it cannot be recorded: operation not permitted when stream is capturing"),
        (Rerun(fails=KeyError("a kernel")), "it cannot be recorded: 'a kernel'"),  # compilers have errors of their own
    ],
)
def test_auto_falls_back_with_one_line_that_says_why_and_nothing_lost(recorder, why):
    lines = []
    engine_of = partial(checked_engine, recorder, falls_back(lines.append, ONE_BY_ONE))
    expected, found = trained(eager), trained(engine_of)
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))
    assert len(lines) == 1
    assert re.fullmatch(rf"--engine auto: a step at a time in place of a CUDA graph \({why}\)", lines[0])
    with pytest.raises(
        ConfigError, match=rf"^--engine graph: the step will not do as a CUDA graph \({why}\); use eager or auto$"
    ):
        trained(partial(checked_engine, recorder, refuses("graph")))


@pytest.mark.parametrize(
    ("kept", "objective", "mixer"),
    [
        *((kept, "amr", "mixup") for kept in ("images", "labels", "partners", "mix", "draws")),
        *((kept, "acai", "bernoulli:k=3") for kept in ("partners", "mix")),
        *((kept, "ae:dropout=0.2", "mixup") for kept in ("images", "noise")),
    ],
)
def test_an_input_that_the_recording_keeps_is_seen_at_the_second_step_and_nothing_is_lost(kept, objective, mixer):
    """The first step cannot tell: its inputs are those that were recorded."""
    lines, given = [], {"objective": objective, "mixer": mixer, **REAL}
    expected = trained(eager, **given)
    found = trained(partial(checked_engine, Rerun(keeps=kept), falls_back(lines.append, ONE_BY_ONE)), **given)
    assert len(lines) == 1
    assert "(on inputs other than those recorded, " in lines[0]
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))


def test_a_draw_that_holds_a_number_is_no_input_of_a_recording():
    """It would be kept without a trace where it changes little from step to step."""
    players, images, draw = scene()
    engine, draws = CudaGraphStep(players, Rerun()), draw(0)
    with pytest.raises(RuntimeError, match=r"^a draw holds a float, which a recording would keep as it is$"):
        engine(
            *images.batch(0),
            replace(draws, named={"mix": (draws.mix()[0], {"share": draws.mix()[1], "progress": 0.5})}),
        )


def test_no_more_than_some_shapes_are_recorded():
    players, images, draw = scene()
    engine, lines = CudaGraphStep(players, Rerun()), []
    checked = VerifiedGraphStep(engine, eager(players), players, falls_back(lines.append, ONE_BY_ONE))
    for count in range(2, MAX_KINDS + 4):
        _, share = draw(0).mix()
        few = StepDraws({"mix": (torch.arange(count)[None], share[:, :count])})
        checked(*(tensor[:count] for tensor in images.batch(0)), few)
    assert len(engine._recorded) == MAX_KINDS
    assert lines == [
        f"--engine auto: a step at a time in place of a CUDA graph (it cannot be recorded: inputs of more than "
        f"{MAX_KINDS} shapes)"
    ]


def checked_engine(recorder, falls, players):
    return VerifiedGraphStep(CudaGraphStep(players, recorder), eager(players), players, falls)


@pytest.mark.parametrize("lr", [1e-3, 1e-5])
@pytest.mark.parametrize("player", ["autoencoder", "discriminator", "probe"])
def test_auto_sees_that_a_player_does_not_move_however_little_it_would(player, lr):
    """Its terms would not tell: they hardly change over a step of a small rate."""
    lines = []

    def engine_of(players):
        recorder = Rerun(stuck={player: players.optimisers[player]})
        return checked_engine(recorder, falls_back(lines.append, ONE_BY_ONE), players)

    trained(engine_of, lr=lr, **REAL)
    assert len(lines) == 1
    assert lr > 1e-4 or f"the weights of the {player} change otherwise" in lines[0]


@pytest.fixture
def traced(monkeypatch):
    """The compiler's first half alone: it traces the networks, and runs what it has traced without new kernels."""
    monkeypatch.setattr(engine, "_compile", partial(torch.compile, dynamic=False, backend="eager"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor", category=UserWarning)  # its own
        yield
    torch._dynamo.reset()


@pytest.mark.bit_exact
@pytest.mark.parametrize(
    ("name", "recorders", "used"),
    [
        ("graph+compile", [Rerun()], []),
        ("auto", [Rerun(), Rerun()], []),
        ("auto", [Rerun(), Rerun(fails=True)], ["a CUDA graph without compiled networks"]),
        (
            "auto",
            [Rerun(fails=True), Rerun(spoil=1.0)],
            ["a CUDA graph without compiled networks", "a step at a time in place of a CUDA graph"],
        ),
    ],
)
def test_auto_tries_a_graph_of_compiled_networks_then_a_graph_then_a_step_at_a_time(traced, name, recorders, used):
    lines, order = [], iter(recorders)  # the plain graph's comes first

    def engine_of(players):
        return recorded(players, eager(players), name, lines.append, lambda: next(order))

    expected, found = trained(eager), trained(engine_of)
    assert [line.partition(" (")[0] for line in lines] == [f"--engine auto: {to}" for to in used]
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))
    assert recorders[-1].recorded == (0 if recorders[-1].fails else 1)


def test_a_graph_of_compiled_networks_that_will_not_do_is_one_line(traced):
    def engine_of(players):
        return recorded(players, eager(players), "graph+compile", [].append, lambda: Rerun(fails=True))

    with pytest.raises(
        ConfigError, match=r"^--engine graph\+compile: the step will not do as a CUDA graph \(it cannot"
    ):
        trained(engine_of)


def test_no_recorded_step_is_kept_after_it_was_found_not_to_do():
    players, images, draw = scene()
    engine = checked_engine(Rerun(fails=True), falls_back(lambda line: None, ONE_BY_ONE), players)
    for step in range(2):
        engine(*images.batch(step), draw(step))
    assert engine._graph_step is None


@pytest.mark.bit_exact
def test_a_frozen_player_is_left_as_it_is():
    players, images, draw = scene(**REAL)
    frozen = replace(players, optimisers={k: v for k, v in players.optimisers.items() if k != "discriminator"})
    before = [p.clone() for p in players.discriminator.parameters()]
    moved = [p.clone() for p in players.autoencoder.parameters()]
    train_step(frozen, *images.batch(0), draw(0))
    assert all(torch.equal(one, two) for one, two in zip(players.discriminator.parameters(), before))
    assert not all(torch.equal(one, two) for one, two in zip(players.autoencoder.parameters(), moved))


def test_bf16_is_d_alone_and_near():
    """Its forward pass rounds to eight bits; after 20 steps every term is within 5 % of 1 of what it was."""
    config = Train(precision="bf16")
    expected, _ = trained(lambda players: build_engine(Train(), players, CPU))
    found, _ = trained(lambda players: build_engine(config, players, CPU))
    assert found != expected
    assert found[0]["autoencoder/reconstruct"] == expected[0]["autoencoder/reconstruct"]
    for one, two in zip(found, expected):
        assert one == pytest.approx(two, abs=0.05)


def test_bf16_leaves_a_penalty_of_d_in_full_precision():
    """At the first step, from equal weights, it is what it is in fp32, where D's own terms are not."""
    players, images, draw = scene("amr:r1=1", **REAL)
    before = Snapshot(players, CPU)
    full = train_step(players, *images.batch(0), draw(0))
    before.restore()
    low = build_engine(Train(precision="bf16"), players, CPU)(*images.batch(0), draw(0))
    assert torch.equal(low["discriminator/r1"], full["discriminator/r1"])
    assert not torch.equal(low["discriminator/real"], full["discriminator/real"])


@pytest.mark.parametrize(("objective", "d_steps"), [("amr:beta=0.5", 1), ("ae", 1), ("acai", 2)])
def test_what_is_worked_out_again_is_the_same_bit_for_bit(objective, d_steps):
    expected = trained(eager, objective, d_steps=d_steps)
    found = trained(lambda players: build_engine(Train(recompute=True), players, CPU), objective, d_steps=d_steps)
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))


def test_f_and_g_keep_nothing_where_they_are_worked_out_again():
    passes = []
    players, images, draw = scene()
    players.autoencoder.f[0].register_forward_pre_hook(lambda *_: passes.append(1))
    for recompute, expected in ((False, 1), (True, 2)):
        passes.clear()
        build_engine(Train(recompute=recompute), players, CPU)(*images.batch(0), draw(0))
        assert len(passes) == expected


def test_bf16_leaves_spectral_norm_and_scores_in_full_precision():
    from mixzoo import create

    D = create("discriminator", "amr:depth=4", latent_shape=(2, 4, 4))
    x = torch.randn(2, 1, 32, 32)
    D.eval()
    plain, low = D(x).logits, in_bfloat16(D, "cpu")(x).logits
    assert low.dtype == torch.float32
    assert not torch.equal(plain, low)
    torch.testing.assert_close(low, plain, rtol=0.05, atol=0.05)
    norm = D.layers[1].parametrizations.weight[0]
    assert norm._u.dtype == torch.float32


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"engine": "graph"}, "--engine graph captures CUDA graphs, but the run is on cpu; use eager or auto"),
        ({"precision": "tf32"}, "--precision tf32 needs a GPU, but the run is on cpu; use fp32, bf16 or auto"),
    ],
)
def test_what_a_cpu_has_not_is_refused(train, message):
    players, *_ = scene()
    with pytest.raises(ConfigError) as caught:
        build_engine(Train(**train), players, CPU)
    assert str(caught.value) == message


def test_auto_is_tf32_and_a_graph_on_a_gpu_and_neither_elsewhere():
    assert precision_of(Train(), torch.device("cuda")) == "tf32"
    assert precision_of(Train(), CPU) == "fp32"
    players, *_ = scene()
    assert build_engine(Train(), players, CPU).func is train_step


def test_a_compiler_that_fails_is_one_line():
    from torch._dynamo.exc import TorchDynamoException

    def fails(*_, **__):
        raise TorchDynamoException("backend='inductor' raised: no C++ compiler\nlong story")

    _, _, draw = scene()
    with pytest.raises(ConfigError, match=r"^--engine compile: backend='inductor' raised: no C\+\+ compiler; use"):
        Compiling(fails)(torch.zeros(1), torch.zeros(1), draw(0))


def test_optimisers_read_gradients_as_they_lie():
    """Of some weights the gradient comes in another memory layout, which a fused optimiser would misread in silence."""
    found = []
    for fused in (True, False):
        players, images, draw = scene("amr", "mixup", **REAL)
        for optimiser in players.optimisers.values():
            for group in optimiser.param_groups:
                group.update(fused=fused, foreach=False)
        for step in range(2):
            report = train_step(players, *images.batch(step), draw(step))
        found.append({name: value.item() for name, value in report.items()})
        assert all(p.grad.stride() == p.stride() for p in players.discriminator.parameters())
    assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-6)


def test_a_restored_run_of_the_real_networks_goes_on_bit_for_bit(tmp_path):
    """The discriminator's weights lie channels last, and what is read from a file does not."""
    from mixzoo.training.checkpoint import commit, restore
    from mixzoo.training.checkpoint_manifest import Progress
    from mixzoo.training.loop import fresh

    def go(engine, steps):
        return [value.item() for i in steps for value in engine(*images.batch(i), draw(i)).values()]

    players, images, draw = scene(**REAL)
    go(eager(players), range(3))
    commit(tmp_path, players, Progress(3, 0, fresh().probe), keep=1)
    again, *_ = scene(**REAL)
    restore(tmp_path, again)
    assert go(eager(players), range(3, 6)) == go(eager(again), range(3, 6))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_engine_compiles_what_comes_after_the_weights_of_d(monkeypatch, precision):
    """A stand-in for the compiler: the numbers are those of the eager engine, bit for bit."""
    given = []
    monkeypatch.setattr(engine, "_compile", lambda function: given.append(function) or function)
    expected = trained(lambda players: build_engine(Train(precision=precision), players, CPU), **REAL)
    train = Train(engine="compile", precision=precision)
    players = []
    found = trained(lambda own: players.append(own) or build_engine(train, own, CPU), **REAL)
    f, g, rest = given
    assert (f.__name__, g.__name__) == ("encode", "decode")
    assert (rest is players[0].discriminator) == (precision == "fp32")
    assert found[0] == expected[0]
    assert all(torch.equal(one, two) for one, two in zip(found[1], expected[1], strict=True))


class Repeated(nn.Module):
    """A D that uses its layers under spectral norm so many times in a pass."""

    def __init__(self, *uses):
        super().__init__()
        self.layers = nn.ModuleList(spectral_norm(nn.Linear(6, 6)) for _ in uses)
        self.uses, self.last, self.dropout = uses, nn.Linear(6, 1), nn.Dropout(0.5)

    def forward(self, x):
        for layer, times in zip(self.layers, self.uses, strict=True):
            for _ in range(times):
                x = layer(x).tanh()
        return Scores(self.last(self.dropout(x))[:, 0])


@pytest.mark.parametrize("uses", [(1, 1), (2, 1), (0, 1)])
def test_a_compiled_d_iterates_as_often_as_it_is_written(uses):
    """The weights come first only where that is so, and to find out moves nothing of D nor of torch's generator."""
    torch.manual_seed(0)
    x, plain = torch.randn(4, 6), Repeated(*uses)
    first = deepcopy(plain)
    first.layers[0].eval()  # a fixed norm stays fixed
    plain.layers[0].eval()
    wrapped, found = WeightsFirst(first, first, if_read_once=True), []
    for scored in (plain, wrapped):
        torch.manual_seed(1)
        for _ in range(2):
            found.append(scored(x).logits)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert all(torch.equal(one, other) for one, other in zip(first.buffers(), plain.buffers(), strict=True))
    assert [m.training for m in first.modules()] == [m.training for m in plain.modules()]
    assert wrapped._first == (uses == (1, 1))
    assert len(deepcopy(wrapped).layers) == 2


COMPILED = """
import sys, torch
sys.path[:0] = ["tests", "tests/training"]
import test_engine as t
from mixzoo.registry.config import Train
from mixzoo.training import engine
objective, mixer, precision = sys.argv[1:]
expected, _ = t.trained(lambda players: t.build_engine(Train(precision=precision), players, t.CPU), objective, mixer)
train = Train(engine="compile", precision=precision)
found, _ = t.trained(lambda players: t.build_engine(train, players, t.CPU), objective, mixer)
assert not torch._dynamo.utils.counters["graph_break"]
print(max(abs(one[name] - two[name]) / max(1, abs(two[name])) for one, two in zip(found, expected) for name in two))
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("objective", "mixer"), [("amr:beta=0.5,r1=1", "bernoulli:k=3"), ("acai", "mixup"), ("ae", "mixup")]
)
def test_compiled_networks_agree_with_eager_ones_over_20_steps(objective, mixer, precision):
    """In a fresh interpreter, without shape checks in the way: the compiler cannot trace what checks them."""
    run = [sys.executable, "-c", COMPILED, objective, mixer, precision]
    done = subprocess.run(run, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.split()[-1]) < (1e-4 if precision == "fp32" else 5e-2)
