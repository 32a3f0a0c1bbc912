"""A part that breaks its contract ends a run before its directory is made, in one line with the signature expected."""

import json
import re
import sys
import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mixzoo import Dataset, Losses, Mixed, PluginError, Scores, Split
from mixzoo.core.errors import ConfigError
from mixzoo.core.mixing import LinearMixer
from mixzoo.registry.zoo import Plugin, RegisteredPart
from mixzoo.runs.run import start
from mixzoo.runs.scoring import better_scores
from mixzoo.training.build import build_players
from mixzoo.training.logs import ProgressDisplay
from mixzoo.training.rehearsal import rehearse
from toys import ToyAutoEncoder, ToyData, ToyDiscriminator, toy_config, toy_zoo

ACME = Plugin("parts", "acme", "1.2")
CPU = torch.device("cpu")


def part(**methods):
    """A recipe of a part with these methods, which its own type does not check."""
    return dataclass(frozen=True)(type("Broken", (), methods))


def even(self, shape, rng):
    return shape.broadcast(torch.full((2, shape.batch), 0.5))


def mixer(call=LinearMixer.__call__, **more):
    return part(**{"k": 2, "draw": even, "at": LinearMixer.at, "__call__": call, "needs_map": False} | more)


def network(base, **methods):
    """A recipe of a network of the toys with some methods replaced."""
    made = type("Network", (base,), methods)
    return part(
        build=lambda self, context: made(*[context.image_shape[0], 0.0][: 2 if issubclass(base, ToyAutoEncoder) else 1])
    )


def objective(**methods):
    """An objective of a reconstruction, of which D is shown, with some of these methods replaced."""
    own = {
        "inputs": lambda self, r: {"real": r.x, "rec": r.x_rec},
        "autoencoder": lambda self, r, D: {"reconstruct": (r.x_rec - r.x).abs().mean() - D["rec"].mean()},
        "discriminator": lambda self, r, D: {"both": (D["rec"] - D["real"]).mean()},
        "losses": losses_of,
    }
    return part(**own | methods)


def losses_of(self, batch):
    r = SimpleNamespace(x=batch.x, x_rec=batch.decode(batch.encode(batch.x))[0], batch=batch)
    D = batch.discriminate(**self.inputs(r))
    return Losses(self.autoencoder(r, D), self.discriminator(r, D))


def f_of(function):
    return lambda self, x: function(ToyAutoEncoder.encode(self, x))


