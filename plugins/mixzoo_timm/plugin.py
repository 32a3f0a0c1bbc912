"""Any encoder of timm with a decoder that matches it, offered through the hooks that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_autoencoders() -> Mapping[str, type[Any]]:
    from mixzoo_timm.autoencoder import Timm

    return {"timm": Timm}
