"""Every term of every objective against numbers worked by hand, and its gradient against finite differences."""

from dataclasses import replace
from math import exp, log

import pytest
import torch

from mixzoo import BuildContext
from mixzoo.core.random import DrawRequest, draw_step
from mixzoo.core.stand_in import StandInBatch, requirements_of
from mixzoo.core.stand_in_case import Sizes
from mixzoo.registry.zoo import load_zoo
from mixzoo.testing import FixedBatch, mixed_codes
from mixzoo.training.batch import StepBatch
from mixzoo.training.gradients import own_gradients
from mixzoo.training.players import Players
from toys import ToyAutoEncoder, ToyDiscriminator

LOG2 = log(2)
CONTEXT = BuildContext(image_shape=(1, 1, 2), classes=2, latent_shape=(2,))

# two images of two pixels; |x_rec - x| = 0.5, 0, 1, 0.5 (mean 0.5), squares 0.25, 0, 1, 0.25 (mean 0.375)
X = torch.tensor([[0.5, 0.0], [-1.0, 1.0]]).reshape(2, 1, 1, 2)
X_REC = torch.tensor([[0.0, 0.0], [0.0, 0.5]]).reshape(2, 1, 1, 2)
# codes of the mixes and of their images: differences 1, 0, 2, 1, mean square 1.5
H_MIX = torch.tensor([[1.0, 0.0], [3.0, 1.0]])
H_MIX_REC = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
# k = 2, the first example 3/4 its own, the second 1/10: alpha is 1/4 and 1/10
SHARE = torch.tensor([[[0.75], [0.1]], [[0.25], [0.9]]])


def objective(spec):
    recipe = load_zoo().recipe("objective", spec)
    return recipe.build(CONTEXT) if hasattr(recipe, "build") else recipe


def logits(**by_name):
    return {name: torch.tensor(values) for name, values in by_name.items()}


def batch_of(said, share=SHARE):
    """A batch whose codes, mixes and images are those above, of which D says `said`."""
    return FixedBatch(
        X,
        codes=[torch.zeros(2, 2), H_MIX_REC],
        images=[X_REC, X_REC],
        mixes={"": mixed_codes(H_MIX, share)},
        logits=said,
        draws={"input": torch.zeros_like(X), "kept": torch.ones(2, 2, dtype=torch.bool)},
    )


def terms_of(spec, said, share=SHARE):
    """Both players' terms."""
    losses = objective(spec).losses(batch_of(said, share))
    return losses.autoencoder, losses.discriminator


SCORES = logits(real=[0.0, log(3)], rec=[0.0, -log(3)], mix=[log(3), 0.0], blend=[1.0, -2.0])
# sigmoid(log 3) = 3/4, so -log sigmoid(log 3) = log(4/3) and -log(1 - sigmoid(log 3)) = log 4
EASY, HARD = (LOG2 + log(4 / 3)) / 2, (LOG2 + log(4)) / 2
LOG3 = log(3)

