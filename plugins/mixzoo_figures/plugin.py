"""Registers mixzoo's figures through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_figures() -> Mapping[str, type[Any]]:
    from mixzoo_figures.bernoulli import Bernoulli
    from mixzoo_figures.codes import Codes
    from mixzoo_figures.consistency import Consistency
    from mixzoo_figures.mixers import Mixers
    from mixzoo_figures.morph import Morph
    from mixzoo_figures.regions import Regions
    from mixzoo_figures.spiral import Spiral
    from mixzoo_figures.strips import Strips
    from mixzoo_figures.triangle import Triangle

    return {
        "strips": Strips,
        "bernoulli": Bernoulli,
        "triangle": Triangle,
        "mixers": Mixers,
        "regions": Regions,
        "consistency": Consistency,
        "spiral": Spiral,
        "codes": Codes,
        "morph": Morph,
    }
