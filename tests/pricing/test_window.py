"""Wall clocks: windows against a list of minutes, daylight saving included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.pricing.window import decode_span
from tests.pricing.rational import in_window
from tests.pricing.strategies import INSTANTS, RANGES, ZONES

WINDOWS = st.fixed_dictionaries(
    {"timezone": st.sampled_from(ZONES)},
    optional={
        "ranges": RANGES,
        "days_of_week": st.lists(st.integers(0, 6), min_size=1, max_size=4),
        "date_from": st.dates().filter(lambda day: 2018 < day.year < 2030).map(str),
        "date_to": st.just("2031-01-01"),
    },
)
CHANGES = [  # hours in which clocks are put forward and back
    int(datetime(2026, 3, 29, 0, 30, tzinfo=UTC).timestamp()),
    int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()),
    int(datetime(2026, 3, 8, 6, 30, tzinfo=UTC).timestamp()),
    int(datetime(2026, 11, 1, 5, 30, tzinfo=UTC).timestamp()),
    int(datetime(2026, 4, 4, 14, 30, tzinfo=UTC).timestamp()),
]
NEAR_CHANGES = st.builds(lambda hour, shift: (hour + shift) * 1000, st.sampled_from(CHANGES), st.integers(-7200, 7200))


@given(WINDOWS, st.one_of(INSTANTS, NEAR_CHANGES))
def test_a_window_covers_the_minutes_it_lists(window: dict[str, Any], instant: int) -> None:
    moment = datetime.fromtimestamp(instant // 1000, UTC)
    assert decode_span(window, name="w").covers(instant) == in_window(window, moment)


def at(text: str, zone: str = "Asia/Shanghai") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


NIGHT = {"timezone": "Asia/Shanghai", "ranges": [{"start": "22:00", "end": "06:00"}], "days_of_week": [1]}


@pytest.mark.parametrize(
    ("window", "instant", "covered"),
    [
        ({}, at("2026-11-23T00:00"), True),
        (NIGHT, at("2026-11-23T22:00"), True),
        (NIGHT, at("2026-11-23T05:59"), True),
        (NIGHT, at("2026-11-23T06:00"), False),
        (NIGHT, at("2026-11-24T05:30"), False),  # Tuesday is Tuesday, whenever the night began
        ({"ranges": [{"start": "07:00", "end": "07:00"}]}, at("2026-11-23T03:00"), True),
        ({"date_from": "2026-11-24", "timezone": "Asia/Shanghai"}, at("2026-11-23T23:59:59"), False),
        ({"date_from": "2026-11-24", "timezone": "Asia/Shanghai"}, at("2026-11-24T00:00"), True),
        ({"date_to": "2026-11-24", "timezone": "Asia/Shanghai"}, at("2026-11-24T00:00"), False),
    ],
)
def test_edges(window: dict[str, Any], instant: int, covered: bool) -> None:
    assert decode_span(window, name="w").covers(instant) is covered


def test_an_hour_that_comes_twice_is_within_twice() -> None:
    window = decode_span({"timezone": "Europe/Berlin", "ranges": [{"start": "02:00", "end": "03:00"}]}, name="w")
    first = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    minutes = [window.covers(int((first + timedelta(minutes=n)).timestamp() * 1000)) for n in range(180)]
    assert minutes == [True] * 120 + [False] * 60
