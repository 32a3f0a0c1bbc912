"""Mixers made of mixers: their laws, their shares, and runs that are made with them."""

import tomllib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixzoo import BuildContext, CodeShape, Mixed
from mixzoo.core.errors import ConfigError, Interrupted
from mixzoo.core.mixing import draw_for, needs_map
from mixzoo.core.random import rng_for
from mixzoo.registry.building import build_part
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import read, saved
from mixzoo.training.players import Players
from toys import toy_config, toy_zoo

ZOO = load_zoo()
LATENT, CLASSES = (4, 3, 2), 5
SPECS = [
    "one_of:a=mixup,b=bernoulli",
    "one_of:a=(dirichlet:k=3),b=(bernoulli:k=2),c=(label:k=4),d=network,p=0.4",
    "chain:a=(bernoulli:k=3),b=(dirichlet:k=2)",
    "chain:a=(label),b=(one_of:a=mixup,b=(channel:k=3))",
    "schedule:a=mixup,b=(bernoulli:k=3)",
    "schedule:a=(chain:a=mixup,b=mixup),b=(network),start=0.25,end=0.75",
]
N = 100_000


def mixer_of(spec, latent=LATENT, seed=0):
    recipe = ZOO.recipe("mixer", spec)
    return build_part(recipe, "mixer", spec.partition(":")[0], BuildContext((1, 8, 8), CLASSES, latent), seed)


def sources(mixer, batch, latent=LATENT, dtype=torch.float32):
    rng = torch.Generator().manual_seed(1)
    h = torch.randn(mixer.k, batch, *latent, generator=rng).to(dtype)
    return h, torch.randint(CLASSES, (mixer.k, batch), generator=rng)


@given(
    st.sampled_from(SPECS),
    st.sampled_from([(6,), (4, 3, 2), (1, 1, 1)]),
    st.sampled_from([1, 3]),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 2**32),
)
def test_a_composite_mixes_by_the_share_that_it_reports_in_every_precision(spec, latent, batch, dtype, seed):
    mixer = mixer_of(spec, latent)
    h, labels = sources(mixer, batch, latent, dtype)
    mixed = mixer(h, mixer.draw(CodeShape(batch, latent), rng_for(seed, "mix")), labels)
    assert (mixed.h.shape, mixed.h.dtype, mixed.share.dtype) == (h.shape[1:], dtype, dtype)
    assert mixed.share.ndim == h.ndim
    slack = 4 * mixer.k * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    assert (mixed.share.double().sum(0) - 1).abs().max() <= slack
    assert mixed.share.min() >= 0
    expected = (mixed.share.double() * h.double()).sum(0)
    assert (mixed.h.double() - expected).abs().max() <= slack * h.double().abs().max()


