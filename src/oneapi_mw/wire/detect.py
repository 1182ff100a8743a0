"""Which format a body really is: clients send the right body to the wrong path.

A *proof* is what one format has and no other; a *hint* is what one format has oftener. What decides are top-level
keys, roles, and types of blocks and tools. No text is read, and nothing is parsed again.

    proof of              result
    the path's format     stays, whatever else is there
    one other format      that one
    two others            refused: nobody can say what was meant
    none                  hints decide, and only between formats whose requests can look alike
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject, RawHeaders
from oneapi_mw.wire.body import check_model

__all__ = ["covered_format", "detect", "redirect_path"]

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"

MAX_MESSAGES = 64
"""Looked at from either end of the conversation."""
MAX_BLOCKS = 64
"""Looked at in one message, or in one item of `input`."""
MAX_TOOLS = 32

_PATHS: Mapping[str, str] = {
    CHAT: "/v1/chat/completions",
    RESPONSES: "/v1/responses",
    MESSAGES: "/v1/messages",
}
_FORMAT_OF_PATH: Mapping[str, str] = {
    path + slash: name for name, path in _PATHS.items() for slash in ("", "/")
}  # what lies below (`/v1/messages/count_tokens`, `/v1/responses/{id}`) has bodies of its own
_GEMINI_PATH = re.compile(r"/v1(?:beta)?/(?:models|tunedModels)/.+:(?:streamG|g)enerateContent")

_GEMINI_KEYS = ("generationConfig", "generation_config", "systemInstruction", "system_instruction")
_RESPONSES_KEYS = ("previous_response_id", "conversation")
_RESPONSES_HINTS = ("instructions", "max_output_tokens")
_RESPONSES_ITEMS = frozenset({"function_call", "function_call_output", "reasoning", "item_reference", "input_text"})
_CHAT_KEYS = frozenset(
    {"response_format", "max_completion_tokens", "frequency_penalty", "n", "logit_bias", "functions"}
)
_CHAT_ROLES = frozenset({"tool", "developer", "function"})
_CHAT_PARTS = frozenset({"image_url", "input_audio"})
_ANTHROPIC_BLOCKS = frozenset({"tool_use", "tool_result", "redacted_thinking", "document", "server_tool_use"})
_ANTHROPIC_TOOL = re.compile(r"[a-z_]+_20\d{6}")
"""`web_search_20260318`, `bash_20250124`: so Anthropic dates its tools, OpenAI like `web_search_2025_08_26`."""
_ANTHROPIC_CHOICES = ("any", "tool")
_NOT_WITH_SYSTEM = frozenset({"system", "developer", "tool"})
"""Roles no message has where instructions stand beside the messages."""

_FOREIGN_TO_CHAT = frozenset(
    {"input", *_RESPONSES_KEYS, "prompt", "contents", "stop_sequences", "system", "tools", "tool_choice"}
)
"""Top-level keys without which only the messages can prove that a body is no chat."""


def covered_format(path: str) -> str | None:
    """The format of a client path below the mount whose bodies may turn out to be others; `None` for all others."""
    name = _FORMAT_OF_PATH.get(path)
    if name is None and _GEMINI_PATH.fullmatch(path):
        return GEMINI
    return name


def detect(path_format: str, body: JsonObject, headers: RawHeaders) -> str:
    """The format of `body`, which came to a path of `path_format`.

    Args:
        body: as it was parsed for routing.
        headers: of the request; looked at only when the body does not decide.

    Raises: `InvalidRequest` for a body with proofs of two formats, neither of them the path's.
    """
    if path_format == CHAT and _plain_chat(body):
        return CHAT
    proven = _proven(body)
    if path_format in proven:
        return path_format
    if len(proven) == 1:
        return proven[0]
    if proven:
        names = " and ".join([name.upper() for name in proven])
        raise InvalidRequest(
            f"The body mixes {names} fields: send the fields of one format, to its own path", code="mixed_formats"
        )
    return _by_hints(path_format, body, headers)


def _plain_chat(body: JsonObject) -> bool:
    """Whether there is nothing to think about: most bodies of chats, recognised at once."""
    tools = body.get("tools")
    if type(tools) is list and tools and _is_chat_tool(tools[0]):
        return True
    messages = body.get("messages")
    if type(messages) is not list or not _FOREIGN_TO_CHAT.isdisjoint(body):
        return False
    return all(type(message) is dict and type(message.get("content")) is not list for message in _ends(messages))


def _by_hints(path_format: str, body: JsonObject, headers: RawHeaders) -> str:
    """The format of a body that proves nothing. A plain list of messages is a chat as well as Anthropic's."""
    if path_format == MESSAGES or not isinstance(body.get("messages"), list) or body.get("input") is not None:
        return path_format
    beside = _instructions_beside(body)
    if path_format == CHAT:
        return MESSAGES if beside and any(name == b"anthropic-version" for name, _ in headers) else CHAT
    if beside:
        return MESSAGES
    return RESPONSES if path_format == RESPONSES and _hints_at_responses(body) else CHAT


def _instructions_beside(body: JsonObject) -> bool:
    """Whether the body is built as Anthropic's usually are: instructions and a limit beside the messages."""
    system = body.get("system")
    if not isinstance(system, (str, list)) or body.get("max_tokens") is None:
        return False
    return not any(_word(message.get("role")) in _NOT_WITH_SYSTEM for message in _objects(_ends(body["messages"])))


