"""The client's side of a request: where it goes, checked as far as the gateway reads it, and sent on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

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
from oneapi_mw.wire.body import check_model, may_repeat, parse_object
from oneapi_mw.wire.gemini.content import CODE, PLACEHOLDER, camel, camelised, takes_placeholder
from oneapi_mw.wire.target import Target

MAX_OUTPUT = (2**31 - 1) // 2
MAX_CANDIDATES = 8
MAX_TEMPERATURE = 2

_PATH = re.compile(r"/v1(?:beta)?/(?P<group>models|tunedModels)/(?P<model>.+):(?P<action>[A-Za-z]+)")
_ACTIONS: Mapping[str, tuple[str, bool]] = {
    "generateContent": ("chat", False),
    "streamGenerateContent": ("chat", True),
    "countTokens": ("count_tokens", False),
}
"""Action -> operation, and whether the answer streams."""
_TUNED = "tunedModels/"
_COUNTED = "generateContentRequest"
_READ = (
    "contents",
    "systemInstruction",
    "tools",
    "generationConfig",
    "maxOutputTokens",
    "candidateCount",
    "serviceTier",
    "cachedContent",
    _COUNTED,
)
"""What decides who may be asked, what it may cost and how it is answered."""


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


_SPELLINGS = tuple(b'"%s"' % spelled.encode() for name in _READ for spelled in dict.fromkeys((name, _snake(name))))


def operation_at(path: str) -> str | None:
    found = _PATH.fullmatch(path)
    known = _ACTIONS.get(found["action"]) if found else None
    return known[0] if known else None


def upstream_path(operation: str, *, model: str, stream: bool) -> str:
    """Raises `KeyError`."""
    action = next(name for name, known in _ACTIONS.items() if known == ("chat", stream)) if operation == "chat" else ""
    if operation == "count_tokens":
        action = "countTokens"
    if not action:
        raise KeyError(operation)
    place = model if model.startswith(_TUNED) else f"models/{model.removeprefix('models/')}"
    return f"/v1beta/{place}:{action}" + ("?alt=sse" if action == "streamGenerateContent" else "")


def wants_sse(call: Call) -> bool:
    """Whether a stream goes out as server-sent events; else it is a JSON array. Clients of other formats that are
    answered in this one on the way are no clients of it."""
    if call.format != "gemini":
        return True
    return _query(call.outside).get("alt", [""])[-1] == "sse"


def wants_thoughts(call: Call) -> bool:
    """Whether thoughts are shown: this format hides them unless asked. A wish is stronger than the body."""
    if call.format != "gemini":
        return True
    wish = call.wish
    if wish is not None and (wish.off or wish.format is not None):
        return not wish.off and wish.format != "hidden"
    if wish is not None and wish.asks:
        return True
    config = camelised(_object(call.body, "generationConfig").get("thinkingConfig") or {})
    config = config or camelised(_object(call.body, "generationConfig").get("thinking_config") or {})
    return isinstance(config, dict) and config.get("includeThoughts") is True


def _query(outside: Outside) -> dict[str, list[str]]:
    return parse_qs(outside.query.decode("latin-1"))


def decode_call(
    raw: bytes, *, operation: str, format: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
) -> Call:
    """Check and read a body. Raises `InvalidRequest` and its kin, naming the field and what to send instead."""
    body = parse_object(raw) if body is None else body
    found = _PATH.fullmatch(outside.path)
    stream = found is not None and _ACTIONS.get(found["action"], ("", False))[1]
    model = check_model(_model(found, body), code=CODE)
    request = _object(body, _COUNTED) if operation == "count_tokens" and _has(body, _COUNTED) else body
    config = _object(request, "generationConfig")
    candidates = _integer(config, "candidateCount", 1, MAX_CANDIDATES)
    candidates = 1 if candidates is None else candidates
    limit = _integer(config, "maxOutputTokens", 0, MAX_OUTPUT) or None
    temperature = _member(config, "temperature")
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= MAX_TEMPERATURE):
        raise _wrong("generationConfig.temperature", f"must be a number from 0 to {MAX_TEMPERATURE}")
    return Call(
        operation=operation,
        format=format,
        model=model,
        stream=stream,
        body=body,
        raw=raw,
        max_output=None if limit is None else limit * candidates,
        candidates=candidates,
        input_estimate=_contents_tokens(_member(request, "contents")) + _other_tokens(request),
        outside=outside,
    )


def _model(found: re.Match[str] | None, body: JsonObject) -> object:
    """The model in the path; bodies that came to another path name it themselves."""
    if found is None:
        model = body.get("model")
        return model.removeprefix("models/") if isinstance(model, str) else model
    return found["model"] if found["group"] == "models" else _TUNED + found["model"]


def with_limit(body: JsonObject, tokens: int) -> JsonObject:
    """`body` with that limit for one answer, under the names it uses itself."""
    place = _snake("generationConfig") if _snake("generationConfig") in body else "generationConfig"
    config = _object(body, "generationConfig")
    name = _snake("maxOutputTokens") if _snake("maxOutputTokens") in config else "maxOutputTokens"
    return {**body, place: {**config, name: tokens}}


def split_candidates(call: Call) -> list[Call]:
    """One call for each candidate. A seed is counted up, as equal ones would give equal answers."""
    place = "generationConfig" if "generationConfig" in call.body else _snake("generationConfig")
    config = _object(call.body, "generationConfig")
    rest = {name: value for name, value in config.items() if name not in ("candidateCount", _snake("candidateCount"))}
    limit = None if call.max_output is None else call.max_output // call.candidates
    calls = []
    for index in range(call.candidates):
        seed = config.get("seed")
        own = {**rest, "seed": seed + index} if type(seed) is int else rest
        calls.append(replace(call, body={**call.body, place: own}, raw=None, candidates=1, max_output=limit))
    return calls


def _has(value: JsonObject, name: str) -> bool:
    return name in value or _snake(name) in value


def _member(value: JsonObject, name: str) -> Any:
    """A member in either spelling. Raises `InvalidRequest` for both at once: readers disagree which one counts."""
    other = _snake(name)
    if other != name and name in value and other in value:
        raise _wrong(name, f"is given twice, once as {other}: leave one out")
    return value.get(name, value.get(other))


def _object(value: JsonObject, name: str) -> JsonObject:
    found = _member(value, name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(name, "must be an object")
    return found


def _integer(config: JsonObject, name: str, low: int, high: int) -> int | None:
    value = _member(config, name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise _wrong(f"generationConfig.{name}", f"must be an integer from {low} to {high}")
    return value


def _wrong(param: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{param} {what}", param=param, code=CODE)


# What the contents say, and how long it is: one pass does both.


def _contents_tokens(contents: object) -> int:
    """Checks the contents' outer shape and estimates their tokens. What is inside is the upstream's to judge."""
    if not isinstance(contents, list) or not contents:
        raise _wrong(
            "contents", 'must be a list of at least one content, like {"role": "user", "parts": [{"text": "Hi"}]}'
        )
    tokens = REPLY_TOKENS
    for index, content in enumerate(contents):
        if not isinstance(content, dict):
            raise _wrong(f"contents[{index}]", "must be an object with role and parts")
        parts = content.get("parts")
        if not isinstance(parts, list):
            raise _wrong(f"contents[{index}].parts", 'must be a list of parts, like {"text": "Hi"}')
        tokens += MESSAGE_TOKENS + _parts_tokens(parts, f"contents[{index}].parts")
    return tokens


def _parts_tokens(parts: list[Any], where: str) -> int:
    tokens = 0
    for place, part in enumerate(parts):
        if not isinstance(part, dict):
            raise _wrong(f"{where}[{place}]", 'must be an object, like {"text": "Hi"}')
        tokens += _part_tokens(part)
    return tokens


def _part_tokens(part: JsonObject) -> int:
    text = part.get("text")
    if isinstance(text, str):
        return text_tokens(text)
    inline = part.get("inlineData", part.get("inline_data"))
    if isinstance(inline, dict):
        kind = inline.get("mimeType", inline.get("mime_type"))
        data = inline.get("data")
        length = len(data) if isinstance(data, str) else 0
        if isinstance(kind, str) and kind.startswith("image/"):
            return image_tokens(None)
        if isinstance(kind, str) and kind.startswith(("audio/", "video/")):
            return audio_tokens(length)
        return file_tokens(length)
    if "fileData" in part or "file_data" in part:
        return FILE_ID_TOKENS
    return json_tokens(part)


def _other_tokens(request: JsonObject) -> int:
    tokens = 0
    for name in ("systemInstruction", "tools"):
        value = _member(request, name)
        if value:
            tokens += json_tokens(value)
    return tokens


# To an upstream of this format.


def prepare_upstream(call: Call, *, model: str) -> bytes:
    """The body for an upstream of this format: the client's own bytes wherever nothing must change.

    The model is in the path. Bodies that name it, too, are made to name the same. Bytes in which a key the gateway
    reads might be repeated are written anew, so that the upstream sees what was authorised.
    """
    body, raw = call.body, call.raw
    named = model if model.startswith(_TUNED) else f"models/{model.removeprefix('models/')}"
    changed: JsonObject = {}
    if "model" in body and body["model"] != named:
        changed["model"] = named
    for name in (_COUNTED, _snake(_COUNTED)):
        inner = body.get(name)
        if isinstance(inner, dict) and inner.get("model") != named:
            changed[name] = {**inner, "model": named}
    if changed:
        return dumps({**body, **changed})
    written = dumps(body)
    # Equal bytes prove that no key was repeated, at a tenth of what looking for one costs.
    return written if raw is None or written == raw or _may_repeat(raw) else raw


def with_signed_calls(call: Call, target: Target) -> Call:
    """`call` with the documented stand-in on the first call of each step that has lost its signature, where the model
    is certain to refuse a step without. Clients that keep only texts and calls lose it.

    Earlier turns get theirs, too, though nobody checks those: what was sent must not change when the history grows.
    """
    if call.operation != "chat" or not takes_placeholder(target.rules) or target.options.strict_passthrough:
        return call
    contents = call.body["contents"]
    signed = [with_signed_call(content) if content.get("role") == "model" else content for content in contents]
    if all(new is old for new, old in zip(signed, contents, strict=True)):
        return call
    return call.with_body({**call.body, "contents": signed})


def with_signed_call(content: JsonObject) -> JsonObject:
    """A content of the model's with a signature on its first call: the documented stand-in, where it has none."""
    for place, part in enumerate(content["parts"]):
        if part.get("functionCall", part.get("function_call")) is None:
            continue
        if any(part.get(name) for name in _SIGNATURE):
            return content
        rest = {name: value for name, value in part.items() if name not in _SIGNATURE}
        parts = list(content["parts"])
        parts[place] = {**rest, "thoughtSignature": PLACEHOLDER}
        return {**content, "parts": parts}
    return content


_SIGNATURE = ("thoughtSignature", "thought_signature")


def _may_repeat(raw: bytes) -> bool:
    if b"\\u004" in raw:  # a capital letter of a key, spelled differently
        return True
    if b"generationConfig" in raw and b"generation_config" in raw:
        return True
    return may_repeat(raw, _SPELLINGS)


def counted(body: JsonObject, *, model: str, platform: str) -> JsonObject:
    """A request to be counted: Vertex takes it as it is, the Gemini API whole requests in an object of their own."""
    if platform == "vertex":
        return {name: body[name] for name in ("contents", "systemInstruction", "tools") if name in body}
    return {_COUNTED: {"model": model if model.startswith(_TUNED) else f"models/{model}", **body}}


def count_request(body: JsonObject) -> JsonObject:
    """The request in the body of `countTokens`."""
    for name, value in body.items():
        if camel(name) == _COUNTED and isinstance(value, dict):
            return value
    return body
