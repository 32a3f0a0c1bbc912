"""Mixers that learn: what is sampled, what is picked, where the gradient goes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixzoo import BuildContext, CodeShape
from mixzoo.core.errors import ConfigError
from mixzoo.core.random import rng_for
from mixzoo.registry.building import build_part
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.interpolate import draw_interpolations
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import start
from toys import toy_config, toy_zoo

ZOO = load_zoo()
LATENT, CLASSES = (4, 3, 2), 5
MODES = ["straight_through", "relaxed"]
N = 40_000


def mixer_of(spec, latent=LATENT, classes=CLASSES):
    recipe = ZOO.recipe("mixer", spec)
    return build_part(recipe, "mixer", spec.partition(":")[0], BuildContext((1, 8, 8), classes, latent), 0)


def sources(mixer, batch, latent=LATENT, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(mixer.k, batch, *latent, generator=rng), torch.randint(CLASSES, (mixer.k, batch), generator=rng)


def drawn(mixer, batch, latent=LATENT, seed=0):
    return mixer.draw(CodeShape(batch, latent), rng_for(seed, "mix"))


def strong(mixer):
    """The label mixer with an embed that prefers some sources clearly."""
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    return mixer


# --- label


def test_the_label_aimed_at_is_a_convex_combination_of_the_sources_labels():
    mixer = mixer_of("label:k=3")
    h, labels = sources(mixer, 6)
    draw = drawn(mixer, 6)
    y_mix = mixer(h, draw, labels).labels
    torch.testing.assert_close(y_mix, torch.einsum("kb,kbc->bc", draw["alpha"], torch.eye(CLASSES)[labels]))
    attributes = torch.rand(3, 6, CLASSES, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mixer(h, draw, attributes).labels, torch.einsum("kb,kbc->bc", draw["alpha"], attributes))


def test_alpha_of_two_sources_is_uniform():
    alpha = drawn(mixer_of("label"), N)["alpha"]
    torch.testing.assert_close(alpha.sum(0), torch.ones(N))
    assert (alpha[0].double().sort().values - (torch.arange(N) + 0.5) / N).abs().max() < 3.27 / N**0.5


@pytest.mark.parametrize("sees", ["mix", "sources"])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_each_feature_map_comes_from_a_source_as_often_as_the_softmax_says(k, sees):
    mixer = strong(mixer_of(f"label:k={k},sees={sees}", (4,)))
    draw = drawn(mixer, N, (4,))
    draw["alpha"] = draw["alpha"][:, :1].expand(-1, N)  # one label to aim at
    labels = torch.arange(k)[:, None].expand(-1, N)
    vectors = torch.eye(CLASSES)[labels]
    mixed = mixer(torch.zeros(k, N, 4), draw, labels)
    chance = mixer.logits(mixed.labels[:1], vectors[:, :1]).softmax(0)[:, 0].double()
    assert chance.amin() < 0.2 < 0.6 < chance.amax()
    often = mixed.share.double().mean(1)
    assert ((often - chance).abs() <= 6 * (chance * (1 - chance) / N) ** 0.5 + 1e-6).all()
    if k == 2:
        logits = mixer.logits(mixed.labels[:1], vectors[:, :1])[:, 0]
        torch.testing.assert_close(chance[0].float(), torch.sigmoid(logits[0] - logits[1]))


@pytest.mark.bit_exact
def test_sources_may_change_places_where_the_embedding_sees_their_labels():
    """With sees=sources a source is picked for what it is, with the paper's sees=mix for the place that it has."""
    for sees, equal in (("sources", True), ("mix", False)):
        mixer = strong(mixer_of(f"label:k=3,sees={sees}"))
        h, labels = sources(mixer, 5)
        draw, places = drawn(mixer, 5), torch.arange(3).roll(1)
        swapped = {name: tensor[places] for name, tensor in draw.items()}
        assert torch.equal(mixer(h[places], swapped, labels[places]).h, mixer(h, draw, labels).h) == equal


def test_of_one_label_any_source_is_as_likely_where_the_embedding_sees_their_labels():
    mixer = strong(mixer_of("label:k=3"))
    y = torch.eye(CLASSES)[torch.zeros(3, 4, dtype=torch.long)]
    torch.testing.assert_close(mixer.logits(y[0], y).softmax(0), torch.full((3, 4, 4), 1 / 3))


def test_feature_maps_are_picked_independently_given_the_label():
    mixer = mixer_of("label", (2,))
    draw = drawn(mixer, N, (2,))
    draw["alpha"] = torch.full((2, N), 0.5)
    picked = mixer(torch.zeros(2, N, 2), draw, torch.zeros(2, N, dtype=torch.long)).share[0].double()
    assert abs(torch.corrcoef(picked.T)[0, 1]) < 6 / N**0.5