def _hints_at_responses(body: JsonObject) -> bool:
    text = body.get("text")
    return (
        any(body.get(key) is not None for key in _RESPONSES_HINTS)
        or isinstance(body.get("reasoning"), dict)
        or (isinstance(text, dict) and "format" in text)
        or any(tool.get("type") == "function" and "name" in tool for tool in _tools(body))
    )


# Proofs.


def _proven(body: JsonObject) -> list[str]:
    """The formats that `body` proves to be of."""
    messages = body.get("messages")
    chat, anthropic = _in_messages(messages) if isinstance(messages, list) else (False, False)
    found = []
    if chat or _chat_beside(body):
        found.append(CHAT)
    if _is_responses(body):
        found.append(RESPONSES)
    if anthropic or _anthropic_beside(body):
        found.append(MESSAGES)
    if _is_gemini(body):
        found.append(GEMINI)
    return found


def _in_messages(messages: list[Any]) -> tuple[bool, bool]:
    """Whether the messages are a chat's, and whether they are Anthropic's. One pass, as this is the long part."""
    chat = anthropic = False
    for message in _objects(_ends(messages)):
        if "tool_calls" in message or "tool_call_id" in message or _word(message.get("role")) in _CHAT_ROLES:
            chat = True
        content = message.get("content")
        if type(content) is not list:
            continue
        for block in content if len(content) <= MAX_BLOCKS else content[:MAX_BLOCKS]:
            kind = block.get("type") if type(block) is dict else None
            if kind == "text" or type(kind) is not str:
                continue
            if kind in _CHAT_PARTS:
                chat = True
            elif _is_anthropic_block(kind, block):
                anthropic = True
    return chat, anthropic


def _is_anthropic_block(kind: str, block: JsonObject) -> bool:
    if kind == "image":
        return "source" in block
    if kind == "thinking":  # Mistral's chat has parts of this type with a list in them
        return isinstance(block.get("thinking"), str)
    return kind in _ANTHROPIC_BLOCKS


def _chat_beside(body: JsonObject) -> bool:
    if not _CHAT_KEYS.isdisjoint(body) and any(body.get(key) is not None for key in _CHAT_KEYS):
        return True
    if body.get("stream_options") is not None and body.get("messages") is not None:  # Responses has it, too
        return True
    return any(_is_chat_tool(tool) for tool in _tools(body))


def _is_chat_tool(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function" and isinstance(tool.get("function"), dict)


def _anthropic_beside(body: JsonObject) -> bool:
    if body.get("stop_sequences") is not None:
        return True
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in _ANTHROPIC_CHOICES:
        return True
    return any(_is_anthropic_tool(tool) for tool in _tools(body))


def _is_anthropic_tool(tool: JsonObject) -> bool:
    if "input_schema" in tool and "name" in tool:
        return True
    return _ANTHROPIC_TOOL.fullmatch(_word(tool.get("type"))) is not None


def _is_responses(body: JsonObject) -> bool:
    given = body.get("input")
    if body.get("messages") is None:
        if isinstance(given, (str, list)) or isinstance(body.get("prompt"), dict):
            return True
        return any(body.get(key) is not None for key in _RESPONSES_KEYS)
    if not isinstance(given, list):
        return False
    for item in _objects(_ends(given)):
        content = item.get("content")
        parts = content[:MAX_BLOCKS] if isinstance(content, list) else ()
        if any(_word(entry.get("type")) in _RESPONSES_ITEMS for entry in (item, *_objects(parts))):
            return True
    return False


def _is_gemini(body: JsonObject) -> bool:
    if not isinstance(body.get("contents"), list):
        return False
    if body.get("messages") is None and body.get("input") is None:
        return True
    return any(body.get(key) is not None for key in _GEMINI_KEYS)


# What is looked at.


def _ends(entries: list[Any]) -> list[Any]:
    """The first and the last entries: what a conversation is, it is from its beginning or has become at its end."""
    if len(entries) <= 2 * MAX_MESSAGES:
        return entries
    return entries[:MAX_MESSAGES] + entries[-MAX_MESSAGES:]


def _objects(entries: Iterable[Any]) -> list[JsonObject]:
    return [entry for entry in entries if isinstance(entry, dict)]


def _tools(body: JsonObject) -> list[JsonObject]:
    tools = body.get("tools")
    return _objects(tools[:MAX_TOOLS]) if isinstance(tools, list) else []


def _word(value: object) -> str:
    """A role or a type; clients can put lists there, which no set takes."""
    return value if isinstance(value, str) else ""


# Where it belongs.


def redirect_path(format: str, body: JsonObject, path: str) -> str:
    """The path below the mount at which `body` is served as `format`.

    Args:
        path: the one it came to, with its query, which is kept.

    Raises: `InvalidRequest` for a Gemini body without a model, which must be in the path there.
    """
    _, _, query = path.partition("?")
    if format == GEMINI:
        target, query = _gemini_path(body, query)
    else:
        target = _PATHS[format]
    return f"{target}?{query}" if query else target


def _gemini_path(body: JsonObject, query: str) -> tuple[str, str]:
    asked = parse_qs(query)
    named = check_model(body.get("model") or asked.get("model", [""])[-1], code="invalid_request")
    model = quote(named.removeprefix("models/"), safe="/:@")
    events = asked.get("alt", [""])[-1] == "sse"
    if not events and body.get("stream") is not True:
        return f"/v1beta/models/{model}:generateContent", query
    if not events:  # a chat's stream is one of events, never an array
        query = f"{query}&alt=sse" if query else "alt=sse"
    return f"/v1beta/models/{model}:streamGenerateContent", query
