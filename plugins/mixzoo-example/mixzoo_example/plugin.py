"""The part that this package adds to mixzoo."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl

MIXZOO_API = 2  # the version of the plugin API that this package uses


@hookimpl
def mixzoo_mixers() -> Mapping[str, type[Any]]:
    from mixzoo_example.voronoi import Voronoi  # here, so that listing plugins stays quick

    return {"voronoi": Voronoi}
