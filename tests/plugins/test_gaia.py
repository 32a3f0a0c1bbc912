"""GAIA: its terms against numbers worked by hand, its balance, and the discriminator that it needs."""

from math import exp, log, log2

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mixzoo import BuildContext, CodeShape
from mixzoo.core.errors import ConfigError
from mixzoo.core.stand_in import StandInBatch, requirements_of
from mixzoo.core.stand_in_case import Sizes
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import start
from mixzoo.testing import FixedBatch, mixed_codes
from mixzoo.training.gradients import discriminate
from mixzoo_objectives.gaia import InFullPrecision, distance_loss, log_distances
from toys import toy_config, toy_zoo

FLAGS = {"objective": "gaia", "discriminator": "autoencoding:depth=2,scales=1", "mixer": "mixup:law=gaia"}


def image(*pixels):
    return torch.tensor(pixels).reshape(-1, 1, 1, 1)


def worked(spec, real, rec, mix):
    """Where D redraws x = (0, 0) as `real`, x_rec = (1, 1) as `rec`, x_mix = (0.5, -0.5) as `mix`; codes 0, 1."""
    x, x_rec, x_mix, h = image(0.0, 0.0), image(1.0, 1.0), image(0.5, -0.5), torch.tensor([[0.0], [1.0]])
    said = {"real": image(*real), "rec": image(*rec), "mix": image(*mix)}
    losses = losses_on(spec, x, h, [x_rec, x_mix], said)
    return [{name: term.item() for name, term in own.items()} for own in (losses.autoencoder, losses.discriminator)]


def losses_on(spec, x, h, images, reconstruction):
    mixes = {"": mixed_codes(h, torch.ones(2, 2, 1) / 2)}
    batch = FixedBatch(x, codes=[h], images=images, mixes=mixes, reconstruction=reconstruction)
    return load_zoo().recipe("objective", spec).losses(batch)


def test_terms_are_the_hand_worked_numbers():
    """E_real = (0.2 + 0.2)/2, E_rec = (0.6 + 0.2)/2 against x and not x_rec, E_mix = (0.1 + 0.3)/2 against x_mix.

    The images are equal, so their distances are 0; those of the codes are 0 and 1, mean 1/2: log₂(1 + 2) for two of
    four pairs.
    """
    autoencoder, discriminator = worked("gaia:slope=2,distance=3", (0.2, -0.2), (0.6, -0.2), (0.4, -0.8))
    assert autoencoder == {
        "reconstruct_fakes": pytest.approx(log((exp(0.8) + exp(0.4)) / 2) / 2, abs=1e-6),
        "distance": pytest.approx(3 * log2(3) ** 2 / 2),
    }
    assert discriminator == {
        "reconstruct_real": pytest.approx(0.2),
        "spoil_fakes": pytest.approx(log(1 + exp(2 * (0.2 - 0.3))) / 2, abs=1e-6),
    }


def test_equal_errors_cost_the_auto_encoder_that_error():
    autoencoder, _ = worked("gaia", (0.0, 0.0), (0.25, 0.25), (0.25, -0.25))
    assert autoencoder["reconstruct_fakes"] == pytest.approx(0.25)


def slopes(player, **errors):
    """The derivative of a player's sum by the error of each kind, one image of one pixel for each."""
    leaves = {name: torch.tensor(error, requires_grad=True) for name, error in errors.items()}
    zero = torch.zeros(2, 1, 1, 1)
    said = {name: leaf.expand(2, 1, 1, 1) for name, leaf in leaves.items()}
    terms = getattr(losses_on("gaia:slope=10", zero, torch.zeros(2, 1), [zero, zero], said), player)
    grads = torch.autograd.grad(sum(terms.values()), list(leaves.values()), allow_unused=True)
    return {name: 0.0 if grad is None else grad.item() for name, grad in zip(leaves, grads)}


def sigmoid(x):
    return 1 / (1 + exp(-x))


def test_the_auto_encoder_weighs_mixes_against_reconstructions_by_the_authors_sigmoid():
    weight = sigmoid(10 * (0.5 - 0.3))
    assert slopes("autoencoder", real=0.1, rec=0.3, mix=0.5) == {
        "real": 0,
        "rec": pytest.approx(1 - weight, abs=1e-6),
        "mix": pytest.approx(weight, abs=1e-6),
    }


@pytest.mark.parametrize(("real", "fake"), [(0.5, 0.5), (0.6, 0.1), (0.1, 0.6)])
def test_the_discriminator_weighs_fakes_by_the_sigmoid_of_the_gap(real, fake):
    """The more fakes look real to it the harder it works on them; on real images it always works."""
    weight = sigmoid(10 * (real - fake))
    assert slopes("discriminator", real=real, rec=fake, mix=fake) == {
        "real": pytest.approx(1 + weight, abs=1e-5),
        "rec": pytest.approx(-weight / 2, abs=1e-5),
        "mix": pytest.approx(-weight / 2, abs=1e-5),
    }


