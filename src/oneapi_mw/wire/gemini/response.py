"""Whole answers, to and from the canonical model."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    Citation,
    CloudUri,
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
    Url,
    Video,
)
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamInvalidResponse
from oneapi_mw.jsontext import well_formed
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import NO_TOOLS, NOTHING, ToolUsage, Usage
from oneapi_mw.wire.arguments import answer_object, wrapped_text
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.gemini.call import wants_thoughts
from oneapi_mw.wire.gemini.candidate import MalformedChunkError
from oneapi_mw.wire.gemini.content import encode_hosted, encode_signature, extras_of, is_enveloped
from oneapi_mw.wire.gemini.finish import encode_finish
from oneapi_mw.wire.gemini.grounding import encode_grounding
from oneapi_mw.wire.gemini.produced import delivers_nothing
from oneapi_mw.wire.gemini.reader import ChunkReader, SignificantReader, in_camel_case
from oneapi_mw.wire.gemini.tool_usage import code_runs
from oneapi_mw.wire.gemini.usage import encode_usage

_OWN_ID = re.compile(r"(?!msg_|resp_|chatcmpl-|gen-)[A-Za-z0-9_-]{1,64}")
_ID_BYTES = 16
_COUNT = "totalTokens"
EMPTY: JsonObject = {"text": ""}
"""Clients want a part in every content."""


def answer_id(upstream_id: str) -> str:
    """An id of this format: the upstream's when it is one, else made from it, so that it stays the same."""
    if _OWN_ID.fullmatch(upstream_id):
        return upstream_id
    digest = hashlib.sha256(upstream_id.encode("utf-8", "surrogatepass")).digest()[:_ID_BYTES]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


# Decoding.


def decode_response(body: JsonObject) -> Response:
    """Read by the same machine as a stream, so that both give the same answer.

    Raises: `UpstreamError` when it is an excuse, `UpstreamInvalidResponse` when it is no answer.
    """
    body = in_camel_case(body)
    if _COUNT in body and "candidates" not in body:
        return Response(usage=counted(body))
    reader = ChunkReader(whole=True)
    try:
        events = reader.read(body)
    except MalformedChunkError as exc:
        raise UpstreamInvalidResponse(f"The upstream sent a malformed answer: {exc}") from None
    error = reader.failure()
    if error is not None:
        raise error
    if not reader.started or not (body.get("candidates") or body.get("promptFeedback")):
        raise UpstreamInvalidResponse("The upstream's answer has no candidates")
    return fold([*events, *reader.end()])


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """Usage of a whole answer; `None` when it reports none."""
    reader = _read_whole(body)
    if reader is None:
        return None
    return NOTHING if reader.says_zero and delivers_nothing(body) else reader.usage


def read_tools(body: Mapping[str, Any]) -> ToolUsage:
    """What hosted tools did for a whole answer."""
    reader = _read_whole(body)
    return NO_TOOLS if reader is None else reader.tools


def _read_whole(body: Mapping[str, Any]) -> SignificantReader | None:
    reader = SignificantReader()
    reader.code_runs = code_runs(body)
    try:
        reader.read(body)
    except MalformedChunkError:
        return None
    return reader


def counted(body: Mapping[str, Any]) -> Usage | None:
    """The answer of `countTokens` as usage of a prompt."""
    total, cached = body.get(_COUNT), body.get("cachedContentTokenCount")
    if type(total) is not int or total < 0:
        return None
    return Usage(input_tokens=total, cache_read=min(max(0, cached), total) if type(cached) is int else 0)


# Encoding.


def encode_response(response: Response, call: Call, *, request_id: str = "") -> JsonObject:
    if call.operation == "count_tokens":
        return {_COUNT: response.usage.input_tokens if response.usage is not None else 0}
    head: JsonObject = {}
    thoughts = wants_thoughts(call)
    found = response.candidates or (Candidate(),)
    candidates = [_encode_candidate(candidate, thoughts=thoughts) for candidate in found]
    said = any(candidate["content"]["parts"] != [EMPTY] for candidate in candidates)
    if not said and is_blocked(response.prompt_block, response.candidates):
        explanation = next((candidate.explanation for candidate in response.candidates), None)
        head["promptFeedback"] = prompt_feedback(response.prompt_block, explanation)
    else:
        head["candidates"] = candidates
    if response.usage is not None:
        head["usageMetadata"] = encode_usage(response.usage, extras_of(response.usage_extras), response.tier)
    head["modelVersion"] = call.model
    head["responseId"] = answer_id(response.id or request_id)
    return merged(head, extras_of(response.extras))


def is_blocked(prompt_block: str | None, candidates: Sequence[Candidate]) -> bool:
    """Whether an answer that says nothing means that the prompt was refused."""
    if prompt_block is not None:
        return True
    return bool(candidates) and all(
        candidate.finish == "content_filter" and candidate.finish_detail is None for candidate in candidates
    )


_BLOCKS = frozenset(
    {
        "SAFETY",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "IMAGE_SAFETY",
        "MODEL_ARMOR",
        "JAILBREAK",
        "BLOCKED_REASON_UNSPECIFIED",
    }
)


def prompt_feedback(word: str | None, explanation: str | None) -> JsonObject:
    feedback: JsonObject = {"blockReason": word if word in _BLOCKS else "SAFETY"}
    if explanation is not None:
        feedback["blockReasonMessage"] = explanation
    return feedback


