"""Check a part (an object, a recipe or a spec) from Python and from pytest."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from mixzoo.core.errors import ConfigError, listing, nearest, truncated_repr
from mixzoo.registry.kinds import KINDS, kind_named
from mixzoo.registry.recipes import HasBuild, skipped_checks
from mixzoo.registry.spec import Spec, parse_spec
from mixzoo.registry.zoo import Zoo, load_zoo
from mixzoo.testing.report import Check, Effort, Outcome, Report, check_skips, run_check, run_checks


def checks_of(kind: str) -> tuple[Check, ...]:
    """The checks of one kind of part. Raises ConfigError if there is no such kind."""
    checks: tuple[Check, ...] = kind_named(kind).suite
    return checks


def check_part(
    part: Any,
    *,
    kind: str = "",
    effort: Effort = "normal",
    skip: Mapping[str, str] = {},
    zoo: Zoo | None = None,
    each: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """The report of all checks of a part, which is a spec string, a recipe or an object.

    The kind of a spec is found by its name if that is unique. A part that is not a spec is checked as a mixer unless
    `kind` is given. `skip`, name -> reason, adds to the checks that the part itself skips.
    """
    kind, part, name = resolved(part, kind, zoo)
    reasons = {**skipped_by(part, kind), **skip}
    return run_checks(part, kind, checks_of(kind), effort=effort, skip=reasons, name=name, each=each)


def resolved(part: Any, kind: str, zoo: Zoo | None = None) -> tuple[str, Any, str]:
    """The kind, the object or recipe, and the name for the report."""
    if not isinstance(part, str):
        return kind or "mixer", part, truncated_repr(part)
    zoo = load_zoo() if zoo is None else zoo
    spec = parse_spec(part)
    kind = kind or kind_of(zoo, spec)
    return kind, zoo.recipe(kind, spec), part


def kind_of(zoo: Zoo, spec: Spec) -> str:
    """The kind that has a part of this name. Raises ConfigError if there is none, or more than one."""
    distribution, _, bare = spec.name.rpartition("/")
    kinds = [
        kind
        for kind in KINDS
        if any(o.name == bare and distribution in ("", o.plugin.distribution) for o in zoo.of_kind(kind))
    ]
    if len(kinds) > 1:  # a figure may have the name of what it draws, which is meant then
        kinds = [kind for kind in kinds if kind != "figure"]
    if len(kinds) > 1:
        raise ConfigError(f"{spec.name!r} is the name of {len(kinds)} parts; choose one: --kind {' or '.join(kinds)}")
    if not kinds:
        names = sorted({plugin.distribution for plugin in zoo.plugins})
        raise ConfigError(
            f"{truncated_repr(spec.name)} is neither a part nor an installed distribution ({listing(names)}); "
            f"see `mixzoo list mixers` and the other kinds.{nearest(spec.name, names)}"
        )
    return kinds[0]


def skipped_by(part: Any, kind: str) -> Mapping[str, str]:
    """The checks that the part skips and, for a recipe of a mixer, those that its mixer skips."""
    own = dict(skipped_checks(part))
    if kind == "mixer" and isinstance(part, HasBuild):
        from mixzoo.testing.cases import any_mixer

        try:
            own |= skipped_checks(any_mixer(part))
        except Exception:  # it cannot be built; the first check reports why
            return own
    return own


def parametrize_with_checks(
    parts: Iterable[Any],
    *,
    kind: str = "",
    effort: Effort = "low",
    skip: Mapping[str, str] = {},
) -> Any:
    """A pytest decorator that runs a test for each check of each part; the test must call `check`.

        @parametrize_with_checks(["poles", Poles(k=3)])
        def test_poles_keeps_the_contract(check):
            check()

    A check that is skipped or does not apply is a pytest skip with the reason. `skip` applies to all parts.
    """
    import pytest

    params = []
    for given in parts:
        which, part, name = resolved(given, kind)
        reasons = {**skipped_by(part, which), **skip}
        check_skips(reasons, checks_of(which), name)
        for check in checks_of(which):
            call = partial(run_in_pytest, check, part, effort, reasons.get(check.name, ""))
            params.append(pytest.param(call, id=f"{name}-{check.name}"))
    return pytest.mark.parametrize("check", params)


def run_in_pytest(check: Check, part: Any, effort: Effort, reason: str) -> None:
    """Run one check inside a test, which passes, fails, or is skipped with a reason."""
    import pytest

    outcome = run_check(check, part, effort, reason)
    if outcome.status == "failed":
        raise AssertionError(f"{check.promise} But: {outcome.detail}") from outcome.error
    if outcome.status == "doubtful":
        warnings.warn(f"{check.name}: {outcome.detail}", stacklevel=2)
    elif outcome.status != "passed":  # it does not apply, or the part names it in skipped_checks with a reason
        pytest.skip(f"{outcome.status}: {outcome.detail}")
