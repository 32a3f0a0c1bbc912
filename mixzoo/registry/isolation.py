"""Restores global state that a plugin changes while it loads, and reports the change.

A module that sets a seed or torch's default dtype when it is imported would change the numbers of runs that do not use
it. `GLOBAL_STATE` lists all that is restored. Warning filters and environment variables are not, as respectable
libraries set them when they are imported. A plugin is still code: nothing here prevents `os._exit` or an endless loop.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from signal import SIGINT, SIGTERM
from typing import Any


@dataclass(frozen=True)
class GlobalState:
    """A piece of global state, in a module that is looked at only if it is loaded."""

    name: str
    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    fresh: Callable[[Any], Any] = lambda _: None  # its value after the module's import; None if it varies
    named: bool = True


def _handler_of(signal: int, name: str) -> GlobalState:
    return GlobalState(name, "signal", lambda m: m.getsignal(signal), lambda m, was: m.signal(signal, was))


GLOBAL_STATE = (
    GlobalState("the working directory", "os", lambda os: _folder(os), lambda os, was: os.chdir(was)),
    _handler_of(SIGINT, "the handler of SIGINT"),
    _handler_of(SIGTERM, "the handler of SIGTERM"),
    # Not reported: respectable libraries draw from it (a type checker does, to pick what it looks at).
    GlobalState("Python's random state", "random", lambda m: m.getstate(), lambda m, was: m.setstate(was), named=False),
    GlobalState("NumPy's random state", "numpy.random", lambda m: m.get_state(), lambda m, was: m.set_state(was)),
    GlobalState("torch's random state", "torch", lambda m: m.get_rng_state(), lambda m, was: m.set_rng_state(was)),
    GlobalState(
        "torch's default dtype",
        "torch",
        lambda torch: torch.get_default_dtype(),
        lambda torch, was: torch.set_default_dtype(was),
        fresh=lambda torch: torch.float32,
    ),
    GlobalState(
        "torch's default device",
        "torch",
        lambda torch: torch.get_default_device().type,
        lambda torch, was: torch.set_default_device(None if was == "cpu" else was),
        fresh=lambda torch: "cpu",
    ),
    GlobalState(
        "torch's gradient mode",
        "torch",
        lambda torch: torch.is_grad_enabled(),
        lambda torch, was: torch.set_grad_enabled(was),
        fresh=lambda torch: True,
    ),
    GlobalState(
        "torch's deterministic mode",
        "torch",
        lambda torch: _deterministic(torch),
        lambda torch, was: torch.use_deterministic_algorithms(was[0], warn_only=was[1]),
        fresh=lambda torch: (False, False),
    ),
    GlobalState(
        "torch's precision of float32 products",
        "torch",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, was: torch.set_float32_matmul_precision(was),
        fresh=lambda torch: "highest",
    ),
    GlobalState(
        "torch's number of threads", "torch", lambda m: m.get_num_threads(), lambda m, was: m.set_num_threads(was)
    ),
)


@contextmanager
def isolated() -> Iterator[list[str]]:
    """Restore global state when the block ends. The list then has the names of what the block changed.

    What the block prints goes to standard error, as standard output is for a command's own data.
    """
    changed: list[str] = []
    before = {state: state.read(sys.modules[state.module]) for state in GLOBAL_STATE if state.module in sys.modules}
    try:
        with redirect_stdout(sys.stderr):
            yield changed
    finally:
        for state in GLOBAL_STATE:
            if state.module in sys.modules and _restore(state, before) and state.named:
                changed.append(state.name)


def _restore(state: GlobalState, before: dict[GlobalState, Any]) -> bool:
    """Restore this state; returns whether it had been changed."""
    module = sys.modules[state.module]
    was = before[state] if state in before else state.fresh(module)
    if was is None or _plain(state.read(module)) == _plain(was):
        return False
    state.write(module, was)
    return True


def _plain(value: Any) -> Any:
    """The value in a form that `==` can compare: arrays and tensors become lists."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.tolist() if hasattr(value, "tolist") else value


def _deterministic(torch: Any) -> tuple[bool, bool]:
    """Whether the mode is on, and whether it only warns."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _folder(os: Any) -> str | None:
    try:
        return str(os.getcwd())
    except FileNotFoundError:  # it was removed, so there is nothing to go back to
        return None
