"""Checkpoints: a directory of safetensors files and a manifest with their hashes; whole or absent, never half.

    checkpoints/step-00000400/  autoencoder.safetensors  ...  manifest.json  manifest.sha256

It is written to a temporary directory, flushed to the disk and renamed. Loading unpickles nothing and runs no code.
Tensors are compared with the parts that they are for before any of them is loaded.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from mixzoo.core.errors import CheckpointError, StorageError, printable
from mixzoo.core.storage import DISK_FULL, flush_entries, no_room, read_regular, write_flushed
from mixzoo.training.checkpoint_manifest import Manifest, Progress, manifest_files, read_manifest
from mixzoo.training.logs import MOST_BYTES as MOST_METRICS
from mixzoo.training.optimiser_state import check_moments, load_moments, moments_of, non_finite_moment
from mixzoo.training.players import Players

State = dict[str, dict[str, Tensor]]  # file stem -> named tensors
LISTINGS = 100  # times that a reader looks again after a checkpoint was removed while it was read
LARGEST_FILE = 2**40  # bytes of a file whose manifest does not state its size
_NAME = re.compile(r"step-([0-9]{8,18})")


def commit(
    directory: Path, players: Players, progress: Progress, *, keep: int, keep_best: bool = False, run: str = "",
    environment: Mapping[str, object] | None = None, ready: Callable[[], None] = lambda: None,
) -> Path:  # fmt: skip
    """Write the checkpoint of this step and keep those that `remove_older` keeps; returns its directory.

    `run` is the text of the run file used for these steps, `environment` what environment.json has. `ready` is called
    when all of it is on the disk, before the checkpoint is visible: it waits for what has to be there by then. Raises
    StorageError if it cannot be written, and what `ready` raises.
    """
    from safetensors.torch import save

    target = path_of(directory, progress.step)
    temporary, size = directory / f".tmp-{target.name}", 0
    try:
        # Written under a temporary name, which no reader takes for a checkpoint.
        shutil.rmtree(temporary, ignore_errors=True)
        directory.mkdir(exist_ok=True)
        temporary.mkdir()
        files = {f"{stem}.safetensors": save(tensors) for stem, tensors in state_of(players).items()}
        files |= manifest_files(progress, files, run, environment)
        size = sum(map(len, files.values()))
        for name, content in files.items():
            write_flushed(temporary / name, content)
        flush_entries(temporary)

        # All content is on the disk before the rename, which makes the checkpoint visible at once.
        ready()
        _discard(target)  # left by a run that was stopped after this very step and resumed before it
        temporary.rename(target)
        flush_entries(directory)
    except OSError as err:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = f"{err.strerror or err}{no_room(directory, size) if err.errno in DISK_FULL else ''}"
        raise StorageError(f"{printable(str(target))}: the checkpoint could not be written: {reason}") from err
    except BaseException:  # of `ready`
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    remove_older(directory, progress.step, keep, keep_best=keep_best)
    return target


def remove_older(directory: Path, step: int, keep: int, *, keep_best: bool = False) -> None:
    """Remove checkpoints up to this step but for the newest `keep`, and what a killed process left behind.

    With `keep_best` those of the best validation accuracy stay too. Call it under the lock of the run. Checkpoints of
    later steps are left alone.
    """
    older = [checkpoint for checkpoint in saved(directory) if step_of(checkpoint) <= step]
    # Each of the newest has its own best: a run goes on from an older one if the newest is damaged.
    best = {found for checkpoint in older[-keep:] for found in _best_steps(checkpoint)} if keep_best else set()
    for checkpoint in older[:-keep]:
        if step_of(checkpoint) not in best:
            with suppress(OSError):
                _discard(checkpoint)
    for leftover in directory.glob(".tmp-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def saved(directory: Path) -> list[Path]:
    """The checkpoints in the directory, oldest first; anything with another name is left alone."""
    return [found for found in _named(directory) if found.is_dir() and not found.is_symlink()]


def _best_steps(checkpoint: Path) -> set[int]:
    """The step of the best validation accuracy up to a checkpoint, also as a longer run has it."""
    try:
        own = read_manifest(checkpoint).progress
    except CheckpointError:
        return set()
    return {progress.probe.best_step for progress in (own, own.longer) if progress is not None}


def path_of(directory: Path, step: int) -> Path:
    """Where the checkpoint of this step is."""
    return directory / f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's name states."""
    return int(checkpoint.name.removeprefix("step-"))


def last_readable(directory: Path) -> Manifest | None:
    """The manifest of the newest checkpoint that has a right one; None if there is none."""
    for checkpoint in reversed(saved(directory)):
        with suppress(CheckpointError):
            return read_manifest(checkpoint)
    return None


