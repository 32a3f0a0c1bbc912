"""A run directory, and many of them: started, resumed, listed, evaluated, compared.

The package is callable: `mixzoo.runs("folder")` lists the runs of a folder, as `mixzoo runs` does.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixzoo.runs.listing import RunRecord


class _Runs(ModuleType):
    """`mixzoo.runs` is this package and, by the name of the command, the function that lists runs."""

    def __call__(self, *folders: str | Path) -> "list[RunRecord]":
        from mixzoo.core.arguments import path_of
        from mixzoo.runs.listing import find_runs

        return find_runs([path_of(folder, "folder") for folder in folders or ("runs",)])


sys.modules[__name__].__class__ = _Runs