WORKED = {
    "ae": ({"reconstruct": 0.375}, {}),
    "ae:recon=l1": ({"reconstruct": 0.5}, {}),
    # pixels 3/4, 1/2 | 0, 1 as targets, 1/2, 1/2 | 1/2, 3/4 as probabilities; a sum over pixels, a mean over images
    "ae:recon=bce": ({"reconstruct": (2 * log(2) + log(2) + log(4 / 3)) / 2}, {}),
    "ae:dropout=0.5": ({"reconstruct": 0.375}, {}),
    "dae:noise=0.1": ({"reconstruct": 0.375}, {}),  # against x itself
    "aegan:lam=5": ({"reconstruct": 2.5, "fool_rec": HARD}, {"real": EASY, "fake_rec": EASY}),
    "aegan:lam=2,recon=l2": ({"reconstruct": 0.75, "fool_rec": HARD}, {"real": EASY, "fake_rec": EASY}),
    "amr": (
        {"reconstruct": 5.0, "fool_rec": HARD, "fool_mix": EASY},
        {"real": EASY, "fake_rec": EASY, "fake_mix": HARD},
    ),
    "amr:lam=20,beta=0.1": (
        {"reconstruct": 10.0, "fool_rec": HARD, "fool_mix": EASY, "consistency": 0.15},
        {"real": EASY, "fake_rec": EASY, "fake_mix": HARD},
    ),
    "amr:gan=ls": (
        {
            "reconstruct": 5.0,
            "fool_rec": (1 + (1 + LOG3) ** 2) / 2,
            "fool_mix": ((LOG3 - 1) ** 2 + 1) / 2,
        },
        {"real": (1 + (LOG3 - 1) ** 2) / 2, "fake_rec": LOG3**2 / 2, "fake_mix": LOG3**2 / 2},
    ),
    "amr:gan=hinge": (
        {"reconstruct": 5.0, "fool_rec": LOG3 / 2, "fool_mix": -LOG3 / 2},
        {"real": 1 / 2, "fake_rec": 1 / 2, "fake_mix": (1 + LOG3 + 1) / 2},  # relu(1 - log 3) = relu(-0.0986) = 0
    ),
    "acai": (
        {"reconstruct": 0.375, "fool_mix": 0.5 * LOG3**2 / 2},
        {"regress_alpha": ((LOG3 - 0.25) ** 2 + 0.1**2) / 2, "regress_zero": (1 + 4) / 2},
    ),
    "acai:weight=2": (
        {"reconstruct": 0.375, "fool_mix": LOG3**2},
        {"regress_alpha": ((LOG3 - 0.25) ** 2 + 0.1**2) / 2, "regress_zero": 2.5},
    ),
    "acai:beta=0.2": (
        {"reconstruct": 0.375, "fool_mix": 0.5 * LOG3**2 / 2, "consistency": 0.3},
        {"regress_alpha": ((LOG3 - 0.25) ** 2 + 0.1**2) / 2, "regress_zero": (1 + 4) / 2},
    ),
    "acai:variant=amr,lam=2,beta=0.1": (
        {"reconstruct": 1.0, "fool_mix": HARD, "consistency": 0.1},  # mean |.| of 1, 0, 2, 1 is 1
        {
            "regress_alpha": ((0.5 * log(4 / 3) + 0.5 * log(4)) + LOG2) / 2,
            "zero_real": HARD,
            "zero_rec": EASY,
        },
    ),
    "acai:variant=amr,lam=2": (
        {"reconstruct": 1.0, "fool_mix": HARD},
        {  # targets 2 alpha = 0.5 and 0.2
            "regress_alpha": ((0.5 * log(4 / 3) + 0.5 * log(4)) + LOG2) / 2,
            "zero_real": HARD,
            "zero_rec": EASY,
        },
    ),
}


@pytest.mark.parametrize("spec", WORKED)
def test_terms_are_the_hand_worked_numbers(spec):
    for terms, worked in zip(terms_of(spec, SCORES), WORKED[spec]):
        assert {name: pytest.approx(value.item(), abs=1e-6) for name, value in terms.items()} == worked


@pytest.mark.parametrize("spec", ["aegan", "amr"])
def test_a_blind_discriminator_costs_log_2_a_term(spec):
    own, its = terms_of(spec, logits(real=[0.0, 0.0], rec=[0.0, 0.0], mix=[0.0, 0.0]))
    terms = own | its
    adversarial = {name: value.item() for name, value in terms.items() if name != "reconstruct"}
    assert adversarial == {name: pytest.approx(LOG2) for name in adversarial}
    assert len(adversarial) == {"aegan": 3, "amr": 5}[spec]


def test_acai_blends_a_fifth_of_the_image_into_its_reconstruction():
    for spec, blend in {"acai": 0.2 * X + 0.8 * X_REC, "acai:gamma=1.0": X}.items():
        batch = batch_of(SCORES)
        objective(spec).losses(batch)
        torch.testing.assert_close(batch.inputs["blend"], blend)


def test_acai_of_three_sources_regresses_the_distance_from_the_nearest():
    share = torch.tensor([[[0.5], [1.0]], [[0.3], [0.0]], [[0.2], [0.0]]])
    _, terms = terms_of("acai", logits(mix=[0.0, 0.0], blend=[0.0, 0.0]), share)
    assert terms["regress_alpha"].item() == pytest.approx(0.5**2 / 2)


def test_acai_averages_a_share_that_differs_over_the_code():
    by_channel = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]])
    _, terms = terms_of("acai", logits(mix=[0.0, 0.0], blend=[0.0, 0.0]), by_channel)
    assert terms["regress_alpha"].item() == pytest.approx(0.5**2 / 2)


def test_acai_refuses_an_option_of_the_other_variant():
    with pytest.raises(Exception, match="lam= has no meaning with variant='official'; leave it out"):
        objective("acai:lam=3")
    with pytest.raises(Exception, match="gamma= has no meaning with variant='amr'"):
        objective("acai:variant=amr,gamma=0.1")


