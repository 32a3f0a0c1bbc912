"""Each check fails on a mixer that is broken in just that way, and on none that is right."""

import planted_draws  # noqa: F401
import planted_learned  # noqa: F401
import planted_masks  # noqa: F401
import planted_weights  # noqa: F401
import pytest
from planted import PLANTED, TWINS

from mixzoo.testing import check_part, mixer_checks
from mixzoo.testing.report import run_check

CHECKS = {check.name: check for check in mixer_checks}
PAIRS = [(bug, name) for bug in PLANTED for name in bug.caught_by]


@pytest.mark.parametrize(("bug", "name"), PAIRS, ids=[f"{bug.name}-{name}" for bug, name in PAIRS])
def test_a_planted_bug_is_caught_by_its_check(bug, name):
    effort = "normal" if CHECKS[name].least_effort == "normal" else "low"
    outcome = run_check(CHECKS[name], bug.make(), effort)
    assert outcome.status == "failed", outcome.line


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
def test_the_mixer_without_the_bug_passes_every_check(twin):
    report = check_part(twin(), kind="mixer", effort="low")
    assert not report.failed, "\n".join(report.lines())


def test_at_least_forty_bugs_are_planted_each_with_a_line_that_says_what_it_is():
    assert len(PLANTED) >= 40
    assert len({bug.name for bug in PLANTED}) == len(PLANTED)
    assert all(bug.bug.strip() and "\n" not in bug.bug.strip() for bug in PLANTED)


def test_every_check_that_can_fail_on_a_broken_mixer_has_one_planted_for_it():
    proven = {name for bug in PLANTED for name in bug.caught_by}
    others = {"a_batch_of_one_comes_back", "compiled_equals_eager", "is_a_mixer"}  # the last: test_mixer_signature.py
    assert CHECKS.keys() - proven == others
