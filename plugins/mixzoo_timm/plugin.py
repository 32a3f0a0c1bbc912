"""Registers an auto-encoder around any timm encoder through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_autoencoders() -> Mapping[str, type[Any]]:
    from mixzoo_timm.autoencoder import Timm

    return {"timm": Timm}
