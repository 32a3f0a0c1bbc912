"""Pretrained weights: a safetensors file of the user's or from timm's hub. Pickles are never read."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from mixzoo_timm.library import first_line, timm

REMEDY = "give a safetensors file with weights=PATH"


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name. Raises ValueError if it is not one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"weights={str(path)!r}: no such file; {REMEDY}")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as err:
        raise ValueError(
            f"weights={str(path)!r}: not a safetensors file ({first_line(err)}). A pickle, such as .pth or .bin, is "
            "never loaded, as it can run code; convert it with safetensors.torch.save_file"
        ) from err
    return tensors


def fetch(model: str) -> Path:
    """The file of the pretrained weights, from the cache or timm's hub. Raises ValueError if neither has it."""
    config = timm().get_pretrained_cfg(model)
    if not config.hf_hub_id:
        raise ValueError(f"pretrained=true: timm has no weights for {model!r} on its hub; {REMEDY}")
    try:
        return _from_hub(config.hf_hub_id, _file_name(config.hf_hub_filename))
    except Exception as err:  # many kinds of errors, from the network, its library and the hub
        cause = f"{type(err).__name__}: {first_line(err).partition('. ')[0]}"
        raise ValueError(
            f"pretrained=true: {config.hf_hub_id!r} cannot be downloaded from timm's hub ({cause}). "
            f"Try again online, or {REMEDY}"
        ) from err


def _from_hub(repository: str, name: str) -> Path:
    """The file from the cache, where it does not change, or else from the network."""
    from huggingface_hub import hf_hub_download  # as timm does
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, local_files_only=True))
    except LocalEntryNotFoundError:
        with _silent("huggingface_hub"):  # which logs a line for each try; we report failure in one line
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


def _file_name(declared: str | None) -> str:
    return declared if declared and declared.endswith(".safetensors") else "model.safetensors"


def check_weights_loaded(initial: nn.Module, loaded: nn.Module, where: str) -> None:
    """Raises ValueError if random initial weights are unchanged after loading, because the file lacks them.

    timm loads an encoder without its classifier non-strictly and does not report missing names.
    """
    before, after = _tensors(initial), _tensors(loaded)
    same = [name for name, tensor in before.items() if _is_random(tensor) and torch.equal(tensor, after[name])]
    if same:
        raise ValueError(
            f"{where}: lacks {len(same)} of the model's tensors, such as {same[0]!r}; is it of another model, or does "
            "it use other names than timm's?"
        )


def _tensors(network: nn.Module) -> Mapping[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def _is_random(tensor: Tensor) -> bool:
    """Whether the tensor was initialised randomly: others start with the same value everywhere."""
    return tensor.numel() > 1 and bool((tensor != tensor.flatten()[0]).any())
