"""What hosted tools did for a response: its own counters, and else the items of its output.

| item                                   | counted                                                           |
|----------------------------------------|-------------------------------------------------------------------|
| `web_search_call`                      | where it searched; to open a page or look for something is free   |
| `code_interpreter_call`                | each container once, however many calls it ran                    |
| `shell_call`                           | as that; not where the client's own machine runs it               |
| `image_generation_call`                | with its image, which has a size and a quality                    |
| `file_search_call`, `mcp_call`, `computer_call` | each                                                     |

Calls that failed, or had not ended, are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.usage import NO_TOOLS, Meter, ToolUsage
from oneapi_mw.wire.counts import object_in, read_count
from oneapi_mw.wire.tool_counts import SEARCH, hosted_calls, members, seen_counts, told_counts

_KINDS = {
    "web_search_call": SEARCH,
    "file_search_call": "file_search",
    "code_interpreter_call": "code",
    "shell_call": "shell",
    "image_generation_call": "image_generation",
    "mcp_call": "mcp",
    "computer_call": "computer",
}
_XAI = ("server_side_tool_usage_details", "server_side_tool_usage")


def tool_usage(response: Mapping[str, Any]) -> ToolUsage:
    """Of a response as far as it has come."""
    told = _told(response)
    items = [item for item in members(response.get("output")) if _text(item, "type") in _KINDS]
    if not told and not items:
        return NO_TOOLS
    containers: set[str] = set()
    ran = [item for item in items if _counts(item, containers)]
    hosted = hosted_calls(told, seen_counts(_KINDS[item["type"]] for item in ran))
    return ToolUsage(hosted, _images(ran)) if hosted else NO_TOOLS


def _told(response: Mapping[str, Any]) -> dict[str, int]:
    usage = object_in(response, "usage")
    told = next((counts for name in _XAI if (counts := told_counts(usage.get(name)))), {})
    searches = read_count(object_in(object_in(response, "tool_usage"), SEARCH).get("num_requests"))
    return told if searches is None else {**told, SEARCH: searches}


def _counts(item: Mapping[str, Any], containers: set[str]) -> bool:
    """Whether the vendor charges the call, where it does; notes the container it ran in."""
    status, kind = item.get("status"), item["type"]
    if kind == "image_generation_call":  # streams may tell a whole image whose status lags behind
        return status != "failed" and bool(item.get("result"))
    if kind in ("code_interpreter_call", "shell_call"):
        return status in (None, "completed", "incomplete") and _opens(item, containers)
    if status not in (None, "completed") or item.get("error"):
        return False
    action = item.get("action")
    return kind != "web_search_call" or not isinstance(action, dict) or action.get("type") in (None, "search")


def _opens(item: Mapping[str, Any], containers: set[str]) -> bool:
    """Whether the call runs in a container that no call before it did. One without a name is its own."""
    where: Mapping[str, Any] = item
    if item["type"] == "shell_call":
        where = object_in(item, "environment")
        if not str(where.get("type")).startswith("container"):
            return False
    container = where.get("container_id")
    if not isinstance(container, str) or not container:
        return True
    opened = container not in containers
    containers.add(container)
    return opened


def _images(ran: list[Mapping[str, Any]]) -> tuple[Meter, ...]:
    """Images by size and quality."""
    counts: dict[tuple[str, str], int] = {}
    for item in ran:
        if item["type"] == "image_generation_call":
            look = (_text(item, "size"), _text(item, "quality"))
            counts[look] = counts.get(look, 0) + 1
    return tuple(Meter("images", count, size, quality) for (size, quality), count in counts.items())


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) and value != "auto" else ""
