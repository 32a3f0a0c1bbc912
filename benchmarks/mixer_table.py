"""Every mixer: its input, equation and law, how many checks it passes, and which it skips and why.

    python benchmarks/mixer_table.py [--effort normal] > docs/mixers.md

Equations and laws are from the docstrings, which `mixzoo show mixer NAME` prints in full.
"""

import argparse
import inspect
import re
from typing import Any

from torch import nn

from mixzoo.core.mixing import needs_map
from mixzoo.registry.zoo import RegisteredPart, Zoo, load_zoo
from mixzoo.testing import check_part
from mixzoo.testing.cases import any_mixer

NESTED = {
    "one_of": "one_of:a=(dirichlet:k=3),b=(cutmix:k=3)",
    "chain": "chain:a=mixup,b=(cutmix:k=2)",
    "schedule": "schedule:a=(dirichlet:k=3),b=(bernoulli:k=3)",
}

HEADER = """# Mixers

Printed by `python benchmarks/mixer_table.py --effort {effort}`. `mixzoo show mixer NAME` prints the rest,
and `mixzoo check SPEC` runs the checks of one; [mixer_checks.md](mixer_checks.md) explains each.

The same three digits mixed by every mixer, along one path (`mixzoo interpolate RUN --every-mixer`; 800 steps on digits
with `one_of:a=(dirichlet:k=3),b=(network:k=3),c=(label:k=3)`, 8 feature maps):

![A row per mixer, from a 0 to a 1 to a 2 and to the middle of the three](mixers.png)

At one point of the simplex the mixers that weigh give the same mix, or nearly; their laws differ. The pixel row
shows both digits at once. `label` aims at a label; without a class loss in this run it has not learned to reach it.

| mixer | k | codes | learned | equation and law | checks | skipped, and why |
|---|---|---|---|---|---|---|"""


def sources(zoo: Zoo, entry: RegisteredPart) -> str:
    """The range of k, as the mixer's option declares it."""
    bounds = [option.allowed for option in zoo.options("mixer", entry.name) if option.name == "k"]
    if bounds:
        low, high = re.findall(r"\d+", bounds[0])
        return f"{low} to {high}"
    return "of its parts" if entry.name in NESTED else str(entry.recipe.k)


def equation(recipe: type) -> str:
    """The second paragraph of the docstring, and the later sentences that contain a law, such as p ~ U(0, 1)."""
    paragraphs = [" ".join(p.split()) for p in (inspect.getdoc(recipe) or "").split("\n\n")]
    laws = [s.rstrip(".;") for p in paragraphs[2:] for s in re.split(r"(?<=[.;]) ", p) if "~" in s]
    return "; ".join([paragraphs[1].rstrip(".;"), *laws]).replace("|", "\\|")


def row(zoo: Zoo, entry: RegisteredPart, effort: Any) -> str:
    spec = NESTED.get(entry.name, entry.name)
    mixer: Any = any_mixer(zoo.recipe("mixer", spec))
    learned = isinstance(mixer, nn.Module) and any(True for _ in mixer.parameters())
    codes = "maps" if needs_map(mixer) else "vectors, maps"
    if entry.name in NESTED:
        codes, learned = "what its parts take", False
    report = check_part(spec, kind="mixer", effort=effort)
    skipped = "; ".join(f"`{o.check.name}`: {o.detail}" for o in report.skipped) or "none"
    ran = f"{len(report.passed)} of {len(report.ran)} passed"
    return (
        " | ".join(
            [
                f"| `{spec}`",
                sources(zoo, entry),
                codes,
                "yes" if learned else "no",
                equation(entry.recipe),
                ran,
                skipped,
            ]
        )
        + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effort", choices=["low", "normal", "high"], default="normal")
    given = parser.parse_args()
    zoo = load_zoo()
    print(HEADER.format(effort=given.effort))
    for entry in zoo.of_kind("mixer"):
        print(row(zoo, entry, given.effort), flush=True)


if __name__ == "__main__":
    main()
