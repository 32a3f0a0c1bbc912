"""What every mixer promises, and the law of each."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixzoo import CodeShape, LinearMixer, MaskMixer
from mixzoo.core.mixing import needs_map
from mixzoo.core.random import rng_for
from mixzoo.registry.zoo import load_zoo

ZOO = load_zoo()
SPECS = [
    *("mixup", "dirichlet:k=2", "dirichlet:k=5,alpha=0.3", "channel", "channel:k=3"),
    *("bernoulli", "bernoulli:k=4", "bernoulli:p=0.3", "bernoulli:k=3,p=0.8"),
    *("bernoulli:p_per=unit", "bernoulli:k=3,p_per=batch"),
    *("mixup:law=gaia", "spatial", "spatial:k=3,alpha=0.3", "slerp"),
    *(
        "cutmix",
        "cutmix:k=4,border=wrap",
        "cutmix:k=3,alpha=0.01",
        "fmix",
        "fmix:k=5,decay=1",
        "grid",
        "grid:k=3,cells=3",
    ),
    *("grid:p_per=batch", "dropblock", "dropblock:k=3,block=3,mask_per=channel", "dropblock:k=4,p=0.4"),
    *("dirichlet:k=8,alpha=0.01", "dirichlet:k=3,alpha=10", "channel:k=8", "bernoulli:k=8,p_per=unit"),
]
MIXERS = {spec: ZOO.recipe("mixer", spec) for spec in SPECS}
LINEAR = [spec for spec in SPECS if isinstance(MIXERS[spec], LinearMixer)]
MASKS = [spec for spec in SPECS if isinstance(MIXERS[spec], MaskMixer)]
SHAPES = [CodeShape(b, latent) for b in (1, 2, 5) for latent in ((6,), (3, 2, 4), (1, 1, 1))]


def cases(without="", shapes=SHAPES):
    """Pairs of a mixer and a shape that it takes; not those that leave out the check called `without`."""
    mixers = [mixer for mixer in MIXERS.values() if without not in getattr(mixer, "skipped_checks", {})]
    pairs = [(mixer, shape) for mixer in mixers for shape in shapes if shape.is_map or not needs_map(mixer)]
    return st.sampled_from(pairs)


seeds = st.integers(0, 2**32)
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])


def codes(mixer, shape, seed, dtype=torch.float64):
    h = torch.randn(mixer.k, shape.batch, *shape.latent, generator=torch.Generator().manual_seed(seed + 1))
    return h.to(dtype)


def drawn(mixer, shape, seed):
    return mixer.draw(shape, rng_for(seed, "mix"))


@given(cases(), seeds, dtypes)
def test_a_mix_keeps_shape_and_dtype(case, seed, dtype):
    mixer, shape = case
    h = codes(mixer, shape, seed, dtype)
    mixed = mixer(h, drawn(mixer, shape, seed))
    assert (mixed.h.shape, mixed.h.dtype) == (h.shape[1:], dtype)


def tolerance(mixer, dtype):
    """2 k eps, of the codes' dtype or of the float32 that shares are drawn in, whichever is coarser."""
    return 2 * mixer.k * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)


@given(cases(without="share_is_used"), seeds, dtypes)
def test_in_every_precision_a_mix_stays_between_its_sources_and_reports_its_share(case, seed, dtype):
    mixer, shape = case
    h = codes(mixer, shape, seed, dtype)
    mixed = mixer(h, drawn(mixer, shape, seed))
    assert mixed.share.dtype == dtype
    room = tolerance(mixer, dtype) * h.abs().max().double()
    assert (mixed.h.double() >= h.double().amin(0) - room).all()
    assert (mixed.h.double() <= h.double().amax(0) + room).all()
    assert (mixed.share.double().sum(0) - 1).abs().max() <= tolerance(mixer, dtype)
    assert ((mixed.share.double() * h.double()).sum(0) - mixed.h.double()).abs().max() <= room


@given(cases(), seeds, dtypes)
def test_an_example_that_meets_only_itself_stays_itself_in_every_precision(case, seed, dtype):
    mixer, shape = case
    h = codes(mixer, shape, seed, dtype)[:1].expand(mixer.k, *[-1] * (1 + len(shape.latent)))
    mixed = mixer(h, drawn(mixer, shape, seed)).h
    off = (mixed.double() - h[0].double()).abs()
    assert (off <= (0 if isinstance(mixer, MaskMixer) else tolerance(mixer, dtype)) * h[0].double().abs()).all()


