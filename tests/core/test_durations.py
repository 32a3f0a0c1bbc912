"""Lengths of time: every form that is read, and the line for what is none."""

from datetime import timedelta

import pytest

from mixzoo.core.durations import duration_text, seconds_of
from mixzoo.core.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "seconds", "text"),
    [
        ("3h50m", 13800, "3h50m"),
        ("3:50:00", 13800, "3h50m"),
        (" 90M ", 5400, "1h30m"),
        ("90min", 5400, "1h30m"),
        ("600", 600, "10m"),
        ("4.5s", 4.5, "4.5s"),
        ("2-12:00:00", 216000, "2d12h"),
        ("2-12", 216000, "2d12h"),
        ("1-00:30", 88200, "1d30m"),
        ("1d2h", 93600, "1d2h"),
        (12.5, 12.5, "12.5s"),
        (3600, 3600, "1h"),
        (timedelta(hours=2), 7200, "2h"),
    ],
)
def test_a_time_is_read_and_written(given, seconds, text):
    assert seconds_of(given, "--max-time") == seconds
    assert duration_text(seconds) == text
    assert seconds_of(text, "--max-time") == seconds


@pytest.mark.parametrize(
    "given",
    ["", "h", "3h50", "50m3h", "-3", "1e9", "nan", "1,5h", "３h", "1_0", "3:50", "3:99:00", "x" * 99, True, None, [1]],
)
def test_what_is_no_time_is_refused(given):
    with pytest.raises(ConfigError, match=r"^--max-time .*: must be a time such as 90m, 3h50m, 3:50:00"):
        seconds_of(given, "--max-time")


def test_hours_and_minutes_are_told_from_minutes_and_seconds():
    with pytest.raises(ConfigError, match="write 3h50m, or 0:03:50"):
        seconds_of("3:50", "--max-time")


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), "0s", "99999999999"])
def test_a_time_out_of_range_is_refused(given):
    with pytest.raises(ConfigError, match="must be more than 0 and at most 3660d"):
        seconds_of(given, "max_time")
    with pytest.raises(ConfigError, match="--lost-after 4: must be from 5s to 3660d"):
        seconds_of("4", "--lost-after", 5)
