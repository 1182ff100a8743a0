"""Edits that repairs of several formats share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.target import Target


def each(body: JsonObject, name: str, edit: Callable[[JsonObject], JsonObject | None]) -> JsonObject:
    """`body` with `edit` applied to the objects in its list `name`; those it returns `None` for are left out. The
    same object when nothing changes."""
    entries = body.get(name)
    if not isinstance(entries, list):
        return body
    edited: list[Any] = []
    changed = False
    for entry in entries:
        made = edit(entry) if isinstance(entry, dict) else entry
        changed = changed or made is not entry
        if made is not None or entry is None:
            edited.append(made)
    return {**body, name: edited} if changed else body


def without(value: JsonObject, *names: str) -> JsonObject:
    """`value` without those members; the same object when it has none of them."""
    if not any(name in value for name in names):
        return value
    return {name: member for name, member in value.items() if name not in names}


def lost_text(text: object, target: Target) -> str | None:
    """What is said in place of reasoning that cannot go back as such: nothing, unless the operator wants it."""
    if target.options.reasoning_lost != "text" or not isinstance(text, str) or not text:
        return None
    return f"<think>{text}</think>\n\n"
