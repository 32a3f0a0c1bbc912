"""mixzoo check: the conformance checks of a part."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixzoo.cli import completion
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from
from mixzoo.core.errors import ConfigError, PluginError, escaped, truncated_repr
from mixzoo.registry.kinds import KINDS, kind_named

if TYPE_CHECKING:
    from mixzoo.registry.zoo import Zoo
    from mixzoo.testing.report import Effort, Outcome, Report


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|DIST",
            autocompletion=completion.part_or_distribution,
            help="A part, NAME[:KEY=VALUE,...], or a distribution, for all its parts.",
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            autocompletion=completion.one_of(*KINDS),
            help=f"{', '.join(KINDS)}; needed if several kinds have a part of that name.",
        ),
    ] = None,
    effort: Annotated[
        str,
        typer.Option(
            "--effort",
            autocompletion=completion.one_of("low", "normal", "high"),
            help="low, normal or high: how many cases a check tries.",
        ),
    ] = "normal",
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="NAME=REASON", help="A check to skip, and why; repeatable.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object, every check of every part and counts.")
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Check that a part keeps its contract: one line per check, then how many ran. Exits with code 9 if one failed.

    Example: mixzoo check bernoulli:k=3 --effort high
    """
    from mixzoo.testing.report import effort_named

    tried, zoo = effort_named(effort), zoo_from(plugin, no_plugins)
    kind_name = kind_named(kind).name if kind else ""
    parts, unchecked = _parts(zoo, target, kind_name)
    reasons = _skip_reasons(skip or [], len(parts))
    reports = [_check_one(zoo, k, spec, tried, reasons, quiet=as_json) for k, spec in parts]
    if as_json:
        typer.echo(json.dumps({**_totals(reports), "not_checked": unchecked}, indent=2, ensure_ascii=False))
    elif len(reports) > 1:
        totals = _totals(reports)
        typer.echo(
            f"{len(reports)} parts: {totals['ran']} checks ran, {totals['passed']} passed, "
            f"{totals['skipped']} skipped, {totals['not_applicable']} do not apply"
        )
    for name, why in ({} if as_json else unchecked).items():
        typer.echo(escaped(f"not checked: {name}, {why}"))
    if any(report.failed for report in reports):
        raise typer.Exit(PluginError.exit_code)


def _parts(zoo: "Zoo", target: str, kind: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The kind and spec of each part that the target names, and why other parts of a distribution cannot be checked."""
    from mixzoo.registry.spec import parse_spec
    from mixzoo.testing.part import kind_of

    if any(plugin.distribution == target for plugin in zoo.plugins):
        return _parts_in(zoo, target, kind)
    spec = parse_spec(target, "check")
    kind = kind or kind_of(zoo, spec)
    zoo.recipe(kind, spec, f"check {target}")
    return [(kind, target)], {}


def _parts_in(zoo: "Zoo", distribution: str, kind: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    from mixzoo.registry.options import options_of

    broken = [plugin for plugin in zoo.plugins if plugin.distribution == distribution and plugin.problem]
    if broken:
        raise PluginError(f"{broken[0]} failed to load: {broken[0].problem}")
    entries = [o for o in zoo.registered if o.plugin.distribution == distribution and kind in ("", o.kind)]
    if not entries:
        raise PluginError(f"{distribution} has no {kind or 'part'}")
    needed = {o: [f"{option.name}=" for option in options_of(o.recipe) if option.required] for o in entries}
    unchecked = {
        f"{o.kind} {o.full_name}": f"which requires {', '.join(names)}: check it by a spec"
        for o, names in needed.items()
        if names
    }
    return [(o.kind, o.full_name) for o in entries if not needed[o]], unchecked


def _skip_reasons(given: list[str], parts: int) -> dict[str, str]:
    reasons = {}
    for text in given:
        name, equals, reason = text.partition("=")
        if not equals:
            raise ConfigError(f"--skip {truncated_repr(text)}: give NAME=REASON")
        reasons[name] = reason
    if reasons and parts > 1:
        raise ConfigError("--skip needs a single part; name it by its spec")
    return reasons


def _check_one(zoo: "Zoo", kind: str, spec: str, effort: "Effort", reasons: dict[str, str], *, quiet: bool) -> "Report":
    from mixzoo.testing.part import check_part

    lines = 0

    def show(outcome: "Outcome") -> None:
        nonlocal lines
        if not lines:  # not earlier: an error should be the only line
            typer.echo(escaped(f"{kind} {spec}"))
        lines += 1
        typer.echo("\n".join(map(escaped, f"  {outcome.line}".split("\n"))))

    each = (lambda outcome: None) if quiet else show
    report = check_part(spec, kind=kind, effort=effort, skip=reasons, zoo=zoo, each=each)
    if not quiet:
        typer.echo(report.counts)
    return report


def _totals(reports: list["Report"]) -> dict[str, Any]:
    parts = [report.to_json() for report in reports]
    keys = ("ran", "passed", "failed", "skipped", "not_applicable")
    return {**{key: sum(part[key] for part in parts) for key in keys}, "parts": parts}
