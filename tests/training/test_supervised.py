"""Supervised AMR (eq. 7): its terms by hand, whose labels they use, and what a run with it refuses."""

from dataclasses import dataclass, replace
from math import log

import pytest
import torch
from torch import nn

from mixzoo import BuildContext, CodeShape, LinearMixer
from mixzoo.core.errors import ConfigError, DataError
from mixzoo.core.random import DrawRequest, StepDraws, batch_index, draw_step, partners, rng_for
from mixzoo.data.batches import labelled_images
from mixzoo.registry.zoo import RegisteredPart, load_zoo
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo.testing import FixedBatch, mixed_codes
from mixzoo.training.batch import StepBatch
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import read, saved
from mixzoo.training.players import Players
from mixzoo.training.step import train_step
from mixzoo_objectives.losses import dropped_out
from mixzoo_objectives.variational import gaussian_nll
from toys import TOY_PLUGIN, ToyAutoEncoder, edited, toy_config, toy_zoo

LOG3 = log(3)
AE = load_zoo().recipe("objective", "ae")
SUPERVISED = {"mixer": "label", "objective": "amr_supervised", "discriminator": "acai:depth=2,scales=1"}


def terms_of(spec, *, attributes, known=(True, True)):
    """Both players' terms on two examples whose scores and logits are chosen."""
    context = BuildContext(
        (1, 1, 2), classes=0 if attributes else 2, latent_shape=(2,), attributes=2 if attributes else 0
    )
    part = load_zoo().recipe("objective", spec).build(context)
    x, known = torch.zeros(2, 1, 1, 2), torch.tensor(known)
    y, y_mix = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    mixed = mixed_codes(torch.zeros(2, 2), torch.full((2, 2, 1), 0.5), y_mix, known)
    logits = {"real": [0.0, LOG3], "rec": [0.0, -LOG3], "mix": [LOG3, 0.0], "mix2": [-LOG3, -LOG3]}
    batch = FixedBatch(
        x,
        codes=[torch.zeros(2, 2)],
        images=[x + 0.5, x, x],
        mixes={"": mixed, "second": mixed},
        y=y,
        labelled=known,
        logits={name: torch.tensor(values) for name, values in logits.items()},
        label_logits={name: torch.tensor([[LOG3, 0.0], [0.0, 0.0]]) for name in logits},
    )
    losses = part.losses(batch)
    both = losses.autoencoder, losses.discriminator
    return tuple({name: value.item() for name, value in own.items()} for own in both)


EASY, HARD = (log(2) + log(4 / 3)) / 2, (log(2) + log(4)) / 2
# softmax(log 3, 0) = (3/4, 1/4); sigmoid(log 3) = 3/4, sigmoid(0) = 1/2
CLASSES = (0.75 * log(4 / 3) + 0.25 * log(4) + log(2)) / 2  # of the mixes: y_mix (3/4, 1/4) and (1/2, 1/2)
ATTRIBUTES = ((0.75 * log(4 / 3) + 0.25 * log(4) + log(2)) / 2 + log(2)) / 2


@pytest.mark.parametrize(("attributes", "mix", "real"), [(False, CLASSES, EASY), (True, ATTRIBUTES, None)])
def test_terms_are_the_hand_worked_numbers(attributes, mix, real):
    f, d = terms_of("amr_supervised:lam=20,cls=3,mixer=mixup", attributes=attributes)
    real = (((log(4 / 3) + log(2)) / 2) + log(2)) / 2 if real is None else real
    worked_f = {
        "reconstruct": 10.0,
        "fool_rec": HARD,
        "fool_mix": EASY,
        "fool_mix2": log(4),
        "classify_mix": 3 * mix,
    }
    worked_d = {"real": EASY, "fake_rec": EASY, "fake_mix": HARD, "fake_mix2": log(4 / 3), "classify_real": 3 * real}
    assert f == {name: pytest.approx(value, abs=1e-6) for name, value in worked_f.items()}
    assert d == {name: pytest.approx(value, abs=1e-6) for name, value in worked_d.items()}


def test_without_a_mixer_of_its_own_one_mix_is_in_both_equations():
    f, d = terms_of("amr_supervised", attributes=False)
    assert sorted(f) == ["classify_mix", "fool_mix", "fool_rec", "reconstruct"]
    assert sorted(d) == ["classify_real", "fake_mix", "fake_rec", "real"]


