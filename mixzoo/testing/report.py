"""What a check is, and the report of running many on one part.

A check is a plain function with one promise. Its argument is a drawn case (`cases`: part -> hypothesis strategy), or
the part itself, or the part and a number of samples (a law). Hypothesis is imported only when a check runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from mixzoo.core.errors import ConfigError, MixzooError, listing, nearest, printable, truncated_repr
from mixzoo.registry.isolation import isolated
from mixzoo.registry.recipes import skipped_checks
from mixzoo.testing.hypotheses import given_cases, strategies

Effort: TypeAlias = Literal["low", "normal", "high"]
Status: TypeAlias = Literal["passed", "doubtful", "failed", "skipped", "not applicable"]
LONGEST_DETAIL = 400  # characters of the reason of a failure
LONGEST_CASE = 160  # characters of the case in which a check failed


class Doubt(Exception):
    """Raised by a check for what is probably a mistake but may be on purpose: a warning, not a failure."""


class Budget(NamedTuple):
    """How much work an effort spends on one check."""

    examples: int  # drawn cases; a check with expensive cases draws fewer (`Check.case_cost`)
    samples: int  # draws behind one statistic


EFFORTS: Mapping[str, Budget] = {"low": Budget(10, 400), "normal": Budget(50, 4_000), "high": Budget(300, 40_000)}


def _always(part: Any) -> str:
    return ""


@dataclass(frozen=True)
class Check:
    """One promise of one kind of part, and the function that tests it by raising AssertionError."""

    name: str
    kind: str  # 'mixer', 'autoencoder', ...
    function: Callable[..., None]
    promise: str  # one line
    applies: Callable[[Any], str] = _always  # '' if the check applies to the part, else why it does not
    cases: Callable[[Any], Any] | None = None  # strategy for the function's argument; None: the part itself
    samples: bool = False  # the function also takes a number of samples
    least_effort: Effort = "low"  # a slow check runs only at this effort or above
    stops: bool = False  # if it fails, the others would be meaningless and are not run
    case_cost: int = 1  # the effort's number of drawn cases is divided by it, if each runs a part several times


def check_from(
    function: Callable[..., None],
    kind: str,
    *,
    applies: Callable[[Any], str] = _always,
    cases: Callable[[Any], Any] | None = None,
    samples: bool = False,
    least_effort: Effort = "low",
    stops: bool = False,
    case_cost: int = 1,
) -> Check:
    """The check of a function `check_<name>` or `law_<name>`, whose promise is the first line of its docstring."""
    name = function.__name__.removeprefix("check_").removeprefix("law_")
    promise = (function.__doc__ or "").strip().partition("\n")[0]
    return Check(name, kind, function, promise, applies, cases, samples, least_effort, stops, case_cost)


@dataclass(frozen=True)
class Outcome:
    """The result of one check; `detail` says why it failed, was skipped or does not apply."""

    check: Check
    status: Status
    detail: str = ""
    error: BaseException | None = field(default=None, repr=False, compare=False)  # that a failed check raised
    reason: str = ""  # of a failure, without the case
    same_as: str = ""  # an earlier check that failed for the same reason

    @property
    def line(self) -> str:
        text = {
            "passed": "ok",
            "doubtful": f"warning  {self.detail}",
            "failed": f"FAILED  {f'for the reason of {self.same_as}' if self.same_as else self.detail}",
            "skipped": f"skipped: {self.detail}",
            "not applicable": f"does not apply: {self.detail}",
        }
        return f"{self.check.name:42} {text[self.status]}"


@dataclass(frozen=True)
class Report:
    """The outcomes of all the checks of one part."""

    part: str  # its spec
    kind: str
    outcomes: tuple[Outcome, ...]
    not_run: int = 0  # checks after a failed one that stops the others

    def _with(self, status: Status) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == status)

    @property
    def ran(self) -> tuple[Outcome, ...]:
        """The outcomes that passed, failed or are doubtful."""
        return self._with("passed") + self._with("doubtful") + self._with("failed")

    @property
    def passed(self) -> tuple[Outcome, ...]:
        return self._with("passed")

    @property
    def doubtful(self) -> tuple[Outcome, ...]:
        return self._with("doubtful")

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return self._with("failed")

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        return self._with("skipped")

    @property
    def not_applicable(self) -> tuple[Outcome, ...]:
        return self._with("not applicable")

    @property
    def counts(self) -> str:
        return (
            f"{len(self.ran)} checks ran, {len(self.passed)} passed, {len(self.skipped)} skipped, "
            f"{len(self.not_applicable)} do not apply"
            + (f", {len(self.doubtful)} with a warning" if self.doubtful else "")
            + (f"; {self.not_run} checks were not run, they would fail for the same reason" if self.not_run else "")
        )

    def lines(self) -> list[str]:
        """A line for the part, one per check, and one with the counts."""
        return [f"{self.kind} {self.part}", *(f"  {outcome.line}" for outcome in self.outcomes), self.counts]

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        rows = [
            {"check": o.check.name, "promise": o.check.promise, "status": o.status, "detail": o.detail}
            for o in self.outcomes
        ]
        counts = {
            "ran": len(self.ran),
            "passed": len(self.passed),
            "doubtful": len(self.doubtful),
            "failed": len(self.failed),
            "not_run": self.not_run,
            "skipped": len(self.skipped),
            "not_applicable": len(self.not_applicable),
        }
        return {"part": self.part, "kind": self.kind, **counts, "checks": rows}


def run_checks(
    part: Any,
    kind: str,
    checks: Sequence[Check],
    *,
    effort: Effort = "normal",
    skip: Mapping[str, str] = {},
    name: str = "",
    each: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """The report of `checks` on `part`; `name` is its name in the report, and `each` is called with each outcome.

    `skip`, name -> reason, adds to the part's own `skipped_checks`. A skipped check runs too, so that a reason that no
    longer holds is noticed. After a failed check that `stops`, no more checks run. Raises ConfigError if a skipped name
    is not a check, or if its reason is missing.
    """
    if any(check.cases for check in checks):
        strategies()  # says what to install, before anything runs
    reasons = {**skipped_checks(part), **skip}
    check_skips(reasons, checks, name or kind)
    outcomes: list[Outcome] = []
    first: dict[str, str] = {}  # reason of a failure -> the first check that failed for it
    for check in checks:
        outcome = run_check(check, part, effort, reasons.get(check.name, ""))
        if outcome.status == "failed" and outcome.reason:
            same = first.setdefault(outcome.reason, check.name)
            outcome = replace(outcome, same_as="" if same == check.name else same)
        outcomes.append(outcome)
        each(outcome)
        if check.stops and outcome.status == "failed":
            break
    return Report(name or truncated_repr(part), kind, tuple(outcomes), len(checks) - len(outcomes))


def check_skips(reasons: Mapping[str, str], checks: Iterable[Check], where: str) -> None:
    """Raises ConfigError if a skipped check does not exist, or has no reason."""
    known = [check.name for check in checks]
    for name, reason in reasons.items():
        if name not in known:
            raise ConfigError(
                f"{where}: the skipped check {truncated_repr(name)} is not one of the {len(known)} checks; "
                f"`mixzoo check` prints their names.{nearest(name, known)}"
            )
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"{where}: {name!r} is skipped without a reason; say why in a few words")


def run_check(check: Check, part: Any, effort: Effort, reason: str = "") -> Outcome:
    """The outcome of one check. If there is a `reason` to skip it, it runs to see whether the skip is still needed."""
    outcome = _outcome(check, part, effort)
    if not reason:
        return outcome
    needless = " (the check passes here; is the skip still needed?)" if outcome.status == "passed" else ""
    return Outcome(check, "skipped", reason + needless)


def _outcome(check: Check, part: Any, effort: Effort) -> Outcome:
    budget = EFFORTS[effort]
    if list(EFFORTS).index(effort) < list(EFFORTS).index(check.least_effort):
        return Outcome(check, "not applicable", f"slow, runs only with effort {check.least_effort} or more")
    try:
        with isolated():  # a part that changes global state must not make later checks fail
            why = check.applies(part)
        if why:
            return Outcome(check, "not applicable", why)
        with isolated():
            _run(check, part, budget)
    except KeyboardInterrupt:
        raise
    except Doubt as doubt:
        return Outcome(check, "doubtful", " ".join(str(doubt).split()))
    except BaseException as err:  # of any type, since the part is a plugin's
        reason, case = _why(err)
        return Outcome(check, "failed", f"{reason} {case}".strip(), err, reason)
    return Outcome(check, "passed")


def effort_named(text: str) -> Effort:
    """The effort of that name. Raises ConfigError, with the names that exist, if there is none."""
    if text not in EFFORTS:
        raise ConfigError(f"effort={truncated_repr(text)} must be one of {listing(EFFORTS)}")
    return cast(Effort, text)


def _run(check: Check, part: Any, budget: Budget) -> None:
    if check.samples:
        check.function(part, budget.samples)
    elif check.cases is None:
        check.function(part)
    else:
        _run_on_cases(check, check.cases(part), max(1, budget.examples // check.case_cost))


def _run_on_cases(check: Check, cases: Any, examples: int) -> None:
    """Run the function on drawn cases. A failure is shrunk to a small case, which is added to its message."""
    last: list[Any] = []

    def on_case(case: Any) -> None:
        last[:] = [case]
        check.function(case)

    try:
        given_cases(cases, examples)(on_case)()
    except Exception as err:
        err.add_note(f"for {last[0]}" if last else "while drawing a case")
        raise


def _why(err: BaseException) -> tuple[str, str]:
    """The reason of a failure on one line, from the innermost exception of a group, and the case."""
    notes = [note for note in getattr(err, "__notes__", []) if note.startswith(("for ", "while drawing"))]
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    message = " ".join(str(err).split())
    is_plain = isinstance(err, AssertionError | MixzooError) and message
    text = printable(message if is_plain else f"{type(err).__name__}: {message}")
    return text[:LONGEST_DETAIL], printable(" ".join(notes[-1:]))[:LONGEST_CASE]
