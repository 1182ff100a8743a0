"""Whole answers, to and from the canonical model."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from oneapi_mw.canonical.blocks import (
    Audio,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamInvalidResponse
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.errors import failed_midway
from oneapi_mw.wire.extras import mapped, merged, unmapped
from oneapi_mw.wire.media import encode_url
from oneapi_mw.wire.openai_chat.chunk import MalformedChunkError
from oneapi_mw.wire.openai_chat.content import NAME, encode_call, encode_citation, encode_details, extras_of
from oneapi_mw.wire.openai_chat.finish import encode_finish
from oneapi_mw.wire.openai_chat.produced import REASONING_FIELDS
from oneapi_mw.wire.openai_chat.reader import ChunkReader
from oneapi_mw.wire.openai_chat.usage import encode_usage

_PREFIX = "chatcmpl-"
REASONING = "reasoning"
"""Member with the text of the reasoning in answers that were made in another format, unless the client names one."""
_MESSAGE = mapped(
    "role",
    "content",
    "refusal",
    "annotations",
    "audio",
    "images",
    "tool_calls",
    "function_call",
    "reasoning_details",
    *REASONING_FIELDS,
)


def answer_id(upstream_id: str, prefix: str = _PREFIX) -> str:
    """An id of this format: the upstream's when it is one, else made from it, so that it stays the same."""
    if upstream_id.startswith(prefix):
        return upstream_id
    return prefix + hashlib.sha256(upstream_id.encode("utf-8", "surrogatepass")).hexdigest()[:29]


def decode_response(body: JsonObject) -> Response:
    """Read by the same machine as a stream, so that both give the same answer.

    Raises: `UpstreamError` when a choice ended in one, `UpstreamInvalidResponse` when it is no answer.
    """
    choices = _numbered(body.get("choices"))
    reader = ChunkReader()
    try:
        events: list[Event] = reader.read({**body, "choices": choices})
    except MalformedChunkError as exc:
        raise UpstreamInvalidResponse(f"The upstream sent a malformed answer: {exc}") from None
    if not reader.started:
        raise UpstreamInvalidResponse("The upstream's answer has no choices")
    response = fold([*events, *reader.end()])
    if any(candidate.finish == "error" for candidate in response.candidates):
        raise failed_midway()
    messages = {choice["index"]: choice.get("message") for choice in choices} if isinstance(choices, list) else {}
    return replace(
        response,
        candidates=tuple(_with_extras(candidate, messages.get(candidate.index)) for candidate in response.candidates),
    )


def _numbered(choices: object) -> object:
    """Choices and calls of a whole answer are told apart by their place where they have no index."""
    if not isinstance(choices, list):
        return choices
    numbered = []
    for place, choice in enumerate(choices):
        if not isinstance(choice, dict):
            return choices
        message = choice.get("message")
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        if isinstance(message, dict) and isinstance(calls, list) and all(isinstance(call, dict) for call in calls):
            calls = [{**call, "index": index} for index, call in enumerate(calls)]
            message = {**message, "tool_calls": calls}
        index = choice.get("index")
        numbered.append({**choice, "index": place if index is None else index, "message": message})
    return numbered


def _with_extras(candidate: Candidate, message: object) -> Candidate:
    rest = unmapped(message, _MESSAGE) if isinstance(message, dict) else {}
    if not rest:
        return candidate
    return replace(candidate, extras={NAME: {**extras_of(candidate.extras), "message": rest}})


def encode_response(
    response: Response, *, model: str, request_id: str = "", created: int = 0, reasoning: str = REASONING
) -> JsonObject:
    """
    Args:
        reasoning: name of the member with the text of the reasoning.
    """
    body: JsonObject = {
        "id": answer_id(response.id or request_id),
        "object": "chat.completion",
        "created": response.created or created,
        "model": model,
        "choices": [_encode_choice(candidate, reasoning) for candidate in response.candidates or (_BLOCKED,)],
    }
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, extras_of(response.usage_extras))
    if response.tier is not None:
        body["service_tier"] = response.tier
    if response.fingerprint is not None:
        body["system_fingerprint"] = response.fingerprint
    return merged(body, extras_of(response.extras))


_BLOCKED = Candidate(finish="content_filter")
"""Stands for an answer whose prompt was refused: clients expect one choice."""


def _encode_choice(candidate: Candidate, field: str) -> JsonObject:
    message = _encode_message(candidate, field)
    choice: JsonObject = {
        "index": candidate.index,
        "message": message,
        "logprobs": _encode_logprobs(candidate),
        "finish_reason": encode_finish(candidate.finish, refused=message["refusal"] is not None),
    }
    return merged(choice, extras_of(candidate.extras))


def _encode_logprobs(candidate: Candidate) -> JsonObject | None:
    said = [entry for block in candidate.blocks if isinstance(block, Text) for entry in block.logprobs]
    refused = [entry for block in candidate.blocks if isinstance(block, Refusal) for entry in block.logprobs]
    return {"content": said or None, "refusal": refused or None} if said or refused else None


def _encode_message(candidate: Candidate, field: str) -> JsonObject:
    texts: list[str] = []
    length = 0
    reasoning: list[Reasoning] = []
    calls: list[JsonObject] = []
    images: list[JsonObject] = []
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    for block in candidate.blocks:
        match block:
            case Text(text=text, citations=citations, opaque=opaque):
                if opaque is not None:
                    reasoning.append(Reasoning((), opaque))
                found = (encode_citation(citation, length, len(text)) for citation in citations)
                message["annotations"] += [annotation for annotation in found if annotation is not None]
                texts.append(text)
                length += len(text)
            case Refusal(text=text):
                message["refusal"] = (message["refusal"] or "") + text
            case Reasoning():
                reasoning.append(block)
            case ToolCall():
                calls.append(encode_call(block))
            case Image(source=source) if (url := encode_url(source)) is not None:
                images.append({"type": "image_url", "image_url": {"url": url}, "index": len(images)})
            case Audio():
                message["audio"] = _encode_audio(block)
            case HostedCall() | HostedResult():
                pass  # citations and counts survive, the calls have no place here
            case _:
                pass  # blocks of requests, and what belongs to another format
    message.update(_encode_reasoning(reasoning, field))
    if texts:
        message["content"] = "".join(texts)
    elif not calls and message["refusal"] is None and "audio" not in message:
        message["content"] = ""
    if images:
        message["images"] = images
    if calls:
        message["tool_calls"] = calls
    return message


def _encode_reasoning(blocks: list[Reasoning], field: str) -> JsonObject:
    """The text in one member, with signatures and ciphertexts beside it in `reasoning_details`."""
    texts = [block.text for block in blocks if block.text]
    members: JsonObject = {field: "\n\n".join(texts)} if texts else {}
    if any(block.opaque is not None for block in blocks):
        members["reasoning_details"] = encode_details(blocks)
    return members


def _encode_audio(audio: Audio) -> JsonObject:
    return {
        "id": audio.audio_id or "",
        "data": audio.source.data if isinstance(audio.source, Inline) else "",
        "expires_at": audio.expires_at or 0,
        "transcript": audio.transcript or "",
    }