@given(cases(), seeds, st.randoms(use_true_random=False))
def test_sources_and_their_shares_may_change_places(case, seed, random):
    mixer, shape = case
    h, draw = codes(mixer, shape, seed), drawn(mixer, shape, seed)
    places = random.sample(range(mixer.k), mixer.k)
    torch.testing.assert_close(mixer(h[places], draw[places]).h, mixer(h, draw).h)


@given(cases(without="moves_with_shift_and_scale"), seeds)
def test_moving_all_codes_moves_the_mix_as_far(case, seed):
    mixer, shape = case
    h, draw = codes(mixer, shape, seed), drawn(mixer, shape, seed)
    torch.testing.assert_close(mixer(2 * h + 3, draw).h, 2 * mixer(h, draw).h + 3, rtol=1e-5, atol=2e-6)


@given(cases(), seeds)
def test_labels_change_nothing_in_a_mixer_that_does_not_read_them(case, seed):
    mixer, shape = case
    h, draw = codes(mixer, shape, seed), drawn(mixer, shape, seed)
    labels = torch.arange(mixer.k * shape.batch).reshape(mixer.k, shape.batch)
    assert torch.equal(mixer(h, draw, labels).h, mixer(h, draw).h)


@given(cases())
def test_a_generator_moves_on_with_each_draw(case):
    mixer, shape = case
    rng = rng_for(0, "mix")
    states = [rng.get_state()]
    for _ in range(2):
        mixer.draw(shape, rng)
        states.append(rng.get_state())
    assert not torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


