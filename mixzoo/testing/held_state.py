"""The state of a part, as comparable values by name, to find out what a call changed.

It covers the attributes of the part and of everything in them (lists, dicts, modules, other objects), the attributes
and methods of its classes with their defaults and closures, and the data of the modules of those classes.
"""

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Set
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 22  # bytes; of a larger tensor the version counter is compared, not the numbers
DEEPEST = 8  # levels of nesting
MOST = 20_000  # values of one part
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_FOREIGN = ("torch", "builtins", "typing", "abc", "mixzoo", "jaxtyping", "beartype", "collections", "enum")


def state_held(part: Any) -> dict[str, object]:
    """The state of the part, its classes and their modules by name, such as "calls", "net.weight", "Class.seen[0]"."""
    walk = _Walk()
    walk.attributes(part, "", 0)
    for cls in type(part).__mro__:
        if cls.__module__.split(".")[0] in _FOREIGN:
            continue
        for name, value in vars(cls).items():
            if not name.startswith("__"):
                inside = getattr(
                    value, "__func__", getattr(value, "fget", value)
                )  # the function of a static method or a property
                walk.value(inside, f"{cls.__name__}.{name}", 1)
        walk.module(cls.__module__)
    return walk.values


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """The first value that was removed, added or changed, such as "calls (3, then 9)", or ''."""
    for where in [*before, *(where for where in after if where not in before)]:
        a, b = before.get(where, "nothing"), after.get(where, "nothing")
        if a != b:
            short = isinstance(a, PLAIN) and isinstance(b, PLAIN)
            return f"{where} ({a!r}, then {b!r})" if short else where
    return ""


class _Walk:
    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.seen: dict[int, Any] = {}  # by id; keeps objects alive, so that ids stay unique

    def value(self, value: Any, where: str, depth: int) -> None:
        if len(self.values) >= MOST or depth > DEEPEST:
            return
        if isinstance(value, PLAIN):
            self.values[where] = repr(value) if isinstance(value, float | complex) else value  # repr: NaN != NaN
            return
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if (state := _state(value)) is not None:
            self.values[where] = state
        elif isinstance(value, FunctionType | MethodType):
            self.function(getattr(value, "__func__", value), where, depth)
        elif isinstance(value, Mapping):
            self.values[f"{where} has"] = tuple(map(repr, value)) if len(value) < MOST else len(value)
            for key, item in _items(value):
                self.value(item, f"{where}[{key!r}]", depth + 1)
        elif isinstance(value, list | tuple) or type(value).__name__ == "deque":
            self.values[f"{where} has"] = len(value)
            for i, item in enumerate(itertools.islice(value, MOST)):
                self.value(item, f"{where}[{i}]", depth + 1)
        elif isinstance(value, Set):
            self.values[where] = tuple(sorted(map(repr, value)))
        elif not isinstance(value, type | ModuleType):
            self.attributes(value, where, depth)

    def attributes(self, thing: Any, where: str, depth: int) -> None:
        """Visit the attributes of an object, in its `__dict__` and its slots."""
        self.seen[id(thing)] = thing
        slots = [name for cls in type(thing).__mro__ for name in _names(getattr(cls, "__slots__", ()))]
        own = {name: getattr(thing, name) for name in slots if hasattr(thing, name) and not name.startswith("__")}
        own |= getattr(thing, "__dict__", {})
        for name, value in own.items():
            inside = name in ("_parameters", "_buffers", "_modules") and isinstance(value, dict)
            for key, item in _items(value) if inside else [(name, value)]:
                self.value(item, f"{where}.{key}" if where else str(key), depth + 1)

    def function(self, function: Any, where: str, depth: int) -> None:
        """Visit the defaults, attributes and closure of a function."""
        kept = {"default": function.__defaults__ or (), "default ": function.__kwdefaults__ or {}}
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())
        for name, cell in [(name, cell) for name, cell in cells if name != "__class__"]:
            try:
                kept[name] = cell.cell_contents
            except ValueError:  # an empty cell
                continue
        own = {name: value for name, value in vars(function).items() if not name.startswith("__")}
        for name, value in (kept | own).items():
            self.value(value, f"{where}.{name}", depth + 1)

    def module(self, name: str) -> None:
        """Visit the data of a module and the state of its functions, but not its classes and imports."""
        import sys

        for key, value in list(vars(sys.modules.get(name, object)).items()):
            foreign = isinstance(value, FunctionType) and value.__module__ != name
            if not key.startswith("__") and not foreign:
                self.value(value, f"{name}.{key}", DEEPEST - 3)


def _state(value: Any) -> object | None:
    """The state of a tensor, an array, a generator or a counter, or None for anything else."""
    if isinstance(value, Tensor):
        return _numbers(value)
    if isinstance(value, np.ndarray):
        return str(value.shape), str(value.dtype), hashlib.blake2b(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, torch.Generator):
        return bytes(value.get_state().numpy())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, random.Random):
        return repr(value.getstate())
    if isinstance(value, itertools.count | itertools.cycle | range):
        return repr(value)
    return None


def _numbers(tensor: Tensor) -> object:
    kind = (tuple(tensor.shape), str(tensor.dtype), str(tensor.device))
    if tensor.device.type == "meta" or tensor.layout != torch.strided:
        return kind
    if tensor.nbytes > LARGE:
        return kind, tensor._version, tensor.data_ptr()
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return kind, hashlib.blake2b(plain.view(torch.uint8).numpy().tobytes()).hexdigest()


def _items(mapping: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    return iter(list(mapping.items()) if not isinstance(mapping, MappingProxyType) else list(dict(mapping).items()))


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
