"""Hosted tools: what a vendor runs itself, grouped by what it does, and what one vendor's options mean to another.

A declaration goes back to its own format as it came. To another format it is written anew from the few options
both know; what has no counterpart is named, and a tool that vendor does not have is refused.

Formats and declarations: of Chat Completions the object `web_search_options`; of Responses and Messages an entry of
`tools`; of Gemini an object with one key, like `{"googleSearch": {}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from oneapi_mw.canonical.blocks import CacheMark, HostedCall, HostedResult, SearchResult, Text
from oneapi_mw.canonical.request import FunctionTool, HostedTool
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.losses import EMULATED
from oneapi_mw.wire.target import ConversionOptions

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"

_KINDS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        CHAT: (("web_search_options", "web_search"),),
        RESPONSES: (
            ("web_search", "web_search"),
            ("code_interpreter", "code"),
            ("file_search", "file_search"),
            ("image_generation", "image_generation"),
            ("computer", "computer"),
            ("local_shell", "shell"),
            ("shell", "shell"),
            ("apply_patch", "apply_patch"),
            ("mcp", "mcp"),
            ("tool_search", "tool_search"),
            ("programmatic_tool_calling", "programmatic"),
        ),
        MESSAGES: (
            ("web_search_", "web_search"),
            ("web_fetch_", "web_fetch"),
            ("code_execution_", "code"),
            ("bash_", "bash"),
            ("text_editor_", "text_editor"),
            ("memory_", "memory"),
            ("computer_", "computer"),
            ("browser_", "browser"),
            ("advisor_", "advisor"),
            ("tool_search_tool_", "tool_search"),
            ("mcp_toolset", "mcp"),
        ),
        GEMINI: (
            ("googleSearch", "web_search"),
            ("enterpriseWebSearch", "web_search"),
            ("parallelAiSearch", "web_search"),
            ("exaAiSearch", "web_search"),
            ("urlContext", "web_fetch"),
            ("codeExecution", "code"),
            ("fileSearch", "file_search"),
            ("computerUse", "computer"),
            ("googleMaps", "maps"),
            ("mcpServers", "mcp"),
            ("retrieval", "retrieval"),
        ),
    }
)
"""Format -> beginnings of its types with their kinds. Types carry dates, so that a new one is known by its kind."""

_SIZES: Mapping[str, int] = {"low": 1, "medium": 5, "high": 10}
"""`search_context_size` of OpenAI and the `max_uses` of Anthropic that is nearest to it."""
_LOCATION = ("city", "country", "region", "timezone")
_CLIENT_TOOLS = ("bash", "text_editor", "memory", "shell", "apply_patch", "computer")
"""Declared by the vendor, carried out by the client."""


@immutable
class Declared:
    """What becomes of a hosted tool in a target's format: one of the two, or neither when it was left out."""

    raw: JsonObject | None = None
    function: FunctionTool | None = None
    dropped: tuple[str, ...] = ()
    """Canonical paths below the tool's own, which come ahead of them."""


def kind_of(format: str, type: str) -> str:
    """The group of a hosted tool; the type itself when it is new."""
    for beginning, kind in _KINDS.get(format, ()):
        if type.startswith(beginning):
            return kind
    return type


def hosted_tool(
    format: str, type: str, raw: JsonObject, *, name: str | None = None, cache: CacheMark | None = None
) -> HostedTool:
    """The canonical tool for a declaration of `format`."""
    kind = kind_of(format, type)
    return HostedTool(kind, type, format, raw, name, _options(kind, format, raw), cache)


def declare(tool: HostedTool, format: str, where: str, options: ConversionOptions) -> Declared:
    """`tool` in `format`.

    Args:
        where: canonical path of the tool, for what is dropped and for errors.
    Raises: `InvalidRequest` when the format does not have it and nobody allowed to leave it out.
    """
    if tool.format == format:
        return Declared(tool.raw)
    known = tool.options or _options(tool.kind, tool.format, tool.raw)
    written = _WRITERS.get((tool.kind, format))
    if written is not None and "own" not in known:
        raw, used = written(known)
        return Declared(raw, dropped=tuple(f"{where}.{name}" for name in known if name not in used))
    if options.emulate_client_tools and (function := _as_function(tool)) is not None:
        return Declared(function=function, dropped=(where + EMULATED,))
    if options.drop_hosted_tools:
        return Declared(dropped=(where,))
    raise InvalidRequest(
        f"The tool type {tool.type} is not available on this model: leave it out, or ask a model that has it",
        param=where,
        code="unsupported_parameter",
    )


