"""AAE, AMR as a Wasserstein GAN, VQ-VAE: their terms by hand, their networks, and what they refuse."""

from math import log

import pytest
import torch
from torch import nn

from mixzoo import BuildContext, ConfigError, Scores
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import start
from mixzoo.testing import FixedBatch, mixed_codes
from toys import toy_config, toy_zoo

LOG3 = log(3)
X, H = torch.zeros(2, 1, 1, 2), torch.zeros(2, 2)


def objective(spec):
    return load_zoo().recipe("objective", spec)


def numbers(terms):
    return {name: term.item() for name, term in terms.items()}


def test_codes_are_the_fakes_of_an_adversarial_auto_encoder():
    """sigmoid(log 3) = 3/4: D is sure of the first prior sample, and undecided otherwise."""
    said = {"prior": torch.tensor([LOG3, 0.0]), "code": torch.tensor([LOG3, 0.0])}
    batch = FixedBatch(X, codes=[H], images=[X + 0.5], logits=said, draws={"prior": H + 1})
    losses = objective("aae:weight=2").losses(batch)
    easy, hard = (log(4 / 3) + log(2)) / 2, (log(4) + log(2)) / 2
    assert numbers(losses.autoencoder) == {
        "reconstruct": pytest.approx(0.25),
        "fool_code": pytest.approx(2 * easy),
    }
    assert numbers(losses.discriminator) == {"real_prior": pytest.approx(easy), "fake_code": pytest.approx(hard)}
    assert torch.equal(batch.inputs["code"], H)
    assert torch.equal(batch.inputs["prior"], H + 1)


class Slope(nn.Module):
    """D(x) = 3 x_1 + 4 x_2, whose slope is 5 everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return Scores(x.flatten(1) @ self.weight)


def test_a_wasserstein_critic_is_held_to_a_slope_of_one_between_real_and_fake():
    D, epsilon = Slope(), torch.tensor([0.25, 1.0]).reshape(2, 1, 1, 1)
    batch = FixedBatch(
        X,
        codes=[H],
        images=[X + 1, X - 1],
        mixes={"": mixed_codes(H, torch.full((2, 2, 1), 0.5))},
        logits={"real": torch.tensor([1.0, 3.0]), "rec": torch.tensor([0.0, 1.0]), "mix": torch.tensor([-1.0, 0.0])},
        draws={"between/rec": epsilon, "between/mix": epsilon},
        discriminator=D,
    )
    losses = objective("wgangp:lam=2,gp=0.5").losses(batch)
    assert numbers(losses.autoencoder) == {"reconstruct": 2.0, "fool_rec": -0.5, "fool_mix": 0.5}
    assert numbers(losses.discriminator) == {
        "real": -4.0,
        "fake_rec": 0.5,
        "fake_mix": -0.5,
        "gradient_penalty": pytest.approx(0.5 * 2 * (5 - 1) ** 2),
    }
    assert [seen.flatten(1)[:, 0].tolist() for seen in D.seen] == [[0.75, 0.0], [-0.75, 0.0]]
    (grad,) = torch.autograd.grad(losses.discriminator["gradient_penalty"], D.weight)
    torch.testing.assert_close(grad, 0.5 * 2 * 2 * 4 * torch.tensor([3.0, 4.0]) / 5)


class Book(nn.Module):
    """Every code's nearest entry is 1 away in each number."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Parameter(torch.ones(2))

    def quantise(self, h):
        return self.entry.expand_as(h), torch.zeros(len(h), 1, dtype=torch.int64)


def test_codes_and_entries_of_a_codebook_move_towards_each_other():
    h = H.clone().requires_grad_()
    book = Book()
    losses = objective("vqvae:beta=0.5").losses(FixedBatch(X, codes=[h], images=[X + 0.5], autoencoder=book))
    assert numbers(losses.autoencoder) == {"reconstruct": pytest.approx(0.25), "codebook": 1.0, "commit": 0.5}
    total = losses.autoencoder["codebook"] + losses.autoencoder["commit"]
    of_h, of_entry = torch.autograd.grad(total, [h, book.entry])
    torch.testing.assert_close(of_entry, torch.ones(2))  # of the mean of (e - h)² over two examples of two numbers
    torch.testing.assert_close(of_h, torch.full((2, 2), -0.25))


def quantiser(spec="vq:depth=2,scales=1,entries=8,latent=4"):
    torch.manual_seed(0)
    return load_zoo().recipe("autoencoder", spec).build(BuildContext((1, 8, 8), 3))


def test_a_code_is_decoded_from_its_nearest_entries_and_the_gradient_goes_straight_through():
    net = quantiser()
    h = torch.randn(2, *net.latent_shape, requires_grad=True)
    entries, index = net.quantise(h)
    distances = (h.flatten(2).mT[:, :, None] - net.codebook).norm(dim=-1)
    assert torch.equal(index, distances.argmin(-1))
    torch.testing.assert_close(net.decode(h), net.g(entries))
    (through,) = torch.autograd.grad(net.decode(h).sum(), h)
    leaf = entries.detach().requires_grad_()
    (plain,) = torch.autograd.grad(net.g(leaf).sum(), leaf)
    torch.testing.assert_close(through, plain)


def test_entries_are_decoded_to_themselves():
    net = quantiser()
    height, width = net.latent_shape[1:]
    h = net.codebook[torch.arange(height * width) % len(net.codebook)].mT.reshape(1, 4, height, width)
    torch.testing.assert_close(net.quantise(h)[0], h)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"objective": "vqvae"}, "^objective 'vqvae' needs an auto-encoder with a codebook; use --autoencoder vq$"),
        ({"objective": "aae"}, r"shows its discriminator inputs of shape \[2, 4, 4\], and .*--discriminator codes"),
        ({"objective": "amr", "discriminator": "codes"}, r"inputs of shape \[1, 8, 8\], and .* takes \[2, 4, 4\]"),
    ],
)
def test_networks_that_do_not_fit_are_refused_in_one_line(flags, words, tmp_path):
    zoo = toy_zoo()
    with pytest.raises(ConfigError, match=words) as refused:
        start(zoo, toy_config(zoo, flags=flags), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "term"),
    [
        ({"objective": "aae", "discriminator": "codes:hidden=16"}, "autoencoder/reconstruct"),
        ({"objective": "wgangp"}, "autoencoder/reconstruct"),
        ({"objective": "vqvae", "autoencoder": "vq:depth=2,scales=1,entries=16,latent=4"}, "autoencoder/codebook"),
    ],
)
def test_it_trains_and_repeats(flags, term, tmp_path):
    zoo = toy_zoo()
    results = [start(zoo, toy_config(zoo, flags=flags, steps=40), tmp_path / name) for name in ("a", "b")]
    assert results[0].numbers == results[1].numbers
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    curve = [float(line.partition(f'"{term}": ')[2].partition(",")[0]) for line in lines if term in line]
    assert curve[-1] < curve[0]
