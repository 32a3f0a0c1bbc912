"""Lengths of time as people and schedulers write them: 90m, 3h50m, 3:50:00, 1-12:00:00, or seconds."""

import re
from datetime import timedelta

from mixzoo.core.errors import ConfigError, excerpt, truncated_repr

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
FORMS = "a time such as 90m, 3h50m, 3:50:00, 2-12:00:00 (2 days 12 hours) or 600 (seconds)"
LONGEST = 10 * 366 * UNITS["d"]  # seconds
_WORDS = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?:in)?)?(?:([0-9]+(?:\.[0-9]+)?)s)?")
_CLOCK = re.compile(r"(?:([0-9]+)-)?([0-9]+):([0-5][0-9]):([0-5][0-9])")
_DAYS = re.compile(r"([0-9]+)-([0-9]+)(?::([0-5][0-9]))?")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def seconds_of(given: object, where: str, least: float = 0.0) -> float:
    """The seconds of a length of time: a text, a number of seconds, or a timedelta.

    Raises ConfigError, which begins with `where`, if it is none, not more than 0, less than `least`, or endless.
    """
    if isinstance(given, timedelta):
        seconds: float | None = given.total_seconds()
    elif isinstance(given, int | float) and not isinstance(given, bool):
        seconds = float(given)
    else:
        seconds = _read(given.strip().lower()) if isinstance(given, str) and len(given) <= 40 else None
    shown = excerpt(given) if isinstance(given, str) else truncated_repr(given)
    if seconds is None:
        minutes = isinstance(given, str) and re.fullmatch(r"([0-9]+):([0-9]{2})", given.strip())
        meant = f"; write {minutes[1]}h{minutes[2]}m, or 0:{minutes[1]:0>2}:{minutes[2]}" if minutes else ""
        raise ConfigError(f"{where} {shown}: must be {FORMS}{meant}")
    if not max(least, 1e-9) <= seconds <= LONGEST:
        range_ = f"from {duration_text(least)} to" if least else "more than 0 and at most"
        raise ConfigError(f"{where} {shown}: must be {range_} {duration_text(LONGEST)}")
    return seconds


def _read(text: str) -> float | None:
    """The seconds of a text, or None. Digits are those of ASCII."""
    if not text.isascii():
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    if text and (found := _WORDS.fullmatch(text)):
        return sum(float(number or 0) * size for number, size in zip(found.groups(), UNITS.values()))
    if found := _CLOCK.fullmatch(text) or _DAYS.fullmatch(text):
        return sum(float(number or 0) * size for number, size in zip(found.groups(), UNITS.values()))
    return None


def duration_text(seconds: float) -> str:
    """The time in the form 3h50m, as `seconds_of` reads it."""
    rest, parts = round(seconds, 3), []
    for unit, size in list(UNITS.items())[:-1]:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number:.0f}{unit}")
    if rest or not parts:
        parts.append(f"{rest:.10g}s")
    return "".join(parts)