def test_what_equation_7_adds_is_of_labelled_examples_alone():
    f, d = terms_of("amr_supervised:mixer=mixup", attributes=False, known=(True, False))
    assert f["classify_mix"] == pytest.approx(0.75 * log(4 / 3) + 0.25 * log(4))
    assert (f["fool_mix"], d["fake_mix"]) == (pytest.approx(log(4 / 3)), pytest.approx(log(4)))  # score log 3
    assert d["classify_real"] == pytest.approx(log(4 / 3))
    assert (f["fool_mix2"], f["fool_rec"]) == (pytest.approx(log(4)), pytest.approx(HARD))  # of all
    f, d = terms_of("amr_supervised:mixer=mixup", attributes=False, known=(False, False))
    assert (f["classify_mix"], f["fool_mix"], d["fake_mix"], d["classify_real"]) == (0, 0, 0, 0)


# --- the engine


def players_for(dataset="toy_tagged", **flags):
    zoo = toy_zoo()
    config = toy_config(zoo, flags={"dataset": dataset} | SUPERVISED | flags)
    data = config.parts["dataset"].load(0)
    return build_players(zoo, config, data, torch.device("cpu")), config, data


def a_step(players, config, data, labels, labelled=None):
    """The report of one step, with the labels of the train split in place of its own."""
    batch, requests = config.train.batch_images, players.requirements.draws
    index = batch_index(0, len(data.train), batch, 0)
    known = None if labelled is None else labelled[index]
    draws = draw_step(0, 0, requests, players.mixer, batch=batch, labelled=known, by_label=True)
    x = data.train.images[index].float() / 127.5 - 1
    return train_step(players, x, labels[index], draws), draws


@pytest.mark.bit_exact
def test_unlabelled_examples_reach_nothing_by_their_labels():
    labelled = torch.arange(96) % 4 == 0
    reports = []
    for flipped in (False, True):
        players, config, data = players_for(objective="amr_supervised:mixer=bernoulli")
        labels = data.train.labels
        if flipped:
            labels = torch.where(labelled[:, None], labels, 1 - labels)
        players = replace(players, probe=None)  # which looks at all labels, and teaches nothing
        report, _ = a_step(players, config, data, labels, labelled)
        reports.append((report, {n: p.clone() for n, p in players.mixer.state_dict().items()}))
    assert reports[0][0].keys() == reports[1][0].keys()
    assert all(torch.equal(value, reports[1][0][name]) for name, value in reports[0][0].items())
    assert all(torch.equal(value, reports[1][1][name]) for name, value in reports[0][1].items())


@pytest.mark.parametrize(
    ("labels", "width", "told"),
    [
        (torch.tensor([2, 0, 1]), 4, [[0, 0, 1, 0], [0.25] * 4, [0.25] * 4]),
        (torch.tensor([[1, 0], [1, 1], [0, 0]]), 2, [[1, 0], [0.5, 0.5], [0.5, 0.5]]),
    ],
)
def test_to_the_mixer_a_label_that_is_not_known_says_nothing(labels, width, told):
    class Hears(First):
        heard = None

        def __call__(self, h, draw, labels=None):
            Hears.heard = labels
            return super().__call__(h, draw)

    players = Players(ToyAutoEncoder(1, 0.0), Hears(), None, None, AE, {}, num_labels=width)
    partners_and_draw = torch.tensor([[0, 2, 1]]), Hears().draw(CodeShape(3, (2, 4, 4)), rng_for(0, "mix"))
    known = torch.tensor([True, False, False])
    batch = StepBatch(players, torch.zeros(3, 1, 8, 8), labels, StepDraws({"mix": partners_and_draw}, known))
    batch.mix(batch.encode(batch.x))
    assert Hears.heard[0].tolist() == told
    assert Hears.heard[1].tolist() == [told[0], told[2], told[1]]


def test_labelled_examples_would_change_the_step():
    """The test above can fail: with every label known, other labels give other terms."""
    players, config, data = players_for()
    labels = data.train.labels
    first, _ = a_step(players, config, data, labels)
    players, config, data = players_for()
    second, _ = a_step(players, config, data, 1 - labels)
    assert first["autoencoder/classify_mix"] != second["autoencoder/classify_mix"]


def test_labelled_examples_meet_one_another():
    labelled = torch.arange(20) % 3 == 0
    for row in partners(4, 20, rng_for(0, "partners"), labelled):
        assert torch.equal(row.sort().values, torch.arange(20))
        assert torch.equal(labelled[row], labelled)
        assert not torch.equal(row, torch.arange(20))


@pytest.mark.bit_exact
def test_with_all_labels_partners_are_those_of_any_run():
    everywhere = torch.ones(20, dtype=torch.bool)
    assert torch.equal(partners(3, 20, rng_for(0, "p"), everywhere), partners(3, 20, rng_for(0, "p")))


