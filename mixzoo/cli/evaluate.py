"""mixzoo evaluate: more scores of trained runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.schema import part_option
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from

if TYPE_CHECKING:
    from mixzoo.runs.stored_scores import Score

Device = Annotated[
    str,
    typer.Option(
        "--device",
        autocompletion=completion.one_of(*completion.DEVICES),
        metavar="NAME",
        help="cpu, cuda, cuda:1, ..., or auto.",
    ),
]


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", autocompletion=completion.run, help="Runs, sweeps, or folders of them."),
    ],
    metric: Annotated[
        list[str],
        part_option("metric", "See `mixzoo list metrics`; repeatable."),
    ],
    again: Annotated[bool, typer.Option("--again", help="Recompute scores that the run already has.")] = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list, one object per run and metric.")] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Score runs by more metrics. Each is computed once and kept in the run's directory.

    Example: mixzoo evaluate runs --metric knn --metric reconstruction
    """
    from mixzoo.core.errors import ConfigError, path_excerpt
    from mixzoo.runs.listing import find_runs
    from mixzoo.runs.stored_scores import kept_scores

    records = find_runs(runs)
    if not records:
        raise ConfigError(
            f"{', '.join(map(path_excerpt, runs))}: no runs found; `mixzoo runs FOLDER` lists the runs in a folder"
        )
    rows: list[tuple[Path, Score]] = []
    zoo = None
    for record in records:
        scores = {} if again else kept_scores(record.path, metric, record.scored_step)
        if len(scores) < len(metric):  # torch and the plugins are loaded only if a score has to be computed
            zoo = zoo_from(plugin, no_plugins) if zoo is None else zoo
            from mixzoo.runs.evaluating import evaluate as compute

            scores = compute(zoo, record.path, metric, device=device, again=again, note=_warn)
        rows += [(record.path, scores[spec]) for spec in metric]
        if not as_json:
            _print_scores(record.path, [scores[spec] for spec in metric])
    if as_json:
        typer.echo(json.dumps([{"run": str(path), **vars(score)} for path, score in rows], indent=2))


def _warn(line: str) -> None:
    from mixzoo.core.errors import printable

    typer.echo(printable(f"warning: {line}"), err=True)


def _print_scores(run: Path, scores: "list[Score]") -> None:
    from mixzoo.cli.summary import formatted
    from mixzoo.core.errors import printable

    typer.echo(printable(str(run)))
    for score in scores:
        for name, value in score.numbers.items():
            typer.echo(printable(f"  {score.metric}.{name}  {formatted(name, value)}"))
