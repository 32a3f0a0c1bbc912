"""The checks of figures find each planted bug, and pass what is right."""

import pytest
from planted_figures import PLANTED_FIGURES, Rebuilt

from mixzoo.testing import check_part, checks_of
from mixzoo.testing.report import run_check

pytestmark = pytest.mark.kit

CHECKS = {check.name: check for check in checks_of("figure")}


@pytest.mark.parametrize(
    ("figure", "check", "words"), [row[1:] for row in PLANTED_FIGURES], ids=lambda value: str(value)
)
def test_a_planted_bug_is_caught_by_its_check(figure, check, words, unchecked):
    outcome = run_check(CHECKS[check], figure(), "low")
    assert outcome.status == "failed"
    assert words in outcome.detail


def test_every_check_of_its_own_has_a_planted_bug():
    own = {name for name in CHECKS if not name.startswith("options_")}
    assert own == {check for _, _, check, _ in PLANTED_FIGURES}


def test_a_correct_figure_passes_every_check():
    assert check_part(Rebuilt(), kind="figure").failed == ()


@pytest.mark.parametrize("name", ["strips", "regions", "spiral", "codes:images=20,pairs=1", "morph:images=2,steps=2"])
def test_mixzoos_own_figures_pass(name):
    report = check_part(name, kind="figure", effort="low")
    assert report.failed == (), "\n".join(report.lines())
