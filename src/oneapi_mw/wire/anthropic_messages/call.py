"""The client's side of a request: checked as far as the gateway reads it, and sent on with as few edits as can be."""

from __future__ import annotations

import re
from typing import Any

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.jsontext import dumps
from oneapi_mw.tokens.estimate import (
    FILE_ID_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    file_tokens,
    image_tokens,
    json_tokens,
    text_tokens,
)
from oneapi_mw.types import JsonObject, RawHeaders
from oneapi_mw.wire.anthropic_messages.content import CODE, wrong
from oneapi_mw.wire.body import check_model, may_repeat, parse_object, unrepeated
from oneapi_mw.wire.target import Target

MAX_OUTPUT = (2**31 - 1) // 2
MAX_TEMPERATURE = 1

_KEYS = tuple(b'"%s"' % name for name in (b"model", b"messages", b"stream", b"max_tokens", b"service_tier", b"speed"))
"""What decides who may be asked, what it may cost and how it is answered."""
_STRUCTURED = ("tools", "output_config", "output_format", "mcp_servers")
"""Top-level fields besides the texts that the model reads."""


def decode_call(
    raw: bytes, *, operation: str, format: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
) -> Call:
    """Check and read a body. Raises `InvalidRequest` and its kin, naming the field and what to send instead."""
    body = parse_object(raw) if body is None else body
    model = check_model(body.get("model"), code=CODE)
    stream = body.get("stream")
    if stream is None:
        stream = False
    elif type(stream) is not bool:
        raise wrong("stream", "must be true or false")
    limit = body.get("max_tokens")
    if limit is not None and not (type(limit) is int and 0 <= limit <= MAX_OUTPUT):
        raise wrong("max_tokens", f"must be an integer from 0 to {MAX_OUTPUT}")
    temperature = body.get("temperature")
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= MAX_TEMPERATURE):
        raise wrong("temperature", f"must be a number from 0 to {MAX_TEMPERATURE}")
    tokens = _messages_tokens(body.get("messages")) + _content_tokens(body.get("system"), "system")
    tokens += sum(json_tokens(body[name]) for name in _STRUCTURED if body.get(name))
    return Call(
        operation=operation,
        format=format,
        model=model,
        stream=stream and operation == "chat",
        body=body,
        raw=raw,
        max_output=0 if operation == "count_tokens" else limit,
        input_estimate=tokens,
        outside=outside,
    )


# What the messages say, and how long it is: one pass does both.


def _messages_tokens(messages: object) -> int:
    """Checks the messages' outer shape and estimates their tokens. What is inside is the upstream's to judge."""
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", 'must be a list of at least one message, like {"role": "user", "content": "Hi"}')
    tokens = REPLY_TOKENS
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong(f"messages[{index}]", "must be an object with role and content")
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise wrong(f"messages[{index}].role", "must be a string: user or assistant")
        tokens += MESSAGE_TOKENS + _content_tokens(message.get("content"), f"messages[{index}].content")
    return tokens


def _content_tokens(content: object, where: str) -> int:
    if content is None:
        return 0
    if isinstance(content, str):
        return text_tokens(content)
    if not isinstance(content, list):
        raise wrong(where, "must be a string or a list of blocks")
    tokens = 0
    for place, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise wrong(f"{where}[{place}]", "must be an object with a type, like text")
        tokens += _block_tokens(block, f"{where}[{place}]")
    return tokens


def _block_tokens(block: JsonObject, where: str) -> int:
    match block["type"]:
        case "text" | "thinking" as kind if isinstance(block.get(kind), str):
            return text_tokens(block[kind])
        case "image":
            return image_tokens(None)
        case "document":
            return _document_tokens(block, where)
        case "tool_result" | "search_result":
            content = block.get("content")
            return MESSAGE_TOKENS + (_content_tokens(content, f"{where}.content") if _is_content(content) else 0)
        case "tool_use":
            return text_tokens(str(block.get("name"))) + json_tokens(block.get("input"))
        case "redacted_thinking":
            return text_tokens(block["data"]) if isinstance(block.get("data"), str) else 0
        case _:
            return json_tokens(block)


def _is_content(content: object) -> bool:
    return content is None or isinstance(content, str | list)


def _document_tokens(block: JsonObject, where: str) -> int:
    source = block.get("source")
    if not isinstance(source, dict):
        return FILE_ID_TOKENS
    data, content = source.get("data"), source.get("content")
    if source.get("type") == "text" and isinstance(data, str):
        return text_tokens(data)
    if source.get("type") == "content" and _is_content(content):
        return _content_tokens(content, f"{where}.source.content")
    return file_tokens(len(data)) if isinstance(data, str) else FILE_ID_TOKENS


# What goes on to an upstream of this format.

_NAMED_MODEL = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def prepare_upstream(call: Call, *, model: str) -> bytes:
    """The body for an upstream of this format: the client's own bytes wherever nothing must change.

    Bytes in which a key the gateway reads might be repeated are written anew, so that the upstream sees what was
    authorised.
    """
    body, raw = call.body, call.raw
    if body.get("model") != model:
        changed = {**body, "model": model}
        if raw is None or may_repeat(raw, _KEYS):
            return dumps(changed)
        named = _NAMED_MODEL.search(raw)
        if named is None:
            return dumps(changed)
        return raw[: named.start()] + b'"model":' + dumps(model) + raw[named.end() :]
    return unrepeated(raw, dumps(body), _KEYS)


def without_refused_thinking(call: Call, target: Target) -> Call:
    """`call` without `thinking` where the model is certain to refuse it: in a tool loop without any thinking block, for
    a model that is told to think by a budget alone. Clients that keep only texts and calls end up there.
    """
    thinking = call.body.get("thinking")
    if target.rules.thinking != "manual" or target.options.strict_passthrough:
        return call
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return call
    if not _loop_lacks_blocks(call.body["messages"]):
        return call
    return call.with_body({name: value for name, value in call.body.items() if name != "thinking"})


def _loop_lacks_blocks(messages: list[JsonObject]) -> bool:
    """Whether a tool loop is under way in which the assistant thought nowhere.

    With a block at the head of any of its messages it is the upstream's to judge: between calls there may be none.
    """
    called = False
    for message in reversed(messages):
        kinds = _kinds(message.get("content"))
        if message["role"] == "assistant":
            if kinds[:1] in (["thinking"], ["redacted_thinking"]):
                return False
            called = called or "tool_use" in kinds
        elif "tool_result" not in kinds:
            break
    return called and "tool_result" in _kinds(messages[-1].get("content"))


def _kinds(content: Any) -> list[str]:
    return [block["type"] for block in content] if isinstance(content, list) else []


def client_betas(headers: RawHeaders) -> tuple[str, ...]:
    """What the client's `anthropic-beta` fields name, each once, in lower case."""
    found: dict[str, None] = {}
    for name, value in headers:
        if name == b"anthropic-beta":
            words = value.decode("latin-1").lower().split(",")
            found.update((word.strip(), None) for word in words if _BETA.fullmatch(word.strip()))
    return tuple(found)


_BETA = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
