"""What hosted tools did for a chat answer. The official API counts nothing; other hosts do, each in its own way.

| who                            | says                                              | counted as            |
|--------------------------------|---------------------------------------------------|-----------------------|
| OpenRouter                     | `usage.server_tool_use.web_search_requests`       | that                  |
| xAI                            | `usage.server_side_tool_usage`, by tool           | that                  |
| xAI's live search              | `usage.num_sources_used`                          | `live_search`, each   |
| Perplexity                     | `usage.num_search_queries`                        | web searches          |
| Groq                           | `executed_tools` of a message                     | each                  |
| Moonshot                       | a call of `$web_search`, to be sent back          | each                  |
| Zhipu                          | `web_search` of an answer: what it found          | one web search        |
| models that search by themselves | nothing                                         | one web search        |
| anybody                        | annotations that cite pages                       | one web search        |

The last three rows are conclusions, and only drawn where nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.usage import NO_TOOLS, ToolUsage
from oneapi_mw.wire.counts import read_count
from oneapi_mw.wire.tool_counts import SEARCH, hosted_calls, kind_called, members, seen_counts, told_counts

_COUNTERS = {
    "server_tool_use": "_requests",
    "server_side_tool_usage": "",
    "server_side_tool_usage_details": "",
}
"""Objects of counters by tool, and how the names of these end."""
_COUNTS = {"num_search_queries": SEARCH, "num_sources_used": "live_search"}
_TELLING = frozenset({*_COUNTERS, *_COUNTS})
_GROQ = {"search": SEARCH, "python": "code", "visit": "web_fetch", "visit_website": "web_fetch"}
"""Its words for the tools it ran."""
_BUILT_IN = "$"
"""How the names of Moonshot's own functions begin."""
_SHOWING = frozenset({"annotations", "executed_tools", "tool_calls"})
"""Members of messages that show a call. Most messages have none."""
MARKS = (b'"annotations"', b'"executed_tools"', b'"web_search"', b'"$')
"""What chunks hold that show a call."""


def told_calls(report: Mapping[str, Any]) -> dict[str, int]:
    """Calls that a usage object counts, by kind, zeros included."""
    if _TELLING.isdisjoint(report):
        return {}
    told: dict[str, int] = {}
    for name, ending in _COUNTERS.items():
        told |= told_counts(report.get(name), ending=ending)
    for name, kind in _COUNTS.items():
        count = read_count(report.get(name))
        if count is not None:
            told[kind] = count
    return told


class ToolTally:
    """What the chunks of one answer, or its whole, show of calls. To note something twice is to note it once."""

    __slots__ = ("_ran", "_searched")

    def __init__(self) -> None:
        self._searched = False
        self._ran: dict[tuple[int, str, int], str] = {}  # kinds by choice, list and place

    def note(self, chunk: Mapping[str, Any]) -> None:
        if chunk.get("web_search"):
            self._searched = True
        for choice in members(chunk.get("choices")):
            message = choice.get("delta") or choice.get("message")
            index = choice.get("index", 0)
            if isinstance(message, dict):
                self.note_message(index if type(index) is int else 0, message)

    def note_message(self, choice: int, message: Mapping[str, Any]) -> None:
        """A message, or the delta of one."""
        if _SHOWING.isdisjoint(message):
            return
        if "annotations" in message:
            cites = (note.get("type") == "url_citation" for note in members(message["annotations"]))
            self._searched = self._searched or any(cites)
        for place, tool in enumerate(members(message.get("executed_tools"))):
            name, index = tool.get("type"), tool.get("index", place)
            if isinstance(name, str) and type(index) is int:
                self._ran[choice, "executed_tools", index] = _GROQ.get(name) or kind_called(name)
        for place, called in enumerate(members(message.get("tool_calls"))):
            function, index = called.get("function"), called.get("index", place)
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(name, str) and name.startswith(_BUILT_IN) and type(index) is int:
                self._ran[choice, "tool_calls", index] = kind_called(name.lstrip(_BUILT_IN))

    def usage(self, report: Mapping[str, Any], model: object) -> ToolUsage:
        """With what the upstream has reported by now, and what it calls the model."""
        told = told_calls(report)
        seen = seen_counts(self._ran.values()) if self._ran else {}
        if SEARCH not in seen and not told and (self._searched or _always_searches(model)):
            seen[SEARCH] = 1
        hosted = hosted_calls(told, seen) if told or seen else ()
        return ToolUsage(hosted) if hosted else NO_TOOLS


def tool_usage(answer: Mapping[str, Any], report: Mapping[str, Any]) -> ToolUsage:
    """Of a whole answer and its usage object."""
    tally = ToolTally()
    tally.note(answer)
    return tally.usage(report, answer.get("model"))


def _always_searches(model: object) -> bool:
    return isinstance(model, str) and rules_of(model).always_searches