def test_codes_that_keep_the_distances_of_images_cost_nothing():
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert distance_loss(x, 7 * x.flatten(1) + 3).item() < 1e-20
    assert distance_loss(x, x.flip(0)).item() > 0.001


def test_distances_are_those_of_cdist():
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    d = torch.cdist(x, x).square()
    torch.testing.assert_close(log_distances(x), torch.log2(1 + d / d.mean()), atol=1e-9, rtol=1e-9)


def test_products_on_a_gpu_keep_all_bits_and_have_the_gradient_of_a_product():
    """TF32 would round to 10 bits what the distances are differences of."""
    flat = torch.randn(5, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(InFullPrecision.apply, (flat,))
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, True
    try:
        with Products() as seen:
            (found,) = torch.autograd.grad(InFullPrecision.apply(flat).sin().sum(), flat)
        assert seen.allowed == [False, False]
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    torch.testing.assert_close(found, torch.autograd.grad((flat @ flat.T).sin().sum(), flat)[0])


class Products(TorchDispatchMode):
    """Notes for each matrix product whether TF32 was allowed."""

    def __init__(self):
        super().__init__()
        self.allowed = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            self.allowed.append(torch.backends.cuda.matmul.allow_tf32)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_distances_of_rounded_codes_are_taken_in_full_precision(dtype):
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(log_distances(x), log_distances(x.float()))


def test_equal_codes_have_finite_distances_and_gradients():
    h = torch.ones(4, 3, requires_grad=True)
    cost = distance_loss(torch.rand(4, 3), h)
    (grad,) = torch.autograd.grad(cost, h)
    assert cost.isfinite()
    assert grad.isfinite().all()


def discriminator(spec):
    torch.manual_seed(0)
    return load_zoo().recipe("discriminator", spec).build(BuildContext((1, 16, 16), 3, (2, 4, 4)))


def test_a_logit_is_the_bias_less_the_error_of_the_reconstruction():
    D, x = discriminator("autoencoding:depth=2"), torch.rand(3, 1, 16, 16) * 2 - 1
    scores = D(x)
    assert scores.reconstruction.shape == x.shape
    torch.testing.assert_close(scores.logits, -(x - scores.reconstruction).abs().mean((1, 2, 3)))
    with torch.no_grad():
        D.bias += 2
    torch.testing.assert_close(D(x).logits, scores.logits + 2)


def test_one_pass_reconstructs_all_that_d_is_shown():
    D = discriminator("autoencoding:depth=2")
    inputs = {"real": torch.rand(2, 1, 16, 16), "mix": torch.rand(3, 1, 16, 16)}
    reconstruction = discriminate(D, inputs).reconstruction
    for name, images in inputs.items():
        torch.testing.assert_close(reconstruction[name], D(images).reconstruction)
    assert discriminate(discriminator("acai:depth=2"), inputs).reconstruction == {}


def test_it_needs_a_discriminator_that_reconstructs(tmp_path):
    asked = requirements_of(load_zoo().recipe("objective", "gaia"), StandInBatch(Sizes(2, (1, 8, 8), (2, 4, 4))))
    assert asked.mixes
    assert asked.reconstruction
    assert asked.whole_batch
    assert not asked.one_backward_pass
    zoo = toy_zoo()
    with pytest.raises(
        ConfigError, match=r"is an auto-encoder, and 'toy_judge' is none; .*--discriminator autoencoding"
    ):
        start(zoo, toy_config(zoo, flags={"objective": "gaia"}), tmp_path / "run")


def test_the_mixer_that_it_was_published_with_draws_its_weight():
    """N(1/2, 1/4²), clamped to [0, 1]."""
    share = load_zoo().recipe("mixer", "mixup:law=gaia").draw(CodeShape(20_000, (1,)), torch.Generator().manual_seed(0))
    assert share[0].mean().item() == pytest.approx(0.5, abs=0.01)
    assert share[0].std().item() == pytest.approx(0.243, abs=0.01)  # of the clamped law


def test_both_players_learn_to_reconstruct(tmp_path):
    zoo = toy_zoo()
    result = start(zoo, toy_config(zoo, flags=FLAGS, steps=60), tmp_path / "run")
    assert result.steps == 60
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    for term in ("autoencoder/reconstruct_fakes", "discriminator/reconstruct_real"):
        curve = [float(line.partition(f'"{term}": ')[2].partition(",")[0]) for line in lines if term in line]
        assert curve[-1] < 0.8 * curve[0], term


@pytest.mark.parametrize("objective", ["aegan", "amr:gan=hinge", "acai"])
def test_the_discriminator_serves_other_objectives(objective, tmp_path):
    zoo = toy_zoo()
    assert start(zoo, toy_config(zoo, flags=FLAGS | {"objective": objective}, steps=2), tmp_path / "run").steps == 2