BROKEN = [
    # mixers
    ("mixer", part(k=2, draw=even, at=LinearMixer.at), r"lacks __call__; expected __call__\(h, draw, labels=None\) ->"),
    (
        "mixer",
        mixer(lambda self, h, draw: h[0]),
        r"takes 3 positional .*4 were given; expected __call__\(h, draw",
    ),
    ("mixer", mixer(lambda self, h, draw, labels: h[0]), r"float32 \[2, 2, 4, 4\].*must `return Mixed\(h, share\)`"),
    ("mixer", mixer(lambda self, h, draw, labels: None), r"a call returned None; it must `return Mixed\(h, share\)`"),
    (
        "mixer",
        mixer(lambda self, h, draw, labels: (h[0], draw)),
        r"returned \(float32 .*must `return Mixed\(h, share\)`",
    ),
    ("mixer", mixer(lambda self, h, draw, labels: Mixed(h, draw)), r"h of __call__ gives float32 \[2, 2, 2, 4, 4\]"),
    ("mixer", mixer(lambda self, h, draw, labels: Mixed(h[0].double(), draw)), r"gives float64 .*not float32"),
    ("mixer", mixer(lambda self, h, draw, labels: Mixed(h[0], draw[:, :1])), r"share of sources .* is float32 \[2, 1"),
    ("mixer", mixer(lambda self, h, draw, labels: Mixed(h[0], draw, labels)), r"labels of the mix are int64"),
    ("mixer", mixer(draw=lambda self, shape: 1), r"draw raised TypeError.*expected draw\(shape, rng\) -> a Tensor"),
    ("mixer", mixer(draw=lambda self, shape, rng: 0.5), r"draw returned 0.5; expected draw\(shape, rng\) -> a Tensor"),
    ("mixer", mixer(draw=lambda self, shape, rng: {}), "draw returned a dict; expected draw"),
    ("mixer", mixer(draw_at=lambda self, shape, rng: 1), r"draw_at raised .*expected draw_at\(shape, rng, progress\)"),
    ("mixer", mixer(k="2"), "k is '2'; expected k: an int of at least 2"),
    ("mixer", mixer(k=1), "k is 1; expected k: an int of at least 2"),
    ("mixer", part(build=lambda self: None), r"build raised TypeError.*expected build\(context\) -> a mixer"),
    # auto-encoders
    (
        "autoencoder",
        network(ToyAutoEncoder, encode=f_of(lambda h: h.double())),
        "encode gives float64 .*not float32",
    ),
    ("autoencoder", network(ToyAutoEncoder, encode=f_of(lambda h: h[:, :1])), r"gives float32 \[2, 1, 4, 4\] .*not"),
    ("autoencoder", network(ToyAutoEncoder, encode=f_of(lambda h: (h, h))), r"encode gives \(float32 .*, float32"),
    (
        "autoencoder",
        network(ToyAutoEncoder, encode=lambda self: 0),
        r"encode raised TypeError.*test_rehearsal.py|encode",
    ),
    ("autoencoder", network(ToyAutoEncoder, decode=lambda self, h: h), r"decode gives float32 \[4, 2, 4, 4\]"),
    (
        "autoencoder",
        network(ToyAutoEncoder, latent_shape=(2, 4)),
        r"latent_shape is \(2, 4\); expected latent_shape: a",
    ),
    ("autoencoder", network(ToyAutoEncoder, latent_shape=None), "latent_shape is None; expected"),
    (
        "autoencoder",
        part(build=lambda self, s: part(latent_shape=(1,), encode=0, decode=0, parameters=list)()),
        "not a torch.nn.Module",
    ),
    ("autoencoder", part(build=lambda self, context: context["channels"]), "build raised TypeError.* expected build"),
    ("mixer", mixer(at=lambda self, point: point), r"at raised TypeError.*expected at\(point, shape\) -> a draw"),
    ("mixer", mixer(at=lambda self, point, shape: "x"), r"at returned 'x'; expected at\(point, shape\)"),
    ("mixer", mixer(at=lambda self, point, shape: 1 / 0), r"at raised ZeroDivisionError: .*\(test_rehearsal.py, line"),
    # discriminators
    ("discriminator", network(ToyDiscriminator, forward=lambda self, x: self.net(x)), "which is not a mixzoo.Scores"),
    ("discriminator", network(ToyDiscriminator, forward=lambda self, x: Scores(self.net(x))), r"logits of __call__ "),
    (
        "discriminator",
        network(ToyDiscriminator, forward=lambda self, x, y: x),
        r"raised TypeError.*forward\(x\) -> Sco",
    ),
    (
        "discriminator",
        network(ToyDiscriminator, forward=lambda self, x: Scores(self.net(x).mean((1, 2, 3)).detach())),
        "its logits depend on none of its weights: are they detached",
    ),
    # objectives
    ("objective", part(terms=1), r"lacks losses; expected losses\(batch\) -> Losses"),
    ("objective", objective(losses=lambda self: {}), r"losses raised TypeError.*expected losses\(batch\)"),
    (
        "objective",
        objective(losses=lambda self, batch: {}),
        r"losses returned a dict; expected losses\(batch\) -> Losses",
    ),
    ("objective", objective(inputs=lambda self, r: r.x), "losses raised TypeError: .*expected losses"),
    (
        "objective",
        objective(inputs=lambda self, r: {"a": r.x, "b": r.x.flatten(1)}),
        "takes one or more tensors of one",
    ),
    ("objective", objective(autoencoder=lambda self, r, D: {"a": 1.0}), "the autoencoder's term 'a' is 1.0; expected"),
    ("objective", objective(autoencoder=lambda self, r, D: {"a": r.x_rec}), r"'a' is float32 \[2, 1, 8, 8\]"),
    ("objective", objective(autoencoder=lambda self, r, D: r.x_rec.mean()), "the autoencoder's terms are float32"),
    ("objective", objective(autoencoder=lambda self, r, D: {"a": D["mix"].mean()}), "losses raised KeyError: 'mix'"),
    ("objective", objective(autoencoder=lambda self, r, D: {"a": r.x.mean()}), "depends on a weight; detach noth"),
    ("objective", objective(autoencoder=lambda self, r, D: {"a": r.batch.mix(r.x).h.mean()}), "batch.mix takes codes"),
    (
        "objective",
        objective(autoencoder=lambda self, r, D: {"a": r.batch.noise("a", like=3)}),
        "'a' needs a tensor",
    ),
    ("objective", objective(discriminator=lambda self, r, D: {0: D["real"].mean()}), "a term called 0"),
    ("objective", objective(discriminator=lambda self, r, D: None), "the discriminator's terms are None"),
    ("objective", part(losses=lambda self, batch: Losses({}, {})), "losses returned no term for any player; expected"),
    ("mixer", mixer(lambda self, h, draw, labels: sys.exit(0)), r"__call__ raised SystemExit: 0 \(test_rehearsal.py"),
    # data sets
    ("dataset", part(build=lambda self, context: 1), r"it has no load; expected load\(seed\) -> Dataset"),
    ("dataset", part(load=lambda self, seed: (1, 2, 3)), r"load returned a tuple.*expected load\(seed\) -> Dataset"),
    ("dataset", part(load=lambda self: 1), r"load raised TypeError.*expected load\(seed\) -> Dataset"),
    ("dataset", part(load=lambda self, seed: seed / 0), r"load raised ZeroDivisionError: .*\(test_rehearsal.py, line"),
]


