"""Contexts that check for side effects on tensors, global state of the process and global generators."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixzoo.registry.isolation import isolated

UNUSUAL = 1_928_374_655  # a seed that no part is likely to use


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the block, as the engine does, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed inspects the stack, which takes a millisecond
        yield


@contextmanager
def unwritten(tensors: Mapping[str, Tensor], by: str) -> Iterator[None]:
    """Raises AssertionError if the block writes to one of the tensors; `by` is the culprit in the message."""
    before = {name: (tensor.detach().clone(), tensor._version) for name, tensor in tensors.items()}
    yield
    for name, (copy, version) in before.items():
        tensor = tensors[name]
        untouched = tensor._version == version and same(tensor, copy)
        assert untouched, f"{by} writes to {name} in place; make a new tensor (no inplace=True, no x += ...)"


def _filter_warnings(filters: Any) -> None:
    warnings.filters[:] = filters  # type: ignore[index]  # a list, although it is typed as a Sequence
    warnings._filters_mutated()  # type: ignore[attr-defined]  # what simplefilter does after a change


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


PROCESS: Mapping[
    str, tuple[Callable[[], Any], Callable[[Any], object]]
] = {  # in addition to what mixzoo.registry.isolation checks
    "torch's anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda was: torch.set_autocast_enabled("cpu", was),
    ),
    "NumPy's handling of floating-point errors": (np.geterr, lambda was: np.seterr(**was)),
    "the filters of warnings": (lambda: list(warnings.filters), _filter_warnings),
    "the environment variables": (lambda: dict(os.environ), _set_environment),
}


@contextmanager
def process_untouched(by: str) -> Iterator[None]:
    """Raises AssertionError, after restoring it, if the block changes global state of the process.

    Run the same code once before, since a library may set global state when it is first imported. The states of random
    generators are left to `generators_untouched`, whose message says what to do about them.
    """
    before = {name: read() for name, (read, _) in PROCESS.items()}
    with isolated() as left:
        yield
    left = [name for name in left if "random state" not in name]
    for name, (read, write) in PROCESS.items():
        if read() != before[name]:
            write(before[name])
            left.append(name)
    assert not left, (
        f"{by} leaves {', '.join(left)} changed for everything that runs later; use a context that restores it, such "
        "as `with torch.no_grad():`"
    )


@contextmanager
def generators_untouched(by: str, *, torch_too: bool = True) -> Iterator[None]:
    """Raises AssertionError if the block draws from the global generator of numpy or, if `torch_too`, of torch.

    Python's generator is not checked, because beartype draws from it while it checks types. A part that uses it fails
    the checks that compare two results.
    """
    # From an unusual seed, so that a part that seeds a global generator itself is noticed.
    with seeded(UNUSUAL), _numpy_seeded(UNUSUAL):
        before = generator_states()
        yield
        after = generator_states()
    moved = [name for name in before if before[name] != after[name] and (torch_too or name != "torch")]
    assert not moved, (
        f"{by} draws from the global generator of {', '.join(moved)}, so a run cannot repeat it; "
        "use a seeded generator instead (mixzoo.core.random.rng_for)"
    )


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002  (the global generator is what is watched)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def generator_states() -> dict[str, object]:
    """The states of the global generators of torch and numpy, comparable by ==."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  (the global generator is what is watched)
    return {"torch": bytes(torch.get_rng_state().numpy()), "numpy": (name, np.asarray(keys).tobytes(), *rest)}


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers, including those that a checkpoint leaves out."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def first_difference(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    """The name of the first tensor that was removed, added or changed, or ''."""
    if only_in_one := sorted(before.keys() ^ after.keys()):
        return only_in_one[0]
    return next((name for name in before if not same(before[name], after[name])), "")


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit; NaN equals NaN."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference relative to the largest value of `b`; infinite if the shapes differ or a value is NaN."""
    if a.shape != b.shape:
        return float("inf")
    largest = max(b.abs().max().item(), 1e-12)
    difference = (a.double() - b.double()).abs().max().item() / largest
    return difference if difference == difference else float("inf")
