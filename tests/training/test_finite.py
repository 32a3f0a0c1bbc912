"""A number that is not finite stops a run before an optimiser moves, with a line and a file that say where."""

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from mixzoo import Losses
from mixzoo.core.errors import NonFiniteError
from mixzoo.core.random import batch_index
from mixzoo.data.batches import on_device
from mixzoo.registry.config import Train, resolve
from mixzoo.registry.zoo import RegisteredPart, load_zoo
from mixzoo.runs.run import resume, start
from mixzoo.training import bad_step
from mixzoo.training.blocks import StepInputs
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import saved, state_of
from mixzoo.training.engine import build_engine
from mixzoo.training.finite import HISTORY
from mixzoo.training.graph import CudaGraphStep
from mixzoo.training.loop import Loop
from mixzoo.training.step import train_step
from recorder import Rerun
from toys import TOY_PLUGIN, ToyAutoEncoder, ToyData, toy_config, toy_zoo

CPU = torch.device("cpu")
AT = 4  # the step, from 0, into which a number that is not finite is put


class Normed(ToyAutoEncoder):
    def __init__(self, channels, dropout):
        super().__init__(channels, dropout)
        self.f = nn.Sequential(self.f, nn.BatchNorm2d(2))


@dataclass(frozen=True)
class NormedNet:
    def build(self, context):
        return Normed(context.image_shape[0], 0.0)


@dataclass(frozen=True, kw_only=True)
class Floats(ToyData):
    """The toy images as floats, which may become NaN."""

    def load(self, seed):
        data = super().load(seed)
        return replace(data, train=replace(data.train, images=data.train.images / 127.5 - 1))


class Spoiled:
    """An objective with a term of the player made NaN or infinite."""

    def __init__(self, plain, player, by):
        self.plain, self.player, self.by = plain, player, by

    def losses(self, batch):
        found = self.plain.losses(batch)
        terms = {player: dict(getattr(found, player)) for player in ("autoencoder", "discriminator")}
        name = next(iter(terms[self.player]))
        terms[self.player][name] = terms[self.player][name] + self.by
        return Losses(**terms, code=found.code)


def spoil_loss(players, player, by):
    object.__setattr__(players, "objective", Spoiled(players.objective, player, by))


def spoil_gradient(players, player):
    weight = list(getattr(players, player).parameters())[1]
    weight.register_hook(lambda gradient: gradient * torch.nan)


def spoil_weight(players, player):
    with torch.no_grad():
        next(getattr(players, player).parameters()).view(-1)[1] = torch.inf


def spoil_variance(players):
    players.autoencoder.f[1].running_var[0] = torch.nan


def spoil_draws(players):
    plain = type(players.mixer).draw
    mixer = replace(players.mixer)
    object.__setattr__(mixer, "draw", lambda shape, rng: plain(players.mixer, shape, rng) * torch.nan)
    object.__setattr__(players, "mixer", mixer)


def spoil_image(loop):
    loop.images.images[batch_index(0, 96, 16, AT)[3], 0, 2, 2] = torch.nan


def _of(spoil, **how):
    return lambda loop: spoil(loop.players, **how)


CASES = {  # what is put into the run, and what the line says of it
    "a loss of f and g": (_of(spoil_loss, player="autoencoder", by=torch.nan), "autoencoder/reconstruct is not"),
    "a loss of D": (_of(spoil_loss, player="discriminator", by=-torch.inf), "discriminator/real is not finite"),
    "a gradient of f": (_of(spoil_gradient, player="autoencoder"), r"the gradient of autoencoder\.f\.\S+bias is not"),
    "a gradient of D": (_of(spoil_gradient, player="discriminator"), r"the gradient of discriminator\.net\.0\.bias is"),
    "a weight of f": (_of(spoil_weight, player="autoencoder"), r"autoencoder\.f\.\S+weight is not finite"),
    "a weight of D": (_of(spoil_weight, player="discriminator"), r"discriminator\.net\.0\.weight is not finite"),
    "the variance of a norm": (_of(spoil_variance), r"autoencoder\.f\.1\.running_var is not finite"),
    "an image": (spoil_image, r"train image \d+ is not finite; .* Remove it from the data"),
    "a weight of the mixer": (_of(spoil_draws), "the draw 'mix' is not finite; .* Look at the options of the mixer"),
}


