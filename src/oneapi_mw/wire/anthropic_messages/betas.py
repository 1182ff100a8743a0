"""`anthropic-beta`: what a body needs beside it, and which hosts take what.

Source: https://platform.claude.com/docs/en/api/beta-headers
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.target import Target

_FILES = "files-api-2025-04-14"
_ADVANCED_TOOLS = "advanced-tool-use-2025-11-20"
_BEDROCK_TOOLS = "tool-search-tool-2025-10-19"
_TOOL_TYPES: Mapping[str, str] = {
    "computer_20251124": "computer-use-2025-11-24",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20241022": "computer-use-2024-10-22",
    "memory_": "context-management-2025-06-27",
    "mcp_toolset": "mcp-client-2025-11-20",
    "tool_search_tool_": _ADVANCED_TOOLS,
    "advisor_": "advisor-tool-2026-03-01",
}
_FIELDS: Mapping[str, str] = {
    "compaction": "compact-2026-09-04",
    "thread": "message-threads-2026-08-12",
    "fallbacks": "server-side-fallback-2026-07-01",
}
_BLOCK_TYPES: Mapping[str, str] = {
    "container_upload": _FILES,
    "compaction": "compact-2026-09-04",
    "tool_addition": "mid-conversation-tool-changes-2026-07-01",
    "tool_removal": "mid-conversation-tool-changes-2026-07-01",
}
_OF_SYSTEM_TURNS: Mapping[str, str] = {
    "clear_at": "mid-conversation-system-clear-at-2026-08-21",
    "output_config": "mid-conversation-output-config-2026-07-01",
}
_HOSTS: Mapping[str, tuple[str, ...]] = {
    "bedrock": (
        "compact-2026-01-12",
        "computer-use-2025-",
        "context-1m",
        "context-management",
        "effort",
        "fine-grained-tool-streaming",
        "thinking-binding-controls",
        "thinking-display-updates",
        "mid-conversation-",
        _BEDROCK_TOOLS,
    ),
    "vertex": (
        "compact-2026-01-12",
        "computer-use-2025-",
        "context-1m",
        "context-management",
        "interleaved-thinking",
        "thinking-",
        "inline-tools-2026-09-15",
        "web-search-2025-03-05",
        _BEDROCK_TOOLS,
    ),
}
"""Beginnings of the values a host takes; others end in a 400."""
_NOT_AT_AZURE = ("compact-", "fast-mode-", "advisor-tool-", "output-128k-")


def needed(body: JsonObject, target: Target) -> tuple[str, ...]:
    """The values a body needs, each once."""
    return tuple(dict.fromkeys(_needed(body, target)))


def _needed(body: JsonObject, target: Target) -> Iterator[str]:
    version = target.rules.version
    for tool in body.get("tools", ()):
        kind = str(tool.get("type") or "")
        yield from (value for beginning, value in _TOOL_TYPES.items() if kind.startswith(beginning))
        if version[:1] == (4,):
            if tool.get("input_examples") or tool.get("allowed_callers"):
                yield _ADVANCED_TOOLS
            if tool.get("eager_input_streaming"):
                yield "fine-grained-tool-streaming-2025-05-14"
    for server in body.get("mcp_servers", ()):
        yield "mcp-client-2025-04-04" if "tool_configuration" in server else "mcp-client-2025-11-20"
    yield from (value for name, value in _FIELDS.items() if body.get(name))
    yield from _of_edits(body.get("context_management"))
    thinking, config = _object(body, "thinking"), _object(body, "output_config")
    if thinking.get("type") == "enabled" and body.get("tools"):
        yield "interleaved-thinking-2025-05-14"
    if thinking.get("display") == "updates":
        yield "thinking-display-updates-2026-08-18"
    if "block_binding" in thinking:
        yield "thinking-binding-controls-2026-08-01"
    if config.get("effort") and version == (4, 5):
        yield "effort-2025-11-24"
    if "task_budget" in config:
        yield "task-budgets-2026-03-13"
    if body.get("speed") == "fast":
        yield "fast-mode-2026-02-01"
    if _object(body, "container").get("skills"):
        yield "skills-2025-10-02"
    for message in body["messages"]:
        if message["role"] == "system":
            yield from (value for name, value in _OF_SYSTEM_TURNS.items() if name in message)
        yield from _of_content(message["content"])


def _of_edits(management: object) -> Iterator[str]:
    edits = management.get("edits") if isinstance(management, dict) else None
    for edit in edits if isinstance(edits, list) else ():
        kind = str(edit.get("type")) if isinstance(edit, dict) else ""
        yield "compact-2026-01-12" if kind.startswith("compact_") else "context-management-2025-06-27"


def _of_content(content: object) -> Iterator[str]:
    for block in content if isinstance(content, list) else ():
        value = _BLOCK_TYPES.get(block.get("type"))
        if value is not None:
            yield value
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "file":
            yield _FILES
        yield from _of_content(block.get("content"))


def _object(body: JsonObject, name: str) -> JsonObject:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def accepted(betas: Iterable[str], target: Target) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of `betas` that go to the host of `target`, and those it would refuse."""
    sent: dict[str, None] = {}
    refused: list[str] = []
    for beta in betas:
        if target.platform in ("bedrock", "vertex") and beta == _ADVANCED_TOOLS:
            beta = _BEDROCK_TOOLS
        if _is_taken(beta, target.platform):
            sent[beta] = None
        else:
            refused.append(beta)
    return tuple(sent), tuple(refused)


def _is_taken(beta: str, platform: str) -> bool:
    if platform == "azure":
        return not beta.startswith(_NOT_AT_AZURE)
    beginnings = _HOSTS.get(platform)
    return beginnings is None or beta.startswith(beginnings)
