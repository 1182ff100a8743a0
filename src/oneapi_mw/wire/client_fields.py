"""What a client calls a part of its request: its own field, in its own format.

Codecs name what they leave out, emulate or refuse by its place in the canonical request, which no client knows. What
clients are told (`X-Oneapi-Dropped`, `param` of an error) goes by here. Turns are named without a number, as
messages and turns need not correspond one to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oneapi_mw.canonical.call import Call
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.switches import SWITCHES

__all__ = ["client_field", "client_fields"]

_ASKS = ("thinking", "reasoning_effort", "reasoning.budget")
"""What was asked of the model's reasoning, which every format says in several ways."""
_ENTRY = re.compile(r"(?P<list>turns|tools)\[(?P<index>\d+)\](?:\.(?P<rest>.+))?")

_OPENAI = {
    "cache.key": "prompt_cache_key",
    "cache.retention": "prompt_cache_retention",
    "identity.end_user": "user",
    "identity.metadata": "metadata",
    "identity.safety_id": "safety_identifier",
    "safety.moderation": "moderation",
    "service.tier": "service_tier",
    "state.store": "store",
    "tool_choice.parallel": "parallel_tool_calls",
    "tool_choice": "tool_choice",
}
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "openai_chat": {
        **_OPENAI,
        "cache_marks": "messages[].cache_control",
        "candidates": "n",
        "detail": "messages[].image_url.detail",
        "max_output": "max_completion_tokens",
        "media.url": "messages[].image_url.url",
        "output": "response_format",
        "output.schema": "response_format.json_schema.schema",
        "prefill": "messages",
        "system": "messages",
        "tool_result.media": "messages",
        "turns": "messages",
    },
    "openai_responses": {
        **_OPENAI,
        "cache_marks": "input[].prompt_cache_breakpoint",
        "container": "tools",
        "detail": "input[].detail",
        "logprobs": "top_logprobs",
        "max_hosted_calls": "max_tool_calls",
        "max_output": "max_output_tokens",
        "media.url": "input[].image_url",
        "output": "text.format",
        "output.schema": "text.format.schema",
        "prefill": "input",
        "prompt_template": "prompt",
        "state.background": "background",
        "state.context_edits": "context_management",
        "state.conversation": "conversation",
        "state.previous_id": "previous_response_id",
        "state.truncation": "truncation",
        "system": "instructions",
        "tool_result.media": "input",
        "turns": "input",
        "verbosity": "text.verbosity",
    },
    "anthropic_messages": {
        "cache.key": "metadata.user_id",
        "cache.retention": "cache_control",
        "cache_marks": "cache_control",
        "identity.end_user": "metadata.user_id",
        "identity.safety_id": "metadata.user_id",
        "max_output": "max_tokens",
        "media.url": "messages[].source.url",
        "output": "output_config.format",
        "output.schema": "output_config.format.schema",
        "prefill": "messages",
        "service.geo": "inference_geo",
        "service.speed": "speed",
        "service.tier": "service_tier",
        "state.context_edits": "context_management",
        "state.conversation": "thread",
        "stop": "stop_sequences",
        "tool_choice.parallel": "tool_choice.disable_parallel_tool_use",
        "tool_result.media": "messages",
        "turns": "messages",
    },
    "gemini": {
        "audio": "generationConfig.speechConfig",
        "cache.resource": "cachedContent",
        "candidates": "generationConfig.candidateCount",
        "detail": "generationConfig.mediaResolution",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "identity.labels": "labels",
        "image": "generationConfig.imageConfig",
        "logprobs": "generationConfig.responseLogprobs",
        "max_output": "generationConfig.maxOutputTokens",
        "media.url": "contents[].fileData.fileUri",
        "modalities": "generationConfig.responseModalities",
        "output": "generationConfig.responseMimeType",
        "output.schema": "generationConfig.responseSchema",
        "prefill": "contents",
        "presence_penalty": "generationConfig.presencePenalty",
        "safety.settings": "safetySettings",
        "seed": "generationConfig.seed",
        "service.tier": "serviceTier",
        "state.store": "store",
        "stop": "generationConfig.stopSequences",
        "system": "systemInstruction",
        "temperature": "generationConfig.temperature",
        "tool_choice": "toolConfig",
        "tool_result.media": "contents",
        "top_k": "generationConfig.topK",
        "top_p": "generationConfig.topP",
        "turns": "contents",
    },
    "openai_completions": {
        "candidates": "n",
        "identity.end_user": "user",
        "max_output": "max_tokens",
        "turns": "prompt",
    },
}
"""Canonical path -> field of the client's format, where they differ; what lies below a path keeps its own name."""
_TOOL_FIELDS: Mapping[str, Mapping[str, str]] = {
    "openai_chat": {"parameters": "function.parameters", "strict": "function.strict", "grammar": "custom.format"},
    "openai_responses": {"defer": "defer_loading", "callers": "allowed_callers", "grammar": "format"},
    "anthropic_messages": {
        "callers": "allowed_callers",
        "defer": "defer_loading",
        "examples": "input_examples",
        "parameters": "input_schema",
    },
    "gemini": {"output_schema": "response"},
}
"""The same within one tool."""


