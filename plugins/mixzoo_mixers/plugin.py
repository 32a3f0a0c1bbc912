"""The mixers of mixzoo, registered through the same hook as any plugin's."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_mixers() -> Mapping[str, type[Any]]:
    from mixzoo_mixers.arc import Slerp
    from mixzoo_mixers.composite import Chain, OneOf, Schedule
    from mixzoo_mixers.learned import Label, Network
    from mixzoo_mixers.masks import Bernoulli
    from mixzoo_mixers.noise import DropBlock, FMix
    from mixzoo_mixers.regions import CutMix, Grid
    from mixzoo_mixers.weights import Channel, Dirichlet, Mixup, Spatial

    weigh: dict[str, type[Any]] = {"mixup": Mixup, "dirichlet": Dirichlet, "channel": Channel, "spatial": Spatial}
    pick: dict[str, type[Any]] = {"bernoulli": Bernoulli, "cutmix": CutMix, "dropblock": DropBlock, "fmix": FMix}
    learn: dict[str, type[Any]] = {"label": Label, "network": Network}
    made_of_mixers: dict[str, type[Any]] = {"one_of": OneOf, "chain": Chain, "schedule": Schedule}
    return weigh | pick | {"grid": Grid, "slerp": Slerp} | learn | made_of_mixers
