"""The part that this package adds to mixzoo."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl

MIXZOO_API = 2  # the plugin API that it is written for


@hookimpl
def mixzoo_mixers() -> Mapping[str, type[Any]]:
    from mixzoo_example.voronoi import Voronoi  # here, so that listing plugins stays quick

    return {"voronoi": Voronoi}