def client_fields(call: Call, paths: Sequence[str]) -> tuple[str, ...]:
    """`paths` in the words of who asked, each once. A mark behind `=` stays."""
    found: dict[str, None] = {}
    for path in paths:
        name, mark, how = path.partition("=")
        told = _of_ask(call, name) if name in _ASKS else client_field(call.format, name, call.body)
        found[told + mark + how] = None
    return tuple(found)


def client_field(format: str, path: str, body: Mapping[str, Any] | None = None) -> str:
    """The field for one canonical `path`; a path of no such meaning is a field of the client's already.

    Args:
        body: the request, where formats have two names for a thing.
    """
    if body is not None and (named := _as_named(format, path, body)):
        return named
    entry = _ENTRY.fullmatch(path)
    if entry is not None:
        return _of_entry(format, entry, body or {})
    fields = _FIELDS.get(format, {})
    known, rest = path, ""
    while known not in fields:
        cut = max(known.rfind("."), known.rfind("["))
        if cut < 0:
            return path
        known, rest = known[:cut], known[cut:] + rest
    return fields[known] + rest


def _as_named(format: str, path: str, body: Mapping[str, Any]) -> str | None:
    if path == "max_output" and format == "openai_chat" and body.get("max_completion_tokens") is None:
        return "max_tokens" if body.get("max_tokens") is not None else None
    if path == "output" and format == "anthropic_messages" and "output_format" in body:
        return "output_format"
    return None


def _of_entry(format: str, entry: re.Match[str], body: Mapping[str, Any]) -> str:
    """A turn or a tool, or what is below it."""
    rest = entry["rest"] or ""
    if entry["list"] == "turns":
        place = f"{_FIELDS.get(format, {}).get('turns', 'turns')}[]"
    else:
        place = _tool_place(format, int(entry["index"]), body)
        if not place.startswith("functions"):
            head, dot, tail = rest.partition(".")
            rest = _TOOL_FIELDS.get(format, {}).get(head, head) + dot + tail
    return f"{place}.{rest}" if rest else place


def _tool_place(format: str, index: int, body: Mapping[str, Any]) -> str:
    """Where the client declared a tool. It has a number where each entry of its list is one tool."""
    tools = body.get("tools")
    tools = tools if isinstance(tools, list) else []
    if format == "gemini":
        return "tools[]"
    if format == "openai_chat" and index >= len(tools):
        functions = body.get("functions")
        index -= len(tools)
        return f"functions[{index}]" if isinstance(functions, list) and index < len(functions) else "web_search_options"
    if any(isinstance(tool, dict) and tool.get("type") == "namespace" for tool in tools):
        return "tools[]"
    return f"tools[{index}]" if index < len(tools) else "mcp_servers"


# What was asked of the model's reasoning.

_ASK_FIELDS: Mapping[str, str] = {
    "openai_chat": "reasoning_effort",
    "openai_responses": "reasoning",
    "anthropic_messages": "thinking",
    "gemini": "generationConfig.thinkingConfig",
}
"""Where it is asked for when nothing more is known."""


def _of_ask(call: Call, path: str) -> str:
    """The field that asked; what was wished beside the body has the names it has there."""
    wish = call.wish
    if wish is None or not wish.asks:
        return _asked_in_body(call, path) or _ASK_FIELDS.get(call.format, path)
    if wish.effort is not None:
        return "reasoning_effort"
    depth = None if wish.off or path == "thinking" else _asked_in_body(call, path)
    return depth or "thinking"


def _asked_in_body(call: Call, path: str) -> str | None:
    body = call.body
    match call.format:
        case "openai_chat":
            return next(_switches(body), None)
        case "openai_responses":
            return "reasoning.effort" if "effort" in _object(body, "reasoning") else None
        case "anthropic_messages":
            if "effort" in _object(body, "output_config") and (path != "thinking" or "thinking" not in body):
                return "output_config.effort"
            return "thinking.budget_tokens" if path == "reasoning.budget" else None
        case "gemini":
            config = _object(body, "generationConfig") or _object(body, "generation_config")
            asked = _object(config, "thinkingConfig") or _object(config, "thinking_config")
            names = {"thinkingBudget": "thinking_budget", "thinkingLevel": "thinking_level"}
            said = [name for name, snake in names.items() if name in asked or snake in asked]
            return ".".join(("generationConfig", "thinkingConfig", said[0])) if said else None
        case _:
            return None


def _switches(body: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a chat that say whether and how much to reason."""
    for prefix, place in (
        ("", body),
        ("extra_body.", _object(body, "extra_body")),
        ("chat_template_kwargs.", _object(body, "chat_template_kwargs")),
    ):
        yield from (prefix + name for name in SWITCHES if place.get(name) is not None)


def _object(body: Mapping[str, Any], name: str) -> JsonObject:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
