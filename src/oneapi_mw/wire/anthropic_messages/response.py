"""Whole answers, to and from the canonical model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamInvalidResponse
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages.content import VENDOR, encode_citation, extras_of
from oneapi_mw.wire.anthropic_messages.finish import encode_finish
from oneapi_mw.wire.anthropic_messages.produced import content_said
from oneapi_mw.wire.anthropic_messages.reader import MalformedEventError, MessageReader
from oneapi_mw.wire.anthropic_messages.stream import read_message
from oneapi_mw.wire.anthropic_messages.usage import decode_usage, encode_usage
from oneapi_mw.wire.arguments import answer_object, wrapped_text
from oneapi_mw.wire.envelope_text import TEXT_ALONE
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.ids import anthropic_id, made_id, unique_id

_PREFIX = "msg_"
_OURS = ("srvtoolu_", "mcptoolu_")
"""How ids of calls begin that Anthropic has carried out itself."""
_CUT = ("length", "content_filter", "refusal", "context_window")
"""Endings that may have cut a call in two."""


def answer_id(upstream_id: str, request_id: str) -> str:
    """An id of this format: the upstream's when it is one, else made from what is known of the request."""
    if upstream_id.startswith(_PREFIX):
        return upstream_id
    return made_id(_PREFIX, request_id or upstream_id, 24)


# Decoding.


def decode_response(body: JsonObject) -> Response:
    """Read by the same machine as a stream, so that both give the same answer. The answer to `count_tokens` is one
    that holds only usage.

    Raises: `UpstreamInvalidResponse` when it is no answer.
    """
    if "content" not in body and type(body.get("input_tokens")) is int:
        return Response(usage=decode_usage({"input_tokens": body["input_tokens"]}))
    if not isinstance(body.get("content"), list):
        raise UpstreamInvalidResponse("The upstream's answer has no content")
    reader = MessageReader()
    try:
        events = [*read_message(reader, body), *reader.end()]
    except MalformedEventError as exc:
        raise UpstreamInvalidResponse(f"The upstream sent a malformed answer: {exc}") from None
    return fold(events)


# Encoding.


def encode_response(response: Response, call: Call, *, request_id: str = "") -> JsonObject:
    if call.operation == "count_tokens":
        return {"input_tokens": response.usage.input_tokens if response.usage is not None else call.input_estimate}
    candidate = response.candidates[0] if response.candidates else Candidate(finish="content_filter")
    content = encode_content(candidate.blocks, cut=candidate.finish in _CUT)
    usage = response.usage
    if usage is None:
        output = estimate_tokens(content_said(content).text_bytes)
        usage = Usage(max(1, call.input_estimate), output, source="estimated")
    body: JsonObject = {
        "id": answer_id(response.id, request_id),
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": content,
        **encode_finish(
            candidate.finish,
            candidate.stop_sequence,
            candidate.finish_detail,
            candidate.explanation,
            spoken=any(isinstance(block, Refusal) for block in candidate.blocks),
            blocked=response.prompt_block is not None or not response.candidates,
            compaction=knows_compaction(call),
        ),
        "usage": encode_usage(usage, extras_of(response.usage_extras), tier=response.tier, buffered=True),
    }
    if is_container(response.container):
        body["container"] = response.container
    return merged(body, {**extras_of(response.extras), **extras_of(candidate.extras)})


def is_container(value: object) -> bool:
    """Whether a container is one of this format: others mean nothing to its clients."""
    return isinstance(value, dict) and isinstance(value.get("id"), str) and "expires_at" in value


def knows_compaction(call: Call) -> bool:
    """Whether the client has asked for compaction, and so for the ending of that name."""
    return any(name == b"anthropic-beta" and b"compact-" in value for name, value in call.outside.headers)


