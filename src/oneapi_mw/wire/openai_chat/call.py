"""The client's side of a request: checked as far as the gateway reads it, and sent on with as few edits as can be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.tokens.estimate import (
    FILE_ID_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    audio_tokens,
    file_tokens,
    image_tokens,
    json_tokens,
    text_tokens,
)
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.body import check_model, may_repeat, parse_object, unrepeated
from oneapi_mw.wire.openai_chat.content import CODE
from oneapi_mw.wire.openai_chat.hosts import host_of, must_stream
from oneapi_mw.wire.target import Target

MAX_OUTPUT = (2**31 - 1) // 2
MAX_CANDIDATES = 128
MAX_TEMPERATURE = 2

_KEYS = tuple(
    b'"%s"' % name
    for name in (
        b"model",
        b"messages",
        b"stream",
        b"stream_options",
        b"max_tokens",
        b"max_completion_tokens",
        b"n",
        b"include_usage",
        b"service_tier",
    )
)
"""What decides who may be asked, what it may cost and how it is answered."""
_OF_SEVERAL = ("n", "best_of")
_STRUCTURED = frozenset({"tools", "functions", "response_format", "prediction"})
"""Top-level fields besides the messages that the model reads."""


def decode_call(
    raw: bytes, *, operation: str, format: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
) -> Call:
    """Check and read a body. Raises `InvalidRequest` and its kin, naming the field and what to send instead."""
    body = parse_object(raw) if body is None else body
    model, stream = read_head(body)
    candidates = read_integer(body, "n", 1, MAX_CANDIDATES)
    candidates = 1 if candidates is None else candidates
    limit = _output_limit(body)
    if "messages" not in body and "prompt" in body:
        raise wrong("messages", "is required here: a prompt goes to /v1/completions")
    return Call(
        operation=operation,
        format=format,
        model=model,
        stream=stream,
        body=body,
        raw=raw,
        max_output=None if limit is None else limit * candidates,
        candidates=candidates,
        input_estimate=_messages_tokens(body.get("messages")) + _structured_tokens(body),
        usage_wanted=wants_usage(body) if stream else True,
        outside=outside,
    )


def read_head(body: JsonObject) -> tuple[str, bool]:
    """Model and stream. Raises `InvalidRequest` for these and for the temperature."""
    model = check_model(body.get("model"), code=CODE)
    stream = body.get("stream")
    if stream is None:
        stream = False
    elif type(stream) is not bool:
        raise wrong("stream", "must be true or false")
    temperature = body.get("temperature")
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= MAX_TEMPERATURE):
        raise wrong("temperature", f"must be a number from 0 to {MAX_TEMPERATURE}")
    return model, stream


def _output_limit(body: JsonObject) -> int | None:
    """The client's limit per candidate. Zero means none, as it does to servers that write zero for absent.

    Of two the higher one: servers differ in which of them they know.
    """
    old, new = read_integer(body, _OLD_LIMIT, 0, MAX_OUTPUT), read_integer(body, _NEW_LIMIT, 0, MAX_OUTPUT)
    return max(old or 0, new or 0) or None


def read_integer(body: JsonObject, name: str, low: int, high: int) -> int | None:
    """Raises `InvalidRequest` for anything but an integer within these bounds; absent and `null` are `None`."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise wrong(name, f"must be an integer from {low} to {high}")
    return value


