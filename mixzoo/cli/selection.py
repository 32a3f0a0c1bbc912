"""The arguments that choose runs, the same for every command that takes several."""

from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli import completion

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", autocompletion=completion.run, help="Runs, sweeps, or folders of them."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        autocompletion=completion.condition,
        help="Only runs with this value: objective=amr, state=failed; repeatable.",
    ),
]
