"""Calls of a part, and errors of one line with the signature that was expected if it breaks its contract."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from mixzoo.core.errors import LeaveBlock, MixzooError, PluginError, is_out_of_memory, listing, one_line
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

    def check_takes(self, method: str, function: Any, *arguments: str) -> None:
        """Raises PluginError if the function cannot be called with these arguments, by position."""
        try:
            signature = inspect.signature(function)
        except ValueError:  # as for functions written in C
            return
        except TypeError as err:
            raise self.broken(method, f"{method} is {described(function)}, which cannot be called") from err
        try:
            signature.bind(*arguments)
        except TypeError as err:
            only = f"only a {arguments[0]}" if len(arguments) == 1 else ", ".join(arguments) or "no argument"
            what = "it" if method == "__call__" else method
            raise self.broken(method, f"{what} cannot be called with {only}: {err}") from err

    def call(self, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`. An exception in it becomes a PluginError with its place and the signature.

        An error that the user can act on (MixzooError, out of memory) is raised as it is, as is what a signal raises.
        Nothing else is: a SystemExit of the part would end the command, with exit code 0 as a success.
        """
        try:
            return function(*arguments)
        except (MixzooError, KeyboardInterrupt, LeaveBlock):
            raise
        except BaseException as err:
            if is_out_of_memory(err):
                raise
            raise self.broken(method, f"{method} raised {reason(err)}") from err


def reason(err: BaseException) -> str:
    """The exception's type and first line, and the file and line of the part's code that raised it."""
    first = one_line(err)
    text = f"{type(err).__name__}: {first}" if first else type(err).__name__
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
    members = [m for m in (*vars(protocol), *protocol.__annotations__) if not m.startswith("_") or m == "__call__"]
    found = {member: contract.call(member, getattr, part, member, None) for member in members}  # it may be a property
    if isinstance(part, protocol):
        return
    missing = sorted(member for member, value in found.items() if value is None)
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
