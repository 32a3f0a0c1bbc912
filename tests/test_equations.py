"""Every term of every objective against numbers worked by hand, and its gradient against finite differences."""

from math import exp, log

import pytest
import torch

from mixzoo import BuildContext, Judgement, Needs, Resynthesis
from mixzoo.plugins import load_zoo
from mixzoo.protocols import Mixed
from mixzoo.training.gradients import judge, own_gradients
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


def forward_pass(share=SHARE):
    return Resynthesis(
        x=X, h=torch.zeros(2, 2), x_rec=X_REC, _mixed=Mixed(H_MIX, share), _x_mix=X_REC, _h_mix_rec=H_MIX_REC
    )


def scores(**by_name):
    return Judgement({name: torch.tensor(values) for name, values in by_name.items()})


SCORES = scores(real=[0.0, log(3)], rec=[0.0, -log(3)], mix=[log(3), 0.0], blend=[1.0, -2.0])
# sigmoid(log 3) = 3/4, so -log sigmoid(log 3) = log(4/3) and -log(1 - sigmoid(log 3)) = log 4
EASY, HARD = (LOG2 + log(4 / 3)) / 2, (LOG2 + log(4)) / 2
LOG3 = log(3)

WORKED = {
    "ae": ({"reconstruct": 0.375}, {}),
    "ae:recon=l1": ({"reconstruct": 0.5}, {}),
    # pixels 3/4, 1/2 | 0, 1 as targets, 1/2, 1/2 | 1/2, 3/4 as probabilities; a sum over pixels, a mean over images
    "ae:recon=bce": ({"reconstruct": (2 * log(2) + log(2) + log(4 / 3)) / 2}, {}),
    "ae:dropout=0.5": ({"reconstruct": 0.375}, {}),
    "dae:noise=0.1": ({"reconstruct": 0.375}, {}),  # against x itself; the noise is the engine's
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
    part, r = objective(spec), forward_pass()
    for terms, worked in zip((part.autoencoder_terms(r, SCORES), part.discriminator_terms(r, SCORES)), WORKED[spec]):
        assert {name: pytest.approx(value.item(), abs=1e-6) for name, value in terms.items()} == worked


@pytest.mark.parametrize("spec", ["aegan", "amr"])
def test_a_blind_discriminator_costs_log_2_a_term(spec):
    blind = scores(real=[0.0, 0.0], rec=[0.0, 0.0], mix=[0.0, 0.0])
    terms = objective(spec).autoencoder_terms(forward_pass(), blind) | objective(spec).discriminator_terms(
        forward_pass(), blind
    )
    adversarial = {name: value.item() for name, value in terms.items() if name != "reconstruct"}
    assert adversarial == {name: pytest.approx(LOG2) for name in adversarial}
    assert len(adversarial) == {"aegan": 3, "amr": 5}[spec]


def test_acai_blends_a_fifth_of_the_image_into_its_reconstruction():
    torch.testing.assert_close(objective("acai").judged(forward_pass())["blend"], 0.2 * X + 0.8 * X_REC)
    torch.testing.assert_close(objective("acai:gamma=1.0").judged(forward_pass())["blend"], X)


def test_acai_of_three_sources_regresses_the_distance_from_the_nearest():
    share = torch.tensor([[[0.5], [1.0]], [[0.3], [0.0]], [[0.2], [0.0]]])
    silent = scores(mix=[0.0, 0.0], blend=[0.0, 0.0], real=[0.0, 0.0], rec=[0.0, 0.0])
    assert objective("acai").discriminator_terms(forward_pass(share), silent)["regress_alpha"].item() == pytest.approx(
        0.5**2 / 2
    )


def test_acai_averages_a_share_that_differs_over_the_code():
    by_channel = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]])
    silent = scores(mix=[0.0, 0.0], blend=[0.0, 0.0])
    terms = objective("acai").discriminator_terms(forward_pass(by_channel), silent)
    assert terms["regress_alpha"].item() == pytest.approx(0.5**2 / 2)


def test_acai_refuses_an_option_of_the_other_variant():
    with pytest.raises(Exception, match="lam= has no meaning with variant='official'; leave it out"):
        objective("acai:lam=3")
    with pytest.raises(Exception, match="gamma= has no meaning with variant='amr'"):
        objective("acai:variant=amr,gamma=0.1")


def test_losses_stay_finite_for_enormous_scores():
    for score in (1e4, -1e4):
        huge = scores(real=[score, score], rec=[score, score], mix=[score, score], blend=[score, score])
        for spec in WORKED:
            part = objective(spec)
            terms = part.autoencoder_terms(forward_pass(), huge) | part.discriminator_terms(forward_pass(), huge)
            assert all(value.isfinite() for value in terms.values()), spec


def test_each_objective_says_what_it_needs():
    assert objective("ae").needs == Needs()
    assert objective("ae:dropout=0.5").needs == Needs(code_dropout=0.5)
    assert objective("dae").needs == Needs(input_noise=1.0)
    assert objective("dae:noise=0.1,dropout=0.2").needs == Needs(input_noise=0.1, code_dropout=0.2)
    assert objective("aegan").needs == Needs(discriminator=True)
    assert objective("aegan:r1=10,dropout=0.1").needs == Needs(discriminator=True, penalty=True, code_dropout=0.1)
    assert objective("amr").needs == Needs(mix=True, discriminator=True)
    assert objective("amr:beta=0.1").needs == Needs(mix=True, discriminator=True, reencode=True)
    assert objective("acai").needs == Needs(mix=True, discriminator=True)
    with_all = Needs(mix=True, discriminator=True, reencode=True, penalty=True)
    assert objective("amr:beta=1,r1=1").needs == with_all
    assert objective("acai:beta=1,r1=1").needs == with_all
    assert objective("acai:variant=amr,beta=1,r1=1").needs == with_all


def test_reading_what_was_not_asked_for_names_the_need():
    r = Resynthesis(X, torch.zeros(2, 2), X_REC)
    with pytest.raises(ValueError, match="add mix=True to its needs"):
        _ = r.x_mix
    with pytest.raises(ValueError, match="add reencode=True"):
        _ = r.h_mix_rec


def differentiable_pass(spec):
    """A tiny auto-encoder and discriminator in float64, and both players' sums as functions of their parameters."""
    from mixzoo import CodeShape
    from mixzoo.draws import noise, partners, rng_for
    from mixzoo.resynthesis import resynthesise

    torch.manual_seed(3)
    autoencoder, D = ToyAutoEncoder(1, 0.0).double(), ToyDiscriminator(1).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) * 2 - 1
    mixer = load_zoo().recipe("mixer", "mixup")
    part, shape = objective(spec), CodeShape(3, (2, 4, 4))
    added = {name: value.double() for name, value in noise(0, 0, shape, part.needs, (1, 8, 8)).items()}

    def terms():
        r = resynthesise(
            x,
            autoencoder=autoencoder,
            mixer=mixer,
            partners=partners(2, 3, rng_for(0, "partners")),
            draw=mixer.draw(shape, rng_for(0, "mix")).double(),
            needs=part.needs,
            noise=added,
        )
        judgement = judge(D if part.needs.discriminator else None, part.judged(r))
        return part.autoencoder_terms(r, judgement), part.discriminator_terms(r, judgement)

    return terms, autoencoder, D


@pytest.mark.parametrize("spec", WORKED)
@pytest.mark.parametrize("player", [0, 1], ids=["autoencoder", "discriminator"])
def test_gradients_equal_finite_differences(spec, player):
    terms, *modules = differentiable_pass(spec)
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
