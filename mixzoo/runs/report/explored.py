"""The runs of a page that a reader can try: their encoders, mixers and decoders are in the page (explorer.py)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixzoo.core.errors import ConfigError, MixzooError, path_excerpt
from mixzoo.runs.comparing import SIGNS
from mixzoo.runs.listing import HEADLINE, RunRecord
from mixzoo.runs.report.about_runs import best_of_each
from mixzoo.runs.report.naming import Naming

if TYPE_CHECKING:
    from mixzoo.runs.report.explorer import Explorer

MOST, BUDGET = 3, 3_200_000  # runs that are explored if none are named; characters of all of them


@dataclass(frozen=True)
class Explored:
    """A run with its explorer, or the reason that it has none."""

    run: str
    explorer: "Explorer | None" = None
    note: str = ""


def to_explore(records: Sequence[RunRecord], wanted: bool | Sequence[Path]) -> list[RunRecord]:
    """The runs that `wanted` names; if it is True all of a few runs, or the best run of each configuration.

    Raises ConfigError if one is not on the page.
    """
    if isinstance(wanted, bool):
        able = [record for record in records if record.step]
        return [] if not wanted else able if len(records) <= MOST else best_of_each(able, HEADLINE, SIGNS)[:MOST]
    found = {record.path: record for record in records}
    paths = [Path(os.path.abspath(path)) for path in wanted]
    if others := [path for path in paths if path not in found]:
        raise ConfigError(
            f"{path_excerpt(others[0])}: the page is not about this run; give it as one of its RUN..., too"
        )
    return [found[path] for path in dict.fromkeys(paths)]


def explored(records: Sequence[RunRecord], naming: Naming) -> list[Explored]:
    """The explorers of these runs; a run that cannot be opened, or whose data are not here, has a note instead."""
    if not records:
        return []
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a dozen small images: more threads would wait for one another most of the time
    try:
        return _explored(records, naming)
    finally:
        torch.set_num_threads(threads)


def _explored(records: Sequence[RunRecord], naming: Naming) -> list[Explored]:
    from mixzoo.runs.report.explorer import explorer_of
    from mixzoo.runs.trained_run import load

    found, left = [], BUDGET
    for record in records:
        name = naming.names[record.path]
        try:
            made = explorer_of(load(record, device="cpu"))
        except MixzooError as err:
            found.append(Explored(name, note=f"it cannot be tried here: {naming.public(str(err))}"))
            continue
        left -= len(made.json)
        if left < 0 and len(records) > 1:
            found.append(Explored(name, note="left out, so that the page stays small; explore fewer runs"))
            left += len(made.json)
        elif not made.data:
            found.append(Explored(name, note=made.note))
        else:
            found.append(Explored(name, made))
    return found
