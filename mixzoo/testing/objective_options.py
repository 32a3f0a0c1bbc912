"""What an objective promises of its options: each is read, and each value of it means something of its own."""

from dataclasses import fields, is_dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.errors import ConfigError
from mixzoo.registry.options import Option, checked_value, options_of
from mixzoo.testing.objective_cases import ObjectiveCase, contexts_of

CLOSE = 1e-9  # of two numbers in float64 that are one
NUMBERS = (0.0, 0.5, 3.0)  # tried as values of an option, as far as it takes them
INTEGERS = (0, 1, 2, 5)
SEED = 4  # even: every label is known


def check_every_option_is_read(part: Any) -> None:
    """Another value of an option changes what the objective asks for, shows D or adds up."""
    options = options_of(type(part))
    for option in options:
        values = values_of(part, option)
        # An option may be read only beside another value of another one.
        others = [(other.name, value) for other in options if other is not option for value in values_of(part, other)]
        pairs = _alike(part, option, values)
        for name, value in others:
            if not pairs:
                break
            if (base := _with(part, name, value)) is not None:
                pairs = [pair for pair in pairs if pair in _alike(base, option, values)]
        if pairs:
            a, b = pairs[0]
            raise AssertionError(f"option {option.name}={a!r} does just what {option.name}={b!r} does: is it read?")


def _alike(part: Any, option: Option, values: list[Any]) -> list[tuple[Any, Any]]:
    """Pairs of values that do the same and should not: of choices any two, of numbers all, as one may be clamped."""
    marks = {value: mark for value in values if (mark := _mark(part, option.name, value)) is not None}
    choices = "'" in option.type or option.type == "true|false"
    # None is some default, and 0 a switch; what it switches on must depend on how much.
    pairs = [pair for pair in combinations(marks, 2) if None not in pair and (choices or 0 not in pair)]
    alike = [(a, b) for a, b in pairs if not _differ(marks[a], marks[b])]
    return alike if choices or len(alike) == len(pairs) else []


def _with(part: Any, name: str, value: Any) -> Any:
    """The recipe with another value of an option; None if it refuses that."""
    try:
        return replace(part, **{name: value})
    except ValueError:
        return None


def has_options(part: Any) -> str:
    """'' for a recipe with options."""
    return "" if is_dataclass(part) and [f for f in fields(part) if f.init] else "it has no options"


def values_of(part: Any, option: Option) -> list[Any]:
    """The option's own value and others that it takes: all choices, or a few numbers."""
    own = getattr(part, option.name)
    if option.part:
        return [own] if own is not None else []
    cls = type(part)
    choices = [choice.strip().strip("'") for choice in option.type.split(",")] if "'" in option.type else []
    tried = [own, *choices, *NUMBERS, *INTEGERS, True, False]
    found: list[Any] = []
    for value in tried:
        taken = value is own or _takes(cls, option, value)
        if taken and not any(type(value) is type(other) and value == other for other in found):
            found.append(value)
    return found


def _takes(cls: type, option: Option, value: object) -> bool:
    try:
        taken = checked_value(cls, option, value, "")
    except ConfigError:
        return False
    return type(taken) is type(value)  # 1 is taken for 1.0 too, and tried once


def _mark(part: Any, name: str, value: Any) -> tuple[Any, ...] | None:
    """All that the objective with this value asks for, shows D and adds up; None if it refuses the value here."""
    try:
        other = replace(part, **{name: value})
        grey = [context for context in contexts_of(other) if context.image_shape[0] == 1]
        marks = [_of_batch(ObjectiveCase(other, context, 3, "position", 3, SEED)) for context in grey]
    except (ValueError, AssertionError):
        return None
    return tuple(item for mark in marks for item in mark)


def _of_batch(case: ObjectiveCase) -> list[Any]:
    """What the objective asks for, shows D, and adds up."""
    played = case.play()
    return [
        {key: (request.kind, request.p, type(request.mixer).__name__) for key, request in played.batch.draws.items()},
        {str(i): call for i, call in enumerate(played.batch.calls)},
        {name: one.sum().detach() for name, one in played.batch.inputs.items()},
        {name: term.detach() for name, term in played.every_term().items()},
    ]


def _differ(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return not torch.allclose(a, b, rtol=CLOSE, atol=CLOSE)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(_differ(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) != len(b) or any(map(_differ, a, b))
    return bool(a != b)
