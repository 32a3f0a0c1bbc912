"""The mixers without weights, offered through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_mixers() -> Mapping[str, type[Any]]:
    from mixzoo_mixers.arc import Slerp
    from mixzoo_mixers.masks import Bernoulli
    from mixzoo_mixers.noise import DropBlock, FMix
    from mixzoo_mixers.regions import CutMix, Grid
    from mixzoo_mixers.weights import Channel, Dirichlet, Mixup, Spatial

    weigh: dict[str, type[Any]] = {"mixup": Mixup, "dirichlet": Dirichlet, "channel": Channel, "spatial": Spatial}
    pick: dict[str, type[Any]] = {"bernoulli": Bernoulli, "cutmix": CutMix, "dropblock": DropBlock, "fmix": FMix}
    return weigh | pick | {"grid": Grid, "slerp": Slerp}