def restore(
    directory: Path, players: Players, metrics: Path | None = None, steps: int = 0
) -> tuple[Progress, list[str]]:
    """Load the newest whole checkpoint into the players, for a run of `steps` steps.

    Returns its progress, and a line for each newer one that is damaged or does not fit. With `metrics`, a checkpoint
    that does not fit that file is skipped too, and a line says so if the file is damaged. Raises CheckpointError if
    none is left.
    """

    changed: list[str] = []

    def check(state: State, manifest: Manifest, where: Path) -> None:
        _check_parts(state, manifest, players, where)
        if metrics is not None:
            progress = progress_for(manifest, steps)
            found = check_metrics(metrics, progress, where, more_of_the_step=progress is not manifest.progress)
            changed[:] = [found] if found else []

    # Everything is checked before the first tensor is loaded, so players never hold parts of two checkpoints.
    checkpoint, state, manifest, damaged = newest(directory, check)
    _load(state, players, checkpoint)
    return progress_for(manifest, steps), [*damaged, *changed]


def progress_for(manifest: Manifest, steps: int) -> Progress:
    """What a run of that many steps has at the checkpoint, without an evaluation that a shorter run ended with."""
    own = manifest.progress
    return own.longer if own.longer is not None and steps > own.step else own


def newest(
    directory: Path, check: Callable[[State, Manifest, Path], None] = lambda state, manifest, where: None
) -> tuple[Path, State, Manifest, list[str]]:
    """The newest whole checkpoint of which `check` raises no CheckpointError, and a line for each newer one.

    Raises CheckpointError if none is left.
    """
    damaged: list[str] = []
    left, waiting = LISTINGS, _named(directory)
    while waiting:
        checkpoint = waiting.pop()
        try:
            manifest, state = read_whole(checkpoint)
            check(state, manifest, checkpoint)
        except CheckpointError as err:
            if left and not os.path.lexists(checkpoint):  # a process that trains has removed it
                damaged, left, waiting = [], left - 1, _named(directory)
                continue
            damaged.append(str(err))
            continue
        if manifest.format == 1:
            damaged.append(f"{printable(str(checkpoint))}: made by an older mixzoo, whose manifest has no hash")
        return checkpoint, state, manifest, damaged
    detail = f" ({'; '.join(damaged)})" if damaged else ""
    raise CheckpointError(f"{printable(str(directory))}: no usable checkpoint{detail}; start again with `mixzoo train`")


def load_step(directory: Path, step: int, modules: Mapping[str, nn.Module]) -> Manifest:
    """Load the modules' tensors of the checkpoint of this step, and return its manifest.

    Raises CheckpointError if it is gone or damaged.
    """
    checkpoint = path_of(directory, step)
    if not checkpoint.exists():
        raise CheckpointError(f"{printable(str(checkpoint))}: the checkpoint of the best step is gone")
    manifest, state = read_whole(checkpoint)
    check_modules(state, modules, checkpoint)
    load_modules(state, modules, checkpoint)
    return manifest


def read(checkpoint: Path) -> tuple[State, Progress]:
    """The tensors and the progress of one checkpoint, every file checked against its hash."""
    manifest, state = read_whole(checkpoint)
    return state, manifest.progress


def read_whole(checkpoint: Path) -> tuple[Manifest, State]:
    """The manifest and the tensors of one checkpoint; raises CheckpointError if anything in it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    where = printable(str(checkpoint))
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        raise CheckpointError(f"{where}: a symbolic link or a file, which is not followed")
    manifest, state = read_manifest(checkpoint), {}
    try:
        for name, file in manifest.files.items():
            content = read_regular(checkpoint / name, LARGEST_FILE if file.bytes is None else file.bytes)
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise CheckpointError(f"{where}/{name}: damaged (its SHA-256 is not the manifest's)")
            state[name.removesuffix(".safetensors")] = load(content)
        return manifest, state
    except OSError as err:
        raise CheckpointError(f"{where}: cannot be read: {name}: {err.strerror or err}") from err
    except (ValueError, KeyError, TypeError, SafetensorError) as err:
        raise CheckpointError(f"{where}: damaged ({printable(f'{name}: {err}')})") from err


def check_metrics(path: Path, progress: Progress, where: Path, *, more_of_the_step: bool = False) -> str:
    """Raises CheckpointError if metrics.jsonl does not begin with the lines that the checkpoint counts on.

    Lines of later steps may follow and, with `more_of_the_step`, others of its own. Returns a line of text if the lines
    are not as they were written: no weight depends on them, so the run can go on.
    """
    length, damaged = progress.metrics_bytes, f"{printable(str(where))}: damaged: metrics_bytes is"
    try:
        content = read_regular(path, MOST_METRICS) if path.exists() else b""
    except OSError as err:
        raise CheckpointError(f"{printable(str(path))}: cannot be read: {err.strerror or err}") from err
    if length > len(content):
        raise CheckpointError(f"{damaged} {length}, but {path.name} has {len(content)} bytes")
    kept, rest = content[:length], content[length:]
    if kept and not kept.endswith(b"\n"):
        raise CheckpointError(f"{damaged} {length}, which is inside a line of {path.name}")
    if any(step > progress.step for step in _steps(kept[-4096:])):
        raise CheckpointError(f"{damaged} {length}, which is after a line of a later step")
    last = progress.step - more_of_the_step
    if any(step <= last for step in _steps(rest[:4096])):
        raise CheckpointError(f"{damaged} {length}, which is before a line of step {last} or earlier")
    if progress.metrics_sha256 in ("", hashlib.sha256(kept).hexdigest()):
        return ""
    return (
        f"{printable(str(path))}: damaged, or edited: its lines up to step {progress.step} are not those that were "
        "written; the weights do not depend on them"
    )


def _steps(lines: bytes) -> Iterator[int]:
    """The steps that whole lines of metrics are of."""
    for line in lines.split(b"\n")[:-1]:
        if found := re.match(rb'\{"kind": "[a-z]+", "step": ([0-9]{1,18})[,}]', line):
            yield int(found[1])


def _named(directory: Path) -> list[Path]:
    """Everything with a checkpoint's name, oldest first."""
    try:
        found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(found, key=step_of)