def _encode_candidate(candidate: Candidate, *, thoughts: bool) -> JsonObject:
    parts = PartWriter(thoughts=thoughts)
    cited: list[tuple[int, int, str, Sequence[Citation]]] = []
    logprobs: list[Mapping[str, Any]] = []
    cut = candidate.finish in ("length", "content_filter")
    refused = False
    for block in candidate.blocks:
        refused = refused or isinstance(block, Refusal)
        written = parts.write(block, cut=cut)
        if isinstance(block, Text):
            logprobs += block.logprobs
            if written:
                cited.append((len(parts.parts) - len(written), 0, block.text, block.citations))
    parts.close()
    body: JsonObject = {
        "index": candidate.index,
        "content": {"role": "model", "parts": parts.parts or [EMPTY]},
        "finishReason": encode_finish(candidate.finish, candidate.finish_detail, refused=refused),
    }
    grounding = candidate.grounding or encode_grounding(cited)
    body.update(endings(candidate.explanation, candidate.safety, grounding, logprobs))
    return merged(body, extras_of(candidate.extras))


def endings(explanation: str | None, safety: Any, grounding: Any, logprobs: Sequence[Mapping[str, Any]]) -> JsonObject:
    """Members of a candidate that stand beside its content."""
    found = {
        "finishMessage": explanation,
        "safetyRatings": safety,
        "groundingMetadata": grounding,
        "logprobsResult": encode_logprobs(logprobs) if logprobs else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def encode_logprobs(entries: Sequence[Mapping[str, Any]]) -> JsonObject:
    return {
        "chosenCandidates": [_chosen(entry) for entry in entries],
        "topCandidates": [
            {"candidates": [_chosen(other) for other in entry.get("top_logprobs") or ()]} for entry in entries
        ],
    }


def _chosen(entry: Mapping[str, Any]) -> JsonObject:
    return {"token": entry.get("token"), "logProbability": entry.get("logprob")}


class PartWriter:
    """Blocks of an answer to parts. A signature of reasoning stands on the part that follows it."""

    def __init__(self, *, thoughts: bool) -> None:
        self.parts: list[JsonObject] = []
        self._thoughts = thoughts
        self._signature: str | None = None

    def write(self, block: Block, *, cut: bool = False) -> list[JsonObject]:
        """The parts for `block`, which are kept, too.

        Args:
            cut: the answer ended early: a call whose arguments are not whole must not run.
        """
        before = len(self.parts)
        self._write(block, cut)
        return self.parts[before:]

    def close(self) -> list[JsonObject]:
        """The part for a signature nothing followed."""
        before = len(self.parts)
        if self._signature is not None:
            self._add(dict(EMPTY))
        return self.parts[before:]

    def hold(self, opaque: ReasoningOpaque) -> None:
        """A signature for the part that comes next."""
        if self._signature is not None:
            self._add(dict(EMPTY))
        self._signature = encode_signature(opaque)

    def _write(self, block: Block, cut: bool) -> None:
        match block:
            case Text(text=text, opaque=opaque):
                if text:
                    self._add({"text": text}, opaque)
                elif opaque is not None and encode_signature(opaque) is not None:
                    self._add(dict(EMPTY), opaque)
            case Refusal(text=text) if text:
                self._add({"text": text})
            case Reasoning():
                self._reason(block)
            case ToolCall():
                part = call_part(block, cut=cut)
                if part is not None:
                    self._add(part, block.opaque)
            case Image(opaque=opaque):
                self._media(block.source, opaque)
            case Audio(source=Inline() as source):
                self._media(source, None)
            case Audio(transcript=str(transcript)) if transcript:
                self._add({"text": transcript})
            case Video(source=source):
                self._media(source, None)
            case HostedCall() | HostedResult():
                part = encode_hosted(block)
                if part is not None:
                    self._add(part, block.opaque if isinstance(block, HostedCall) else None)
            case Opaque(format="gemini", value=dict(value)):
                self._add(value)
            case _:
                pass  # blocks of requests, and what belongs to another format

    def _reason(self, block: Reasoning) -> None:
        part: JsonObject | None = None
        if block.text and self._thoughts:
            part = {"text": well_formed(block.text), "thought": True}
        opaque = block.opaque
        if opaque is not None and (part is None or is_enveloped(opaque)):
            self.hold(opaque)
        elif opaque is not None and part is not None and (own := encode_signature(opaque)) is not None:
            part["thoughtSignature"] = own
        if part is None:
            return
        held, self._signature = (self._signature, None) if opaque is None else (None, self._signature)
        if held is not None:
            self.parts.append({"text": "", "thoughtSignature": held})
        self.parts.append(part)

    def _media(self, source: Any, opaque: ReasoningOpaque | None) -> None:
        part = media_part(source)
        if part is not None:
            self._add(part, opaque)

    def _add(self, part: JsonObject, opaque: ReasoningOpaque | None = None) -> None:
        own = encode_signature(opaque) if opaque is not None else None
        held, self._signature = self._signature, None
        if own is not None and held is not None:
            self.parts.append({"text": "", "thoughtSignature": held})
        signature = own or held
        self.parts.append({**part, "thoughtSignature": signature} if signature is not None else part)


def call_part(call: ToolCall, *, cut: bool = False) -> JsonObject | None:
    """The part for a call; `None` for one that was cut off."""
    if call.kind == "custom":
        args = wrapped_text(call.arguments)
    else:
        args = answer_object(call.arguments)
        if cut and "_malformed_arguments" in args:
            return None
    return {"functionCall": {"id": call.id, "name": call.name, "args": args}}


def media_part(source: Any) -> JsonObject | None:
    match source:
        case Inline(media_type, data):
            return {"inlineData": {"mimeType": media_type.replace("/*", "/wav"), "data": data}}
        case Url(url=uri, media_type=media_type) | CloudUri(uri=uri, media_type=media_type):
            file: JsonObject = {"fileUri": uri}
            if media_type is not None:
                file["mimeType"] = media_type
            return {"fileData": file}
        case _:
            return None
