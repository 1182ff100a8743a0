"""Times of day, days of the week and dates with prices of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from oneapi_mw.immutable import immutable

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
WHOLE_DAY = (0, 1440)


@immutable
class Span:
    """When a price applies, by the wall clock of its zone.

    A range that ends before it starts crosses midnight; `days` are those of the instant itself, not of the evening
    before. Dates are the zone's, the first one within and the last one not.
    """

    name: str
    zone: tzinfo
    ranges: tuple[tuple[int, int], ...] = (WHOLE_DAY,)
    """(first minute, first minute after) of the local day."""
    days: frozenset[int] | None = None
    """0 is Sunday; `None` every day."""
    date_from: date | None = None
    date_to: date | None = None

    def covers(self, instant_ms: int) -> bool:
        """Whether `instant_ms`, Unix milliseconds, is within."""
        local = datetime.fromtimestamp(instant_ms // 1000, self.zone)
        if self.days is not None and local.isoweekday() % 7 not in self.days:
            return False
        today = local.date()
        if (self.date_from is not None and today < self.date_from) or (
            self.date_to is not None and today >= self.date_to
        ):
            return False
        minute = local.hour * 60 + local.minute
        return any(
            start <= minute < end if start < end else (minute >= start or minute < end) for start, end in self.ranges
        )


def find_zone(name: str) -> tzinfo:
    """The time zone of an IANA name; UTC for an empty one, which needs no zone database. Raises `ValueError`."""
    if name in ("", "UTC", "Etc/UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"timezone {name!r} is not known here: write an IANA name such as Asia/Shanghai, or leave it out for UTC"
        ) from None


def decode_span(config: Mapping[str, Any], *, name: str) -> Span:
    """The span of one entry of `time_windows`. Raises `ValueError` saying what to write instead."""
    days = config.get("days_of_week")
    span = Span(
        name,
        find_zone(_text(config, "timezone")),
        tuple(_ranges(config.get("ranges"))) or (WHOLE_DAY,),
        frozenset(_days(days)) if days else None,
        _date(config, "date_from"),
        _date(config, "date_to"),
    )
    if span.date_from is not None and span.date_to is not None and span.date_from >= span.date_to:
        raise ValueError("date_to is the first day after the window: it must be later than date_from")
    return span


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key) or ""
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, not {value!r}")
    return value


def _ranges(value: Any) -> Iterable[tuple[int, int]]:
    for item in _list(value, "ranges"):
        if not isinstance(item, Mapping):
            raise ValueError('ranges must be a list such as [{"start": "18:00", "end": "09:00"}]')
        start, end = _minute(item, "start"), _minute(item, "end")
        yield WHOLE_DAY if start == end else (start, end)


def _minute(item: Mapping[str, Any], key: str) -> int:
    found = _CLOCK.fullmatch(str(item.get(key)))
    if found is None:
        raise ValueError(f"{key} of a range must be a time from 00:00 to 23:59, not {item.get(key)!r}")
    return int(found[1]) * 60 + int(found[2])


def _days(value: Any) -> Iterable[int]:
    for day in _list(value, "days_of_week"):
        if type(day) is not int or not 0 <= day <= 6:
            raise ValueError(f"days_of_week are numbers from 0, Sunday, to 6, not {day!r}")
        yield day


def _date(config: Mapping[str, Any], key: str) -> date | None:
    text = _text(config, key)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{key} must be a date such as 2026-08-17, not {text!r}") from None


def _list(value: Any, key: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list")
    return value
