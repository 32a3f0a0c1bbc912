"""Every registered mixer passes its checks, and the page about the checks is up to date."""

import subprocess
import sys
from pathlib import Path

import pytest

from mixzoo.registry.kinds import KINDS
from mixzoo.registry.zoo import load_zoo
from mixzoo.testing import checks_of, mixer_checks, parametrize_with_checks
from mixzoo.testing.invariants import INVARIANTS, invariants_page

pytestmark = pytest.mark.kit

ROOT = Path(__file__).parents[2]
ZOO = load_zoo()
DEFAULTS = [
    entry.name for entry in ZOO.of_kind("mixer") if not any(o.required for o in ZOO.options("mixer", entry.name))
]
VARIANTS = [
    *("dirichlet:k=8,alpha=0.01", "dirichlet:k=2,alpha=1e6", "channel:k=3", "bernoulli:k=4,p_per=unit"),
    *("bernoulli:k=3,p=0.8", "bernoulli:p=1", "bernoulli:k=3,p_per=batch"),
]


@parametrize_with_checks(DEFAULTS + VARIANTS, kind="mixer")
def test_a_registered_mixer_keeps_the_contract(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_registered_mixer_compiles_and_keeps_the_contract_with_high_effort(name):
    """In a subprocess, because the compiler cannot trace through the shape checks that the tests enable."""
    command = [sys.executable, "-m", "mixzoo", "check", name, "--kind", "mixer", "--effort", "high"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_unique_name_and_a_promise_that_is_one_whole_sentence(kind):
    checks = checks_of(kind)
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.promise.endswith("."), check.name


def test_the_documents_say_how_many_checks_there_are():
    for document in ("README.md", "CHANGELOG.md"):
        assert f"{len(mixer_checks)} checks" in (ROOT / document).read_text()


def test_the_page_of_checks_is_up_to_date():
    assert (ROOT / "docs" / "mixer_checks.md").read_text() == invariants_page()


def test_every_invariant_names_its_checks_or_says_why_it_has_none():
    known = {check.name for check in mixer_checks}
    assert [i.number for i in INVARIANTS] == [f"I{n}" for n in range(1, 41)] + [f"Q{n}" for n in range(1, 11)]
    for invariant in INVARIANTS:
        assert set(invariant.checks) <= known, invariant.number
        assert invariant.checks or invariant.note, invariant.number


def test_a_composite_of_an_unregistered_part_keeps_its_options():
    """Inner parts are rebuilt from the part itself, not looked up in the registry."""
    from mixzoo import Part
    from mixzoo.registry.zoo import load_zoo
    from mixzoo.testing.recipes import check_options_survive_a_run_file, check_options_survive_a_spec

    zoo = load_zoo()
    one_of, mixup = zoo.find("mixer", "one_of").recipe, zoo.recipe("mixer", "mixup")
    unknown = Part("mixer", "known_here_alone", zoo.recipe("mixer", "dirichlet:k=5"))
    composite = one_of(a=unknown, b=Part("mixer", "mixup", mixup))
    check_options_survive_a_spec(composite)
    check_options_survive_a_run_file(composite)
