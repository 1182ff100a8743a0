"""What hosted tools did for an answer of generateContent, which counts nothing itself.

| what an answer shows              | is counted as                                                      |
|-----------------------------------|--------------------------------------------------------------------|
| queries of a web search, or pages | one search; from Gemini 3 on each query, but for empty ones        |
| places on a map                   | one request to the map                                             |
| pages that were fetched           | each                                                               |
| results of code that ran          | each                                                               |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.usage import NO_TOOLS, ToolUsage
from oneapi_mw.wire.tool_counts import SEARCH, hosted_calls, members

_PER_QUERY = (3,)
"""From this version on each web search is billed."""
_FETCHED = "URL_RETRIEVAL_STATUS_SUCCESS"
_FAILED = ("OUTCOME_FAILED", "OUTCOME_DEADLINE_EXCEEDED")


def code_runs(chunk: Mapping[str, Any]) -> int:
    """Results of code in an answer or a chunk of one, in camel case: what failed does not count."""
    return sum(
        isinstance(result, dict) and result.get("outcome") not in _FAILED
        for candidate in members(chunk.get("candidates"))
        if isinstance(content := candidate.get("content"), dict)
        for part in members(content.get("parts"))
        if (result := part.get("codeExecutionResult")) is not None
    )


def tool_usage(
    model: str, grounding: Iterable[Mapping[str, Any]], contexts: Iterable[Mapping[str, Any]], *, code: int = 0
) -> ToolUsage:
    """Of one answer.

    Args:
        model: as the upstream names it.
        grounding: `groundingMetadata` of each candidate, as last told.
        contexts: `urlContextMetadata` of each, likewise.
        code: runs of code.
    """
    told = list(grounding)
    searches = sum(_queries(each) for each in told)
    found = any(_grounded(each, "web") for each in told)
    if rules_of(model).version < _PER_QUERY or not searches:
        searches = 1 if searches or found else 0
    maps = 1 if any(_grounded(each, "maps") for each in told) else 0
    fetched = sum(
        page.get("urlRetrievalStatus") == _FETCHED for each in contexts for page in members(each.get("urlMetadata"))
    )
    hosted = hosted_calls({}, {SEARCH: searches, "maps": maps, "web_fetch": fetched, "code": code})
    return ToolUsage(hosted) if hosted else NO_TOOLS


def _queries(grounding: Mapping[str, Any]) -> int:
    queries = grounding.get("webSearchQueries")
    return sum(bool(query) for query in queries) if isinstance(queries, list) else 0


def _grounded(grounding: Mapping[str, Any], source: str) -> bool:
    return any(isinstance(chunk.get(source), dict) for chunk in members(grounding.get("groundingChunks")))
