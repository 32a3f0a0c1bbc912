"""Other values for a part's options, from the ranges that its dataclass declares."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import annotated_types

from mixzoo.core.errors import MixzooError
from mixzoo.registry.options import Part, unwrapped

MOST_MORE = 6  # the largest value to try of an integer option is this much more than its own, or 3 times its own


def other_values(part: Any) -> dict[str, list[Any]]:
    """For each option of a part, values other than its own: all other choices, and numbers at both ends of the range.

    Options that are text or other parts have none.
    """
    hints = get_type_hints(type(part), include_extras=True)
    return {f.name: list(_values(hints[f.name], f.name, getattr(part, f.name))) for f in fields(part) if f.init}


def variant(part: Any, name: str, value: Any) -> Any | None:
    """The part with this value of an option, with a nearer one if it rejects that, or None if it rejects both."""
    own = getattr(part, name)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (own, value))
    nearer = [(own + value) / 2 if isinstance(value, float) else (own + value) // 2] if numbers else []
    for candidate in (value, *nearer):
        try:
            other = replace(part, **{name: candidate})
        except (ValueError, MixzooError):  # options that exclude each other
            continue
        if getattr(other, name) != own:
            return other
    return None


def _values(hint: Any, name: str, own: Any) -> Iterator[Any]:
    known = [own]
    for value in _candidates(hint, name, own):
        if not any(type(value) is type(one) and value == one for one in known):
            known.append(value)
            yield value


def _candidates(hint: Any, name: str, own: Any) -> Iterator[Any]:
    bare, extras = unwrapped(hint)
    members = [unwrapped(member)[0] for member in get_args(bare)] if not _single(bare) else [bare]
    low, high = _bounds(extras)
    number = own if isinstance(own, int | float) and not isinstance(own, bool) else None
    for member in members:
        if member is type(None):
            yield None
        elif member is bool:
            yield from (True, False)
        elif get_origin(member) is Literal:
            yield from get_args(member)
        elif member is int:
            yield from _integers(number, low, high, by_one=name == "k")
        elif member is float:
            yield from _numbers(number, low, high)


def _single(bare: Any) -> bool:
    return get_origin(bare) in (Literal, Part) or not get_args(bare)


def _integers(own: float | None, low: float, high: float, *, by_one: bool) -> Iterator[int]:
    smallest = math.ceil(low) if math.isfinite(low) else None
    start = int(own) if own is not None else (smallest if smallest is not None else 1)
    if by_one:
        tried = [start - 1, start + 1]
    else:
        tried = ([smallest] if smallest is not None else []) + [int(min(high, max(3 * start, start + MOST_MORE)))]
    yield from (value for value in tried if low <= value <= high)


def _numbers(own: float | None, low: float, high: float) -> Iterator[float]:
    if math.isfinite(low) and math.isfinite(high):
        yield from (float(low), float(high))
        if own is None or own in (low, high):
            yield (low + high) / 2
        return
    start = 1.0 if own is None else float(own)
    yield float(low) if math.isfinite(low) else (start / 4 if start > 0 else start - 1)
    yield float(high) if math.isfinite(high) else 4 * abs(start) + 1


def _bounds(extras: tuple[Any, ...]) -> tuple[float, float]:
    """The smallest and the largest allowed value; for an open end, a value next to it."""
    low, high = -math.inf, math.inf
    for extra in extras:
        match extra:
            case annotated_types.Ge(ge=value):
                low = max(low, _number(value))
            case annotated_types.Gt(gt=value):
                low = max(low, _number(value) + 1e-3)
            case annotated_types.Le(le=value):
                high = min(high, _number(value))
            case annotated_types.Lt(lt=value):
                high = min(high, _number(value) - 1e-3)
            case annotated_types.Interval():
                inner = tuple(bound for bound in extra if bound is not None)
                a, b = _bounds(inner)
                low, high = max(low, a), min(high, b)
    return low, high


def _number(bound: Any) -> float:
    return float(bound)
