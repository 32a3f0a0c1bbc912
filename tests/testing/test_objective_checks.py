"""The checks of objectives: each sees its bug, and every objective on offer passes, in all its variants."""

import re

import pytest
from planted_objectives import PLANTED_OBJECTIVES, Autoencode, Everything, Resynthesise

from mixzoo.plugins import load_zoo
from mixzoo.testing.objectives import OBJECTIVE_CHECKS
from mixzoo.testing.report import run_check, run_checks

VARIANTS = (
    *("ae", "ae:recon=l1"),
    *(f"aegan:gan={gan}" for gan in ("js", "ls", "hinge")),
    *(f"amr:gan={gan},recon={recon}" for gan in ("js", "ls", "hinge") for recon in ("l1", "l2")),
    "amr:beta=1.0",
    *("acai", "acai:gamma=0.5,weight=1.0", "acai:variant=amr", "acai:lam=2.0,variant=amr"),
)


@pytest.mark.parametrize(("bug", "objective", "name", "words"), PLANTED_OBJECTIVES, ids=lambda value: str(value))
def test_a_planted_bug_is_seen_by_its_check(bug, objective, name, words):
    (check,) = [check for check in OBJECTIVE_CHECKS if check.name == name]
    outcome = run_check(check, objective(), "low")
    assert outcome.status == "failed", bug
    assert re.search(words, outcome.detail)


def test_every_check_of_objectives_has_a_planted_bug():
    assert {check.name for check in OBJECTIVE_CHECKS} == {name for _, _, name, _ in PLANTED_OBJECTIVES}


@pytest.mark.parametrize("objective", [Autoencode, Resynthesise, Everything])
def test_a_sound_objective_passes_everything(objective):
    report = run_checks(objective(), "objective", OBJECTIVE_CHECKS, effort="low")
    assert [outcome.line for outcome in report.failed] == []
    assert len(report.not_applicable) == (4 if objective is Autoencode else 0)


@pytest.mark.parametrize("spec", VARIANTS)
def test_every_objective_on_offer_passes_everything(spec):
    report = run_checks(load_zoo().recipe("objective", spec), "objective", OBJECTIVE_CHECKS, effort="low", name=spec)
    assert [outcome.line for outcome in report.failed] == []
    assert not report.left_out
    assert len(report.passed) == (10 if spec.startswith("ae:") or spec == "ae" else 14)


def test_the_variants_are_of_every_objective_on_offer():
    assert {offer.name for offer in load_zoo().of_kind("objective")} == {spec.partition(":")[0] for spec in VARIANTS}
