"""Hosted tools under the names that price cards and usage give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

_BEGINNINGS = (
    ("web_search", "web_search"),
    ("websearch", "web_search"),
    ("tool_search_tool_regex", "web_search"),
    ("tool_search_tool_bm25", "web_search"),
    ("googlesearch", "web_search"),
    ("google_search", "web_search"),
    ("enterprisewebsearch", "web_search"),
    ("web_fetch", "web_fetch"),
    ("urlcontext", "web_fetch"),
    ("url_context", "web_fetch"),
    ("code_interpreter", "code"),
    ("code_execution", "code"),
    ("codeexecution", "code"),
    ("file_search", "file_search"),
    ("filesearch", "file_search"),
    ("image_generation", "image_generation"),
    ("computer", "computer"),
    ("googlemaps", "maps"),
    ("google_maps", "maps"),
)
"""How vendors spell them, dates and versions after it, and the kind."""
MAX_KNOWN_NAMES = 1024
DECLARED_CALLS = 1
"""Calls set aside for a declared tool that says no limit."""
MAX_DECLARED_CALLS = 1000


@lru_cache(maxsize=MAX_KNOWN_NAMES)
def tool_kind(name: str) -> str:
    """The kind of a hosted tool by any vendor's name for it; a name nobody knows, lower-cased."""
    plain = name.strip().lower().replace("-", "_")
    for beginning, kind in _BEGINNINGS:
        if plain.startswith(beginning):
            return kind
    return plain


def declared_calls(body: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Hosted tools that a request of any format declares, by kind, with the calls it allows them."""
    found: dict[str, int] = {}
    whole = _limit(body.get("max_tool_calls"))
    if isinstance(body.get("web_search_options"), Mapping):
        found["web_search"] = DECLARED_CALLS
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, Mapping):
            calls = _limit(tool.get("max_uses")) or whole or DECLARED_CALLS
            for name in _names(tool):
                kind = tool_kind(name)
                found[kind] = max(found.get(kind, 0), calls)
    return tuple(found.items())


def _names(tool: Mapping[str, Any]) -> Iterable[str]:
    """What one entry of `tools` declares: a type, or Gemini's keys. Functions are the client's own."""
    declared = tool.get("type")
    if isinstance(declared, str):
        return (declared,) if declared not in ("function", "custom") else ()
    if "name" in tool or "function" in tool:
        return ()
    return [key for key in tool if key not in ("functionDeclarations", "function_declarations")]


def _limit(value: Any) -> int:
    return min(value, MAX_DECLARED_CALLS) if type(value) is int and value > 0 else 0
