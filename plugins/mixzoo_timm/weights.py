"""Weights to begin from: a safetensors file, the user's or the one on timm's hub. No pickle is ever read."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from mixzoo_timm.library import first_line, timm

REMEDY = "give a safetensors file with weights=PATH"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; ValueError for what is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"weights={str(path)!r}: no such file; {REMEDY}")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as err:
        raise ValueError(
            f"weights={str(path)!r}: no safetensors file ({first_line(err)}). A pickle, such as .pth or .bin, is never "
            "loaded, as it can run code; convert it with safetensors.torch.save_file"
        ) from err
    return tensors


def fetched(model: str) -> Path:
    """The file of the pretrained weights, from the cache or from timm's hub; ValueError where neither has it."""
    config = timm().get_pretrained_cfg(model)
    if not config.hf_hub_id:
        raise ValueError(f"pretrained=true: timm has no weights of {model!r} on its hub; {REMEDY}")
    try:
        return _from_hub(config.hf_hub_id, _file_name(config.hf_hub_filename))
    except Exception as err:  # of the network, of its library, of the hub: many kinds, none to be told apart here
        cause = f"{type(err).__name__}: {first_line(err).partition('. ')[0]}"
        raise ValueError(
            f"pretrained=true: {config.hf_hub_id!r} cannot be had from timm's hub ({cause}). "
            f"Try again online, or {REMEDY}"
        ) from err


def _from_hub(repository: str, name: str) -> Path:
    """The file from the cache, where it stays as it was when it was fetched, or else from the network."""
    from huggingface_hub import hf_hub_download  # timm's own way to its hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, local_files_only=True))
    except LocalEntryNotFoundError:
        with _silent("huggingface_hub"):  # a line for each try, and there will be one line of ours
            return Path(hf_hub_download(repository, name))


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _file_name(stated: str | None) -> str:
    return stated if stated and stated.endswith(".safetensors") else "model.safetensors"


def check_weights_loaded(begun: nn.Module, loaded: nn.Module, where: str) -> None:
    """ValueError where weights that begin at random are the same in both, so that the file did not have them.

    timm loads an encoder without its classifier leniently and keeps silent about names that are missing.
    """
    before, after = _tensors(begun), _tensors(loaded)
    same = [name for name, tensor in before.items() if _varied(tensor) and torch.equal(tensor, after[name])]
    if same:
        raise ValueError(
            f"{where}: lacks {len(same)} of the model's tensors, {same[0]!r} first; is it of another model, or does it "
            "have other names than timm's?"
        )


def _tensors(network: nn.Module) -> Mapping[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def _varied(tensor: Tensor) -> bool:
    """Whether it begins at random: other tensors begin with one value everywhere."""
    return tensor.numel() > 1 and bool((tensor != tensor.flatten()[0]).any())
