"""Registers mixzoo's loggers through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_loggers() -> Mapping[str, type[Any]]:
    from mixzoo_loggers.tensorboard import TensorBoard

    return {"tensorboard": TensorBoard}
