"""Runs on a GPU, as far as a machine without one can show: see simulated_cuda.py for how, and for what it cannot see.

Every registered objective and mixer takes steps on a card: none waits for it, none mixes devices. A new part is among
them as soon as it is registered; one that needs options has a spec here.
"""

import json
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from mixzoo import LinearMixer, Mixed
from mixzoo.benchmark.counting import peak_on_gpu
from mixzoo.benchmark.table import machine
from mixzoo.core.data import Dataset
from mixzoo.core.gpu_pool import RUNS_PER_GPU, free_memory
from mixzoo.core.random import StepDraws, seed_for, seed_modules
from mixzoo.data import placement
from mixzoo.data.batches import on_device
from mixzoo.data.free_memory import device_free
from mixzoo.data.placement import LoadedData, train_batches
from mixzoo.registry.config import Train
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.runs.directory import environment
from mixzoo.runs.run import start
from mixzoo.training.blocks import Blocks
from mixzoo.training.build import build_players
from mixzoo.training.devices import pick_device
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.engine import build_engine
from mixzoo.training.graph import WARM_UP, CudaGraphStep, CUDARecorder, Snapshot
from mixzoo.training.learning_rate import learning_rate, set_learning_rates
from mixzoo.training.loop import Loop
from mixzoo.training.players import Players
from mixzoo.training.settings import settings
from recorder import Rerun
from simulated_cuda import GPUFault, Watch, fake_tensors, install_cards, on_gpu, real
from toys import TOY_PLUGIN, ToyData, toy_config, toy_zoo

pytestmark = pytest.mark.card

CARD, CPU = torch.device("cuda"), torch.device("cpu")
MODES: dict[str, tuple[Train, bool]] = {  # how a step is run, and whether the auto-encoder moves
    "eager": (Train(engine="eager"), True),
    "D only": (Train(engine="eager"), False),
    "bf16": (Train(engine="eager", precision="bf16"), True),
    "recompute": (Train(engine="eager", recompute=True), True),
}
OBJECTIVES = {  # beside each registered one by its name: what its options change of the step
    "amr": ["amr:beta=0.5,r1=1", "amr:dropout=0.1", "amr:gan=hinge"],
    "acai": ["acai:variant=amr,r1=1", "acai:beta=0.5"],
    "aegan": ["aegan:r1=1,dropout=0.1"],
    "dae": ["dae:dropout=0.1"],
    "vae": ["vae:likelihood=bernoulli"],
    "gaia": ["gaia:beta=0.1"],
    "amr_supervised": ["amr_supervised:r1=1"],
}
MIXERS = {
    "one_of": ["one_of:a=(dirichlet:k=3),b=label,c=network", "one_of:a=cutmix,b=slerp"],
    "chain": ["chain:a=(bernoulli:k=3),b=network"],
    "schedule": ["schedule:a=mixup,b=(label)"],
    "label": ["label:k=3,gradient=relaxed,sees=mix"],
    "network": ["network:k=3,weight_per=position"],
}
NETWORKS = {  # that an objective needs; else the toys
    "vae": {"autoencoder": "vae:depth=2,scales=1,border=0"},
    "gaia": {"discriminator": "autoencoding:depth=2,scales=1"},
    "aae": {"discriminator": "codes:hidden=8"},
    "vqvae": {"autoencoder": "vq:depth=2,scales=1,entries=8"},
}


def zoo_with(**parts):
    """The toys, and parts of a test by name: mixers."""
    zoo = toy_zoo()
    zoo.registered += [RegisteredPart("mixer", name, TOY_PLUGIN, part) for name, part in parts.items()]
    return zoo


ZOO = zoo_with()


def specs(kind: str, more: dict[str, list[str]]) -> list[str]:
    """Every registered part of the kind, by its bare name where it needs no option, and the further specs."""
    registered = [entry.name for entry in ZOO.of_kind(kind)]
    assert set(more) <= set(registered)
    bare = [name for name in registered if name not in ("one_of", "chain", "schedule")]
    assert set(registered) == {
        spec.partition(":")[0] for spec in bare + [spec for own in more.values() for spec in own]
    }
    return bare + [spec for name in registered for spec in more.get(name, [])]


