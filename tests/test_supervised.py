"""Supervised AMR (eq. 7): its terms by hand, whose labels they use, and what a run with it refuses."""

from dataclasses import dataclass, replace
from math import log

import pytest
import torch
from torch import nn

from mixzoo import BuildContext, CodeShape, Judgement, LinearMixer, Needs, Resynthesis
from mixzoo.data.batches import labelled_images
from mixzoo.draws import draw_step, partners, rng_for
from mixzoo.errors import ConfigError, DataError
from mixzoo.plugins import RegisteredPart, load_zoo
from mixzoo.protocols import Mixed, Said
from mixzoo.resynthesis import resynthesise
from mixzoo.run import open_run, resume, start
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import read, saved
from mixzoo.training.step import train_step
from toys import TOY_PLUGIN, ToyAutoEncoder, toy_config, toy_zoo

LOG3 = log(3)
SUPERVISED = {"mixer": "label", "objective": "amr_supervised", "discriminator": "acai:depth=2,scales=1"}


def terms_of(spec, *, attributes, known=(True, True)):
    """Both players' terms on two examples whose scores and logits are chosen."""
    context = BuildContext(
        (1, 1, 2), classes=0 if attributes else 2, latent_shape=(2,), attributes=2 if attributes else 0
    )
    part = load_zoo().recipe("objective", spec).build(context)
    x, known = torch.zeros(2, 1, 1, 2), torch.tensor(known)
    y, y_mix = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    mixed = Mixed(torch.zeros(2, 2), torch.full((2, 2, 1), 0.5))
    r = Resynthesis(
        x, torch.zeros(2, 2), x + 0.5, mixed, x, _labels=y, _said=Said(y, known, y_mix, known), _second=mixed, _x_mix2=x
    )
    logits = {name: torch.tensor([[LOG3, 0.0], [0.0, 0.0]]) for name in part.judged(r)}
    scores = {"real": [0.0, LOG3], "rec": [0.0, -LOG3], "mix": [LOG3, 0.0], "mix2": [-LOG3, -LOG3]}
    D = Judgement({name: torch.tensor(scores[name]) for name in part.judged(r)}, logits)
    both = part.autoencoder_terms(r, D), part.discriminator_terms(r, D)
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
    shape = CodeShape(config.train.batch_images, (2, 4, 4))
    needs = players.objective.needs
    draws = draw_step(0, 0, players.mixer, shape, len(data.train), needs=needs, labelled=labelled)
    x = data.train.images[draws.index].float() / 127.5 - 1
    return train_step(players, x, labels[draws.index], draws), draws


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

    mixer = Hears()
    resynthesise(
        torch.zeros(3, 1, 8, 8),
        autoencoder=ToyAutoEncoder(1, 0.0),
        mixer=mixer,
        partners=torch.tensor([[0, 2, 1]]),
        draw=mixer.draw(CodeShape(3, (2, 4, 4)), rng_for(0, "mix")),
        needs=Needs(mix=True, labels=True),
        labels=labels,
        label_width=width,
        labelled=torch.tensor([True, False, False]),
    )
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


def test_the_pass_has_label_vectors_of_examples_and_mixes():
    zoo = toy_zoo()
    mixer = zoo.recipe("mixer", "mixup")
    others = torch.tensor([[1, 2, 0]])
    r = resynthesise(
        torch.zeros(3, 1, 8, 8),
        autoencoder=ToyAutoEncoder(1, 0.0),
        mixer=mixer,
        partners=others,
        draw=torch.tensor([0.75, 0.25]).reshape(2, 1, 1, 1, 1).expand(2, 3, 1, 1, 1),
        needs=Needs(mix=True, labels=True),
        labels=torch.tensor([0, 1, 1]),
        label_width=2,
        labelled=torch.tensor([True, True, False]),
    )
    assert r.y.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert r.labelled_mix.tolist() == [True, False, False]
    assert r.y_mix[0].tolist() == [0.75, 0.25]


def test_a_run_trains_resumes_bit_for_bit_and_its_label_mixer_learns(tmp_path):
    zoo = toy_zoo()
    flags = {"dataset": "toy_tagged"} | SUPERVISED | {"objective": "amr_supervised:mixer=(bernoulli),beta=0.1"}
    config = toy_config(zoo, flags=flags, labelled_images=40)
    start(zoo, config, tmp_path / "whole")
    shorter = toy_config(zoo, flags=flags, labelled_images=40, checkpoint_every=4)
    start(zoo, shorter, tmp_path / "again")
    text = (tmp_path / "again" / "status.json").read_text()
    (tmp_path / "again" / "status.json").write_text(text.replace("completed", "interrupted"))
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
        "^objective '.*' needs a discriminator that says 2 numbers of the label, and 'autoencoding' says 0; use one",
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


