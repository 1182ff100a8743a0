"""Answers whose upstream says that they consumed nothing: believed where nothing was delivered. Of any other answer
such a report is no better than none, and what was delivered is counted.
"""

from __future__ import annotations

from collections.abc import Iterable

from oneapi_mw.canonical.events import Event, UsageReported
from oneapi_mw.usage import NOTHING

_ABOUT = frozenset({"type", "role", "id", "index", "status", "object", "phase", "thought"})
"""Members that describe what is delivered, and are not part of it."""
_MAX_DEPTH = 32


def is_zero(count: object) -> bool:
    """Whether a report says zero, rather than nothing."""
    return type(count) is int and count == 0


def holds_nothing(content: object, *, depth: int = _MAX_DEPTH) -> bool:
    """Whether content of any format is empty: no text, call, reasoning, signature or media anywhere in it."""
    if isinstance(content, dict | list) and not depth:
        return False
    if isinstance(content, dict):
        return all(key in _ABOUT or holds_nothing(value, depth=depth - 1) for key, value in content.items())
    if isinstance(content, list):
        return all(holds_nothing(value, depth=depth - 1) for value in content)
    return not content


def told_nothing(events: Iterable[Event]) -> list[Event]:
    """The last events of such an answer, with its usage told before its end."""
    *before, end = events
    return [*before, UsageReported(NOTHING), end]