def test_a_batch_has_label_vectors_of_examples_and_mixes():
    mixer = toy_zoo().recipe("mixer", "mixup")
    share = torch.tensor([0.75, 0.25]).reshape(2, 1, 1, 1, 1).expand(2, 3, 1, 1, 1)
    draws = StepDraws({"mix": (torch.tensor([[1, 2, 0]]), share)}, torch.tensor([True, True, False]))
    players = Players(ToyAutoEncoder(1, 0.0), mixer, None, None, AE, {}, num_labels=2)
    batch = StepBatch(players, torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]), draws)
    mixed = batch.mix(batch.encode(batch.x))
    assert batch.y.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert mixed.labelled.tolist() == [True, False, False]
    assert mixed.y[0].tolist() == [0.75, 0.25]


def test_a_run_trains_resumes_bit_for_bit_and_its_label_mixer_learns(tmp_path):
    zoo = toy_zoo()
    flags = {"dataset": "toy_tagged"} | SUPERVISED | {"objective": "amr_supervised:mixer=(bernoulli),beta=0.1"}
    config = toy_config(zoo, flags=flags, labelled_images=40)
    start(zoo, config, tmp_path / "whole")
    shorter = toy_config(zoo, flags=flags, labelled_images=40, checkpoint_every=4)
    start(zoo, shorter, tmp_path / "again")
    edited(tmp_path / "again" / "status.json", state="interrupted")
    newest = saved(tmp_path / "again" / "checkpoints")[-1]
    newest.rename(newest.with_name("gone"))
    resume(zoo, tmp_path / "again")
    states = [read(saved(tmp_path / name / "checkpoints")[-1])[0] for name in ("whole", "again")]
    assert states[0].keys() == states[1].keys()
    for name, tensors in states[0].items():
        assert all(torch.equal(tensor, states[1][name][key]) for key, tensor in tensors.items()), name
    assert "[objective.mixer]" in (tmp_path / "whole" / "run.toml").read_text()
    assert "labelled_images = 40" in (tmp_path / "whole" / "run.toml").read_text()
    before, _, _ = players_for(objective=flags["objective"])
    after = open_run(zoo, tmp_path / "whole").players
    assert not torch.equal(before.mixer.embed[0].weight, after.mixer.embed[0].weight)


def test_labels_are_chosen_by_the_seed():
    config = toy_config(toy_zoo(), labelled_images=10).train
    chosen = [labelled_images(replace(config, seed=seed), 96) for seed in (0, 0, 1)]
    assert [int(one.sum()) for one in chosen] == [10, 10, 10]
    assert torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])
    assert labelled_images(replace(config, labelled_images=None), 96) is None


