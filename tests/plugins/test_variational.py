"""The variational auto-encoder: its likelihoods and its KL against closed forms, and its networks."""

from math import log

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from mixzoo import BuildContext
from mixzoo.core.errors import ConfigError
from mixzoo.core.random import DrawRequest
from mixzoo.core.requirements import Requirements
from mixzoo.core.stand_in import StandInBatch, requirements_of
from mixzoo.core.stand_in_case import Sizes
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import start
from mixzoo.testing import FixedBatch
from mixzoo_objectives.variational import bernoulli_nll, gaussian_nll, kl_to_standard_normal, log_probability
from toys import toy_config, toy_zoo

GREY = BuildContext(image_shape=(1, 16, 16), classes=3)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def images(rng):
    """Two batches of three 2x2 images in [-1, 1]."""
    return torch.rand(2, 3, 1, 2, 2, generator=rng, dtype=torch.float64) * 2 - 1


def test_kl_is_that_of_torch_distributions(rng):
    mean, log_variance = torch.randn(2, 4, 2, 3, 3, generator=rng, dtype=torch.float64)
    q = Independent(Normal(mean, (log_variance / 2).exp()), 3)
    prior = Independent(Normal(torch.zeros_like(mean), 1), 3)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), kl_divergence(q, prior))


def test_kl_by_hand():
    """N(3, 1): 9/2.  N(0, 4): (4 - log 4 - 1)/2.  N(0, 1): 0.  A sum over the latent numbers of each example."""
    mean, log_variance = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, log(4)], [0.0, 0.0]])
    assert kl_to_standard_normal(mean, log_variance).tolist() == [pytest.approx(4.5 + (3 - log(4)) / 2), 0]


def test_the_gaussian_likelihood_is_that_of_torch_distributions(images):
    x, x_rec = images
    likelihood = Independent(Normal(x_rec, 0.7), 3).log_prob(x)
    torch.testing.assert_close(gaussian_nll(x_rec, x, 0.7), -likelihood)


def test_the_bernoulli_likelihood_of_binary_images_is_that_of_torch_distributions(images):
    x, x_rec = images.sign()[0], images[1]
    likelihood = Independent(Bernoulli(probs=(x_rec + 1) / 2), 3).log_prob((x + 1) / 2)
    torch.testing.assert_close(bernoulli_nll(x_rec, x), -likelihood)


def test_the_bernoulli_likelihood_is_lowest_at_the_image_itself(images):
    x, other = images
    best = bernoulli_nll(x, x)
    assert (bernoulli_nll(other, x) > best).all()
    x_rec = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(bernoulli_nll(x_rec, x).sum(), x_rec)
    assert grad.abs().max() < 1e-12


@pytest.mark.parametrize("beyond", [1.0, 1.0 + 1e-7, 1.5, 100.0, 1e30])
def test_a_pixel_that_is_no_probability_costs_a_finite_sum_and_is_pulled_back(beyond):
    """Images that are 1 where x_rec is at or below -1, 0 where it is at or above 1, and the grey between."""
    x = torch.tensor([1.0, -1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    x_rec = torch.tensor([-beyond, beyond, -beyond, beyond]).reshape(1, 1, 2, 2).requires_grad_()
    cost = bernoulli_nll(x_rec, x).sum()
    (grad,) = torch.autograd.grad(cost, x_rec)
    assert cost.isfinite()
    assert grad.flatten().sign().tolist() == [-1, 1, -1, 1]
    assert grad.abs().min() >= 1e5  # at least half the slope of log at 1e-6, in x_rec = 2p - 1


def test_a_pixel_beyond_what_it_should_be_gains_nothing():
    """x_rec = 1.5 where the image is 1: no less than 0, and no gradient that would drive it further."""
    x, x_rec = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 1.5, requires_grad=True)
    cost = bernoulli_nll(x_rec, x).sum()
    (grad,) = torch.autograd.grad(cost, x_rec)
    assert cost.item() == 0
    assert grad.item() == 0


def test_the_logarithm_goes_on_along_its_tangent():
    p = torch.tensor([1e-6, 0.0, -1e-6, 1.0, 2.0], dtype=torch.float64)
    expected = [log(1e-6), log(1e-6) - 1, log(1e-6) - 2, 0.0, 0.0]
    assert log_probability(p).tolist() == [pytest.approx(value) for value in expected]


def worked(spec):
    """Two images of one pixel, x = (1, 0), x_rec = (0.5, 0); means (3, 0), (0, 0), variances (1, 4), (1, 1)."""
    x, x_rec = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1), torch.tensor([0.5, 0.0]).reshape(2, 1, 1, 1)
    posterior = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, log(4)], [0.0, 0.0]])
    batch = FixedBatch(x, images=[x_rec], posterior=posterior, draws={"code": torch.zeros(2, 2)})
    losses = load_zoo().recipe("objective", spec).losses(batch)
    assert losses.discriminator == {}
    return {name: term.item() for name, term in losses.autoencoder.items()}


