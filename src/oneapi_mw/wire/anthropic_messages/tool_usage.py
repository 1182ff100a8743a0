"""What hosted tools did for a message: the counters of its usage, and the calls that nobody counts there.

A call counts when its result has come and is no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.usage import NO_TOOLS, ToolUsage
from oneapi_mw.wire.tool_counts import hosted_calls, kind_called, members, seen_counts, told_counts

COUNTERS = "server_tool_use"
_ENDING = "_requests"


def told_calls(report: Mapping[str, Any]) -> dict[str, int]:
    """Counters of a usage report, by kind."""
    return told_counts(report.get(COUNTERS), ending=_ENDING)


class ToolTally:
    """The calls of one answer, from its blocks in their order."""

    __slots__ = ("_calls", "_ran")

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}  # kinds by id, of calls without a result
        self._ran: list[str] = []

    def note(self, block: Mapping[str, Any]) -> None:
        """Count a block, as it is told first."""
        kind = block.get("type")
        if kind == "server_tool_use" or kind == "mcp_tool_use":
            call_id, name = block.get("id"), block.get("name")
            if isinstance(call_id, str) and isinstance(name, str):
                self._calls[call_id] = "mcp" if kind == "mcp_tool_use" else kind_called(name)
        elif isinstance(kind, str) and kind.endswith("_tool_result"):
            call_id = block.get("tool_use_id")
            called = self._calls.pop(call_id, None) if isinstance(call_id, str) else None
            if called is not None and not _failed(block):
                self._ran.append(called)

    def usage(self, report: Mapping[str, Any], *, final: bool) -> ToolUsage:
        """With what the upstream has reported by now; `final`: that was at the end."""
        told = told_calls(report)
        hosted = hosted_calls(told, seen_counts(self._ran), final=final) if told or self._ran else ()
        return ToolUsage(hosted) if hosted else NO_TOOLS


def tool_usage(message: Mapping[str, Any]) -> ToolUsage:
    """Of a whole answer."""
    tally = ToolTally()
    for block in members(message.get("content")):
        tally.note(block)
    report = message.get("usage")
    return tally.usage(report if isinstance(report, dict) else {}, final=True)


def _failed(result: Mapping[str, Any]) -> bool:
    content = result.get("content")
    return result.get("is_error") is True or (isinstance(content, dict) and str(content.get("type")).endswith("_error"))
