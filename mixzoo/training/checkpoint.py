"""Checkpoints: a directory of safetensors files and a manifest with their hashes; whole or absent, never half.

    checkpoints/step-00000400/  autoencoder.safetensors  discriminator.safetensors  ...  manifest.json

It is written to a temporary directory, flushed to the disk and renamed. Nothing in it is unpickled, it names no code.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mixzoo.errors import CheckpointError, StorageError
from mixzoo.evaluation.probe import ProbeRecord
from mixzoo.training.step import Players, laid_out_as, parameters_of

FORMAT = 1
MANIFEST = "manifest.json"
State = dict[str, dict[str, Tensor]]  # file stem -> named tensors


@dataclass(frozen=True)
class Progress:
    """What a checkpoint knows beside tensors."""

    step: int  # optimisation steps done
    metrics_bytes: int  # length of metrics.jsonl at that step
    probe: ProbeRecord


def commit(directory: Path, players: Players, progress: Progress, *, keep: int) -> Path:
    """Write the checkpoint of this step and remove all but the newest `keep`; StorageError where the disk refuses."""
    from safetensors.torch import save

    target = directory / f"step-{progress.step:08d}"
    temporary = directory / f".tmp-{target.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        files = {f"{stem}.safetensors": save(tensors) for stem, tensors in state_of(players).items()}
        for name, content in files.items():
            write_flushed(temporary / name, content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = {"format": FORMAT, "files": hashes, **asdict(progress)}
        write_flushed(temporary / MANIFEST, json.dumps(manifest, indent=2).encode())
        flush_entries(temporary)
        if target.exists():  # left by a run that was stopped after this very step and resumed before it
            shutil.rmtree(target)
        temporary.rename(target)
        flush_entries(directory)
    except OSError as err:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StorageError(f"{target}: the checkpoint could not be written: {err.strerror or err}") from err
    for old in saved(directory)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def saved(directory: Path) -> list[Path]:
    """The checkpoints in the directory, oldest first; anything with another name is left alone."""
    found = [d for d in directory.glob("step-*") if d.is_dir() and not d.is_symlink() and d.name[5:].isdecimal()]
    return sorted(found, key=lambda d: int(d.name[5:]))


def restore(directory: Path, players: Players) -> tuple[Progress, list[str]]:
    """Put the newest whole checkpoint into the players; what it knows, and a line for each newer damaged one."""
    checkpoint, state, progress, damaged = newest(directory)
    _load(state, players, checkpoint)
    return progress, damaged


def newest(directory: Path) -> tuple[Path, State, Progress, list[str]]:
    """The newest whole checkpoint, and a line for each newer damaged one; CheckpointError where none is whole."""
    damaged: list[str] = []
    for checkpoint in reversed(saved(directory)):
        try:
            return (checkpoint, *read(checkpoint), damaged)
        except CheckpointError as err:
            damaged.append(str(err))
    detail = f" ({'; '.join(damaged)})" if damaged else ""
    raise CheckpointError(f"{directory}: no usable checkpoint{detail}; start again with `mixzoo train`")


def read(checkpoint: Path) -> tuple[State, Progress]:
    """The tensors and the progress of one checkpoint, every file checked against its hash."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        manifest = json.loads((checkpoint / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{checkpoint}: format {manifest['format']}, this mixzoo reads {FORMAT}")
        state = {}
        for name, expected in manifest["files"].items():
            content = (checkpoint / Path(name).name).read_bytes()
            if hashlib.sha256(content).hexdigest() != expected:
                raise CheckpointError(f"{checkpoint / name}: damaged (its SHA-256 is not the manifest's)")
            state[name.removesuffix(".safetensors")] = load(content)
        probe = ProbeRecord(**manifest["probe"])
        return state, Progress(manifest["step"], manifest["metrics_bytes"], probe)
    except OSError as err:
        raise CheckpointError(f"{checkpoint}: cannot be read: {err.strerror}") from err
    except (ValueError, KeyError, TypeError, SafetensorError) as err:
        raise CheckpointError(f"{checkpoint}: damaged ({err})") from err


def modules_of(players: Players) -> dict[str, nn.Module]:
    """The parts that hold tensors, by name."""
    parts = {
        "autoencoder": players.autoencoder,
        "discriminator": players.discriminator,
        "mixer": players.mixer,
        "probe": players.probe,
    }
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def state_of(players: Players) -> State:
    """Every tensor of the run, on the CPU, each with memory of its own (safetensors takes no shared memory)."""
    state = {name: dict(module.state_dict()) for name, module in modules_of(players).items()}
    for name, optimiser in players.optimisers.items():
        moments = optimiser.state_dict()["state"]
        state[f"adam-{name}"] = {f"{i}.{key}": value for i, own in moments.items() for key, value in own.items()}
    return {
        name: {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        for name, tensors in state.items()
    }


def non_finite(players: Players) -> str:
    """The name of the first tensor with a NaN or an infinity, or nothing."""
    for name, module in modules_of(players).items():
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                return f"{name}.{key}"
    return ""


def load_modules(state: Mapping[str, Mapping[str, Tensor]], modules: Mapping[str, nn.Module], where: Path) -> None:
    """Put saved tensors into modules; CheckpointError names the first that do not fit."""
    for name, module in modules.items():
        current = module.state_dict()
        _refuse_misfits(state.get(name, {}), current, f"{where} [{name}]")
        module.load_state_dict(dict(state[name]) if current else {})


def _load(state: State, players: Players, where: Path) -> None:
    load_modules(state, modules_of(players), where)
    for name, optimiser in players.optimisers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        parameters = parameters_of(optimiser)
        for key, value in state[f"adam-{name}"].items():
            index, _, field = key.partition(".")
            parameter = parameters[int(index)]
            moments.setdefault(int(index), {})[field] = value if value.ndim == 0 else laid_out_as(parameter, value)
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def _refuse_misfits(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """load_state_dict casts types and stretches shapes in silence, so every tensor is compared first."""
    misfits = [f"{key} is missing" for key in wanted if key not in found]
    misfits += [f"{key} is not in the network" for key in found if key not in wanted]
    for key in wanted.keys() & found.keys():
        if (found[key].shape, found[key].dtype) != (wanted[key].shape, wanted[key].dtype):
            misfits.append(f"{key} is {_kind(found[key])}, not {_kind(wanted[key])}")
        elif found[key].is_floating_point() and not torch.isfinite(found[key]).all():
            misfits.append(f"{key} holds NaN or infinity")
    if misfits:
        raise CheckpointError(f"{where}: does not fit this network: {'; '.join(sorted(misfits)[:5])}")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def write_flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_entries(directory: Path) -> None:
    """Make the directory's entries themselves survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