@pytest.mark.parametrize("spec", SPECS)
def test_a_composite_draws_named_tensors_from_its_generator_alone(spec):
    mixer, shape = mixer_of(spec), CodeShape(3, LATENT)
    state = torch.get_rng_state()
    draw, again, other = (mixer.draw(shape, rng_for(seed, "mix")) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert {key.partition("/")[0] for key in draw} <= {"choice", "a", "b", "c", "d"}
    assert all(torch.equal(draw[key], again[key]) for key in draw)
    assert any(not torch.equal(draw[key], other[key]) for key in draw)


@pytest.mark.parametrize(("p", "chances"), [("", [1 / 3] * 3), (",p=0.5", [0.5, 0.25, 0.25]), (",p=1", [1, 0, 0])])
def test_one_of_chooses_each_mixer_as_often_as_it_says_for_each_example_alone(p, chances):
    mixer = mixer_of(f"one_of:a=mixup,b=mixup,c=mixup{p}", (1,))
    choice = mixer.draw(CodeShape(N, (1,)), rng_for(0, "mix"))["choice"]
    for i, chance in enumerate(chances):
        chosen = (choice == i).double()
        assert abs(chosen.mean() - chance) <= 6 * (chance * (1 - chance) / N) ** 0.5
        if 0 < chance < 1:
            assert abs(torch.corrcoef(torch.stack([chosen[:-1], chosen[1:]]))[0, 1]) < 6 / N**0.5


@pytest.mark.bit_exact
def test_an_example_of_one_of_is_just_what_the_mixer_chosen_makes_of_it():
    mixer = mixer_of("one_of:a=(dirichlet:k=3),b=(bernoulli:k=2),c=(label:k=4)")
    h, labels = sources(mixer, 32)
    draw = mixer.draw(CodeShape(32, LATENT), rng_for(0, "mix"))
    mixed = mixer(h, draw, labels)
    label_draw = {key[2:]: draw[key] for key in draw if key.startswith("c/")}
    alone = [
        mixer.parts["a"](h[:3], draw["a"]),
        mixer.parts["b"](h[:2], draw["b"]),
        mixer.parts["c"](h, label_draw, labels),
    ]
    assert draw["choice"].unique().tolist() == [0, 1, 2]
    for example, choice in enumerate(draw["choice"].tolist()):
        one = alone[choice]
        assert torch.equal(mixed.h[example], one.h[example])
        share = one.share[:, example].expand(-1, 4, 1, 1)
        assert torch.equal(mixed.share[: len(share), example], share)
        assert not mixed.share[len(share) :, example].any()
        if choice == 2:
            assert torch.equal(mixed.labels[example], one.labels[example])
        else:
            y = torch.eye(CLASSES)[labels[: len(share), example]]
            torch.testing.assert_close(mixed.labels[example], (share.flatten(1).mean(1)[:, None] * y).sum(0))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_in_a_source_of_a_mixer_not_chosen_stays_out_of_the_mix_and_of_every_gradient(poison):
    mixer = mixer_of("one_of:a=mixup,b=(network:k=3),c=(label:k=4)")
    h, labels = sources(mixer, 24)
    draw = mixer.draw(CodeShape(24, LATENT), rng_for(0, "mix"))
    a = draw["choice"] == 0
    assert 0 < a.sum() < 24
    h[2:, a] = poison
    clean = h.clone().nan_to_num(0.0, 0.0).requires_grad_()
    h.requires_grad_()
    mixed, expected = mixer(h, draw, labels), mixer(clean, draw, labels)
    assert torch.equal(mixed.h, expected.h)
    weights = list(mixer.parameters())
    for wanted, found in zip(
        *(torch.autograd.grad(m.h.square().sum(), [x, *weights]) for m, x in ((expected, clean), (mixed, h)))
    ):
        assert found.isfinite().all()
        torch.testing.assert_close(found, wanted)


class Singular:
    """Its gradient is NaN wherever two sources are equal."""

    k = 2

    def draw(self, shape, rng):
        return shape.broadcast(torch.rand(2, shape.batch, generator=rng))

    def __call__(self, h, draw, labels=None):
        distance = (h[0] - h[1]).square().sum(tuple(range(1, h.ndim - 1)), keepdim=True).sqrt()
        return Mixed(h[0] + 0 * distance, torch.stack([torch.ones_like(h[0]), torch.zeros_like(h[0])]))

    def at(self, point, shape):
        return shape.broadcast(point[:, None].expand(-1, shape.batch))


def test_a_gradient_that_is_nan_in_the_mixer_not_chosen_stays_out():
    from mixzoo_mixers.composite import ForEachExample

    parts = {"a": mixer_of("mixup"), "b": Singular()}
    mixer = ForEachExample(parts, lambda progress: (0.5, 0.5), {}, BuildContext((1, 8, 8), CLASSES, LATENT))
    h = torch.ones(2, 16, *LATENT, requires_grad=True)
    draw = mixer.draw(CodeShape(16, LATENT), rng_for(0, "mix"))
    (found,) = torch.autograd.grad(mixer(h, draw).h.sum(), h)
    nan = found.isnan().flatten(2).any(2).any(0)
    assert torch.equal(nan, draw["choice"] == 1)


def test_a_chain_multiplies_the_shares_of_both_mixers():
    mixer = mixer_of("chain:a=(dirichlet:k=3),b=(channel:k=2)")
    h, _ = sources(mixer, 5, dtype=torch.float64)
    draw = mixer.draw(CodeShape(5, LATENT), rng_for(0, "mix"))
    mixed = mixer(h, draw)
    assert mixer.k == 4
    torch.testing.assert_close(mixed.share[:3], (draw["b"][:1] * draw["a"]).double().expand(3, 5, 4, 1, 1))
    assert torch.equal(mixed.share[3], draw["b"][1].double())
    first = mixer.a(h[:3], draw["a"]).h
    torch.testing.assert_close(mixed.h, mixer.b(torch.stack([first, h[3]]), draw["b"]).h)


def test_a_chain_hands_the_labels_of_the_first_mix_to_the_second_mixer():
    mixer = mixer_of("chain:a=mixup,b=label")
    h, labels = sources(mixer, 6)
    draw = mixer.draw(CodeShape(6, LATENT), rng_for(0, "mix"))
    y = torch.eye(CLASSES)[labels]
    y_first = (draw["a"].flatten(1)[..., None] * y[:2]).sum(0)
    alpha = draw["b/alpha"][..., None]
    torch.testing.assert_close(mixer(h, draw, labels).labels, alpha[0] * y_first + alpha[1] * y[2])
    reversed_roles = mixer_of("chain:a=label,b=mixup")
    draw = reversed_roles.draw(CodeShape(6, LATENT), rng_for(0, "mix"))
    aimed = (draw["a/alpha"][..., None] * y[:2]).sum(0)
    weight = draw["b"].flatten(1)[..., None]
    torch.testing.assert_close(reversed_roles(h, draw, labels).labels, weight[0] * aimed + weight[1] * y[2])
    assert mixer_of("chain:a=mixup,b=mixup")(h, {"a": draw["b"], "b": draw["b"]}, labels).labels is None


@pytest.mark.parametrize(
    ("progress", "chance"), [(0.0, 0.0), (0.25, 0.0), (0.375, 0.25), (0.5, 0.5), (0.75, 1.0), (1.0, 1.0)]
)
def test_a_schedule_goes_from_one_mixer_to_the_other_between_its_start_and_its_end(progress, chance):
    mixer = mixer_of("schedule:a=mixup,b=bernoulli,start=0.25,end=0.75", (1,))
    draw = mixer.draw_at(CodeShape(N, (1,)), rng_for(0, "mix"), progress)
    by_b = torch.tensor([name == "b" for name in mixer.parts])[draw["choice"]].double()
    assert abs(by_b.mean() - chance) <= 6 * (chance * (1 - chance) / N) ** 0.5


def test_a_draw_of_a_schedule_without_a_training_is_that_of_its_end():
    mixer, shape = mixer_of("schedule:a=mixup,b=bernoulli"), CodeShape(64, LATENT)
    at_end, plain = mixer.draw_at(shape, rng_for(0, "x"), 1.0), mixer.draw(shape, rng_for(0, "x"))
    assert all(torch.equal(at_end[key], plain[key]) for key in plain)


@pytest.mark.parametrize(
    "outer", ["one_of:a=(INNER),b=(INNER)", "chain:a=(INNER),b=mixup", "schedule:a=mixup,b=(INNER),end=0.01"]
)
def test_a_schedule_inside_another_mixer_hears_of_the_progress(outer):
    mixer = mixer_of(outer.replace("INNER", "schedule:a=(dirichlet:k=2),b=(bernoulli:k=2)"))
    for progress in (0.0, 1.0):
        draw = draw_for(mixer, CodeShape(64, LATENT), rng_for(0, "mix"), progress)
        inner = [draw[key] for key in draw if key.endswith("/choice")]
        assert inner
        assert all((choice == (1 - progress)).all() for choice in inner)


@pytest.mark.parametrize(
    "spec",
    [
        "chain:a=(dirichlet:k=3),b=(dirichlet:k=2)",
        "one_of:a=mixup,b=(dirichlet:k=4)",
        "schedule:a=(dirichlet:k=3),b=mixup",
    ],
)
def test_a_point_of_the_simplex_gives_those_shares(spec):
    mixer = mixer_of(spec)
    h, _ = sources(mixer, 2)
    corners = torch.eye(mixer.k)
    last = torch.cat([torch.zeros(mixer.k - 1), torch.ones(1)])
    for point in (torch.arange(1.0, mixer.k + 1) / sum(range(1, mixer.k + 1)), last, *corners):
        share = mixer(h, mixer.at(point, CodeShape(2, LATENT))).share
        torch.testing.assert_close(share[:, 0, 0, 0, 0], point)
    for source, corner in enumerate(corners):
        assert torch.equal(mixer(h, mixer.at(corner, CodeShape(2, LATENT))).h, h[source])


def test_a_schedule_shows_its_last_mixer_in_pictures():
    mixer = mixer_of("schedule:a=mixup,b=bernoulli")
    h, _ = sources(mixer, 2)
    share = mixer(h, mixer.at(torch.tensor([0.5, 0.5]), CodeShape(2, LATENT))).share
    assert set(share.unique().tolist()) == {0.0, 1.0}


def test_a_composite_needs_a_map_where_one_of_its_mixers_does():
    from mixzoo_mixers.composite import Chained

    class Patches(Singular):
        needs_map = True

    context = BuildContext((1, 8, 8), CLASSES, LATENT)
    assert needs_map(Chained(mixer_of("mixup"), Patches(), {}, context))
    assert not needs_map(mixer_of("chain:a=mixup,b=mixup"))


def test_a_composite_leaves_out_what_its_mixers_leave_out_and_says_whose_reason_it_is():
    recipe = ZOO.recipe("mixer", "one_of:a=mixup,b=(chain:a=label,b=mixup)")
    reasons = recipe.skipped_checks
    assert reasons["labels_do_not_matter"] == "b skips it: a skips it: it mixes by them"
    assert "mean_share_is_one_over_k" in reasons
    assert ZOO.recipe("mixer", "one_of:a=mixup,b=bernoulli").skipped_checks == {}
    assert mixer_of("chain:a=label,b=mixup").skipped_checks == recipe.b.recipe.skipped_checks


@pytest.mark.parametrize("spec", SPECS)
def test_a_wrong_number_of_sources_is_refused(spec):
    mixer = mixer_of(spec)
    h, labels = sources(mixer, 2)
    draw = mixer.draw(CodeShape(2, LATENT), rng_for(0, "mix"))
    more = torch.cat([h, h[:1]]), draw, torch.cat([labels, labels[:1]])
    with pytest.raises(ValueError, match=f"^a mixer of k={mixer.k} sources got {mixer.k + 1}$"):
        mixer(*more)


# --- runs


def flags(spec):
    return {"mixer": spec}


def test_a_run_file_holds_a_table_for_each_nested_part_and_gives_the_same_run(tmp_path):
    zoo = toy_zoo()
    config = toy_config(zoo, flags=flags("one_of:a=(chain:a=mixup,b=(bernoulli:p=0.3)),b=(mixzoo/label:k=3),p=0.25"))
    (tmp_path / "run.toml").write_text(config.to_toml())
    table = tomllib.loads(config.to_toml())["mixer"]
    assert (table["name"], table["p"], table["b"]["name"], table["b"]["k"]) == ("one_of", 0.25, "mixzoo/label", 3)
    assert table["a"] == {
        "name": "chain",
        "a": {"name": "mixup", "law": "uniform"},
        "b": {"name": "bernoulli", "k": 2, "p": 0.3, "p_per": "example"},
    }
    assert resolve(zoo, tmp_path / "run.toml", {}, {}) == config


def test_a_run_file_may_name_a_nested_part_by_its_spec(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[mixer]\nname = "one_of"\na = "dirichlet:k=3"\n[mixer.b]\nname = "bernoulli"\nk = 5'
    )
    recipe = resolve(toy_zoo(), tmp_path / "run.toml", {}, {}).parts["mixer"]
    assert (recipe.a.recipe.k, recipe.b.recipe.k, recipe.k) == (3, 5, 5)


def test_a_fault_in_a_nested_table_names_the_file_and_the_table(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[mixer]\nname = "one_of"\na = "mixup"\n[mixer.b]\nname = "dirichlet"\nk = 1')
    with pytest.raises(ConfigError, match=rf"^{path} \[mixer\.b\]: k=1 must be an integer >= 2 and <= 64\.$"):
        resolve(toy_zoo(), path, {}, {})


RUNS = [
    "schedule:a=mixup,b=bernoulli",  # no weights
    "one_of:a=(network:k=3),b=(label),c=(schedule:a=mixup,b=(chain:a=mixup,b=label))",
]


@pytest.mark.bit_exact
@pytest.mark.parametrize("spec", RUNS)
def test_a_run_with_a_composite_resumes_bit_for_bit(spec, tmp_path, monkeypatch):
    zoo = toy_zoo()
    config = toy_config(zoo, flags=flags(spec), checkpoint_every=4)
    start(zoo, config, tmp_path / "whole")

    plain, seen = Players.draw, []

    def stopping(players, seed, step, **given):
        if given["batch"] > 2:  # not the step that is tried before the run
            seen.append(given["progress"])
        if step == 7:
            raise Interrupted("stop")
        return plain(players, seed, step, **given)

    monkeypatch.setattr(Players, "draw", stopping)
    with pytest.raises(Interrupted):
        start(zoo, config, tmp_path / "stopped")
    monkeypatch.setattr(Players, "draw", plain)
    resume(zoo, tmp_path / "stopped")
    assert seen[:2] == [0.0, 1 / 12]
    whole, stopped = (read(saved(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "stopped"))
    assert whole[1].step == stopped[1].step == 12
    assert whole[0].keys() == stopped[0].keys()
    for name, tensors in whole[0].items():
        assert all(torch.equal(tensors[key], stopped[0][name][key]) for key in tensors), name
    assert bool(whole[0]["mixer"]) == ("label" in spec)


def test_a_part_that_cannot_be_built_for_the_data_is_named_with_the_reason():
    recipe = ZOO.recipe("mixer", "one_of:a=mixup,b=(chain:a=mixup,b=label)")
    with pytest.raises(ConfigError, match=r"^mixer 'one_of': chain: label: it mixes by label, and the data have none"):
        build_part(recipe, "mixer", "one_of", BuildContext((1, 8, 8), 0, LATENT), 0)