def test_more_labels_than_images_are_refused(tmp_path):
    zoo = toy_zoo()
    config = toy_config(zoo, flags={"dataset": "toy_tagged"} | SUPERVISED, labelled_images=97)
    with pytest.raises(DataError, match=r"^labelled_images=97, but there are only 96 train images$"):
        start(zoo, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


REFUSED = [
    ({"objective": "amr"}, 40, "^objective 'amr' reads no labels, so labelled_images= has no meaning; leave it out$"),
    (
        {"dataset": "toy_unlabelled", "mixer": "mixup"},
        None,
        "^objective '.*' needs labels, and .* has none",
    ),
    (
        {"discriminator": "autoencoding:depth=2,scales=1"},
        None,
        "^objective '.*' needs a discriminator with logits of 2 label numbers, and 'autoencoding' has 0; use one",
    ),
    (
        {"objective": "amr_supervised:mixer=network"},
        None,
        "its mixer must have no weights; name the one that learns with",
    ),
    (
        {"autoencoder": "flat", "objective": "amr_supervised:mixer=cutmix"},
        None,
        "^mixer 'cutmix' mixes positions of a map",
    ),
]


@dataclass(frozen=True)
class Flat:
    """Codes that are vectors."""

    def build(self, context):
        return FlatNet()


class FlatNet(nn.Module):
    latent_shape = (4,)

    def __init__(self):
        super().__init__()
        self.f, self.g = nn.Linear(64, 4), nn.Linear(4, 64)

    def encode(self, x):
        return self.f(x.flatten(1))

    def decode(self, h):
        return self.g(h).reshape(-1, 1, 8, 8)


@pytest.mark.parametrize(("flags", "labelled", "words"), REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(flags, labelled, words, tmp_path):
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("autoencoder", "flat", TOY_PLUGIN, Flat))
    config = toy_config(zoo, flags={"dataset": "toy_tagged"} | SUPERVISED | flags, labelled_images=labelled)
    with pytest.raises(ConfigError, match=words) as refused:
        start(zoo, config, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


# --- noise, samples, dropout: drawn like all else, and where they go


class Posterior(ToyAutoEncoder):
    def posterior(self, x):
        return self.f(x), torch.full((len(x), 2, 4, 4), log(4.0))


@dataclass(frozen=True)
class First(LinearMixer):
    """The first of two sources, whole."""

    k: int = 2

    def draw(self, shape, rng):
        return self.at(torch.tensor([1.0, 0.0]), shape)


CODE = (2, 4, 4)
REQUESTS = {
    "mix": DrawRequest("mix", CODE),
    "mix/second": DrawRequest("mix", CODE, mixer=First()),
    "noise/input": DrawRequest("normal", (1, 8, 8)),
    "noise/code": DrawRequest("normal", CODE),
    "noise/kept": DrawRequest("keep", CODE, 0.25),
    "noise/between": DrawRequest("uniform", (1, 1, 1)),
}


def batch_of(examples=3):
    torch.manual_seed(0)
    players = Players(Posterior(1, 0.0), First(), None, None, AE, {})
    draws = draw_step(0, 4, REQUESTS, First(), batch=examples)
    return StepBatch(players, torch.rand(examples, 1, 8, 8), torch.zeros(examples, dtype=torch.int64), draws)


def test_noise_goes_where_the_objective_adds_it():
    batch = batch_of()
    noise = batch.noise("input", like=batch.x)
    assert torch.equal(noise, torch.randn(3, 1, 8, 8, generator=rng_for(0, "noise/input", 4)))
    seen = []
    batch.players.autoencoder.encode = lambda x: seen.append(x) or x
    load_zoo().recipe("objective", "dae:noise=0.5").losses(FixedToX(batch))
    torch.testing.assert_close(seen[0], batch.x + 0.5 * noise)


class FixedToX(FixedBatch):
    """Encodes by the networks of another batch, and gives its images back."""

    def __init__(self, batch):
        super().__init__(batch.x, images=[batch.x], draws={"input": batch.noise("input", like=batch.x)})
        self.encode = batch.players.autoencoder.encode


def test_a_variational_code_is_the_mean_and_what_is_decoded_is_a_sample():
    batch = batch_of()
    losses = load_zoo().recipe("objective", "vae").losses(batch)
    f, g = batch.players.autoencoder.encode, batch.players.autoencoder.decode
    torch.testing.assert_close(batch.code, f(batch.x))
    sample = f(batch.x) + 2 * batch.noise("code", like=batch.code)  # a log variance of log 4 is a deviation of 2
    expected = gaussian_nll(g(sample), batch.x, 0.2).mean()
    torch.testing.assert_close(losses.autoencoder["negative_log_likelihood"], expected)


def test_dropout_takes_numbers_of_the_code_and_keeps_its_mean():
    batch = batch_of()
    h = batch.encode(batch.x)
    kept = batch.keep("kept", 0.25, like=h)
    torch.testing.assert_close(dropped_out(batch, h, 0.25), h * kept / 0.75)
    assert torch.equal(batch.code, h)
    many = draw_step(0, 0, {"noise/kept": DrawRequest("keep", (8, 4, 4), 0.25)}, First(), batch=64)
    assert abs(many.named["noise/kept"].float().mean() - 0.75) < 0.02


def test_uniform_numbers_are_in_the_unit_interval():
    between = batch_of().uniform("between", like=torch.zeros(3, 1, 1, 1))
    assert between.shape == (3, 1, 1, 1)
    assert 0 <= between.min() <= between.max() < 1


def test_a_second_mixer_has_partners_and_a_draw_of_its_own():
    batch = batch_of(6)
    (partners, _), (others, second) = batch.draws.mix(), batch.draws.mix("second")
    assert not torch.equal(partners, others)
    h = batch.encode(batch.x)
    torch.testing.assert_close(batch.mix(h, First(), "second").h, h)
    swapped = replace(batch.draws, named={"mix/second": (others, 1 - second)})
    again = StepBatch(batch.players, batch.x, batch.labels, swapped)
    torch.testing.assert_close(again.mix(h, First(), "second").h, h[others[0]])


@pytest.mark.bit_exact
def test_new_draws_leave_those_of_other_objectives_as_they_were():
    plain = draw_step(0, 4, {"mix": REQUESTS["mix"]}, First(), batch=3)
    full = draw_step(0, 4, REQUESTS, First(), batch=3)
    assert torch.equal(plain.mix()[0], full.mix()[0])
    assert list(plain.named) == ["mix"]


def test_the_head_of_a_discriminator_is_there_only_when_asked_for():
    recipe = load_zoo().recipe("discriminator", "amr")
    context = BuildContext((1, 32, 32), classes=3, latent_shape=(2, 4, 4))
    torch.manual_seed(0)
    plain = recipe.build(context)
    torch.manual_seed(0)
    headed = recipe.build(replace(context, num_labels=3))
    x = torch.rand(2, 1, 32, 32)
    assert plain.eval()(x).label_logits is None
    assert headed.eval()(x).label_logits.shape == (2, 3)
    torch.testing.assert_close(plain(x).logits, headed(x).logits, rtol=0, atol=0)
