"""Which check catches which planted bug: python benchmarks/planted_bugs.py [--all] > benchmarks/results/planted_bugs.md

Runs, on every mixer of tests/testing/planted*.py, the checks that must catch it; with --all every check, so that the
table also shows which others catch it. Exits with 1 if a bug is missed.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "testing"))

from planted import PLANTED, Planted

from mixzoo.testing import mixer_checks
from mixzoo.testing.report import run_check


def main() -> None:
    warnings.simplefilter("ignore")  # broken mixers warn
    for module in ("weights", "draws", "masks", "learned", "regions", "labels", "numbers"):
        import_module(f"planted_{module}")
    every, caught = "--all" in sys.argv[1:], 0
    print("| planted bug | what is wrong | caught by |\n|---|---|---|")
    for bug in PLANTED:
        by = catches(bug, every)
        caught += set(bug.caught_by) <= set(by)
        print(f"| {bug.name} | {bug.bug} | {', '.join(by) or 'NOTHING'} |", flush=True)
    print(f"\n{caught} of {len(PLANTED)} caught by every check that must catch them.")
    sys.exit(caught < len(PLANTED))


def catches(bug: Planted, every: bool) -> list[str]:
    """The checks that fail on it, among those that must or among all."""
    checks = [check for check in mixer_checks if every or check.name in bug.caught_by]
    effort = "normal" if any(c.least_effort == "normal" and c.name in bug.caught_by for c in checks) else "low"
    part = bug.make()
    return [check.name for check in checks if run_check(check, part, effort).status == "failed"]


if __name__ == "__main__":
    main()