pytestmark = pytest.mark.usefixtures("unchecked")


def run_of(kind, recipe, directory, **more):
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart(kind, "broken", ACME, recipe))
    flags = {kind: "broken"} | ({"mixer": "mixup"} if kind != "mixer" else {})
    return start(zoo, toy_config(zoo, flags=flags, **more), directory)


@pytest.mark.parametrize(("kind", "recipe", "words"), BROKEN, ids=lambda value: str(value)[:60])
def test_a_part_that_breaks_its_contract_is_one_line_before_a_run_is_made(tmp_path, kind, recipe, words):
    with pytest.raises(PluginError, match=words) as raised:
        run_of(kind, recipe, tmp_path / "run")
    message = str(raised.value)
    assert message.startswith(f"{kind} 'broken'")
    assert "\n" not in message
    assert len(message) < 500
    assert not (tmp_path / "run").exists()


def test_the_plugin_of_a_broken_part_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"^mixer 'broken' \(plugin 'parts' of acme 1\.2\): a call returned None"):
        run_of("mixer", mixer(lambda self, h, draw, labels: None), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: replace(data, train=(1, 2)), "its train is a tuple, which is not a mixzoo.Split"),
        (
            lambda data: replace(data, test=images(data.test, data.test.images[:, 0])),
            r"test images have the shape \(48, 8, 8\); it must",
        ),
        (
            lambda data: replace(data, test=images(data.test, data.test.images[..., :4])),
            r"shape \(1, 8, 4\), but train images",
        ),
        (
            lambda data: replace(data, train=images(data.train, data.train.images.double())),
            "torch.float64; they must be",
        ),
        (lambda data: replace(data, train=images(data.train, [0])), "must be a Tensor or a mixzoo.Source"),
        (lambda data: replace(data, train=labels(data.train, data.train.labels[1:])), r"labels are torch.int64 \[95\]"),
        (lambda data: replace(data, train=labels(data.train, data.train.labels.int())), "labels are torch.int32"),
        (
            lambda data: replace(data, train=labels(data.train, data.train.labels + 1)),
            "range from 1 to 3, but there are 3",
        ),
    ],
)
def test_data_that_break_their_contract_are_one_line(tmp_path, change, words):
    recipe = part(load=lambda self, seed: change(ToyData().load(seed)))
    with pytest.raises(PluginError, match=f"^dataset 'broken': .*{words}"):
        run_of("dataset", recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def images(split, found):
    return changed(split, images=found)


def labels(split, found):
    return changed(split, labels=found)


def changed(split, **values):
    return replace(split, **values)


METRICS = [
    (part(__call__=lambda self, run: None), "it returned None; expected __call__"),
    (part(__call__=lambda self, run: 0.5), "it returned a float; expected __call__"),
    (
        part(__call__=lambda self, run: {"a": torch.ones(())}),
        r"its a is a Tensor \[\], not a float; use .item\(\)",
    ),
    (part(__call__=lambda self, run: {"a": "much"}), "its a is a str"),
    (part(__call__=lambda self, run: {1: 0.5}), "it names a number 1, which is not a string"),
    (part(__call__=lambda self, run: run.codes), "raised AttributeError: .*codes"),
]


@pytest.mark.parametrize(("metric", "words"), METRICS)
def test_a_metric_that_breaks_its_contract_leaves_the_training_and_says_how_to_go_on(tmp_path, metric, words):
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("metric", "broken", ACME, metric))
    config = replace(toy_config(zoo, steps=2), metrics=(("broken", metric()),))
    with pytest.raises(PluginError, match=f"^metric 'broken': .*{words}") as raised:
        start(zoo, config, tmp_path / "run")
    assert str(raised.value).endswith("The training is kept: fix the metric, then `mixzoo resume` the run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["exit"] == 9
    assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (part(__call__=lambda self, run, data: {}), r"cannot be called with only a run: missing a required argument"),
        (
            part(__call__=lambda self, run: {}, better={"l1": "low"}),
            r"`better` is 'low'; expected .*\"less\", \"more\" or",
        ),
        (
            part(__call__=lambda self, run: {}, better=property(lambda self: 1 / 0)),
            "better raised ZeroDivisionError: division by zero .*; expected better: ",
        ),
        (part(__call__=lambda self: {}), r"cannot be called with only a run: too many positional"),
        (part(), "it is not callable; expected __call__"),
        (
            part(__call__=lambda self, run: {}, check_data=lambda self: None),
            r"check_data raised TypeError.*expected check_data\(dat",
        ),
    ],
)
def test_a_metric_that_cannot_be_called_is_refused_before_training(tmp_path, metric, words):
    zoo = toy_zoo()
    config = replace(toy_config(zoo), metrics=(("broken", metric()),))
    with pytest.raises(PluginError, match=f"^metric 'broken': .*{words}"):
        start(zoo, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Normed(ToyAutoEncoder):
    """A batch norm over a code of one position."""

    latent_shape = (2, 1, 1)

    def __init__(self, channels, dropout):
        super().__init__(channels, dropout)
        self.f = nn.Sequential(nn.Conv2d(channels, 2, 8), nn.BatchNorm2d(2))
        self.g = nn.ConvTranspose2d(2, channels, 8)


def test_a_network_that_needs_two_images_names_the_batch(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^--batch-images 1: a batch of one image fails .*batch norm; use --batch-imag"
    ):
        run_of("autoencoder", network(Normed), tmp_path / "run", batch_images=1)
    assert not (tmp_path / "run").exists()
    assert run_of("autoencoder", network(Normed), tmp_path / "run", batch_images=2, steps=1).steps == 1


def test_what_a_part_may_break_with_any_batch_is_no_fault_of_a_batch_of_one(tmp_path):
    with pytest.raises(PluginError, match="a call returned None"):
        run_of("mixer", mixer(lambda self, h, draw, labels: None), tmp_path / "run", batch_images=1)


def notes_of(recipe, data=None, directory=None):
    """The notes of a run's beginning."""
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("autoencoder", "net", ACME, recipe))
    if data:
        zoo.registered.append(RegisteredPart("dataset", "own", ACME, data))
    lines = []

    class Notes(ProgressDisplay):
        def note(self, line):
            lines.append(line)

    flags = {"autoencoder": "net"} | ({"dataset": "own"} if data else {})
    start(zoo, toy_config(zoo, flags=flags, steps=1), directory, display_for=lambda steps, done=0: Notes())
    return lines


