"""timm itself, imported only when a network is built."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mixzoo import PluginError


def timm() -> Any:
    """The timm module. Raises PluginError with the cause if it cannot be imported; only this plugin needs it."""
    try:
        import timm
    except Exception as err:  # ImportError, or RuntimeError if torchvision is built for another torch
        cause = f"{type(err).__name__}: {first_line(err)}"
        raise PluginError(
            f"autoencoder 'timm': timm cannot be imported ({cause}). Installed: {_installed()}; "
            "install releases that fit together, from one index; `mixzoo doctor` gives the command"
        ) from err
    return timm


def first_line(err: BaseException) -> str:
    """The first line of an exception's message, at most 200 characters."""
    return str(err).strip().partition("\n")[0][:200]


def _installed() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in ("timm", "torchvision", "torch"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