@pytest.mark.parametrize("spec", SPECS)
def test_codes_in_another_memory_order_give_the_same_mix(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(4, (6, 3, 2))
    h, draw = codes(mixer, shape, 0), drawn(mixer, shape, 0)
    shuffled = h.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    assert not shuffled.is_contiguous()
    exact = {"rtol": 0, "atol": 0} if isinstance(mixer, MaskMixer) else {}
    torch.testing.assert_close(mixer(shuffled, draw).h, mixer(h, draw).h, **exact)


@given(cases(), seeds)
def test_shares_are_a_point_of_the_simplex_at_every_position(case, seed):
    mixer, shape = case
    share = mixer(codes(mixer, shape, seed), drawn(mixer, shape, seed)).share
    assert share.min() >= 0
    torch.testing.assert_close(share.sum(0), torch.ones_like(share[0]), rtol=0, atol=1e-6)


@given(cases(without="share_is_used"), seeds)
def test_the_share_that_is_reported_is_the_share_that_was_used(case, seed):
    mixer, shape = case
    h = codes(mixer, shape, seed)
    mixed = mixer(h, drawn(mixer, shape, seed))
    torch.testing.assert_close(mixed.h, (mixed.share * h).sum(0))


@given(cases(), seeds)
def test_equal_sources_come_back(case, seed):
    mixer, shape = case
    h = codes(mixer, shape, seed)[:1].expand(mixer.k, *[-1] * (1 + len(shape.latent)))
    torch.testing.assert_close(mixer(h, drawn(mixer, shape, seed)).h, h[0], rtol=1e-6, atol=1e-6)


@given(cases(without="stays_between_sources"), seeds)
def test_a_mix_stays_between_its_sources(case, seed):
    mixer, shape = case
    h = codes(mixer, shape, seed)
    mixed = mixer(h, drawn(mixer, shape, seed)).h
    assert (mixed >= h.amin(0) - 1e-6).all()
    assert (mixed <= h.amax(0) + 1e-6).all()


@pytest.mark.bit_exact
@given(cases(), seeds)
def test_one_seed_gives_one_mix_and_leaves_the_default_generator_and_the_sources_alone(case, seed):
    mixer, shape = case
    h = codes(mixer, shape, seed)
    before, state = h.clone(), torch.get_rng_state()
    a, b = (mixer(h, drawn(mixer, shape, seed)).h for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(h, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert a.data_ptr() != h.data_ptr()


@pytest.mark.parametrize("spec", SPECS)
def test_mixes_of_a_whole_sweep_are_those_of_each_run(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(4, (6, 5, 3))
    h = torch.stack([codes(mixer, shape, seed, torch.float32) for seed in range(3)])
    draws = torch.stack([drawn(mixer, shape, seed) for seed in range(3)])
    together = torch.func.vmap(lambda h, draw: mixer(h, draw).h)(h, draws)
    for mixed, sources, draw in zip(together, h, draws):
        torch.testing.assert_close(mixed, mixer(sources, draw).h, rtol=1e-6, atol=1e-6)


COMPILED = """
import sys, torch
from mixzoo import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.registry.zoo import load_zoo
zoo = load_zoo()
for spec in sys.argv[1:]:
    mixer, shape = zoo.recipe("mixer", spec), CodeShape(4, (6, 5, 3))
    h = torch.randn(mixer.k, 4, 6, 5, 3, generator=rng_for(0, "codes"))
    draw = mixer.draw(shape, rng_for(0, "mix"))
    eager, compiled = mixer(h, draw), torch.compile(lambda h, draw: mixer(h, draw), fullgraph=True)(h, draw)
    torch.testing.assert_close(compiled.h, eager.h, rtol=1e-6, atol=1e-6, msg=spec)
    assert torch.equal(compiled.share, eager.share), spec
    torch._dynamo.reset()
"""


@pytest.mark.slow
def test_a_compiled_mix_is_one_graph_and_the_same_mix():
    """In a process without the checks of shapes, which dynamo cannot trace."""
    names = sorted({spec.partition(":")[0] for spec in SPECS})
    subprocess.run([sys.executable, "-c", COMPILED, *names], check=True)


@pytest.mark.parametrize("spec", SPECS)
def test_other_seeds_give_other_draws(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(16, (8, 2, 2))
    draws = [drawn(mixer, shape, seed) for seed in range(5)]
    assert all(not torch.equal(draws[0], other) for other in draws[1:])


@pytest.mark.bit_exact
@given(cases(shapes=[s for s in SHAPES if s.batch > 1]), seeds)
def test_examples_do_not_leak_into_one_another(case, seed):
    mixer, shape = case
    h, draw = codes(mixer, shape, seed), drawn(mixer, shape, seed)
    changed = h.clone()
    changed[:, 0] += 100
    a, b = mixer(h, draw).h, mixer(changed, draw).h
    assert torch.equal(a[1:], b[1:])


@given(cases(without="gradient_is_share"), seeds)
def test_the_gradient_of_each_source_is_its_share(case, seed):
    mixer, shape = case
    h = codes(mixer, shape, seed).requires_grad_()
    mixed = mixer(h, drawn(mixer, shape, seed))
    (gradient,) = torch.autograd.grad(mixed.h.sum(), h)
    torch.testing.assert_close(gradient, mixed.share.expand_as(h))


@pytest.mark.parametrize("spec", MASKS)
def test_what_is_picked_comes_through_bit_for_bit_whatever_is_in_the_others(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(4, (8, 2, 2))
    draw = drawn(mixer, shape, 3)
    h = torch.full((mixer.k, 4, 8, 2, 2), float("nan"))
    mask = draw.expand_as(h)
    special = torch.tensor([-0.0, 1e-45, float("inf"), 3.1]).repeat(int(mask.sum()) // 4)
    h[mask] = special
    mixed = mixer(h, draw).h
    assert not mixed.isnan().any()
    expected = torch.where(mask, h, 0).nan_to_num(posinf=9).sum(0)
    assert torch.equal(mixed.nan_to_num(posinf=9), expected)
    assert torch.equal(mixed.signbit().sum(), special.signbit().sum())


@pytest.mark.parametrize("spec", [spec for spec in MASKS if spec.startswith("bernoulli")])
def test_masks_take_whole_feature_maps_of_the_same_example(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(5, (6, 3, 2))
    ids = torch.arange(mixer.k * 5 * 6).reshape(mixer.k, 5, 6, 1, 1).expand(-1, -1, -1, 3, 2).double()
    mixed = mixer(ids, drawn(mixer, shape, 1)).h
    for example in range(5):
        for channel in range(6):
            (number,) = mixed[example, channel].unique().tolist()
            assert number % 30 == example * 6 + channel


@pytest.mark.bit_exact
@pytest.mark.parametrize("spec", SPECS)
def test_a_corner_of_the_simplex_is_that_source(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(2, (4, 2, 2))
    h = codes(mixer, shape, 0)
    for source in range(mixer.k):
        corner = torch.nn.functional.one_hot(torch.tensor(source), mixer.k).float()
        assert torch.equal(mixer(h, mixer.at(corner, shape)).h, h[source])


@pytest.mark.parametrize("spec", LINEAR)
@pytest.mark.parametrize("latent", [(6,), (3, 2, 4)])
def test_any_point_of_the_simplex_gives_just_those_shares(spec, latent):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(2, latent)
    point = torch.arange(1.0, mixer.k + 1) / sum(range(1, mixer.k + 1))
    h = codes(mixer, shape, 0)
    mixed = mixer(h, mixer.at(point, shape))
    torch.testing.assert_close(mixed.h, torch.einsum("k,k...->...", point.double(), h))
    assert torch.equal(mixed.share.expand_as(h)[:, 0].flatten(1)[:, 0], point.double())


@pytest.mark.parametrize("spec", MASKS)
def test_a_point_of_the_simplex_is_always_the_same_mask_for_every_example(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(3, (12, 2, 1))
    point = torch.full((mixer.k,), 1 / mixer.k)
    mask = mixer.at(point, shape)
    assert torch.equal(mask, mixer.at(point, shape))
    assert (mask == mask[:, :1]).all()
    assert (mask.sum(0) == 1).all()


@pytest.mark.parametrize("spec", SPECS)
def test_the_middle_of_the_simplex_takes_as_much_of_each_source(spec):
    mixer = ZOO.recipe("mixer", spec)
    shape = CodeShape(2, (mixer.k * 3, 2, mixer.k))
    share = mixer(codes(mixer, shape, 0), mixer.at(torch.full((mixer.k,), 1 / mixer.k), shape)).share
    means = share.expand(-1, 2, *shape.latent).flatten(1).mean(1)
    torch.testing.assert_close(means, torch.full_like(means, 1 / mixer.k))


# --- laws: fixed seeds, limits of six standard deviations (p about 1e-9)

N = 200_000


def test_mixup_weighs_uniformly():
    alpha = drawn(ZOO.recipe("mixer", "mixup"), CodeShape(N, (1,)), 0)[0].flatten().sort().values
    distance = (alpha - (torch.arange(N) + 0.5) / N).abs().max()
    assert distance < 3.27 / N**0.5


def test_gaias_weight_is_normal_but_for_what_lies_beyond_the_ends():
    """N(1/2, 1/4²): 4.55 % of it is beyond two standard deviations, where shares end."""
    alpha = drawn(ZOO.recipe("mixer", "mixup:law=gaia"), CodeShape(N, (1,)), 0)[0].flatten().double()
    for end in (0, 1):
        assert (alpha == end).double().mean().item() == pytest.approx(0.02275, abs=6 * (0.02275 / N) ** 0.5)
    z = ((alpha - 0.5) / 0.25).sort().values
    within = z.abs() < 2
    chance = torch.special.ndtr(z)
    assert (chance - (torch.arange(N) + 0.5) / N)[within].abs().max() < 3.27 / N**0.5


@pytest.mark.parametrize("alpha", [0.01, 0.1, 1.0, 10.0, 1e6])
@pytest.mark.parametrize("k", [2, 5])
def test_dirichlet_has_its_mean_variance_and_covariance(alpha, k):
    share = drawn(ZOO.recipe("mixer", f"dirichlet:k={k},alpha={alpha}"), CodeShape(N, (1,)), 0).flatten(1).double()
    assert share.isfinite().all()
    variance = (k - 1) / (k * k * (k * alpha + 1))
    covariance = torch.cov(share)
    assert (share.mean(1) - 1 / k).abs().max() < 6 * (variance / N) ** 0.5 + 1e-7
    assert covariance.diagonal().tolist() == pytest.approx([variance] * k, rel=0.06)
    assert covariance[0, 1].item() == pytest.approx(-variance / (k - 1), rel=0.1)


def test_dirichlet_of_a_small_alpha_is_near_the_corners_and_never_exactly_even():
    share = drawn(ZOO.recipe("mixer", "dirichlet:k=2,alpha=0.01"), CodeShape(N, (1,)), 0).flatten(1)
    assert (share.amax(0) > 0.99).double().mean() > 0.9
    assert not (share[0] == share[1]).any()


def test_dirichlet_of_one_uniform_over_two_is_mixup_in_law():
    share = drawn(ZOO.recipe("mixer", "dirichlet:k=2"), CodeShape(N, (1,)), 0)[0].flatten().sort().values
    assert (share - (torch.arange(N) + 0.5) / N).abs().max() < 3.27 / N**0.5


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1].item()


def test_channel_weights_are_independent_between_feature_maps():
    share = drawn(ZOO.recipe("mixer", "channel"), CodeShape(N, (2,)), 0)[0]
    assert abs(correlation(share[:, 0], share[:, 1])) < 6 / N**0.5
    assert share.mean().item() == pytest.approx(0.5, abs=0.004)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("p_per", ["unit", "example"])
def test_bernoulli_picks_each_source_as_often(k, p_per):
    mask = drawn(ZOO.recipe("mixer", f"bernoulli:k={k},p_per={p_per}"), CodeShape(N, (1,)), 0).flatten(1)
    spread = 6 * (1 / k * (1 - 1 / k) / N) ** 0.5
    assert (mask.double().mean(1) - 1 / k).abs().max() < spread


def test_bernoulli_with_a_given_p_keeps_that_much_of_the_first_and_divides_the_rest():
    mask = drawn(ZOO.recipe("mixer", "bernoulli:k=3,p=0.8"), CodeShape(N, (1,)), 0).flatten(1).double()
    assert mask.mean(1).tolist() == pytest.approx([0.8, 0.1, 0.1], abs=0.006)
    for p, first in ((0.0, 0.0), (1.0, 1.0)):
        exact = drawn(ZOO.recipe("mixer", f"bernoulli:p={p}"), CodeShape(1000, (4,)), 0)
        assert exact[0].double().mean() == first


def test_what_has_one_p_is_correlated_by_a_third_and_nothing_else_is():
    """p ~ U(0, 1): two picks with one p have correlation Var(p) / (1/4) = 1/3."""
    spread = 6 / N**0.5
    by_example = drawn(ZOO.recipe("mixer", "bernoulli:p_per=example"), CodeShape(N, (2,)), 0)[0]
    assert correlation(by_example[:, 0], by_example[:, 1]) == pytest.approx(1 / 3, abs=spread)
    assert abs(correlation(by_example[:-1, 0], by_example[1:, 0])) < spread
    by_unit = drawn(ZOO.recipe("mixer", "bernoulli:p_per=unit"), CodeShape(N, (2,)), 0)[0]
    assert abs(correlation(by_unit[:, 0], by_unit[:, 1])) < spread
    mixer, few = ZOO.recipe("mixer", "bernoulli:p_per=batch"), 20_000
    by_batch = torch.stack([drawn(mixer, CodeShape(2, (1,)), step)[0, :, 0] for step in range(few)])
    assert correlation(by_batch[:, 0], by_batch[:, 1]) == pytest.approx(1 / 3, abs=6 / few**0.5)


@pytest.mark.parametrize("k", [3, 5])
def test_one_weight_of_a_uniform_point_of_the_simplex_follows_beta(k):
    """Dirichlet(1, ..., 1) has marginals Beta(1, k - 1): P(share < s) = 1 - (1 - s)^(k - 1)."""
    shares = drawn(ZOO.recipe("mixer", f"dirichlet:k={k}"), CodeShape(N, (1,)), 0).flatten(1).double()
    for share in shares:
        chance = 1 - (1 - share.sort().values) ** (k - 1)
        assert (chance - (torch.arange(N) + 0.5) / N).abs().max() < 3.27 / N**0.5


def test_a_large_alpha_keeps_to_the_middle():
    share = drawn(ZOO.recipe("mixer", "dirichlet:k=4,alpha=1e6"), CodeShape(N, (1,)), 0)
    assert (share - 0.25).abs().max() < 0.01


def test_one_p_for_the_batch_still_picks_each_source_as_often():
    mixer, batches = ZOO.recipe("mixer", "bernoulli:k=3,p_per=batch"), 5000
    picked = torch.stack([drawn(mixer, CodeShape(1, (1,)), step).flatten() for step in range(batches)])
    assert (picked.double().mean(0) - 1 / 3).abs().max() < 6 * (2 / 9 / batches) ** 0.5


@pytest.mark.parametrize("p_per", ["unit", "example", "batch"])
def test_a_given_p_makes_all_picks_independent(p_per):
    mask = drawn(ZOO.recipe("mixer", f"bernoulli:p=0.3,p_per={p_per}"), CodeShape(N, (2,)), 0)[0]
    assert (mask.double().mean(0) - 0.3).abs().max() < 6 * (0.3 * 0.7 / N) ** 0.5
    assert abs(correlation(mask[:, 0], mask[:, 1])) < 6 / N**0.5
    assert abs(correlation(mask[:-1, 0], mask[1:, 0])) < 6 / N**0.5


def test_one_p_for_an_example_is_not_that_of_the_whole_batch():
    """The spread of a batch's mean tells: independent examples give 1/n, one p for all would give 1/12."""
    mask = drawn(ZOO.recipe("mixer", "bernoulli:p_per=example"), CodeShape(N, (1,)), 0)[0]
    assert abs(mask.double().mean().item() - 0.5) < 6 * (0.25 / N) ** 0.5
    together = drawn(ZOO.recipe("mixer", "bernoulli:p_per=batch"), CodeShape(N, (1,)), 0)[0]
    assert abs(together.double().mean().item() - 0.5) > 6 * (0.25 / N) ** 0.5


def test_a_mask_for_another_number_of_sources_is_refused():
    mask = drawn(ZOO.recipe("mixer", "bernoulli:k=3"), CodeShape(2, (4,)), 0)
    with pytest.raises(Exception, match=r"k|argument"):
        ZOO.recipe("mixer", "bernoulli:k=2")(torch.zeros(2, 2, 4), mask)