def wants_usage(body: JsonObject) -> bool:
    """Whether a stream is to end in a report of usage. Raises `InvalidRequest`."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise wrong("stream_options", "must be an object")
    wanted = options.get("include_usage")
    if wanted is not None and type(wanted) is not bool:
        raise wrong("stream_options.include_usage", "must be true or false")
    return bool(wanted)


def wrong(param: str, what: str) -> InvalidRequest:
    """The error that says what `param` must be."""
    return InvalidRequest(f"{param} {what}", param=param, code=CODE)


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
            raise wrong(f"messages[{index}].role", "must be a string: system, developer, user, assistant or tool")
        content = message.get("content")
        tokens += MESSAGE_TOKENS
        if isinstance(content, str):
            tokens += text_tokens(content)
        elif content is not None:
            tokens += _parts_tokens(content, index)
        if len(message) > 2 or "content" not in message:
            tokens += _other_tokens(message)
    return tokens


def _parts_tokens(parts: object, index: int) -> int:
    if not isinstance(parts, list):
        raise wrong(f"messages[{index}].content", "must be a string, null or a list of parts")
    tokens = 0
    for place, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise wrong(f"messages[{index}].content[{place}]", "must be an object with a type, like text")
        tokens += _part_tokens(part)
    return tokens


def _part_tokens(part: JsonObject) -> int:
    kind = part["type"]
    value = part.get(kind)
    if isinstance(value, str) and kind in ("text", "refusal", "thinking"):
        return text_tokens(value)
    if kind == "image_url":
        return image_tokens(value.get("detail") if isinstance(value, dict) else None)
    if kind == "input_audio" and isinstance(value, dict):
        return audio_tokens(_length(value.get("data")))
    if kind == "file" and isinstance(value, dict):
        data = _length(value.get("file_data"))
        return file_tokens(data) if data else FILE_ID_TOKENS
    text = part.get("text")
    return text_tokens(text) if isinstance(text, str) else _any_tokens(part)


def _other_tokens(message: JsonObject) -> int:
    """Calls, reasoning and whatever else a message carries beside role and content."""
    return sum(_any_tokens(value) for key, value in message.items() if key != "role" and key != "content")


def _structured_tokens(body: JsonObject) -> int:
    if _STRUCTURED.isdisjoint(body):
        return 0
    return sum(json_tokens(body[name]) for name in _STRUCTURED if body.get(name))


def _any_tokens(value: Any) -> int:
    if isinstance(value, str):
        return text_tokens(value)
    return json_tokens(value) if isinstance(value, (dict, list)) else 1


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0


def split_candidates(call: Call) -> list[Call]:
    """One call for each answer. A seed is counted up, as equal ones would give equal answers."""
    count, seed = call.candidates, call.body.get("seed")
    rest = {name: value for name, value in call.body.items() if name not in _OF_SEVERAL}
    limit = None if call.max_output is None else call.max_output // count
    calls = []
    for index in range(count):
        body = {**rest, "seed": seed + index} if type(seed) is int else rest
        calls.append(replace(call, body=body, raw=None, candidates=1, max_output=limit))
    return calls


_OLD_LIMIT, _NEW_LIMIT = "max_tokens", "max_completion_tokens"
_LIMIT_KEYS = {name: re.compile(rb'"%s"(?=[ \t\r\n]*+:)' % name.encode()) for name in (_OLD_LIMIT, _NEW_LIMIT)}
_NAMED_MODEL = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def prepare_upstream(call: Call, *, target: Target, include_usage: bool) -> bytes:
    """The body for an upstream of this format: the client's own bytes wherever nothing must change.

    A limit under the name that is certain to be refused gets the other one, and an effort that is wrapped in an object
    becomes the word in it, as they say the same.

    Bytes in which a key the gateway reads might be repeated are written anew, so that the upstream sees what was
    authorised.
    """
    body, raw = call.body, call.raw
    if not target.options.strict_passthrough:
        body, raw = _with_accepted_limit(body, raw, target)
        body, raw = _with_plain_effort(body, raw)
        if not call.stream and must_stream(body, target):
            body, raw = {**body, "stream": True, "stream_options": {"include_usage": True}}, None
    return write_body(body, raw, model=target.model, add_usage=include_usage and call.stream, keys=_KEYS)


def write_body(body: JsonObject, raw: bytes | None, *, model: str, add_usage: bool, keys: Sequence[bytes]) -> bytes:
    """The bytes of `body` with this model, and with usage asked for in its stream: `raw` as far as that is possible.

    Args:
        keys: the members the gateway reads, quoted.
    """
    changed: JsonObject = {}
    if body.get("model") != model:
        changed["model"] = model
    if add_usage:
        options = body.get("stream_options") or {}
        if options.get("include_usage") is not True:
            changed["stream_options"] = {**options, "include_usage": True}
    if changed:
        edited = None if raw is None or may_repeat(raw, keys) else _edited(raw, body, changed)
        return dumps({**body, **changed}) if edited is None else edited
    return unrepeated(raw, dumps(body), keys)


def _with_accepted_limit(body: JsonObject, raw: bytes | None, target: Target) -> tuple[JsonObject, bytes | None]:
    """Body and bytes with the limit under the one name that model or host know; no bytes where that takes writing
    them anew."""
    accepted = host_of(target).limit or (_NEW_LIMIT if target.rules.output_limit == _NEW_LIMIT else "")
    refused = {_OLD_LIMIT: _NEW_LIMIT, _NEW_LIMIT: _OLD_LIMIT}.get(accepted)
    if refused is None or body.get(refused) is None or (accepted == _NEW_LIMIT != target.rules.output_limit):
        return body, raw
    # of two the newer counts, unless it is a zero, which means none
    said = _NEW_LIMIT if body.get(_NEW_LIMIT) or body.get(_OLD_LIMIT) is None else _OLD_LIMIT
    renamed = {
        accepted if name == said else name: value
        for name, value in body.items()
        if name == said or name not in (_OLD_LIMIT, _NEW_LIMIT)
    }
    if raw is None or accepted in body or may_repeat(raw, _KEYS):
        return renamed, None
    return renamed, _LIMIT_KEYS[refused].sub(b'"%s"' % accepted.encode(), raw, count=1)


def _with_plain_effort(body: JsonObject, raw: bytes | None) -> tuple[JsonObject, bytes | None]:
    effort = body.get("reasoning_effort")
    if type(effort) is not dict or not isinstance(effort.get("effort"), str):
        return body, raw
    return {**body, "reasoning_effort": effort["effort"]}, None


def with_functions_alone(call: Call, target: Target) -> tuple[Call, tuple[str, ...]]:
    """`call` without tools that are no functions where they are certain to be refused, and without a choice of one.
    The second names what is lost."""
    tools = call.body.get("tools")
    if "other_tools" not in target.rules.refuses or target.options.strict_passthrough or not isinstance(tools, list):
        return call, ()
    others = [place for place, tool in enumerate(tools) if not _is_function(tool)]
    if not others:
        return call, ()
    lost = [f"tools[{place}]" for place in others]
    kept = [tool for tool in tools if _is_function(tool)]
    body = {name: value for name, value in call.body.items() if name != "tools" or kept}
    if kept:
        body["tools"] = kept
    choice = body.get("tool_choice")
    if choice is not None and (not kept or (isinstance(choice, dict) and not _is_function(choice))):
        del body["tool_choice"]
        lost.append("tool_choice")
    return call.with_body(body), tuple(lost)


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type", "function") == "function"


def _edited(raw: bytes, body: JsonObject, changed: JsonObject) -> bytes | None:
    """The client's bytes with members changed in place, so that no number loses a digit; `None` when that takes
    writing it anew. Only for bytes in which no key of ours is repeated: the one that is found is the right one."""
    if "model" in changed:
        named = _NAMED_MODEL.search(raw)
        if named is None:
            return None
        raw = raw[: named.start()] + b'"model":' + dumps(changed["model"]) + raw[named.end() :]
    if "stream_options" in changed:
        if "stream_options" in body:
            return None
        start = raw.index(b"{") + 1
        raw = raw[:start] + b'"stream_options":' + dumps(changed["stream_options"]) + b"," + raw[start:]
    return raw