def encode_content(blocks: Iterable[Block], *, cut: bool = False) -> list[JsonObject]:
    """`content` of an answer. `cut`: the last call may not be all there."""
    content: list[JsonObject] = []
    ids: set[str] = set()
    unsigned = False  # whether the last of them is reasoning no vendor has signed
    for block in blocks:
        if isinstance(block, ToolCall) and block.opaque is not None:
            # This wire signs reasoning, not calls: the signature goes to the reasoning in front of the call.
            if unsigned:
                content[-1]["signature"] = block.opaque.data
            else:
                content.append(thinking("", block.opaque))
        encoded = encode_block(block, ids, cut=cut)
        if encoded is not None:
            content.append(encoded)
            unsigned = isinstance(block, Reasoning) and (block.opaque is None or block.opaque.vendor == TEXT_ALONE)
    return content


def encode_block(block: Block, ids: set[str], *, cut: bool = False) -> JsonObject | None:
    """A block of an answer; `None` for what this format has no place for. `ids` are those of the calls before it."""
    match block:
        case Text(text, citations):
            body: JsonObject = {"type": "text", "text": text}
            found = [encoded for citation in citations if (encoded := encode_citation(citation)) is not None]
            if found:
                body["citations"] = found
            return body if text or found else None
        case Refusal(text=text) | Audio(transcript=str(text)):
            return {"type": "text", "text": text} if text else None
        case Reasoning():
            return encode_reasoning(block)
        case ToolCall():
            body = {"type": "tool_use", "id": call_id(block.id, ids), "name": block.name}
            custom = block.kind == "custom"
            body["input"] = wrapped_text(block.arguments) if custom else answer_object(block.arguments, cut=cut)
            if block.caller is not None:
                body["caller"] = block.caller
            return merged(body, extras_of(block.extras))
        case HostedCall() if is_ours(block.id):
            return {**hosted_start(block), "input": block.input}
        case HostedResult(format="anthropic_messages", raw=dict(raw)):
            return raw
        case Opaque(format="anthropic_messages", value=dict(value)):
            return value
        case Image():
            return {"type": "text", "text": image_note(block)}
        case _:
            return None


def call_id(upstream_id: str, ids: set[str]) -> str:
    """A legal id, unlike those in `ids`, which it joins."""
    unique = unique_id(anthropic_id(upstream_id), ids)
    ids.add(unique)
    return unique


def is_ours(upstream_id: str | None) -> bool:
    """Whether a hosted call is Anthropic's own: nobody else can make its result."""
    return upstream_id is not None and upstream_id.startswith(_OURS)


def encode_reasoning(block: Reasoning) -> JsonObject | None:
    """A thinking block, signed or not; a redacted one where the vendor shows nothing else."""
    if is_redacted(block):
        assert block.opaque is not None
        return {"type": "redacted_thinking", "data": block.opaque.data}
    if not block.text and block.opaque is None:
        return None
    return thinking(block.text, block.opaque)


def is_redacted(block: Reasoning) -> bool:
    """Whether a block is one of Anthropic's redacted ones."""
    opaque = block.opaque
    return opaque is not None and opaque.kind == "encrypted" and opaque.vendor == VENDOR and not block.texts


def thinking(text: str, opaque: ReasoningOpaque | None) -> JsonObject:
    return {"type": "thinking", "thinking": text, "signature": "" if opaque is None else opaque.data}


def hosted_start(call: HostedCall) -> JsonObject:
    """A hosted call as it begins in a stream: without its input."""
    body: JsonObject = {"type": "mcp_tool_use" if call.kind == "mcp" else "server_tool_use", "id": call.id}
    body |= {"name": call.name, "input": {}}
    if call.server is not None:
        body["server_name"] = call.server
    return merged(body, extras_of(call.extras))


def image_note(image: Image) -> str:
    """What is said in place of an image, which answers of this format cannot hold."""
    source: Any = image.source
    if isinstance(source, Inline):
        return f"[image {source.media_type} {max(1, round(len(source.data) * 3 / 4 / 1024))} kB omitted]"
    return "[image omitted]"