@dataclass(frozen=True)
class Scene:
    """A run that is built, and what its steps take."""

    players: Players
    data: Dataset
    device: torch.device

    def inputs(self, steps: int = 1) -> list[tuple[torch.Tensor, torch.Tensor, StepDraws]]:
        """Images, labels and draws of the first steps, as the loop makes them and sends them to a card."""
        images = on_device(self.data.train, self.device, 16)

        def draw(step: int) -> StepDraws:
            return self.players.draw(0, step, batch=16, progress=step / 4)

        with Blocks(real(draw), images.device, steps, images.order.own) as blocks:
            with Watch(transfers=True):
                made = [blocks.at(step) for step in range(steps)]
            with Watch():  # the numbers of the images have come with the draws
                return [(*images.batch(step, inputs.index), inputs.draws) for step, inputs in enumerate(made)]


def built(objective: str, mixer: str, device: torch.device, zoo=ZOO, **flags: str) -> Scene:
    name = objective.partition(":")[0]
    flags = {"objective": objective, "mixer": mixer, **NETWORKS.get(name, {}), **flags}
    config = toy_config(zoo, flags=flags, engine="eager")
    data = real(config.parts["dataset"].load)(0)
    return Scene(build_players(zoo, config, data, device), data, device)


def takes_steps(
    objective: str, mixer: str, device: torch.device, modes=MODES, zoo=ZOO, graph=None, **flags: str
) -> int:
    """Build a run and take a step in each mode, under watch, and those of `graph`; how many steps were taken."""
    scene = built(objective, mixer, device, zoo, **flags)
    inputs = scene.inputs()
    assert scene.players.finite.deferred == (device.type == "cuda")
    scene.players.finite.deferred = True
    for train, moves in modes.values():
        engine = build_engine(train, scene.players, device)
        for x, labels, draws in inputs:
            assert x.device.type == labels.device.type == device.type
            with Watch(deterministic=True) as watch:
                report = engine(x, labels, draws, update_autoencoder=moves)
            assert {value.device.type for value in report.values()} == {device.type}
            if train.precision == "bf16" and scene.players.discriminator is not None:
                assert watch.low["convolution"] + watch.low["addmm"] > 0
    return len(modes) * len(inputs) + (graph(scene, inputs) if graph else 0)


class Capture(Rerun):
    """Records at the first call, without steps before it."""

    def warm_up(self, function):
        pass


def replays_a_graph(monkeypatch, scene: Scene, inputs) -> int:
    """Record a step on a card, and replay it under watch on each of the inputs; how many steps that were.

    What comes in is copied into tensors that stay, draws that are still on the host too.
    """
    monkeypatch.setattr(Snapshot, "__init__", lambda *_: None)  # its copies are made before recording
    monkeypatch.setattr(Snapshot, "restore", lambda _: None)
    step = CudaGraphStep(scene.players, Capture())
    step(*inputs[0])
    for one in inputs:
        with Watch(transfers=True, deterministic=True):
            assert {value.device.type for value in step(*one).values()} == {"cuda"}
    return len(inputs)


def in_every_mode(monkeypatch, pairs, backward: tuple[str, ...]) -> int:
    """Take steps of each objective and mixer on a card in every mode, and replay one as a graph; how many.

    Gradients are what the CPU can show, so steps in the modes of `backward`, those whose backward passes differ, are
    taken there too, without numbers: what would wait for a GPU fails there as well.
    """
    steps = 0
    for objective, mixer in pairs:
        with on_gpu(monkeypatch):
            steps += takes_steps(objective, mixer, CARD, graph=partial(replays_a_graph, monkeypatch))
        with fake_tensors():
            takes_steps(objective, mixer, CPU, {mode: MODES[mode] for mode in backward})
    return steps


def test_every_objective_takes_its_steps_on_a_card_without_a_wait(monkeypatch):
    objectives = specs("objective", OBJECTIVES)
    pairs = [(spec, "label" if spec.startswith("amr_supervised") else "mixup") for spec in objectives]
    steps = in_every_mode(monkeypatch, pairs, ("eager", "bf16"))
    print(f"{len(objectives)} objectives x {len(MODES)} modes and a graph: {steps} combinations, all clean")
    assert steps == len(objectives) * (len(MODES) + 1) >= 90


def test_every_mixer_takes_its_steps_on_a_card_without_a_wait(monkeypatch):
    mixers = specs("mixer", MIXERS)
    steps = in_every_mode(monkeypatch, [("amr", mixer) for mixer in mixers], ("eager",))
    print(f"{len(mixers)} mixers x {len(MODES)} modes and a graph: {steps} combinations, all clean")
    assert steps == len(mixers) * (len(MODES) + 1) >= 90