def test_losses_stay_finite_for_enormous_scores():
    for score in (1e4, -1e4):
        huge = logits(real=[score, score], rec=[score, score], mix=[score, score], blend=[score, score])
        for spec in WORKED:
            assert all(value.isfinite() for own in terms_of(spec, huge) for value in own.values()), spec


def asked(spec):
    """What the objective asks of a run."""
    return requirements_of(objective(spec), StandInBatch(Sizes(2, (1, 8, 8), (2, 4, 4), 3)))


MIX = DrawRequest("mix", (2, 4, 4))
ASKED = {  # draws by name, whether D is called, calls of f beside the first
    "ae": ({}, False, 0),
    "ae:dropout=0.5": ({"noise/kept": DrawRequest("keep", (2, 4, 4), 0.5)}, False, 0),
    "dae": ({"noise/input": DrawRequest("normal", (1, 8, 8))}, False, 0),
    "aegan": ({}, True, 0),
    "aegan:r1=10": ({}, True, 0),
    "amr": ({"mix": MIX}, True, 0),
    "amr:beta=0.1": ({"mix": MIX}, True, 1),
    "acai": ({"mix": MIX}, True, 0),
    "acai:variant=amr,beta=1,r1=1": ({"mix": MIX}, True, 1),
}


@pytest.mark.parametrize("spec", ASKED)
def test_an_objective_asks_for_what_its_equation_has_and_for_nothing_else(spec):
    batch = StandInBatch(Sizes(2, (1, 8, 8), (2, 4, 4), 3))
    requirements = requirements_of(objective(spec), batch)
    draws, discriminator, again = ASKED[spec]
    assert requirements.draws == draws
    assert (requirements.discriminator, requirements.mixes) == (discriminator, "mix" in draws)
    assert batch.calls.count("encode") == 1 + again
    assert batch.calls.count("decode") == 1 + ("mix" in draws)
    assert ("discriminator" in batch.calls) == ("r1" in spec)  # a penalty calls D itself
    assert not requirements.labels
    assert not requirements.label_logits
    assert not requirements.reconstruction
    assert requirements.one_backward_pass == discriminator


def differentiable_step(spec):
    """A tiny auto-encoder and discriminator in float64, and both players' terms as functions of their parameters."""
    torch.manual_seed(3)
    autoencoder, D = ToyAutoEncoder(1, 0.0).double(), ToyDiscriminator(1).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) * 2 - 1
    mixer, part = load_zoo().recipe("mixer", "mixup"), objective(spec)
    requirements = replace(asked(spec), discriminator_passes=2)  # whose gradients are taken player by player
    players = Players(autoencoder, mixer, D, None, part, {}, requirements)
    draws = draw_step(0, 0, requirements.draws, mixer, batch=3)
    draws = draws.map(lambda t: t.double() if t.is_floating_point() else t)

    def terms():
        losses = part.losses(StepBatch(players, x, torch.zeros(3, dtype=torch.int64), draws))
        return losses.autoencoder, losses.discriminator

    return terms, autoencoder, D


@pytest.mark.parametrize("spec", WORKED)
@pytest.mark.parametrize("player", [0, 1], ids=["autoencoder", "discriminator"])
def test_gradients_equal_finite_differences(spec, player):
    terms, *modules = differentiable_step(spec)
    own = terms()[player]
    if not own:
        return  # `ae` and `dae` have no discriminator
    parameters = list(modules[player].parameters())
    exact = own_gradients({"player": own}, {"player": parameters})["player"]
    eps = 1e-6
    for parameter, grad in zip(parameters, exact):
        flat = parameter.data.view(-1)
        for i in (0, len(flat) // 2):
            before = flat[i].item()
            sums = []
            for moved in (before + eps, before - eps):
                flat[i] = moved
                sums.append(sum(value.item() for value in terms()[player].values()))
            flat[i] = before
            estimate = (sums[0] - sums[1]) / (2 * eps)
            assert grad.view(-1)[i].item() == pytest.approx(estimate, rel=1e-5, abs=1e-8), spec


def test_the_planted_error_of_a_wrong_sign_would_be_seen():
    """The check above can fail: sigmoid(log 3) = 3/4, and a swapped target gives another number."""
    assert pytest.approx(HARD) != EASY
    assert 1 / (1 + exp(-LOG3)) == pytest.approx(0.75)