@given(st.sampled_from([2, 3]), st.sampled_from([(5,), (3, 2, 4)]), st.integers(0, 2**32))
def test_straight_through_takes_whole_feature_maps_bit_for_bit_whatever_is_in_the_others(k, latent, seed):
    mixer = mixer_of(f"label:k={k}", latent)
    _, labels = sources(mixer, 4, latent)
    draw = drawn(mixer, 4, latent, seed)
    share = mixer(torch.zeros(k, 4, *latent), draw, labels).share
    assert ((share == 0) | (share == 1)).all()
    assert (share.sum(0) == 1).all()
    h = torch.full((k, 4, *latent), float("nan"))
    h[0, ..., 0] = float("inf")
    mask = share.bool().expand_as(h)
    special = torch.tensor([-0.0, 0.0, 1e-45, float("inf"), -3.1]).repeat(h[0].numel())[: h[0].numel()]
    picked = special.reshape(h[0].shape)
    mixed = mixer(torch.where(mask, picked, h), draw, labels).h
    assert torch.equal(mixed.detach().view(torch.int32), picked.view(torch.int32))


def test_straight_through_gives_a_source_its_share_and_the_embedding_the_relaxed_gradient():
    mixer = mixer_of("label:k=3,temperature=0.5")
    h, labels = sources(mixer, 6)
    draw, g = drawn(mixer, 6), torch.randn(6, *LATENT, generator=torch.Generator().manual_seed(5))
    h.requires_grad_()
    mixed = mixer(h, draw, labels)
    weights = list(mixer.parameters())
    found = torch.autograd.grad((mixed.h * g).sum(), [h, *weights])
    torch.testing.assert_close(found[0], (mixed.share * g).detach())
    relaxed = mixer_of("label:k=3,temperature=0.5,gradient=relaxed")
    wanted = torch.autograd.grad((relaxed(h.detach(), draw, labels).h * g).sum(), list(relaxed.parameters()))
    for mine, theirs in zip(found[1:], wanted, strict=True):
        assert mine.abs().max() > 0
        torch.testing.assert_close(mine, theirs)


