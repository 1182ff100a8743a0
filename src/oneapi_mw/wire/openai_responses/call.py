"""The client's side of a request: checked as far as the gateway reads it, and sent on with as few edits as can be."""

from __future__ import annotations

import re
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
from oneapi_mw.wire.openai_responses.content import CODE

MAX_OUTPUT = (2**31 - 1) // 2
MAX_TEMPERATURE = 2

_KEYS = tuple(
    b'"%s"' % name
    for name in (
        b"model",
        b"input",
        b"instructions",
        b"stream",
        b"max_output_tokens",
        b"previous_response_id",
        b"conversation",
        b"background",
        b"store",
        b"service_tier",
    )
)
"""What decides who may be asked, what it may cost and how it is answered."""
_STATE = ("previous_response_id", "conversation", "prompt")
"""Any of them stands for input that the request does not repeat."""


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
        raise _wrong("stream", "must be true or false")
    temperature = body.get("temperature")
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= MAX_TEMPERATURE):
        raise _wrong("temperature", f"must be a number from 0 to {MAX_TEMPERATURE}")
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise _wrong("instructions", "must be a string")
    _check_state(body)
    return Call(
        operation=operation,
        format=format,
        model=model,
        stream=stream and operation == "chat",
        body=body,
        raw=raw,
        max_output=0 if operation == "count_tokens" else _output_limit(body),
        input_estimate=REPLY_TOKENS + text_tokens(instructions or "") + _input_tokens(body) + _structured_tokens(body),
        outside=outside,
    )


def refuse_unknown_input(body: JsonObject) -> None:
    """Raise `InvalidRequest` for a body that stands for input which nobody has put into it: it cannot be counted."""
    for name in _STATE:
        if body.get(name) is not None:
            raise InvalidRequest(
                f"What {name} stands for is not known here, so its tokens cannot be counted: send the whole input",
                param=name,
                code="unsupported_parameter",
            )


def _output_limit(body: JsonObject) -> int | None:
    """The client's limit. Zero means none, as it does to programs that write zero for absent."""
    limit = body.get("max_output_tokens")
    if limit is None:
        return None
    if type(limit) is not int or not 0 <= limit <= MAX_OUTPUT:
        raise _wrong("max_output_tokens", f"must be an integer from 1 to {MAX_OUTPUT}")
    return limit or None


def _check_state(body: JsonObject) -> None:
    previous, conversation = body.get("previous_response_id"), body.get("conversation")
    if previous is not None and not isinstance(previous, str):
        raise _wrong("previous_response_id", "must be a string")
    if conversation is not None and not isinstance(conversation, (str, dict)):
        raise _wrong("conversation", "must be an id, or an object with one")
    if previous is not None and conversation is not None:
        raise InvalidRequest(
            "previous_response_id and conversation exclude each other: send one of them",
            param="previous_response_id",
            code="invalid_state_selector",
        )
    background = body.get("background")
    if background is not None and type(background) is not bool:
        raise _wrong("background", "must be true or false")


def _wrong(param: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{param} {what}", param=param, code=CODE)


# What the input says, and how long it is: one pass does both.


def _input_tokens(body: JsonObject) -> int:
    """Checks the input's outer shape and estimates its tokens. What is inside is the upstream's to judge."""
    value = body.get("input")
    if isinstance(value, str):
        return MESSAGE_TOKENS + text_tokens(value)
    if value is None:
        if any(body.get(name) is not None for name in _STATE):
            return 0
        raise _wrong("input", 'is required: a string, or a list of items like {"role": "user", "content": "Hi"}')
    if not isinstance(value, list):
        raise _wrong("input", "must be a string or a list of items")
    tokens = 0
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise _wrong(f"input[{index}]", "must be an object, like a message with role and content")
        tokens += MESSAGE_TOKENS + _item_tokens(item, index)
    return tokens


def _item_tokens(item: JsonObject, index: int) -> int:
    kind = item.get("type")
    if kind is not None and not isinstance(kind, str):
        raise _wrong(f"input[{index}].type", "must be a string, like message or function_call")
    name = "output" if "output" in item else "content"
    content = item.get(name)
    tokens = _parts_tokens(content, f"input[{index}].{name}")
    for key, value in item.items():
        if key in ("arguments", "input", "summary", "code", "queries", "action", "results", "tools"):
            tokens += _any_tokens(value)
        elif key == "encrypted_content":
            tokens += len(value) // 4 if isinstance(value, str) else 0  # ciphertext holds little more than its text
    return tokens


def _parts_tokens(parts: object, where: str) -> int:
    if isinstance(parts, str):
        return text_tokens(parts)
    if not isinstance(parts, list):
        return 0
    tokens = 0
    for place, part in enumerate(parts):
        if not isinstance(part, dict):
            raise _wrong(f"{where}[{place}]", "must be an object with a type, like input_text")
        tokens += _part_tokens(part)
    return tokens


def _part_tokens(part: JsonObject) -> int:
    kind = part.get("type")
    if kind in ("input_image", "image_url"):
        return image_tokens(part.get("detail"))
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return audio_tokens(_length(part["input_audio"].get("data")))
    if kind == "input_file":
        data = _length(part.get("file_data"))
        return file_tokens(data) if data else FILE_ID_TOKENS
    text = part.get("text", part.get("refusal"))
    return text_tokens(text) if isinstance(text, str) else _any_tokens(part)


def _structured_tokens(body: JsonObject) -> int:
    text = body.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    return sum(json_tokens(value) for value in (body.get("tools"), form) if value)


def _any_tokens(value: Any) -> int:
    if isinstance(value, str):
        return text_tokens(value)
    return json_tokens(value) if isinstance(value, (dict, list)) else 1


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0


_NAMED_MODEL = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def prepare_upstream(call: Call, *, model: str) -> bytes:
    """The body for an upstream of this format: the client's own bytes wherever nothing must change.

    Bytes in which a key the gateway reads might be repeated are written anew, so that the upstream sees what was
    authorised. A key that is in another object, too (the model of a tool, a state within text), costs that at most.
    """
    body, raw = call.body, call.raw
    if body.get("model") != model:
        edited = None if raw is None or may_repeat(raw, _KEYS) else _renamed(raw, model)
        return dumps({**body, "model": model}) if edited is None else edited
    return unrepeated(raw, dumps(body), _KEYS)


def _renamed(raw: bytes, model: str) -> bytes | None:
    """The client's bytes with another model, so that no number loses a digit; `None` when it takes writing anew."""
    named = _NAMED_MODEL.search(raw)
    if named is None:
        return None
    return raw[: named.start()] + b'"model":' + dumps(model) + raw[named.end() :]