@pytest.mark.slow
def test_every_objective_and_mixer_together(monkeypatch):
    """The cross product; an objective that draws no mixes, or reads the mixer's aim, with those that it goes with."""
    mixers, pairs = specs("mixer", MIXERS), []
    for objective in specs("objective", OBJECTIVES):
        name = objective.partition(":")[0]
        alone = {"amr_supervised": [mixer for mixer in mixers if mixer.startswith("label")]}
        alone |= {unmixed: ["mixup"] for unmixed in ("ae", "aegan", "dae", "vae")}
        pairs += [(objective, mixer) for mixer in alone.get(name, mixers)]
    steps = in_every_mode(monkeypatch, pairs, ("eager",))
    print(f"{len(pairs)} objectives with a mixer x {len(MODES)} modes and a graph: {steps} combinations, all clean")
    assert steps > 600


@pytest.mark.parametrize(
    ("autoencoder", "discriminator"),
    [
        ("acai:depth=2,scales=1", "acai:depth=2,scales=1"),
        ("amr:depth=2,scales=1,border=0", "amr:depth=2,scales=1,border=0"),
        ("mlp", "mlp"),
    ],
)
def test_networks_take_their_steps_on_a_card_without_a_wait(monkeypatch, autoencoder, discriminator):
    networks = {"autoencoder": autoencoder, "discriminator": discriminator}
    with on_gpu(monkeypatch):
        takes_steps("amr:r1=1", "mixup", CARD, {mode: MODES[mode] for mode in ("eager", "bf16")}, **networks)
    with fake_tensors():
        takes_steps("amr:r1=1", "mixup", CPU, {"eager": MODES["eager"]}, **networks)


@pytest.mark.slow
def test_a_dsprites_network_takes_its_steps_on_a_card_without_a_wait(monkeypatch):
    with on_gpu(monkeypatch):
        takes_steps("amr", "mixup", CARD, dataset="sprites:images=64", autoencoder="dsprites", discriminator="dsprites")


# --- a whole run


class Reached(Exception):
    """The first evaluation, for which numbers are read back from the card."""