def g_of(function):
    return network(ToyAutoEncoder, decode=lambda self, h: function(ToyAutoEncoder.decode(self, h)))


@pytest.mark.parametrize("end", [torch.sigmoid, torch.relu, nn.functional.softplus, nn.functional.hardsigmoid])
def test_a_decoder_without_a_pixel_below_0_is_warned_of_before_the_first_step(tmp_path, end):
    (line,) = notes_of(g_of(end), directory=tmp_path / "run")
    assert line.startswith(
        "warning: autoencoder 'net' (plugin 'parts' of acme 1.2) makes no pixel below 0 (they are from"
    )
    assert line.endswith("is there a sigmoid or a relu at its end? End in tanh, or in nothing")


@pytest.mark.parametrize("end", [torch.tanh, lambda x: x, lambda x: x + 0.3, lambda x: 2 * torch.sigmoid(x) - 1])
def test_a_decoder_that_reaches_below_0_is_not_warned_of(tmp_path, end):
    assert notes_of(g_of(end), directory=tmp_path / "run") == []


def bright(self, seed):
    data = ToyData().load(seed)
    return Dataset(
        *[Split(128 + s.images // 2, s.labels) for s in (data.train, data.validation, data.test)], ("a",) * 3
    )


def test_data_that_have_no_pixel_below_0_need_none(tmp_path):
    assert notes_of(g_of(torch.sigmoid), part(load=bright), tmp_path / "run") == []


def test_a_rehearsal_changes_nothing_that_a_run_trains_or_draws():
    zoo = toy_zoo()
    config = toy_config(zoo, flags={"autoencoder": "toy_net:dropout=0.5"})
    data = ToyData().load(0)
    players = build_players(zoo, config, data, CPU)
    before = {n: t.clone() for n, t in players.autoencoder.state_dict().items()}
    state = torch.get_rng_state()
    assert rehearse(zoo, config, players, data, CPU) == []
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(t, before[n]) for n, t in players.autoencoder.state_dict().items())
    assert all(p.grad is None for p in players.autoencoder.parameters())


class Locked(ToyAutoEncoder):
    """Holds what cannot be copied."""

    def __init__(self, channels, dropout):
        super().__init__(channels, dropout)
        self.lock = threading.Lock()


def test_a_part_without_a_copy_is_not_rehearsed_and_trains(tmp_path):
    (line,) = notes_of(network(Locked), directory=tmp_path / "run")
    assert re.fullmatch("note: no step was tried before the run, as a part cannot be copied .*lock.*", line)


def test_a_part_that_needs_more_images_than_two_is_tried_on_the_whole_batch(tmp_path):
    def of_four(x):
        return x + 0 * x.flatten(1).sum(1).topk(4).values.sum()

    assert run_of("autoencoder", network(ToyAutoEncoder, encode=f_of(of_four)), tmp_path / "run", steps=1).steps == 1


def lazy(self, context):
    network = ToyAutoEncoder(context.image_shape[0], 0.0)
    network.f = nn.LazyConv2d(2, 3, stride=2, padding=1)
    return network


def test_a_lazy_layer_is_refused_before_a_run_is_made(tmp_path):
    with pytest.raises(PluginError, match=r"f\.weight has no shape before a first pass"):
        run_of("autoencoder", part(build=lazy), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Closed(ToyAutoEncoder):
    """Its encode is a closure over the network, which a copy keeps, and counts its calls in a buffer."""

    def __init__(self, channels, dropout):
        super().__init__(channels, dropout)
        self.register_buffer("calls", torch.zeros(()))

        def encode(x):
            self.calls += 1
            return ToyAutoEncoder.encode(self, x)

        self.encode = encode


def test_a_rehearsal_leaves_the_buffers_of_a_closure_as_they_were():
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("autoencoder", "closed", ACME, network(Closed)))
    config = toy_config(zoo, flags={"autoencoder": "closed"})
    data = config.parts["dataset"].load(0)
    players = build_players(zoo, config, data, CPU)
    rehearse(zoo, config, players, data, CPU)
    assert players.autoencoder.calls == 0


@pytest.mark.parametrize(
    ("better", "line"),
    [
        (property(lambda self: 1 / 0), "metric 'mine': better raised ZeroDivisionError: division by zero"),
        ({"n": "low"}, "metric 'mine': `better` is 'low'; expected better: "),
    ],
)
def test_a_metric_that_cannot_say_what_is_better_after_the_training_leaves_it_to_be_resumed(better, line):
    with pytest.raises(
        PluginError, match=f"{re.escape(line)}.* The training is kept: fix the metric, then `mixzoo res"
    ):
        better_scores("mine", part(__call__=lambda self, run: {}, better=better)(), {"n": 1.0})
