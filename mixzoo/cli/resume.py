"""mixzoo resume: go on with a run that was stopped."""

from pathlib import Path
from typing import Annotated

import typer


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's directory.")],
) -> None:
    """Continue a run from its newest checkpoint; it ends at the same numbers as if it had never stopped.

    Example: mixzoo resume runs/20260101-120000-digits-amr-mixup
    """
    from mixzoo.cli.summary import print_summary
    from mixzoo.plugins import load_zoo
    from mixzoo.run import resume as resume_run
    from mixzoo.training.logs import show_for
    from mixzoo.training.memory import keep_freed_memory

    keep_freed_memory()
    print_summary(resume_run(load_zoo(), run, show_for))