# Options, in words of our own: size, max_uses, allowed_domains, blocked_domains, location; `own` names what makes a
# declaration mean nothing to anybody else.


def _options(kind: str, format: str, raw: JsonObject) -> dict[str, Any]:
    if format == GEMINI:
        inner = next(iter(raw.values()), None)
        raw = inner if isinstance(inner, dict) else {}
    if kind == "web_search":
        return _search_options(format, raw)
    if kind == "code":
        return _code_options(raw)
    if kind == "web_fetch":
        names = ("max_uses", "allowed_domains", "blocked_domains", "max_content_tokens", "citations")
        return {name: raw[name] for name in names if raw.get(name) is not None}
    return {}


def _search_options(format: str, raw: JsonObject) -> dict[str, Any]:
    filters = raw.get("filters")
    filters = filters if isinstance(filters, dict) else {}
    location = raw.get("user_location")
    location = location if isinstance(location, dict) else {}
    if format == CHAT and isinstance(location.get("approximate"), dict):
        location = location["approximate"]
    found = {
        "size": raw.get("search_context_size"),
        "max_uses": raw.get("max_uses"),
        "allowed_domains": raw.get("allowed_domains") or filters.get("allowed_domains"),
        "blocked_domains": raw.get("blocked_domains") or raw.get("excludeDomains") or filters.get("blocked_domains"),
        "location": {name: location[name] for name in _LOCATION if location.get(name)},
        "time_range": raw.get("timeRangeFilter"),
        "external_web_access": raw.get("external_web_access"),
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _code_options(raw: JsonObject) -> dict[str, Any]:
    container = raw.get("container")
    if isinstance(container, str):
        return {"own": "container"}
    container = container if isinstance(container, dict) else {}
    if container.get("file_ids"):
        return {"own": "files"}
    return {name: container[name] for name in ("memory_limit", "network_policy") if container.get(name)}


def _size(options: Mapping[str, Any]) -> str | None:
    size, uses = options.get("size"), options.get("max_uses")
    if isinstance(size, str):
        return size
    if type(uses) is not int:
        return None
    return next((word for word, most in _SIZES.items() if uses <= most), "high")


def _uses(options: Mapping[str, Any]) -> int | None:
    uses = options.get("max_uses")
    return uses if type(uses) is int else _SIZES.get(options.get("size") or "")


_BOTH_SIZES = ("size", "max_uses")


def _chat_search(options: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    raw: JsonObject = {}
    if (size := _size(options)) is not None:
        raw["search_context_size"] = size
    if "location" in options:
        raw["user_location"] = {"type": "approximate", "approximate": options["location"]}
    return raw, (*_BOTH_SIZES, "location")


def _responses_search(options: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    raw: JsonObject = {"type": "web_search"}
    if "allowed_domains" in options:
        raw["filters"] = {"allowed_domains": options["allowed_domains"]}
    if (size := _size(options)) is not None:
        raw["search_context_size"] = size
    if "location" in options:
        raw["user_location"] = {"type": "approximate", **options["location"]}
    return raw, (*_BOTH_SIZES, "allowed_domains", "location")


def _messages_search(options: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    raw: JsonObject = {"type": "web_search_20250305", "name": "web_search"}
    if (uses := _uses(options)) is not None:
        raw["max_uses"] = uses
    # The two lists exclude each other there.
    domains = "allowed_domains" if "allowed_domains" in options else "blocked_domains"
    if domains in options:
        raw[domains] = options[domains]
    if "location" in options:
        raw["user_location"] = {"type": "approximate", **options["location"]}
    return raw, (*_BOTH_SIZES, domains, "location")


def _gemini_search(options: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    blocked = options.get("blocked_domains")
    return {"googleSearch": {"excludeDomains": blocked} if blocked else {}}, ("blocked_domains",)


def _messages_fetch(_: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    return {"type": "web_fetch_20250910", "name": "web_fetch"}, ()


def _gemini_fetch(_: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    return {"urlContext": {}}, ()


def _responses_code(_: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    return {"type": "code_interpreter", "container": {"type": "auto"}}, ()


def _messages_code(_: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    return {"type": "code_execution_20250825", "name": "code_execution"}, ()


def _gemini_code(_: Mapping[str, Any]) -> tuple[JsonObject, tuple[str, ...]]:
    return {"codeExecution": {}}, ()


_WRITERS = {
    ("web_search", CHAT): _chat_search,
    ("web_search", RESPONSES): _responses_search,
    ("web_search", MESSAGES): _messages_search,
    ("web_search", GEMINI): _gemini_search,
    ("web_fetch", MESSAGES): _messages_fetch,
    ("web_fetch", GEMINI): _gemini_fetch,
    ("code", RESPONSES): _responses_code,
    ("code", MESSAGES): _messages_code,
    ("code", GEMINI): _gemini_code,
}


# Tools that the client carries out, as functions with the arguments their vendor has published.


def _text(description: str) -> JsonObject:
    return {"type": "string", "description": description}


_EDITS = {
    "path": _text("Path of the file or directory"),
    "file_text": _text("Content of the file to create"),
    "old_str": _text("Text to replace; it must be in the file exactly once"),
    "new_str": _text("Text to put in its place"),
    "insert_line": {"type": "integer", "description": "Line after which to insert"},
    "insert_text": _text("Text to insert"),
    "view_range": {"type": "array", "items": {"type": "integer"}, "description": "First and last line to show"},
}
_FUNCTIONS: Mapping[str, tuple[str, JsonObject, tuple[str, ...]]] = {
    "bash": (
        "Run a command in a shell that keeps its state between calls.",
        {"command": _text("The command"), "restart": {"type": "boolean", "description": "Start a new shell instead"}},
        (),
    ),
    "text_editor": (
        "View, create and edit text files.",
        {"command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]}, **_EDITS},
        ("command", "path"),
    ),
    "memory": (
        "Read and write files below /memories, which outlive this conversation.",
        {
            "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            **_EDITS,
            "old_path": _text("Path before renaming"),
            "new_path": _text("Path after renaming"),
        },
        ("command",),
    ),
    "shell": (
        "Run commands in a shell.",
        {
            "commands": {"type": "array", "items": {"type": "string"}},
            "timeout_ms": {"type": "integer", "description": "Longest time to wait, in milliseconds"},
            "max_output_length": {"type": "integer", "description": "Most characters of output to return"},
        },
        ("commands",),
    ),
    "apply_patch": (
        "Create, update or delete a file.",
        {
            "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            "path": _text("Path of the file"),
            "diff": _text("Unified diff to apply"),
        },
        ("type", "path"),
    ),
}


def is_client_tool(tool: HostedTool) -> bool:
    """Whether the client carries the tool out, by a schema of the vendor."""
    return tool.kind in _CLIENT_TOOLS


def _as_function(tool: HostedTool) -> FunctionTool | None:
    if tool.kind not in _FUNCTIONS:
        return None
    description, properties, required = _FUNCTIONS[tool.kind]
    parameters: JsonObject = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = list(required)
    return FunctionTool(tool.name or tool.kind, description, parameters, cache=tool.cache)


def is_written_anew(kind: str, format: str) -> bool:
    """Whether a hosted tool of another format can have a counterpart in `format`."""
    return (kind, format) in _WRITERS


# What history says of a call, to a vendor that did not make it.


def spoken(call: HostedCall, result: HostedResult | None = None) -> str:
    """A hosted call and what came of it, in words: the query with titles and addresses, the code with its output,
    or one line that names the tool."""
    texts = [block.text for block in result.blocks if isinstance(block, Text)] if result else []
    values = call.input if isinstance(call.input, dict) else {}
    if call.kind == "web_search":
        query = values.get("query") or ", ".join(str(entry) for entry in values.get("queries") or ())
        found = [block for block in result.blocks if isinstance(block, SearchResult)] if result else []
        return "\n".join([f"Searched: {query}", *(f"- {page.title}: {page.source}" for page in found), *texts])
    if call.kind == "code":
        output = "\n".join(texts)
        shown = f"```python\n{values.get('code') or ''}\n```"
        return f"{shown}\nOutput:\n```\n{output}\n```" if output else shown
    return f"Used the tool {call.name or call.kind}."
