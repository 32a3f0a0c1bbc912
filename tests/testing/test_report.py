"""A report says what ran, what failed and why, and what was skipped with its reason."""

import sys

import pytest

from mixzoo.core.errors import ConfigError
from mixzoo.testing import check_from, check_part, checks_of, mixer_cases, mixer_checks, parametrize_with_checks
from mixzoo.testing.hypotheses import given_cases, strategies
from mixzoo.testing.report import Doubt, effort_named, run_checks

pytestmark = pytest.mark.kit


def check_is_small(number):
    """Numbers are small."""
    if number >= 50:
        raise AssertionError(f"{number} is not small")


def check_breaks(part):
    """It does not break."""
    raise RuntimeError("it broke")


def check_is_even(part):
    """It is even."""
    assert part % 2 == 0, "it is odd"


def law_has_samples(part, samples):
    """It gets the number of samples."""
    assert samples == 400


CHECKS = (
    check_from(check_is_small, "number", cases=lambda part: strategies().integers(0, 100)),
    check_from(check_breaks, "number"),
    check_from(check_is_even, "number", applies=lambda part: "it is zero" if part == 0 else ""),
    check_from(law_has_samples, "number", samples=True),
)


def report(part=2, **more):
    return run_checks(part, "number", CHECKS, effort="low", **more)


def test_a_failure_gives_the_reason_and_the_smallest_case():
    assert [o.line.split(maxsplit=1)[1] for o in report().failed] == [
        "FAILED  50 is not small for 50",
        "FAILED  RuntimeError: it broke",
    ]


def test_no_check_runs_after_a_failed_check_that_stops():
    stopping = check_from(check_is_even, "number", stops=True)
    assert len(run_checks(3, "number", (stopping, *CHECKS), effort="low").outcomes) == 1
    assert len(run_checks(2, "number", (stopping, *CHECKS), effort="low").outcomes) == 5
    assert len(run_checks(3, "number", (stopping, *CHECKS), effort="low", skip={"is_even": "odd"}).outcomes) == 5


def check_breaks_too(part):
    """It does not break either."""
    raise RuntimeError("it broke")


def check_is_likely(part):
    """It is as expected."""
    raise Doubt("it may be\non purpose")


def test_a_reason_for_which_several_checks_fail_is_printed_once():
    again = check_from(check_breaks_too, "number")
    lines = [o.line.split(maxsplit=1)[1] for o in run_checks(2, "number", (*CHECKS[1:2], again), effort="low").failed]
    assert lines == ["FAILED  RuntimeError: it broke", "FAILED  for the reason of breaks"]


def test_the_counts_say_how_many_checks_were_not_run():
    stopping = check_from(check_is_even, "number", stops=True)
    found = run_checks(3, "number", (stopping, *CHECKS), effort="low")
    assert found.counts.endswith("; 4 checks were not run, they would fail for the same reason")
    assert found.to_json()["not_run"] == 4


def test_a_doubt_is_a_warning_and_not_a_failure():
    found = run_checks(2, "number", (check_from(check_is_likely, "number"),), effort="low")
    assert [o.line.split(maxsplit=1)[1] for o in found.outcomes] == ["warning  it may be on purpose"]
    assert found.counts == "1 checks ran, 0 passed, 0 skipped, 0 do not apply, 1 with a warning"
    assert not found.failed


def test_the_counts_add_up_and_the_json_has_them_all():
    found = report(0, skip={"breaks": "it is meant to"})
    assert found.counts == "2 checks ran, 1 passed, 1 skipped, 1 do not apply"
    table = found.to_json()
    assert (table["ran"], table["failed"], table["skipped"], table["not_applicable"]) == (2, 1, 1, 1)
    assert table["checks"][1] == {
        "check": "breaks",
        "promise": "It does not break.",
        "status": "skipped",
        "detail": "it is meant to",
    }


def test_a_skipped_check_that_passes_is_pointed_out():
    (outcome,) = report(skip={"is_even": "numbers may be odd"}).skipped
    assert outcome.detail == "numbers may be odd (the check passes here; is the skip still needed?)"


def test_a_check_that_the_part_itself_skips_is_skipped():
    class Odd(int):
        skipped_checks = {"is_even": "it is odd on purpose"}  # noqa: RUF012

    assert [o.line for o in report(Odd(3)).skipped] == [f"{'is_even':42} skipped: it is odd on purpose"]


def test_skipping_an_unknown_check_or_without_a_reason_is_an_error():
    with pytest.raises(
        ConfigError, match=r"the skipped check 'is_evn' is not one of the 4 checks.*Did you mean 'is_even'"
    ):
        report(skip={"is_evn": "a slip"})
    with pytest.raises(ConfigError, match=r"number: 'is_even' is skipped without a reason; say why"):
        report(skip={"is_even": " "})


def test_an_unknown_effort_and_an_unknown_kind_are_errors():
    with pytest.raises(ConfigError, match=r"effort='much' must be one of high, low, normal"):
        effort_named("much")
    with pytest.raises(ConfigError, match=r"'mixture' is not a kind of part \(autoencoders, .*Did you mean 'mixer'"):
        checks_of("mixture")


def test_without_hypothesis_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ConfigError, match=r"the checks need hypothesis: pip install 'mixzoo\[testing\]'"):
        report()


def test_a_spec_that_names_no_part_or_several_is_an_error():
    with pytest.raises(ConfigError, match=r"'mixpu' is neither a part nor an installed distribution"):
        check_part("mixpu")
    with pytest.raises(ConfigError, match=r"'amr' is the name of 3 parts; choose one: --kind autoencoder or disc"):
        check_part("amr")


def test_a_part_that_is_not_a_mixer_fails_with_the_missing_members():
    report = check_part(object(), kind="mixer", effort="low")
    assert [outcome.check.name for outcome in report.outcomes] == ["is_a_mixer"]
    assert "the mixer has no __call__, at, draw, k" in report.failed[0].detail


def test_in_pytest_a_failed_check_fails_and_a_skipped_one_skips_with_its_reason():
    mark = parametrize_with_checks(["mixup"], kind="mixer", skip={"share_is_used": "for this test"})
    by_id = {param.id: param.values[0] for param in mark.mark.args[1]}
    assert len(by_id) == len(mixer_checks)
    with pytest.raises(pytest.skip.Exception, match="skipped: for this test"):
        by_id["mixup-share_is_used"]()
    with pytest.raises(pytest.skip.Exception, match="not applicable: it accepts vectors"):
        by_id["mixup-refuses_vectors"]()
    by_id["mixup-k_is_at_least_2"]()
    (broken,) = parametrize_with_checks([object()], kind="mixer").mark.args[1][:1]
    with pytest.raises(AssertionError, match=r"A mixer has k, draw.* But: the mixer has no __call__, at, draw, k"):
        broken.values[0]()


def test_maps_are_never_square_and_a_mixer_that_needs_maps_gets_no_vectors():
    from planted import Boxes

    seen = []
    given_cases(mixer_cases(Boxes()), 100)(lambda case: seen.append(case.shape.latent))()
    assert all(len(latent) == 3 for latent in seen)
    assert all(height != width or (height, width) == (1, 1) for _, height, width in seen)
    assert (1, 1) in {latent[1:] for latent in seen}