def zoo_with_toys():
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("autoencoder", "toy_normed", TOY_PLUGIN, NormedNet))
    zoo.registered.append(RegisteredPart("dataset", "toy_floats", TOY_PLUGIN, Floats))
    return zoo


@contextmanager
def stepping(monkeypatch, before=lambda loop, step: None, deferred=False):
    """Calls `before` at each step; yields a list whose one element will be the run's players."""
    seen, plain = [], Loop.step

    def step(self, number, inputs):
        seen[:] = [self.players]
        self.players.finite.deferred = deferred
        before(self, number)
        return plain(self, number, StepInputs(self.draw(number)))

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "step", step)
        yield seen


def state(players, but=""):
    return {
        f"{part}.{key}": value
        for part, tensors in state_of(players).items()
        for key, value in tensors.items()
        if not (but and f"{part}.{key}" == but) and "running" not in key and "num_batches" not in key
    }


def strict(text):
    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_bad_number_stops_the_run_before_an_optimiser_moves(tmp_path, monkeypatch, case, deferred):
    spoil, says = CASES[case]
    flags = {"autoencoder": "toy_normed", "objective": "amr:beta=0.1", "mixer": "dirichlet:k=3"}
    flags |= {"dataset": "toy_floats"} if case == "an image" else {}
    # Deferred, as on a GPU, steps go on until the next line is due; then it is said of the step that was bad.
    numbers = {"steps": 12, "log_every": 100, "evaluate_every": 7, "checkpoint_every": 3}
    zoo = zoo_with_toys()
    config = toy_config(zoo, flags=flags, **numbers)

    good, taken = {}, []

    def before(loop, number):
        taken.append(number)
        if number == AT:
            good.update({key: value.clone() for key, value in state(loop.players).items()})
            spoil(loop)

    with stepping(monkeypatch, before, deferred) as seen, pytest.raises(NonFiniteError, match=says) as caught:
        start(zoo, config, tmp_path / "run")

    # The step is named, whenever it was noticed.
    assert taken[-1] == (5 if deferred else AT)  # a commit is due after step 6
    assert str(caught.value).startswith(f"step {AT + 1}: ")
    assert f"since step {AT}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1

    # Weights and moments are those of the last good step, but for the one that was spoiled.
    after = state(seen[0])
    spoiled = [key for key in good if not after[key].isfinite().all()]
    assert len(spoiled) == case.startswith("a weight of ") - (case == "a weight of the mixer")
    assert all(torch.equal(after[key], good[key]) for key in good if key not in spoiled)

    # Nothing bad was committed, and status.json has the line.
    assert [path.name for path in saved(tmp_path / "run" / "checkpoints")] == ["step-00000003"]
    status = strict((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"], status["last_committed"]) == ("failed", 6, 3)
    assert status["reason"] == str(caught.value)

    # The file has the batch, in standard JSON.
    assert caught.value.dump == tmp_path / "run" / f"nonfinite-step-{AT + 1:08d}.json"
    assert str(caught.value.dump) in str(caught.value)
    found = strict(caught.value.dump.read_text())
    assert (found["step"], found["seed"]) == (AT + 1, 0)
    assert found["images"] == batch_index(0, 96, 16, AT).tolist()
    assert found["images_not_finite"] == ([found["images"][3]] if case == "an image" else [])
    assert found["draws_not_finite"] == (["mix"] if case == "a weight of the mixer" else [])
    norms = found["gradient_norms"]
    assert norms.keys() == {"autoencoder", "discriminator", "probe"}
    assert all(len(own) == AT + 1 and all(math.isfinite(norm) for norm in own[:-1]) for own in norms.values())
    if "gradient" in case:
        assert list(found["gradients_not_finite"].values()) == ["NaN"]
    if "loss" in case:
        assert [value for value in found["terms"].values() if isinstance(value, str)] == [
            "NaN" if "f" in case[9:] else "-Infinity"
        ]


def test_the_file_says_how_to_see_the_images(tmp_path):
    zoo = load_zoo()
    small = dict.fromkeys(("autoencoder", "discriminator"), "amr:depth=1")
    numbers = {"batch_images": 4, "steps": 2, "weight_decay": 1e30}
    with pytest.raises(NonFiniteError) as caught:
        start(zoo, resolve(zoo, None, small, numbers), tmp_path / "run")
    content, names = strict(caught.value.dump.read_text()), {}
    exec(content["look"], names)
    images = zoo.recipe("dataset", "digits").load(0).train.images
    assert torch.equal(names["images"], images[content["images"]])


def test_a_step_too_far_is_found_within_two_steps(tmp_path):
    zoo = toy_zoo()
    for lr in (1e20, 1e30):
        with pytest.raises(NonFiniteError, match=r"^step 2: autoencoder\.f\.0\.weight is not finite, or its norm is"):
            start(zoo, toy_config(zoo, lr=lr, log_every=100, checkpoint_every=100), tmp_path / str(lr))


@pytest.mark.parametrize(
    ("flags", "numbers", "says"),
    [
        ({}, {"weight_decay": 1e30}, r"--weight-decay times \S+ is not finite.* Try a lower --weight-decay"),
        (
            {"objective": "amr:lam=1e38"},
            {},
            r"autoencoder/reconstruct is not finite, or beyond 1\.8e\+19; no weight has moved, and",
        ),
    ],
)
def test_what_would_make_a_moment_infinite_is_found_before_it_is(tmp_path, monkeypatch, flags, numbers, says):
    zoo = toy_zoo()
    config = toy_config(zoo, flags=flags, checkpoint_every=1, **numbers)
    with stepping(monkeypatch) as seen, pytest.raises(NonFiniteError, match=says):
        start(zoo, config, tmp_path / "run")
    assert all(value.isfinite().all() for value in state(seen[0]).values())
    assert not saved(tmp_path / "run" / "checkpoints")
    fixed = "train.weight_decay=1e-5" if numbers else "objective.lam=10"
    assert resume(zoo, tmp_path / "run", values=[fixed]).steps == 12


def test_a_checkpoint_that_leads_to_a_bad_step_is_set_aside(tmp_path, monkeypatch):
    """It would fail again at once; the run goes on from the one before, as if nothing had happened."""
    zoo = toy_zoo()
    config = toy_config(zoo, checkpoint_every=2)
    start(zoo, config, tmp_path / "whole")

    def before(loop, number):
        if number == AT:
            spoil_loss(loop.players, "autoencoder", torch.nan)

    with stepping(monkeypatch, before), pytest.raises(NonFiniteError, match=r"checkpoint of step 4, .* is set aside"):
        start(zoo, config, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["nonfinite-step-00000004", "step-00000002"]

    # A process that only began from a checkpoint leaves it alone: it may be all that is left of a run.
    def at_once(loop, number):
        spoil_loss(loop.players, "autoencoder", torch.nan)

    with stepping(monkeypatch, at_once), pytest.raises(NonFiniteError, match=r"^step 3: .* last checkpoint is kept"):
        resume(zoo, tmp_path / "run")
    assert [path.name for path in saved(checkpoints)] == ["step-00000002"]

    resume(zoo, tmp_path / "run")
    for file in (tmp_path / "whole" / "checkpoints" / "step-00000012").glob("*.safetensors"):
        assert file.read_bytes() == (checkpoints / "step-00000012" / file.name).read_bytes()


def test_a_weight_that_the_update_makes_infinite_is_not_committed(tmp_path, monkeypatch):
    zoo = toy_zoo()
    with stepping(monkeypatch), pytest.raises(NonFiniteError, match=r"^step 1: \S+ is not finite after it") as caught:
        start(zoo, toy_config(zoo, lr=3e38, checkpoint_every=1), tmp_path / "run")
    assert not saved(tmp_path / "run" / "checkpoints")
    assert strict(caught.value.dump.read_text())["step"] == 1


def test_a_disk_that_takes_no_file_does_not_hide_what_went_wrong(tmp_path, monkeypatch):
    def full(path, value):
        raise bad_step.StorageError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(bad_step, "write_json", full)
    zoo = toy_zoo()
    with pytest.raises(NonFiniteError, match=r"^step 2: .* is not finite.*cannot be written: No space left"):
        start(zoo, toy_config(zoo, lr=1e30), tmp_path / "run")


# how a step is run


def scene(objective="amr"):
    """Players on toys, their batches, and the draws of a step."""
    zoo = toy_zoo()
    config = toy_config(zoo, flags={"objective": objective})
    data = config.parts["dataset"].load(0)
    players = build_players(zoo, config, data, CPU)
    return players, on_device(data.train, CPU, 16), lambda step: players.draw(0, step, batch=16)


ENGINES = {
    "eager": lambda players: build_engine(Train(), players, CPU),
    "recompute": lambda players: build_engine(Train(recompute=True), players, CPU),
    "bf16": lambda players: build_engine(Train(precision="bf16"), players, CPU),
    "graph": lambda players: CudaGraphStep(players, Rerun()),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("d_steps", [1, 3])
def test_from_the_first_bad_step_on_no_weight_moves_whatever_the_engine(engine, d_steps):
    players, images, draw = scene("amr:beta=0.1")
    players.finite.deferred = True
    step_of = ENGINES[engine](players)
    for step in range(30):
        x, labels = images.batch(step)
        x = x * torch.nan if step == 25 else x
        if step == 25:
            before = state(players)
        step_of(x, labels, draw(step), update_autoencoder=step % d_steps == 0)
    assert players.finite.is_bad
    assert players.finite.newest_step == 26
    assert all(torch.equal(value, before[key]) for key, value in state(players).items())
    norms = players.finite.gradient_norms
    assert len(norms["probe"]) == HISTORY
    assert all(math.isfinite(norm) for norm in norms["probe"][:-1])
    assert len(norms["autoencoder"]) == len([i for i in range(6, 26) if i % d_steps == 0])
    assert not math.isfinite(players.finite.evidence().terms["autoencoder/reconstruct"])


def test_good_steps_are_counted_through_the_checks_of_a_recording():
    players, images, draw = scene()
    players.finite.deferred = True
    step_of, norms = CudaGraphStep(players, Rerun()), []
    for step in range(3):
        step_of(*images.batch(step), draw(step))
        norms.append(torch.cat([p.grad.flatten() for p in players.probe.parameters()]).norm().item())
    assert players.finite.newest_step == 3
    assert players.finite.gradient_norms["probe"] == pytest.approx(norms)


# clipping


@pytest.mark.parametrize("at_most", [1e-3, 0.3, 1e6])
@pytest.mark.bit_exact
def test_clipping_is_torchs_own_for_each_player(at_most):
    players, images, draw = scene("amr:beta=0.1")
    x, labels = images.batch(0)
    train_step(players, x, labels, draw(0))
    weights = {name: [p for g in o.param_groups for p in g["params"]] for name, o in players.optimisers.items()}
    expected = {}
    for name, own in weights.items():
        torch.nn.utils.clip_grad_norm_(own, at_most)
        expected[name] = [p.grad.clone() for p in own]
    clipped, images, draw = scene("amr:beta=0.1")
    train_step(replace(clipped, clip_grad=at_most), x, labels, draw(0))
    for name, optimiser in clipped.optimisers.items():
        own = [p for g in optimiser.param_groups for p in g["params"]]
        assert all(torch.equal(p.grad, other) for p, other in zip(own, expected[name], strict=True))
        norm = torch.cat([p.grad.flatten() for p in own]).norm().item()
        assert norm <= at_most * (1 + 1e-5)


def test_a_run_is_clipped_as_its_file_says(tmp_path):
    zoo = toy_zoo()
    weights = {}
    for clip in (None, 0, 1e9, 1e-6):
        numbers = {} if clip is None else {"clip_grad": clip}
        start(zoo, toy_config(zoo, **numbers), tmp_path / str(clip))
        file = tmp_path / str(clip) / "checkpoints" / "step-00000012" / "autoencoder.safetensors"
        weights[clip] = file.read_bytes()
        assert f"clip_grad = {float(clip or 0)}" in (tmp_path / str(clip) / "run.toml").read_text()
    assert weights[None] == weights[0] == weights[1e9]
    assert weights[1e-6] != weights[0]
