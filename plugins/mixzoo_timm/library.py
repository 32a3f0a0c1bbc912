"""timm itself, imported when a network is built and not before."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mixzoo import PluginError


def timm() -> Any:
    """The module; PluginError with the cause where it does not load, so that nothing but this plugin needs it to."""
    try:
        import timm
    except Exception as err:  # ImportError, or RuntimeError of a torchvision built for another torch
        cause = f"{type(err).__name__}: {first_line(err)}"
        raise PluginError(
            f"autoencoder 'timm': timm cannot be imported ({cause}). Here are {_installed()}; "
            "install releases that fit one another, from one index; `mixzoo doctor` gives the command"
        ) from err
    return timm


def first_line(err: BaseException) -> str:
    """The first line that an exception says, at most 200 characters of it."""
    return str(err).strip().partition("\n")[0][:200]


def _installed() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in ("timm", "torchvision", "torch"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