def passed(needs, **given):
    torch.manual_seed(0)
    autoencoder, x = Posterior(1, 0.0), torch.rand(3, 1, 8, 8)
    draws = draw_step(0, 4, First(), CodeShape(3, (2, 4, 4)), 3, needs=needs, image_shape=(1, 8, 8))
    r = resynthesise(
        x,
        autoencoder=autoencoder,
        mixer=First(),
        partners=draws.partners,
        draw=draws.mix,
        needs=needs,
        noise=draws.noise,
    )
    return r, autoencoder, x, draws


def test_noise_goes_into_the_encoder_and_not_into_the_target():
    r, autoencoder, x, draws = passed(Needs(input_noise=0.5))
    assert torch.equal(r.x, x)
    torch.testing.assert_close(r.h, autoencoder.encode(x + 0.5 * draws.noise["input"]))
    assert 0.5 < draws.noise["input"].std() < 1.5


def test_a_posterior_is_decoded_and_mixed_from_a_sample_and_its_code_is_the_mean():
    r, autoencoder, x, draws = passed(Needs(posterior=True, mix=True))
    torch.testing.assert_close(r.h, autoencoder.encode(x))
    sample = r.mean + 2 * draws.noise["code"]  # a log variance of log 4 is a deviation of 2
    torch.testing.assert_close(r.x_rec, autoencoder.decode(sample))
    torch.testing.assert_close(r.h_mix, sample)


def test_dropout_takes_numbers_of_the_code_and_keeps_its_mean():
    r, autoencoder, x, draws = passed(Needs(code_dropout=0.25, mix=True))
    kept = draws.noise["kept"]
    torch.testing.assert_close(r.h_mix, autoencoder.encode(x) * kept / 0.75)
    torch.testing.assert_close(r.h, autoencoder.encode(x))
    many = draw_step(0, 0, First(), CodeShape(64, (8, 4, 4)), 64, needs=Needs(code_dropout=0.25)).noise["kept"]
    assert abs(many.float().mean() - 0.75) < 0.02


def test_a_second_mixer_has_partners_and_a_draw_of_its_own():
    needs = Needs(mix=True, second=First())
    draws = draw_step(0, 4, First(), CodeShape(6, (2, 4, 4)), 6, needs=needs)
    assert not torch.equal(draws.second[0], draws.partners)
    x = torch.rand(6, 1, 8, 8)
    autoencoder = ToyAutoEncoder(1, 0.0)
    r = resynthesise(
        x,
        autoencoder=autoencoder,
        mixer=First(),
        partners=draws.partners,
        draw=draws.mix,
        needs=needs,
        second=(draws.second[0], 1 - draws.second[1]),
    )
    torch.testing.assert_close(r.h_mix2, autoencoder.encode(x)[draws.second[0][0]])
    torch.testing.assert_close(r.x_mix2, autoencoder.decode(r.h_mix2))
    torch.testing.assert_close(r.x_mix, autoencoder.decode(r.h_mix))


@pytest.mark.bit_exact
def test_new_draws_leave_those_of_other_objectives_as_they_were():
    shape = CodeShape(3, (2, 4, 4))
    plain = draw_step(0, 4, First(), shape, 3)
    full = draw_step(
        0,
        4,
        First(),
        shape,
        3,
        needs=Needs(mix=True, posterior=True, input_noise=0.1, code_dropout=0.1, second=First()),
        image_shape=(1, 8, 8),
    )
    assert torch.equal(plain.partners, full.partners)
    assert torch.equal(plain.index, full.index)
    assert sorted(full.noise) == ["code", "input", "kept"]
    assert plain.noise == {}


def test_the_head_of_a_discriminator_is_there_only_when_asked_for():
    recipe = load_zoo().recipe("discriminator", "amr")
    context = BuildContext((1, 32, 32), classes=3, latent_shape=(2, 4, 4))
    torch.manual_seed(0)
    plain = recipe.build(context)
    torch.manual_seed(0)
    headed = recipe.build(replace(context, num_labels=3))
    x = torch.rand(2, 1, 32, 32)
    assert plain.eval()(x).attributes is None
    assert headed.eval()(x).attributes.shape == (2, 3)
    torch.testing.assert_close(plain(x).realness, headed(x).realness, rtol=0, atol=0)
