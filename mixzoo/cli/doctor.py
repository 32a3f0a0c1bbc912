"""mixzoo doctor: checks whether this machine has what a run needs, and says how to fix what is wrong."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    data_root: Annotated[
        str | None,
        typer.Option("--data-root", metavar="DIR", help="Folder of data sets. [default: $MIXZOO_DATA]"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a list of objects with subject, state, found, fix, exit_code.")
    ] = False,
) -> None:
    """Check versions, incompatible libraries, GPU, disk, terminal, plugins and data, and say how to fix each problem.

    A problem would make a run on digits fail, and the exit code is then that of such a run: 9 if a library or one of
    mixzoo's own parts cannot be loaded, 8 if the disk cannot be written, 3 if digits cannot be read. A warning concerns
    other runs only, and the exit code stays 0. Example: mixzoo doctor
    """
    from mixzoo.runs.doctor import examine, exit_code

    findings = examine(data_root)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(str(finding))
        counts = {state: sum(f.state == state for f in findings) for state in ("warning", "problem")}
        works = "would not work" if counts["problem"] else "would work"
        typer.echo(f"\n{counts['problem']} problems, {counts['warning']} warnings: a run on digits {works} here")
    raise typer.Exit(exit_code(findings))