def _discard(path: Path) -> None:
    """Remove it under another name, so that a kill leaves nothing half removed under this one."""
    if path.is_symlink() or not path.is_dir():  # rmtree would wait for the writer of a pipe
        path.unlink(missing_ok=True)
    else:
        aside = path.with_name(f".tmp-old-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def modules_of(players: Players) -> dict[str, nn.Module]:
    """The parts that hold tensors, by name."""
    return players.modules


def state_of(players: Players) -> State:
    """Every tensor of the run, on the CPU, each with memory of its own (safetensors takes no shared memory)."""
    state = {name: dict(module.state_dict()) for name, module in modules_of(players).items()}
    state |= {f"adam-{name}": moments_of(optimiser) for name, optimiser in players.optimisers.items()}
    return {
        name: {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        for name, tensors in state.items()
    }


def non_finite(players: Players) -> str:
    """The name of the first tensor of the run's state with a NaN or an infinity, or ''."""
    for name, module in modules_of(players).items():
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                return f"{name}.{key}"
    names = {id(p): f"{part}.{key}" for part, m in modules_of(players).items() for key, p in m.named_parameters()}
    for name, optimiser in players.optimisers.items():
        if found := non_finite_moment(optimiser, names):
            return f"Adam's {found}" if "." in found else f"Adam's state of the {name}"
    return ""


def load_modules(state: Mapping[str, Mapping[str, Tensor]], modules: Mapping[str, nn.Module], where: Path) -> None:
    """Load saved tensors into modules. Raises CheckpointError, naming the first that do not fit."""
    for name, module in modules.items():
        current = module.state_dict()
        _check_tensors_match(state.get(name, {}), current, f"{where} [{name}]")
        module.load_state_dict(dict(state[name]) if current else {})


def check_modules(state: Mapping[str, Mapping[str, Tensor]], modules: Mapping[str, nn.Module], where: Path) -> None:
    """Raises CheckpointError, naming the first few, if saved tensors do not fit the modules or are not finite."""
    for name, module in modules.items():
        _check_tensors_match(state.get(name, {}), module.state_dict(), f"{printable(str(where))} [{name}]")


def _check_parts(state: State, manifest: Manifest, players: Players, where: Path) -> None:
    """Raises CheckpointError if the checkpoint is not of these players, tensors of the optimisers included."""
    modules, optimisers = modules_of(players), players.optimisers
    wanted = {*modules, *(f"adam-{name}" for name in optimisers)}
    if wrong := sorted(wanted ^ state.keys()):
        known = "is missing" if wrong[0] in wanted else "is not part of this run"
        raise CheckpointError(f"{printable(str(where))}: does not fit this network: {wrong[0]}.safetensors {known}")
    check_modules(state, modules, where)
    for name, optimiser in optimisers.items():
        in_file = f"{printable(str(where))} [adam-{name}]"
        check_moments(state[f"adam-{name}"], optimiser, manifest.progress.step, in_file)


def _load(state: State, players: Players, where: Path) -> None:
    load_modules(state, modules_of(players), where)
    for name, optimiser in players.optimisers.items():
        load_moments(state[f"adam-{name}"], optimiser)


def _check_tensors_match(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """load_state_dict casts types and stretches shapes in silence, so every tensor is compared first."""
    misfits = [f"{key} is missing" for key in wanted if key not in found]
    misfits += [f"{printable(key)[:80]} is not in the network" for key in found if key not in wanted]
    for key in wanted.keys() & found.keys():
        if (found[key].shape, found[key].dtype) != (wanted[key].shape, wanted[key].dtype):
            misfits.append(f"{key} is {_kind(found[key])}, not {_kind(wanted[key])}")
        elif found[key].is_floating_point() and not torch.isfinite(found[key]).all():
            misfits.append(f"{key} contains NaN or infinity")
    if misfits:
        raise CheckpointError(f"{where}: does not fit this network: {'; '.join(sorted(misfits)[:5])}")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
