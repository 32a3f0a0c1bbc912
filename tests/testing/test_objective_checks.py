"""Each check of objectives finds its planted bug, and every registered objective passes in all variants."""

import re

import pytest
from correct_objectives import Autoencode, Everything, Resynthesise
from planted_objectives import PLANTED_OBJECTIVES
from planted_players import PLANTED_PLAYERS, SOUND

from mixzoo import BuildContext
from mixzoo.registry.zoo import load_zoo
from mixzoo.testing.objective_cases import ObjectiveCase
from mixzoo.testing.objective_terms import check_gradients_agree_with_finite_differences
from mixzoo.testing.objectives import objective_checks
from mixzoo.testing.report import run_check, run_checks

pytestmark = pytest.mark.kit

VARIANTS = (  # each branch of each objective once
    *("ae", "ae:recon=bce,dropout=0.5", "dae:noise=0.3,recon=l1,dropout=0.1"),
    *("vae", "vae:beta=0.0", "vae:beta=4,sigma=0.1", "vae:likelihood=bernoulli"),
    *("aegan", "aegan:gan=hinge,r1=10.0,dropout=0.5"),
    *("amr", "amr:gan=ls,recon=l2", "amr:gan=hinge,r1=1.0,dropout=0.1,beta=1.0"),
    *("amr_supervised", "amr_supervised:beta=1.0,gan=hinge,r1=1.0", "amr_supervised:mixer=(mixup),recon=l2,gan=ls"),
    *("gaia", "gaia:slope=20,distance=0.0,beta=1.0"),
    *("acai", "acai:gamma=0.5,weight=1.0,beta=1.0,r1=1.0"),
    *("acai:variant=amr", "acai:variant=amr,beta=1.0,r1=1.0"),
    *("aae", "wgangp", "vqvae"),
)


PLANTED = [*PLANTED_OBJECTIVES, *PLANTED_PLAYERS]


@pytest.mark.parametrize(("bug", "objective", "name", "words"), PLANTED, ids=lambda value: str(value))
def test_a_planted_bug_is_found_by_its_check(bug, objective, name, words):
    (check,) = [check for check in objective_checks if check.name == name]
    outcome = run_check(check, objective(), "low")
    assert outcome.status == "failed", bug
    assert re.search(words, outcome.detail)


def test_every_check_of_objectives_has_a_planted_bug():
    assert {check.name for check in objective_checks} == {name for _, _, name, _ in PLANTED}


@pytest.mark.parametrize("objective", [Autoencode, Resynthesise, Everything])
def test_a_correct_objective_passes_everything(objective):
    report = run_checks(objective(), "objective", objective_checks, effort="low")
    assert [outcome.line for outcome in report.failed] == []
    assert len(report.not_applicable) == {Autoencode: 12, Resynthesise: 4, Everything: 1}[objective]


def test_the_gradient_of_a_steep_term_is_checked_at_a_step_that_is_small_enough():
    """log p is steep at a small p: on one batch in thousands a central difference of 1e-6 is off by a thousandth."""
    part = load_zoo().recipe("objective", "ae:recon=bce,dropout=0.5")
    context = BuildContext((3, 16, 24), 3, (5,))
    check_gradients_agree_with_finite_differences(ObjectiveCase(part, context, 2, "example", 2, 4096))


@pytest.mark.parametrize("objective", SOUND, ids=lambda objective: objective.__name__)
def test_a_correct_objective_of_another_form_passes_everything(objective):
    report = run_checks(objective(), "objective", objective_checks, effort="low")
    assert [outcome.line for outcome in report.failed] == []


@pytest.mark.parametrize("spec", VARIANTS)
def test_every_registered_objective_passes_everything(spec):
    report = run_checks(load_zoo().recipe("objective", spec), "objective", objective_checks, effort="low", name=spec)
    assert [outcome.line for outcome in report.failed] == []
    assert [outcome.check.name for outcome in report.skipped] == ["gradients_agree_with_finite_differences"] * (
        spec == "vqvae"
    )
    kind = spec.partition(":")[0]
    alone = kind in ("ae", "dae", "vae", "vqvae")  # without a discriminator
    penalised = "r1" in spec or kind == "wgangp"
    assert len(report.passed) == (
        14 - (kind == "vqvae") if alone else 22 + penalised - (kind == "gaia") + 2 * (kind == "amr_supervised")
    )


def test_every_registered_objective_has_a_variant():
    assert {entry.name for entry in load_zoo().of_kind("objective")} == {spec.partition(":")[0] for spec in VARIANTS}
