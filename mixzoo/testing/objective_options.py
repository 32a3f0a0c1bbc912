"""What an objective promises about its options: each is read, and each of its values has an effect."""

from dataclasses import fields, is_dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.errors import ConfigError
from mixzoo.registry.options import Option, checked_value, options_of
from mixzoo.testing.objective_cases import ObjectiveCase, contexts_of

CLOSE = 1e-9  # tolerance, relative and absolute, for equal numbers in float64
NUMBERS = (0.0, 0.5, 3.0)  # values to try if the option accepts them
INTEGERS = (0, 1, 2, 5)
MOST_VALUES = 3  # of an option, to compare beside each value of another option
SEED = 4  # even, so every example is labelled


def check_every_option_is_read(part: Any) -> None:
    """Every option has an effect: another value changes calls, draws, inputs of D or terms."""
    options = options_of(type(part))
    for option in options:
        values = values_of(part, option)
        # An option may have an effect only for another value of another option.
        others = [(other.name, value) for other in options if other is not option for value in values_of(part, other)]
        pairs = _equal_pairs(part, option, values)
        for name, value in others:
            if not pairs:
                break
            if (base := _with(part, name, value)) is not None:
                tried = [one for one in values if any(one is a or one is b for a, b in pairs)][:MOST_VALUES]
                pairs = [pair for pair in pairs if pair in _equal_pairs(base, option, tried)]
        if pairs:
            a, b = pairs[0]
            raise AssertionError(
                f"option {option.name}={a!r} has the same effect as {option.name}={b!r}; is the option read?"
            )


def _equal_pairs(part: Any, option: Option, values: list[Any]) -> list[tuple[Any, Any]]:
    """Pairs of values with equal effects: any pair of choices; numbers only if all agree, since one may be clamped."""
    marks = {value: mark for value in values if (mark := _mark(part, option.name, value)) is not None}
    choices = "'" in option.type or option.type == "true|false"
    # None may equal some default, and 0 may disable a term, whose strength must then depend on the number.
    pairs = [pair for pair in combinations(marks, 2) if None not in pair and (choices or 0 not in pair)]
    equal = [(a, b) for a, b in pairs if not _differ(marks[a], marks[b])]
    return equal if choices or len(equal) == len(pairs) else []


def _with(part: Any, name: str, value: Any) -> Any:
    """The recipe with another value of an option, or None if it rejects that value."""
    try:
        return replace(part, **{name: value})
    except ValueError:
        return None


def has_options(part: Any) -> str:
    """'' if the recipe has options."""
    return "" if is_dataclass(part) and [f for f in fields(part) if f.init] else "it has no options"


def values_of(part: Any, option: Option) -> list[Any]:
    """The option's value and others that it accepts: all choices, or a few numbers."""
    own = getattr(part, option.name)
    if option.part:
        return [own] if own is not None else []
    cls = type(part)
    choices = [choice.strip().strip("'") for choice in option.type.split(",")] if "'" in option.type else []
    tried = [own, *choices, *NUMBERS, *INTEGERS, True, False]
    values: list[Any] = []
    for value in tried:
        accepted = value is own or _accepts(cls, option, value)
        if accepted and not any(type(value) is type(other) and value == other for other in values):
            values.append(value)
    return values


def _accepts(cls: type, option: Option, value: object) -> bool:
    try:
        checked = checked_value(cls, option, value, "")
    except ConfigError:
        return False
    return type(checked) is type(value)  # 1 is accepted as 1.0, which is tried by itself


def _mark(part: Any, name: str, value: Any) -> tuple[Any, ...] | None:
    """The calls, draws, inputs of D and terms with this value; None if the objective rejects it."""
    try:
        other = replace(part, **{name: value})
        grey = [context for context in contexts_of(other) if context.image_shape[0] == 1]
        marks = [_of_batch(ObjectiveCase(other, context, 3, "position", 3, SEED)) for context in grey]
    except (ValueError, AssertionError):
        return None
    return tuple(item for mark in marks for item in mark)


def _of_batch(case: ObjectiveCase) -> list[Any]:
    """The draws, calls, inputs of D and terms of one call."""
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