KL = (4.5 + (3 - log(4)) / 2) / 2  # the mean over the batch
CONSTANT = log(2 * torch.pi) / 2


def test_terms_are_the_hand_worked_numbers():
    assert worked("vae:sigma=1") == {
        "negative_log_likelihood": pytest.approx(0.125 / 2 + CONSTANT),
        "kl": pytest.approx(KL),
    }
    assert worked("vae:beta=4,sigma=0.5") == {
        "negative_log_likelihood": pytest.approx(0.25 + log(0.5) + CONSTANT),
        "kl": pytest.approx(4 * KL),
    }
    assert worked("vae:beta=0,likelihood=bernoulli") == {
        "negative_log_likelihood": pytest.approx((log(4 / 3) + log(2)) / 2),  # t = 1, p = 3/4;  t = p = 1/2
        "kl": 0,
    }


def test_it_needs_a_posterior_and_nothing_else():
    asked = requirements_of(load_zoo().recipe("objective", "vae"), StandInBatch(Sizes(2, (1, 8, 8), (2, 4, 4))))
    assert asked == Requirements(draws={"noise/code": DrawRequest("normal", (2, 4, 4))}, posterior=True)


def test_sigma_is_refused_where_it_has_no_meaning():
    with pytest.raises(ConfigError, match="sigma= has no meaning with likelihood='bernoulli'; leave it out"):
        load_zoo().recipe("objective", "vae:likelihood=bernoulli,sigma=0.1")


def network(spec, context=GREY):
    torch.manual_seed(0)
    return load_zoo().recipe("autoencoder", spec).build(context)


def test_the_code_is_the_mean_bit_for_bit_and_half_of_what_the_encoder_gives(rng):
    net, x = network("vae:latent=3,depth=2"), torch.rand(2, 1, 16, 16, generator=rng)
    mean, log_variance = net.posterior(x)
    assert torch.equal(net.encode(x), mean)
    assert mean.shape == log_variance.shape == (2, *net.latent_shape) == (2, 3, 4, 4)
    assert torch.equal(torch.cat([mean, log_variance], 1), net.f(x))


def test_tanh_keeps_images_in_range_and_linear_does_not():
    h = torch.linspace(-200, 200, 32).reshape(1, 2, 4, 4)
    assert network("vae:depth=2,norm=none").decode(h).abs().max() <= 1
    assert network("vae:depth=2,norm=none,output=linear").decode(h).abs().max() > 1


def test_an_instance_norm_of_one_position_is_refused():
    with pytest.raises(ValueError, match="scales=4 leaves 1x1 of images of 16x16; use fewer scales= or norm=none"):
        network("vae:scales=4")


def test_vae_without_a_posterior_says_what_to_use(tmp_path):
    zoo = toy_zoo()
    with pytest.raises(ConfigError, match=r"needs an auto-encoder with a posterior; 'toy_net' has none; .*vae"):
        start(zoo, toy_config(zoo, flags={"objective": "vae"}), tmp_path / "run")


@pytest.mark.parametrize("objective", ["vae", "vae:likelihood=bernoulli,beta=2"])
def test_it_trains_and_repeats(objective, tmp_path):
    zoo = toy_zoo()
    flags = {"objective": objective, "autoencoder": "vae:depth=2,scales=1,border=0"}
    results = [start(zoo, toy_config(zoo, flags=flags, steps=60), tmp_path / name) for name in ("a", "b")]
    assert results[0].numbers == results[1].numbers
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    costs = [
        float(line.partition('"autoencoder/negative_log_likelihood": ')[2].partition(",")[0])
        for line in lines
        if "kl" in line
    ]
    assert costs[-1] < costs[0]