@pytest.mark.parametrize(("device", "card"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_a_run_starts_on_a_card(tmp_path, monkeypatch, device, card):
    """From its config to the first evaluation: the device, the data, the parts, the directory, four steps."""
    taken, read, steps = [], [], Loop.step

    def watched(loop, step, inputs):
        with Watch(deterministic=True):
            taken.append(steps(loop, step, inputs))
        seeded = [generator.initial_seed() == seed_for(0, "torch", step) for generator in torch.cuda.default_generators]
        assert seeded == [i == card for i in range(2)]  # the run's own card, and no other
        return taken[-1]

    def stop(*_):
        raise Reached

    monkeypatch.setattr(Loop, "step", watched)
    monkeypatch.setattr(Loop, "draw", real(Loop.draw))
    monkeypatch.setattr(Loop, "_evaluate", stop)
    monkeypatch.setattr("mixzoo.data.placement.load_data", real(placement.load_data))
    monkeypatch.setattr("mixzoo.runs.run.rehearse", lambda *_: [])  # it reads numbers, once before the first step
    config = toy_config(toy_zoo(), device=device, engine="eager", steps=4, evaluate_every=4, log_every=4)
    monkeypatch.setattr(Loop, "log", lambda *_, **__: None)
    monkeypatch.setattr(Loop, "line", lambda *_: {})  # reads numbers, for a person, after the first step
    monkeypatch.setattr(Loop, "check_finite", lambda *_: read.append(len(taken)))  # reads one, where a line does
    with on_gpu(monkeypatch, cards=2) as driver, pytest.raises(Reached):
        start(toy_zoo(), config, tmp_path / "run")
    assert len(taken) == 4
    assert read == [1, 4]
    assert {value.device.type for report in taken for value in report.values()} == {"cuda"}
    assert driver.current == card
    record = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (record["device"], record["device_name"]) == (device.replace("auto", "cuda"), "a simulated GPU")


@pytest.mark.parametrize("place", ["device", "host"])
def test_a_batch_comes_to_a_card_without_a_wait(monkeypatch, place):
    data = toy_zoo().recipe("dataset", "toy_data").load(0)
    with on_gpu(monkeypatch):
        loaded = LoadedData(data, place)
        images = train_batches(loaded, Train(batch_images=16), CARD)
        with Watch(transfers=True):
            x, y = images.batch(0)
    assert (x.device.type, y.device.type, x.shape, x.dtype) == ("cuda", "cuda", (16, 1, 8, 8), torch.float32)


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0", "cuda:1"])
def test_every_call_that_takes_a_device_takes_the_one_that_is_picked(tmp_path, monkeypatch, name):
    """torch.cuda's own checks of it run: some take no device without a number."""
    called, number = [], int(name.partition(":")[2] or 1)
    monkeypatch.setenv(RUNS_PER_GPU, "2")  # then the memory of the process is limited
    with on_gpu(monkeypatch, cards=2) as driver:
        monkeypatch.setattr(torch.cuda, "_initialized", True)
        for call in ("_cuda_memoryStats", "_cuda_resetPeakMemoryStats"):
            monkeypatch.setattr(torch._C, call, lambda card: called.append(card) or {}, raising=False)
        driver.current = 1
        device = pick_device(name)
        assert driver.current == number
        config, data = toy_config(toy_zoo(), device=name), real(ToyData().load)(0)
        with settings(config.train, device):
            assert device_free(device) == free_memory(device) < driver.memory / 2
            assert environment(toy_zoo(), config, data, device)["device_name"] == "a simulated GPU"
            assert machine(device, 1)["device"] == "a simulated GPU"
            assert peak_on_gpu(lambda: None, device) == 0
            seed_modules(5, device)
        snapshot = Snapshot(built("ae", "mixup", device).players, device)
        torch.cuda.default_generators[number].manual_seed(6)
        snapshot.restore()
        assert torch.cuda.default_generators[number].initial_seed() == 5
        with torch.autocast(device.type, torch.bfloat16):
            pass
    assert set(called) == set(driver.fractions) == {number}


class Stream:
    """A stand-in for torch.cuda.Stream: who waits for whom."""

    def __init__(self, name="side"):
        self.name, self.waited = name, []

    def wait_stream(self, other):
        self.waited.append(other.name)


@pytest.fixture
def streams(monkeypatch):
    """What a recorder does with streams, graphs and torch's mode for waits; what was entered, in order."""
    made = SimpleNamespace(outer=Stream("outer"), current=[], graphs=[], mode=0, made=[])

    def stream():
        made.made.append(Stream())
        return made.made[-1]

    @contextmanager
    def within(stream):
        made.current.append(stream)
        try:
            yield
        finally:
            made.current.pop()

    @contextmanager
    def graph(graph, pool, stream, capture_error_mode):
        made.graphs.append((pool, stream, capture_error_mode))
        yield

    def set_mode(mode):
        made.mode = {"default": 0, "error": 2}.get(mode, mode)

    for name, stand_in in {
        "Stream": stream, "stream": within, "graph": graph, "graph_pool_handle": lambda: "pool",
        "current_stream": lambda: made.outer, "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "set_sync_debug_mode": set_mode, "get_sync_debug_mode": lambda: made.mode,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return made


def test_all_recordings_share_a_stream_and_a_pool(streams):
    recorder = CUDARecorder()
    for _ in range(2):
        recorder.warm_up(dict)
        recorder.record(dict)
    (side,) = streams.made
    assert streams.graphs == [("pool", side, "thread_local")] * 2
    assert side.waited == ["outer"] * 2
    assert streams.outer.waited == ["side"] * 2


@pytest.mark.parametrize("before", [0, 1])
def test_waiting_for_the_gpu_is_an_error_while_warming_up_and_no_longer(streams, before):
    modes, recorder = [], CUDARecorder()
    streams.mode = before
    recorder.warm_up(lambda: modes.append(streams.mode) or {})
    # the first call may wait, as compilers and libraries do that take times
    assert (modes, streams.mode) == ([before, *[2] * (WARM_UP - 1)], before)


def test_a_step_that_fails_while_warming_up_leaves_no_trace(streams):
    def waits():
        if streams.mode == 2:
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="called a synchronizing"):
        CUDARecorder().warm_up(waits)
    assert (streams.mode, streams.current, streams.outer.waited) == (0, [], ["side"])


@pytest.mark.parametrize(
    ("engine", "processes", "capturable"),
    [("auto", 1, True), ("graph", 1, True), ("eager", 1, False), ("compile", 1, False), ("auto", 2, False)],
)
def test_optimisers_are_made_for_a_recording_only_if_there_can_be_one(monkeypatch, engine, processes, capturable):
    config = toy_config(toy_zoo(), engine=engine)
    data = config.parts["dataset"].load(0)
    with on_gpu(monkeypatch):
        players = build_players(toy_zoo(), config, data, CARD, distributed=DistributedContext(0, processes))
    assert {optimiser.defaults["capturable"] for optimiser in players.optimisers.values()} == {capturable}
    assert players.distributed.world_size == processes


class Filled(Watch):
    """Also notes what each tensor is filled with, by its id."""

    def __init__(self):
        super().__init__(deterministic=True)
        self.values = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.startswith("fill_"):
            self.values[id(args[0])] = args[1]
        return super().__torch_dispatch__(func, types, args, kwargs)


@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_a_scheduled_rate_is_a_tensor_on_the_card_that_is_filled_without_a_wait(monkeypatch, engine):
    config = toy_config(ZOO, engine=engine, schedule="cosine", warmup=1, steps=8)
    data = real(ToyData().load)(0)
    with on_gpu(monkeypatch):
        scene = Scene(build_players(ZOO, config, data, CARD), data, CARD)
        rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in scene.players.optimisers.items()}
        assert rates.pop("probe") == config.train.probe_lr
        assert {(rate.device.type, rate.dtype, rate.shape) for rate in rates.values()} == {("cuda", torch.float32, ())}
        step_of = build_engine(Train(engine="eager"), scene.players, CARD)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True", category=UserWarning)
            for step, (x, labels, draws) in enumerate(scene.inputs(3)):
                with Filled() as watch:
                    set_learning_rates(config.train, scene.players.optimisers, step)
                    step_of(x, labels, draws)
                assert [watch.values[id(rate)] for rate in rates.values()] == [learning_rate(config.train, step)] * 2
        # The same tensors at every step, as a recording reads their addresses.
        assert all(scene.players.optimisers[name].param_groups[0]["lr"] is rate for name, rate in rates.items())
        constant = build_players(ZOO, toy_config(ZOO, engine=engine), data, CARD)
        assert {type(o.param_groups[0]["lr"]) for o in constant.optimisers.values()} == {float}


# --- that faults are seen


def test_the_device_as_it_was_picked_before_fails(monkeypatch):
    """`pick_device` once gave torch.cuda.set_device what torch.device made of the name."""

    def picked_before(name):
        device = torch.device(name)
        torch.empty(0, device=device)
        torch.cuda.set_device(device)
        return device

    install_cards(monkeypatch, 2)
    with fake_tensors():
        assert picked_before("cuda:1") == pick_device("cuda:1") == torch.device("cuda:1")
        assert pick_device("auto") == pick_device("cuda") == CARD
        with pytest.raises(ValueError, match=r"Expected a torch\.device with a specified index or an integer"):
            picked_before("cuda")


@dataclass(frozen=True)
class Planted(LinearMixer):
    """Mixup, and a fault in the call."""

    k = 2

    def draw(self, shape, rng):
        alpha = torch.rand(1, shape.batch, generator=rng)
        return shape.broadcast(torch.cat([alpha, 1 - alpha]))

    def __call__(self, h, draw, labels=None):
        return Mixed(self.fault(h, draw) + (draw * h).sum(0), draw)


def planted(fault: Callable) -> type[Planted]:
    return dataclass(frozen=True)(type("Faulty", (Planted,), {"fault": staticmethod(fault)}))


FAULTS = {
    "a number is read": (lambda h, draw: draw.max().item(), "_local_scalar_dense.* waits for the GPU"),
    "a branch on a number": (lambda h, draw: 1.0 if draw.max() > 2 else 0.0, "waits for the GPU"),
    "a list of numbers": (lambda h, draw: sum(draw.flatten().tolist()), "waits for the GPU"),
    "a mask picks": (lambda h, draw: h[h > 0].sum(), r"by a mask waits for the GPU"),
    "what is not zero": (lambda h, draw: h.nonzero().sum(), "nonzero.* waits for the GPU"),
    "masked_select": (lambda h, draw: h.masked_select(h > 0).sum(), "masked_select.* waits for the GPU"),
    "unique": (lambda h, draw: h.unique().sum(), "unique.* waits for the GPU"),
    "one_hot": (lambda h, draw: torch.nn.functional.one_hot(h[0, :, 0, 0, 0].long()).sum(), "waits for the GPU"),
    "a tensor on the CPU": (lambda h, draw: torch.zeros(h.shape[1:]), "mixes tensors on cpu and cuda"),
    "a number on the CPU": (lambda h, draw: torch.zeros(()), "mixes tensors on cpu and cuda"),
    "indices on the CPU": (lambda h, draw: h[:, torch.arange(h.shape[1])][0], "cpu and cuda|within a step"),
    "a copy to the CPU": (lambda h, draw: (h[0].cpu() * 0).to(h.device), "from cuda to cpu within a step"),
    "a copy to the card": (lambda h, draw: torch.zeros(()).to(h.device), "from cpu to cuda within a step"),
    "a new number": (lambda h, draw: torch.tensor(0.0, device=h.device), "from cpu to cuda within a step"),
    "an inverse": (lambda h, draw: torch.linalg.inv(h[0, :, 0]).sum(), "waits for the GPU"),
    "numpy": (lambda h, draw: float(h.detach().cpu().numpy().sum()), "from cuda to cpu within a step"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_planted_in_a_mixer_is_seen(monkeypatch, fault):
    planted_fault, words = FAULTS[fault]
    zoo = zoo_with(planted=planted(planted_fault))
    with on_gpu(monkeypatch), pytest.raises(GPUFault, match=words):
        takes_steps("amr", "planted", CARD, {"eager": MODES["eager"]}, zoo)


def test_the_mixer_without_a_fault_is_clean(monkeypatch):
    zoo = zoo_with(planted=planted(lambda h, draw: 0.0))
    with on_gpu(monkeypatch):
        assert takes_steps("amr", "planted", CARD, MODES, zoo) == len(MODES)


class Waits(torch.autograd.Function):
    """The identity; its backward pass reads a number."""

    @staticmethod
    def forward(ctx, h):
        return h.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (2 if gradient.max().item() > 9 else 1)


def test_a_wait_in_a_backward_pass_is_seen(monkeypatch):
    zoo = zoo_with(planted=planted(lambda h, draw: Waits.apply(h[0])))
    with on_gpu(monkeypatch):
        takes_steps("amr", "planted", CARD, {"eager": MODES["eager"]}, zoo)
    with fake_tensors(), pytest.raises(GPUFault, match="waits for the GPU"):
        takes_steps("amr", "planted", CPU, {"eager": MODES["eager"]}, zoo)


def test_a_layer_without_a_deterministic_form_is_seen(monkeypatch):
    zoo = zoo_with(planted=planted(lambda h, draw: torch.nn.functional.interpolate(h[0], (4, 4), mode="bilinear")))
    with fake_tensors(), pytest.raises(GPUFault, match=r"upsample_bilinear2d_backward.* no deterministic form"):
        takes_steps("amr", "planted", CPU, {"eager": MODES["eager"]}, zoo)


def test_images_that_are_sent_one_after_another_and_waited_for_are_seen(monkeypatch):
    with on_gpu(monkeypatch), Watch(transfers=True):
        torch.zeros(3).to(CARD, non_blocking=True)
        with pytest.raises(GPUFault, match="it is not non_blocking"):
            torch.zeros(3).to(CARD)
        with pytest.raises(GPUFault, match="to cpu waits for the GPU"):
            torch.zeros(3, device=CARD).to("cpu", non_blocking=True)


def test_the_draws_of_a_block_and_the_numbers_of_its_images_go_in_one_transfer(monkeypatch):
    """Of the first step alone, then of two, then of four; what a step takes is on the card when it begins."""
    with on_gpu(monkeypatch) as driver:
        scene = built("amr", "label", CARD)
        images = on_device(scene.data.train, CARD, 16)
        draw = real(lambda step: scene.players.draw(0, step, batch=16))
        transfers = []
        with Blocks(draw, CARD, 7, real(images.order.own)) as blocks:
            for step in range(7):
                with Watch(transfers=True) as watch:
                    inputs = blocks.at(step)
                transfers.append(watch.seen["_to_copy"])
                with Watch():
                    x, _ = images.batch(step, inputs.index)
                assert {tensor.device.type for tensor in (*inputs.tensors, x)} == {"cuda"}
        assert transfers == [1, 1, 0, 1, 0, 0, 0]
        assert len(driver.pinned) == 3
