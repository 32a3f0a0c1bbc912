"""The first mixers, offered through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_mixers() -> Mapping[str, type[Any]]:
    from mixzoo_mixers.composite import Chain, OneOf, Schedule
    from mixzoo_mixers.learned import Label, Network
    from mixzoo_mixers.masks import Bernoulli
    from mixzoo_mixers.weights import Channel, Dirichlet, Mixup

    return {
        "mixup": Mixup,
        "dirichlet": Dirichlet,
        "channel": Channel,
        "bernoulli": Bernoulli,
        "label": Label,
        "network": Network,
        "one_of": OneOf,
        "chain": Chain,
        "schedule": Schedule,
    }
