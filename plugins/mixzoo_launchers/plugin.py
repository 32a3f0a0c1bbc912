"""Registers mixzoo's launchers through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_launchers() -> Mapping[str, type[Any]]:
    from mixzoo_launchers.local import Local
    from mixzoo_launchers.ray import Ray
    from mixzoo_launchers.slurm import Slurm

    return {"local": Local, "ray": Ray, "slurm": Slurm}