def test_a_nan_in_a_source_that_is_not_picked_stays_out_of_the_gradients():
    mixer = mixer_of("label")
    h, labels = sources(mixer, 6)
    draw = drawn(mixer, 6)
    mask = mixer(h, draw, labels).share.bool().expand_as(h)
    h = torch.where(mask, h, float("nan")).requires_grad_()
    for gradient in torch.autograd.grad(mixer(h, draw, labels).h.square().sum(), [h, *mixer.parameters()]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_relaxed_mask_is_really_what_mixes(temperature):
    mixer = mixer_of(f"label:k=3,gradient=relaxed,temperature={temperature}")
    h, labels = sources(mixer, 6)
    draw = drawn(mixer, 6)
    mixed = mixer(h, draw, labels)
    share = ((mixer.logits(mixed.labels, torch.eye(CLASSES)[labels]) + draw["gumbel"]) / temperature).softmax(0)
    torch.testing.assert_close(mixed.share, share[..., None, None])
    torch.testing.assert_close(mixed.h, (share[..., None, None] * h).sum(0))
    assert ((mixed.share > 0) & (mixed.share < 1)).all()
    assert torch.autograd.gradcheck(lambda x: mixer(x, draw, labels).h, h.double().requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("latent", [(6,), LATENT])
def test_the_gradient_reaches_every_weight_of_the_embedding(mode, latent):
    mixer = mixer_of(f"label:gradient={mode}", latent)
    h, labels = sources(mixer, 32, latent)
    loss = mixer(h, drawn(mixer, 32, latent), labels).h.square().sum()
    for name, weight in mixer.named_parameters():
        (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("mode", MODES)
def test_a_label_mixer_learns_to_pick_what_a_label_asks_for(mode):
    """Feature map c is to come from the source whose label is aimed at; without learning half do."""
    mixer = mixer_of(f"label:gradient={mode},hidden=16", (3,), 2)
    adam = torch.optim.Adam(mixer.parameters(), lr=0.02)
    labels = torch.tensor([[0], [1]]).expand(-1, 64)
    h = torch.tensor([1.0, -1.0])[:, None, None].expand(2, 64, 3)
    for step in range(150):
        mixed = mixer(h, drawn(mixer, 64, (3,), step), labels)
        aim = torch.where(mixed.labels[:, :1] > 0.5, 1.0, -1.0)
        adam.zero_grad()
        (mixed.h - aim).square().mean().backward()
        adam.step()
    mixed = mixer(h, drawn(mixer, 64, (3,), 1000), labels)
    assert (mixed.h.sign() == torch.where(mixed.labels[:, :1] > 0.5, 1.0, -1.0)).double().mean() > 0.8


def test_a_point_is_a_label_to_aim_at_and_the_same_mask_for_equal_labels():
    mixer = mixer_of("label:k=3")
    h, _ = sources(mixer, 4)
    labels = torch.tensor([[0], [3], [1]]).expand(-1, 4)
    point = torch.tensor([0.5, 0.25, 0.25])
    draw = mixer.at(point, CodeShape(4, LATENT))
    mixed = mixer(h, draw, labels)
    assert mixed.labels[0].tolist() == [0.5, 0.25, 0, 0.25, 0]
    assert (mixed.share == mixed.share[:, :1]).all()
    again = mixer.at(point, CodeShape(4, LATENT))
    assert all(torch.equal(draw[key], again[key]) for key in draw)


def test_a_label_mixer_without_labels_says_what_to_do():
    mixer = mixer_of("label")
    h, _ = sources(mixer, 2)
    with pytest.raises(ValueError, match=r"^the label mixer got no labels: pass labels=, \[k batch\] classes or"):
        mixer(h, drawn(mixer, 2))
    with pytest.raises(ConfigError, match=r"^mixer 'label': it mixes by label, and the data have none; use data"):
        mixer_of("label", LATENT, 0)


@pytest.mark.parametrize("name", ["label", "network"])
def test_a_learned_mixer_must_know_the_shape_of_the_code(name):
    with pytest.raises(ConfigError, match=f"^mixer '{name}': it has weights for each feature map, so it needs the"):
        mixer_of(name, ())


def test_autocast_does_not_change_what_is_picked():
    mixer = strong(mixer_of("label:k=3"))
    h, labels = sources(mixer, 512)
    draw = drawn(mixer, 512)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mixer(h, draw, labels)
    assert torch.equal(mixed.h, mixer(h, draw, labels).h)


def test_gumbel_noise_has_its_law_and_is_finite():
    from mixzoo_mixers.learned import gumbel

    noise = gumbel((N,), rng_for(0, "noise")).double().sort().values
    assert noise.isfinite().all()
    assert ((-(-noise).exp()).exp() - (torch.arange(N) + 0.5) / N).abs().max() < 3.27 / N**0.5


# --- network

NETWORKS = ["network", "network:k=4", "network:weight_per=position", "network:k=3,weight_per=example,hidden=7"]


def moved(mixer):
    """The network mixer after its last layer has left zero."""
    return strong(mixer)


@pytest.mark.parametrize("spec", NETWORKS)
@pytest.mark.parametrize("latent", [(6,), LATENT])
def test_a_network_begins_as_dirichlet_mixup(spec, latent):
    mixer = mixer_of(spec, latent)
    h, _ = sources(mixer, 5, latent)
    draw = drawn(mixer, 5, latent)
    same = ZOO.recipe("mixer", f"dirichlet:k={mixer.k}")
    assert torch.equal(draw, drawn(same, 5, latent))
    torch.testing.assert_close(mixer(h, draw).h, same(h, draw).h)


@pytest.mark.parametrize(
    ("weight_per", "shape"), [("position", (4, 3, 2)), ("channel", (4, 1, 1)), ("example", (1, 1, 1))]
)
def test_a_network_gives_a_weight_to_each_position_map_or_example_from_the_codes(weight_per, shape):
    mixer = moved(mixer_of(f"network:k=3,weight_per={weight_per}"))
    h, _ = sources(mixer, 5)
    draw = drawn(mixer, 5)
    mixed = mixer(h, draw)
    assert mixed.share.shape == (3, 5, *shape)
    assert (mixed.share - draw).abs().max() > 0.1
    torch.testing.assert_close(mixed.share.sum(0), torch.ones(5, *shape))
    torch.testing.assert_close(mixed.h, (mixed.share * h).sum(0))
    assert (mixer(h * 2, draw).share - mixed.share).abs().max() > 0.01


@pytest.mark.parametrize(("weight_per", "axes"), [("channel", (3, 4)), ("example", (3, 4))])
def test_a_weight_that_no_position_has_of_its_own_depends_on_the_mean_over_positions_alone(weight_per, axes):
    mixer = moved(mixer_of(f"network:k=3,weight_per={weight_per}"))
    h, _ = sources(mixer, 5)
    draw = drawn(mixer, 5)
    averaged = h.mean(axes, keepdim=True).expand_as(h)
    torch.testing.assert_close(mixer(averaged, draw).share, mixer(h, draw).share)


def test_of_a_network_every_feature_map_is_weighed_when_not_told_otherwise():
    assert ZOO.recipe("mixer", "network") == ZOO.recipe("mixer", "network:weight_per=channel")


@pytest.mark.parametrize("spec", NETWORKS)
def test_sources_may_change_places_together_with_their_weights(spec):
    mixer = moved(mixer_of(spec))
    h, _ = sources(mixer, 5)
    draw, places = drawn(mixer, 5), torch.arange(mixer.k).roll(1)
    torch.testing.assert_close(mixer(h[places], draw[places]).h, mixer(h, draw).h)


@pytest.mark.bit_exact
@pytest.mark.parametrize("spec", NETWORKS)
def test_a_corner_is_that_source_exactly_and_its_gradients_are_finite(spec):
    mixer = moved(mixer_of(spec))
    h, _ = sources(mixer, 3)
    h.requires_grad_()
    for source in range(mixer.k):
        mixed = mixer(h, mixer.at(torch.eye(mixer.k)[source], CodeShape(3, LATENT)))
        assert torch.equal(mixed.h, h[source])
        for gradient in torch.autograd.grad(mixed.h.square().sum(), [h, *mixer.parameters()]):
            assert gradient.isfinite().all()


def test_every_weight_of_a_network_learns_once_the_last_layer_has_moved():
    mixer = moved(mixer_of("network:k=3"))
    h, _ = sources(mixer, 16)
    gradients = torch.autograd.grad(mixer(h, drawn(mixer, 16)).h.square().sum(), list(mixer.parameters()))
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in gradients)


@pytest.mark.parametrize("spec", ["network:k=3", "label:k=3", "label:gradient=relaxed"])
def test_a_learned_mixer_takes_codes_of_any_precision_and_weights_of_another(spec):
    mixer = mixer_of(spec)
    h, labels = sources(mixer, 4)
    draw = drawn(mixer, 4)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        mixed = mixer(h.to(dtype), draw, labels)
        assert mixed.h.dtype == mixed.share.dtype == dtype
        torch.testing.assert_close(mixed.h.float(), mixer(h, draw, labels).h, rtol=0.05, atol=0.05)
    torch.testing.assert_close(mixer.double()(h.double(), draw, labels).h.float(), mixer_of(spec)(h, draw, labels).h)


# --- runs


@pytest.mark.parametrize("spec", ["network:k=3", "label:k=3", "label:gradient=relaxed"])
def test_a_learned_mixer_trains_with_the_auto_encoder(spec, tmp_path):
    zoo = toy_zoo()
    config = toy_config(zoo, flags={"mixer": spec, "objective": "amr"})
    start(zoo, config, tmp_path / "run")
    trained = open_run(zoo, tmp_path / "run").players.mixer
    begun = build_part(config.parts["mixer"], "mixer", "x", BuildContext((1, 8, 8), 3, (2, 4, 4)), config.train.seed)
    before = begun.state_dict()
    assert trained.state_dict().keys() == before.keys()
    changed = [key for key, tensor in trained.state_dict().items() if not torch.equal(tensor, before[key])]
    assert changed == list(before)


def test_pictures_take_the_runs_own_learned_mixer_and_any_that_has_nothing_to_learn(tmp_path):
    zoo, home = toy_zoo(), tmp_path / "run"
    start(zoo, toy_config(zoo, flags={"mixer": "label:k=3"}, steps=2), home)
    options = {"pairs": 2, "steps": 3, "side": 3, "device": "cpu"}
    assert set(draw_interpolations(zoo, home, None, **options).files) == {"strips", "conditioned", "triangle"}
    long = "one_of:a=(chain:a=mixup,b=mixup),b=(chain:a=(bernoulli),b=(one_of:a=mixup,b=mixup)),c=(bernoulli:k=3)"
    files = {spec: draw_interpolations(zoo, home, spec, **options).files for spec in (long, long.replace(",c=", ",d="))}
    assert len({file for drawn in files.values() for file in drawn.values()}) == 4
    assert all(len(file.name) < 120 and file.exists() for drawn in files.values() for file in drawn.values())
    for learned in ("network", "one_of:a=mixup,b=(chain:a=mixup,b=label)"):
        with pytest.raises(ConfigError, match=r"it is a learned mixer, and in this run only its own mixer was trained"):
            draw_interpolations(zoo, home, learned, **options)
