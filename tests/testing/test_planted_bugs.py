"""Each check fails on a mixer that is broken in just that way, and passes on every correct one."""

import subprocess
import sys
from pathlib import Path

import planted_draws  # noqa: F401
import planted_labels  # noqa: F401
import planted_learned  # noqa: F401
import planted_masks  # noqa: F401
import planted_numbers  # noqa: F401
import planted_regions  # noqa: F401
import planted_weights  # noqa: F401
import pytest
from correct_mixers import SOME
from planted import PLANTED, TWINS

from mixzoo.testing import check_part, mixer_checks
from mixzoo.testing.report import run_check

pytestmark = pytest.mark.kit

CHECKS = {check.name: check for check in mixer_checks}
PAIRS = [(bug, name) for bug in PLANTED for name in bug.caught_by]


@pytest.mark.parametrize(("bug", "name"), PAIRS, ids=[f"{bug.name}-{name}" for bug, name in PAIRS])
def test_a_planted_bug_is_caught_by_its_check(bug, name):
    effort = "normal" if CHECKS[name].least_effort == "normal" else "low"
    outcome = run_check(CHECKS[name], bug.make(), effort)
    assert outcome.status == "failed", outcome.line


@pytest.mark.parametrize("mixer", [*(twin() for twin in TWINS), *SOME], ids=lambda mixer: str(mixer)[:40])
def test_a_correct_mixer_passes_every_check(mixer):
    report = check_part(mixer, kind="mixer", effort="low")
    assert not report.failed, "\n".join(report.lines())


@pytest.mark.slow
def test_every_correct_mixer_passes_every_check_with_normal_effort():
    """In a subprocess, because the compiler cannot trace through the shape checks that the tests enable."""
    code = """
import sys; sys.path.insert(0, sys.argv[1])
from correct_mixers import CORRECT
from mixzoo.testing import check_part
for mixer in CORRECT:
    report = check_part(mixer, kind="mixer")
    print(*(report.lines() if report.failed else []), sep="\\n")
    assert not report.failed
"""
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_at_least_forty_bugs_are_planted_each_with_a_one_line_description():
    assert len(PLANTED) >= 40
    assert len({bug.name for bug in PLANTED}) == len(PLANTED)
    assert all(bug.bug.strip() and "\n" not in bug.bug.strip() for bug in PLANTED)


def test_every_check_has_a_planted_bug():
    proven = {name for bug in PLANTED for name in bug.caught_by}
    others = {"a_batch_of_one_comes_back", "compiled_equals_eager", "is_a_mixer"}  # the last: test_mixer_signature.py
    assert CHECKS.keys() - proven == others
