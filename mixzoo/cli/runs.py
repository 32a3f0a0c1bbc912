"""mixzoo runs: lists the runs in a folder, with state and score."""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixzoo.cli import completion
from mixzoo.cli.selection import Where

if TYPE_CHECKING:
    from mixzoo.runs.listing import RunRecord


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER...]",
            autocompletion=completion.run,
            help="Runs, sweeps, or folders of them. [default: runs]",
        ),
    ] = None,
    where: Where = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            autocompletion=completion.key_of_runs,
            help="path, age, score, train.lr, ...; -KEY sorts largest first.",
        ),
    ] = "path",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a list of objects, with every score and option.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: one line per run, with every score.")] = False,
) -> None:
    """List runs and the members of sweeps: state, step, parts, score and age.

    Example: mixzoo runs --where objective=amr --sort -score
    """
    from mixzoo.core.errors import ConfigError, path_excerpt, printable
    from mixzoo.runs.listing import find_runs, matching, none_matches, ordered

    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be combined; give one of them")
    default = Path("runs")  # which is not there before the first run
    found = find_runs(folders or ([default] if default.exists() else []))
    records = ordered(matching(found, where or []), sort)
    if not records:
        places = ", ".join(map(path_excerpt, folders or [default]))
        none = f"no runs in {places}; `mixzoo train` makes one in runs/, and `mixzoo runs FOLDER` lists another folder"
        typer.echo(f"mixzoo: {printable(none_matches(found, where or []) if found else none)}", err=True)
    if as_json:
        typer.echo(json.dumps([_row(record) for record in records], indent=2))
    elif as_csv:
        _print_csv(records)
    elif records:
        _print_table(records)


def _row(record: "RunRecord") -> dict[str, object]:
    """Every field of one run, for JSON."""
    return {
        "path": str(record.path),
        "sweep": str(record.sweep) if record.sweep else None,
        "state": record.state,
        "step": record.step,
        "steps": record.steps,
        "seed": record.seed,
        "modified": record.modified,
        "numbers": dict(record.numbers),
        "config": dict(record.table),
        "problem": record.problem,
        "warnings": list(record.warnings),
    }


def _print_csv(records: "list[RunRecord]") -> None:
    from mixzoo.core.errors import escaped
    from mixzoo.runs.listing import PARTS

    scores = list(dict.fromkeys(name for record in records for name in record.numbers))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "state", "step", "steps", "seed", *PARTS, *map(escaped, scores)])
    for r in records:
        parts = [escaped(r.part(kind)) for kind in PARTS]
        writer.writerow(
            [
                escaped(str(r.path)),
                r.state,
                r.step,
                r.steps,
                r.seed,
                *parts,
                *(r.numbers.get(name, "") for name in scores),
            ]
        )


def _print_table(records: "list[RunRecord]") -> None:
    """Print a line per run; rich, which measures and wraps every cell, takes as long for it as reading the runs."""
    from rich.cells import cell_len

    from mixzoo.cli.summary import formatted
    from mixzoo.core.errors import printable
    from mixzoo.runs.listing import HEADLINE, age

    lines = [["run", "state", "step", "data", "objective", "mixer", "seed", "probe", "age"]]
    right = [name in ("step", "seed", "probe", "age") for name in lines[0]]
    for r in records:
        score = formatted(HEADLINE, r.numbers[HEADLINE]) if HEADLINE in r.numbers else "-"
        step, seed = (f"{r.step}/{r.steps}", str(r.seed)) if r.table else ("-", "-")
        parts = [printable(r.part(kind)) for kind in ("dataset", "objective", "mixer")]
        lines.append([printable(str(r.path)), r.state, step, *parts, seed, score, age(r)])
    widths = [max(map(cell_len, column)) for column in zip(*lines)]
    for i, line in enumerate(lines):
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths)]
        cells = [space + cell if last else cell + space for cell, space, last in zip(line, padding, right)]
        typer.secho("  ".join(cells), bold=i == 0)
    for r in records:
        for said in [*([r.problem] if r.problem else []), *(f"{r.path}: {warning}" for warning in r.warnings)]:
            print(f"mixzoo: {printable(said)}", file=sys.stderr)
