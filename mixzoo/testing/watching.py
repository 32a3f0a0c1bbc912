"""What must stay as it was while a part works: tensors, the state of a module, the process, the global generators."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixzoo.registry.isolation import isolated

UNUSUAL = 1_928_374_655  # a seed that nobody uses


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator seeded inside the block, as the engine seeds it, and put back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed walks the stack, a millisecond each time
        yield


@contextmanager
def unwritten(tensors: Mapping[str, Tensor], by: str) -> Iterator[None]:
    """AssertionError where the block writes to one of the tensors; `by` names who may have."""
    before = {name: (tensor.detach().clone(), tensor._version) for name, tensor in tensors.items()}
    yield
    for name, (copy, version) in before.items():
        tensor = tensors[name]
        untouched = tensor._version == version and same(tensor, copy)
        assert untouched, f"{by} writes to {name} in place; make a new tensor (no inplace=True, no x += ...)"


def _filter_warnings(filters: Any) -> None:
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever its type says
    warnings._filters_mutated()  # type: ignore[attr-defined]  # what simplefilter does after a change


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


PROCESS: Mapping[
    str, tuple[Callable[[], Any], Callable[[Any], object]]
] = {  # beside what mixzoo.registry.isolation watches
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
    """AssertionError, after all of it was put back, if the block leaves something of the whole process changed.

    Run the same once before: what a library sets as it is first imported is no fault of a part.
    Random states are left to `generators_untouched`, which says what to do about them.
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
        f"{by} leaves {', '.join(left)} changed, for everything that runs after it; use a context that puts it back, "
        "such as `with torch.no_grad():`"
    )


@contextmanager
def generators_untouched(by: str, *, torch_too: bool = True) -> Iterator[None]:
    """AssertionError where the block draws from the global generator of numpy, or of torch if `torch_too`.

    Python's is not watched: beartype, which may be checking types meanwhile, draws from it. Whoever uses it for numbers
    is found out by giving others the second time.
    """
    with seeded(UNUSUAL), _numpy_seeded(UNUSUAL):  # or who seeds with the number that stands there would go unseen
        before = generator_states()
        yield
        after = generator_states()
    moved = [name for name in before if before[name] != after[name] and (torch_too or name != "torch")]
    assert not moved, (
        f"{by} draws from the global generator of {', '.join(moved)}, so no run can repeat it; "
        "draw from a generator of its own, seeded (mixzoo.core.random.rng_for)"
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
    """A copy of all parameters and buffers, those that a checkpoint leaves out too."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def first_difference(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    """The name of the first tensor that is missing, new or not equal bit for bit, or nothing."""
    if gone := sorted(before.keys() ^ after.keys()):
        return gone[0]
    return next((name for name in before if not same(before[name], after[name])), "")


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit; NaN equals NaN."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference as a part of the largest value of `b`; infinite where the shapes differ or one is NaN."""
    if a.shape != b.shape:
        return float("inf")
    largest = max(b.abs().max().item(), 1e-12)
    difference = (a.double() - b.double()).abs().max().item() / largest
    return difference if difference == difference else float("inf")
