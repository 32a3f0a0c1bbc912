"""mixzoo resume: go on with a run that was stopped."""

from pathlib import Path
from typing import Annotated

import typer

from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's directory.")],
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Continue a run from its newest checkpoint; it ends at the same numbers as if it had never stopped.

    Example: mixzoo resume runs/20260101-120000-digits-amr-mixup
    """
    from mixzoo.cli.summary import print_summary
    from mixzoo.run import resume as resume_run
    from mixzoo.training.distributed import joined
    from mixzoo.training.logs import show_for
    from mixzoo.training.memory import keep_freed_memory

    keep_freed_memory()
    with joined() as world:
        result = resume_run(zoo_from(plugin, no_plugins), run, show_for, world)
        if world.writes:
            print_summary(result)
