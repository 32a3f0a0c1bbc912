"""Loads hypothesis, with the settings of every check; no other module imports it."""

import warnings
from collections.abc import Callable
from typing import Any

from mixzoo.core.errors import ConfigError


def strategies() -> Any:
    """The module `hypothesis.strategies`. Raises ConfigError, with what to install, if it is missing."""
    try:
        from hypothesis import strategies as st
    except ImportError as err:
        raise ConfigError("the checks need hypothesis: pip install 'mixzoo[testing]'") from err
    return st


def given_cases(cases: Any, examples: int) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """`hypothesis.given(cases)` with the same examples in every run, no deadline, no database and no output."""
    strategies()
    from hypothesis import HealthCheck, Phase, Verbosity, given, settings
    from hypothesis.errors import HypothesisDeprecationWarning

    quiet = settings(
        max_examples=examples,
        deadline=None,  # torch's first call is slow
        derandomize=True,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    def decorate(function: Callable[[Any], None]) -> Callable[[], None]:
        wrapped: Callable[[], None] = quiet(given(cases)(function))  # type: ignore[no-untyped-call]

        def run() -> None:
            with warnings.catch_warnings():
                # run-time type checkers use `random` while a case is drawn, about which hypothesis warns
                warnings.simplefilter("ignore", HypothesisDeprecationWarning)
                wrapped()

        return run

    return decorate
