"""Calls of a part, and errors of one line with the signature that was expected if it breaks its contract."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from mixzoo.core.errors import MixzooError, PluginError, is_out_of_memory, listing, printable
from mixzoo.registry.kinds import KINDS

LONGEST_REASON = 200  # characters shown of a part's error


def signatures(kind: str, methods: Iterable[str]) -> str:
    """How these members of a kind of part are declared, for an error message."""
    declared = KINDS[kind].signatures
    return "; ".join(declared[name] for name in methods if name in declared)


@dataclass(frozen=True)
class Contract:
    """The name of a part, for errors that say how it breaks the contract of its kind."""

    kind: str
    name: str
    plugin: str = ""  # where it comes from

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" + (f" ({self.plugin})" if self.plugin else "")

    def broken(self, method: str, what: str) -> PluginError:
        """The error that says what is wrong with a member, and how it is declared."""
        expected = signatures(self.kind, [method])
        return PluginError(f"{self}: {what}" + (f"; expected {expected}" if expected else ""))

    def check_takes(self, method: str, function: Callable[..., Any], *arguments: str) -> None:
        """Raises PluginError if the function cannot be called with these arguments, by position."""
        try:
            signature = inspect.signature(function)
        except ValueError:  # as for functions written in C
            return
        try:
            signature.bind(*arguments)
        except TypeError as err:
            only = f"only a {arguments[0]}" if len(arguments) == 1 else ", ".join(arguments)
            raise self.broken(method, f"it cannot be called with {only}: {err}") from err

    def call(self, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`. An exception in it becomes a PluginError with its place and the signature.

        An error that the user can act on (MixzooError, out of memory) is raised as it is.
        """
        try:
            return function(*arguments)
        except MixzooError:
            raise
        except Exception as err:
            if is_out_of_memory(err):
                raise
            raise self.broken(method, f"{method} raised {reason(err)}") from err


def reason(err: BaseException) -> str:
    """The exception's type and first line, and the file and line of the part's code that raised it."""
    first = next((line.strip() for line in str(err).splitlines() if line.strip()), "")
    text = printable(f"{type(err).__name__}: {first}" if first else type(err).__name__)
    frames = [frame for frame, _ in walk_tb(err.__traceback__)]
    lines = [line for _, line in walk_tb(err.__traceback__)]
    own = [i for i, frame in enumerate(frames) if _is_a_parts(frame.f_code.co_filename)]
    place = f" ({Path(frames[own[-1]].f_code.co_filename).name}, line {lines[own[-1]]})" if own else ""
    return f"{text[:LONGEST_REASON]}{place}"


def _is_a_parts(file: str) -> bool:
    """Whether the file belongs neither to torch nor to mixzoo."""
    import torch

    outside = (Path(torch.__file__).parent, Path(__file__).parents[1])
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in outside)


def check_follows_protocol(contract: Contract, part: Any) -> None:
    """Raises PluginError, with the missing members and how they are declared, if the part does not have them all."""
    protocol = KINDS[contract.kind].protocol
    if isinstance(part, protocol):
        return
    members = [m for m in (*vars(protocol), *protocol.__annotations__) if not m.startswith("_") or m == "__call__"]
    missing = sorted(m for m in members if not hasattr(part, m))
    expected = signatures(contract.kind, missing)
    raise PluginError(
        f"{contract} is not a valid {protocol.__name__}: it lacks {listing(missing)}; expected {expected}"
    )


def described(value: Any) -> str:
    """What a value is, for an error message: type, shape and device of a tensor, else its class, and a short value."""
    from torch import Tensor

    if isinstance(value, Tensor):
        dtype, device = str(value.dtype).removeprefix("torch."), value.device
        return f"{dtype} {list(value.shape)}" + (f" on {device}" if device.type != "cpu" else "")
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:60]
    if isinstance(value, tuple | list) and len(value) <= 4:
        inside = ", ".join(map(described, value))
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    return f"a {type(value).__name__}"
