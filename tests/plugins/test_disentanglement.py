"""Disentanglement scores of codes whose scores are known."""

import pytest
import torch
from torch import nn

from mixzoo import DataError, Dataset, FinishedRun, Split
from mixzoo.registry.zoo import load_zoo
from toys import ToyData

ZOO = load_zoo()
VALUES = (3, 4, 5, 6, 7)  # of five factors


def every_combination():
    grid = torch.cartesian_prod(*[torch.arange(n) for n in VALUES]).float()
    order = torch.randperm(len(grid), generator=torch.Generator().manual_seed(0))
    return grid[order]


def faintly(x):
    """Three factors in full; the other two leak into numbers of size 0.001, among five more that are noise of 0.01."""
    noise = torch.sin(12345.6789 * (x @ torch.linspace(1, 2, 5)))  # a function of the image, as codes are
    clear, leaks = x[:, [2, 3, 4]], 1e-3 * x[:, [0, 1]]
    return torch.cat([clear, leaks, *[1e-2 * torch.sin((2 + n) * 777 * noise)[:, None] for n in range(5)]], 1)


class Reads(nn.Module):
    """The code is a function of the factors, which the images hold."""

    latent_shape = (5,)

    def __init__(self, f):
        super().__init__()
        self.f = f

    def encode(self, x):
        return self.f(x.flatten(1))

    def decode(self, h):
        return h[:, :, None, None]


def scored(f, spec="disentanglement:votes=400,images=60"):
    factors = every_combination()
    points = (factors / torch.tensor(VALUES).float())[:, :, None, None]
    splits = [
        Split(p, torch.zeros(len(p), dtype=torch.int64), g) for p, g in zip(points.split(840), factors.split(840))
    ]
    data = Dataset(*splits[:3], class_names=(), source="grid", factor_names=tuple("abcde"))
    autoencoder = f if isinstance(f, nn.Module) else Reads(f)
    return ZOO.recipe("metric", spec)(
        FinishedRun(autoencoder, ZOO.recipe("mixer", "mixup"), data, seed=0, device="cpu")
    )


def test_a_code_of_the_factors_themselves_is_disentangled_and_the_authors_score_stops_at_four_fifths():
    assert scored(lambda x: x) == {"factorvae": 1.0, "authors": pytest.approx(0.8)}


def test_scale_sign_order_and_dead_numbers_do_not_matter():
    scores = scored(lambda x: torch.cat([-100 * x[:, [2, 0]], x[:, [4, 1, 3]], 0 * x[:, :2]], 1))
    assert scores == {"factorvae": 1.0, "authors": pytest.approx(0.8)}


def test_an_uninformative_code_is_at_chance_and_the_authors_score_is_as_good_as_ever():
    scores = scored(lambda x: 0 * x[:, :1])
    assert scores["factorvae"] == pytest.approx(0.2)
    assert scores["authors"] == pytest.approx(0.8)


def test_what_leaks_into_collapsed_numbers_has_no_vote():
    """Three of five factors are read; the other two are guessed."""
    scores = scored(faintly)
    assert 0.6 <= scores["factorvae"] < 0.75
    assert scores["authors"] == pytest.approx(0.8)  # which prunes nothing, so that leaks count in full
    assert scored(lambda x: 1000 * faintly(x))["factorvae"] == 1.0  # the same code at a size that counts


class Posterior(Reads):
    """A variational auto-encoder whose posterior has the deviations `scale`."""

    def __init__(self, f, scale):
        super().__init__(f)
        self.scale = scale

    def posterior(self, x):
        mean = self.encode(x)
        return mean, 2 * torch.log(torch.tensor(self.scale)).expand_as(mean)


def test_a_posterior_is_collapsed_by_its_divergence_from_the_prior_and_not_by_its_size():
    small = 0.01  # of the numbers of the code: below the deviation that counts without a posterior
    assert scored(lambda x: small * x)["factorvae"] == pytest.approx(0.2)
    sharp = scored(Posterior(lambda x: small * x, [1e-4] * 5))
    assert sharp["factorvae"] == 1.0
    flat = scored(Posterior(lambda x: small * x, [1e-4] * 3 + [1.0] * 2))  # two posteriors are the prior itself
    assert 0.6 <= flat["factorvae"] < 0.85


def test_two_factors_in_one_number_cost_one_of_five():
    """a and b move one number together, so that the least variance is elsewhere for one of them at most."""
    scores = scored(lambda x: torch.stack([x[:, 0] + 10 * x[:, 1], x[:, 2], x[:, 3], x[:, 4]], 1))
    assert 0.6 < scores["factorvae"] < 0.95


def test_the_pool_is_a_fixed_choice():
    assert scored(lambda x: x, "disentanglement:votes=50,pool=500") == scored(
        lambda x: x, "disentanglement:votes=50,pool=500"
    )


def test_data_without_factors_are_refused():
    run = FinishedRun(Reads(lambda x: x), ZOO.recipe("mixer", "mixup"), ToyData().load(0), seed=0, device="cpu")
    with pytest.raises(DataError, match="its factors are not known"):
        ZOO.recipe("metric", "disentanglement")(run)


def test_a_constant_number_of_a_code_with_a_posterior_has_no_vote():
    """Its divergence from the prior is not 0, and dividing by its deviation would be 0 / 0."""
    code = Posterior(lambda x: torch.cat([x, torch.ones(len(x), 1)], 1), [1e-4] * 6)
    assert scored(code)["factorvae"] == 1.0
