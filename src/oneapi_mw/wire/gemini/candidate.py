"""One candidate of an answer: its parts, however they are cut, to blocks.

Moves:

    text or thought           -> into the open run of that kind; else end the open run, begin one
    signature on it           -> of that run, which takes no more text
    function call             -> ends the open run; comes whole, or argument by argument and is told at its end
    media, hosted parts       -> end the open run, come whole
    end of the body           -> citations are found, the open run ends
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    Citation,
    Extras,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Text,
    ToolCall,
    Video,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockKind,
    BlockStarted,
    CitationAdded,
    Event,
    LogprobsAdded,
    OpaqueDelta,
    ReasoningDelta,
    TextDelta,
)
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import arguments_text
from oneapi_mw.wire.extras import mapped, unmapped
from oneapi_mw.wire.gemini.content import (
    ENVELOPE,
    HOSTED,
    NAME,
    decode_hosted,
    decode_signature,
    decode_uri,
    extras,
    media_block,
)
from oneapi_mw.wire.gemini.grounding import find_citations
from oneapi_mw.wire.gemini.partial import MalformedPathError, PartialArguments
from oneapi_mw.wire.ids import synthetic_id, unique_id

MAX_INDEX = 128
"""Candidates and calls beyond this are an attack on whoever keeps a list of them."""

_CANDIDATE = mapped(
    "index", "content", "finishReason", "finishMessage", "safetyRatings", "groundingMetadata", "logprobsResult"
)
_PART = mapped("text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall", *HOSTED)
_DATA = ("text", "functionCall", "inlineData", "fileData", *HOSTED)


class MalformedChunkError(ValueError):
    """A chunk of a known kind with a value that cannot be."""


class _Run:
    """A stretch of text or of thoughts."""

    __slots__ = ("block", "citations", "kind", "logprobs", "opaque", "parts")

    def __init__(self, kind: Literal["text", "reasoning"], block: int) -> None:
        self.kind = kind
        self.block = block
        self.parts: list[str] = []
        self.citations: list[Citation] = []
        self.logprobs: list[Mapping[str, Any]] = []
        self.opaque: ReasoningOpaque | None = None

    def content(self) -> Block:
        text = "".join(self.parts)
        if self.kind == "text":
            return Text(text, tuple(self.citations), tuple(self.logprobs), opaque=self.opaque)
        return Reasoning((ReasoningText(text),) if text else (), self.opaque)


class _PartialCall:
    """A function call whose arguments come one by one."""

    __slots__ = ("arguments", "call_id", "name", "opaque")

    def __init__(self) -> None:
        self.name = ""
        self.call_id: object = None
        self.arguments = PartialArguments()
        self.opaque: ReasoningOpaque | None = None


class Candidate:
    """The blocks of one candidate."""

    def __init__(self, index: int, answer_id: object, *, whole: bool) -> None:
        self._index = index
        self._answer_id = answer_id  # tells this answer from the next: ids of calls are made from it
        self._whole = whole
        self._next_block = 0
        self._run: _Run | None = None
        self._last_text: list[str] = []  # ended texts, for offsets that count all of them
        self._text_bytes = 0
        self._offsets: dict[int, int] = {}  # part -> byte offset of its text
        self._part = 0
        self._ids: set[str] = set()
        self._partial: _PartialCall | None = None
        self._code_id = ""
        self.grounding: Any = None
        self.size = 0
        self.extras: Extras = {}
        self.any_call = False

    def read(self, candidate: Mapping[str, Any], events: list[Event]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if parts is not None and not isinstance(parts, list):
            raise MalformedChunkError("parts is not a list")
        for part in parts or ():
            if not isinstance(part, dict):
                raise MalformedChunkError("a part is not an object")
            self._read_part(part, events)
            self._part += 1
        self._logprobs(candidate.get("logprobsResult"), events)
        rest = unmapped(candidate, _CANDIDATE)
        if rest:
            self.extras = {NAME: {**self.extras.get(NAME, {}), **rest}}

    def finish(self, events: list[Event]) -> None:
        """Nothing more will come."""
        self._end_partial(events)
        self._end_run(events)

    # Parts.

    def _read_part(self, part: Mapping[str, Any], events: list[Event]) -> None:
        signature = decode_signature(part.get("thoughtSignature"))
        text = part.get("text")
        if isinstance(text, str):
            kind: Literal["text", "reasoning"] = "reasoning" if part.get("thought") is True else "text"
            self._say(kind, text, signature, events)
            return
        data = next((name for name in _DATA if isinstance(part.get(name), dict)), None)
        match data:
            case None:
                if signature is not None:
                    self._say("text", "", signature, events)
                elif rest := unmapped(part, _PART):
                    self._whole_block("opaque", Opaque("foreign", NAME, next(iter(rest)), dict(part)), events)
            case "functionCall":
                self._call(part["functionCall"], signature, events)
            case "inlineData" | "fileData":
                self._media(part, data, signature, events)
            case _:
                self._hosted(part, data, events)

    def _say(
        self, kind: Literal["text", "reasoning"], text: str, signature: ReasoningOpaque | None, events: list[Event]
    ) -> None:
        if signature is not None and signature.data.startswith(ENVELOPE):
            signature = self._enveloped(kind, signature, events)
        if not text and signature is None:
            return
        run = self._run
        if not text and run is not None and run.opaque is None:
            self._sign(run, signature, events)  # of what came before
            return
        if run is None or run.kind != kind or run.opaque is not None:
            run = self._open(kind, events)
        if text:
            if kind == "text":
                self._offsets.setdefault(self._part, self._text_bytes)
                self._text_bytes += len(text.encode("utf-8", "surrogatepass"))
            run.parts.append(text)
            self.size += len(text)
            events.append(
                TextDelta(self._index, run.block, text)
                if kind == "text"
                else ReasoningDelta(self._index, run.block, text)
            )
        self._sign(run, signature, events)

    def _enveloped(self, kind: str, signature: ReasoningOpaque, events: list[Event]) -> ReasoningOpaque | None:
        """Another vendor's signature stands on the part behind the thoughts it is about."""
        if kind == "reasoning":
            return signature
        run = self._run
        if run is None or run.kind != "reasoning" or run.opaque is not None:
            run = self._open("reasoning", events)
        self._sign(run, signature, events)
        return None

    def _sign(self, run: _Run, signature: ReasoningOpaque | None, events: list[Event]) -> None:
        if signature is not None:
            run.opaque = signature
            events.append(OpaqueDelta(self._index, run.block, signature))

    def _open(self, kind: Literal["text", "reasoning"], events: list[Event]) -> _Run:
        self._end_run(events)
        run = self._run = _Run(kind, self._new_block())
        events.append(BlockStarted(self._index, run.block, kind))
        return run

    def _new_block(self) -> int:
        self._next_block += 1
        return self._next_block - 1

    def _end_run(self, events: list[Event]) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        if run.kind == "text":
            text = "".join(run.parts)
            self._cite(run, text, events)
            self._last_text.append(text)
        events.append(BlockEnded(self._index, run.block, run.content()))

    def _cite(self, run: _Run, text: str, events: list[Event]) -> None:
        """What the grounding that is known by now says of this text."""
        if self.grounding is None:
            return
        texts = [*self._last_text, text]
        parts = self._offsets if self._whole else None
        for spot in find_citations(self.grounding, texts, parts):
            if spot.place == len(texts) - 1 and spot.citation not in run.citations:
                run.citations.append(spot.citation)
                events.append(CitationAdded(self._index, run.block, spot.citation))

    def _logprobs(self, result: object, events: list[Event]) -> None:
        run = self._run
        if not isinstance(result, dict) or run is None or run.kind != "text":
            return
        entries = decode_logprobs(result)
        if entries:
            run.logprobs += entries
            events.append(LogprobsAdded(self._index, run.block, tuple(entries)))

    def _whole_block(self, kind: BlockKind, block: Block, events: list[Event], **known: Any) -> None:
        self._end_run(events)
        number = self._new_block()
        events.append(BlockStarted(self._index, number, kind, **known))
        if isinstance(block, Audio) and isinstance(block.source, Inline):
            events.append(AudioDelta(self._index, number, block.source.data))
        events.append(BlockEnded(self._index, number, block))

    def _media(
        self, part: Mapping[str, Any], data: str, signature: ReasoningOpaque | None, events: list[Event]
    ) -> None:
        value = part[data]
        kind = value.get("mimeType")
        kind = kind if isinstance(kind, str) else None
        rest = extras(part, _PART)
        if data == "inlineData":
            encoded = value.get("data")
            if not isinstance(encoded, str):
                raise MalformedChunkError("inline data is not text")
            self.size += len(encoded)
            block = media_block(Inline(kind or "application/octet-stream", encoded), rest)
        else:
            uri = value.get("fileUri")
            if not isinstance(uri, str):
                raise MalformedChunkError("a file has no address")
            block = media_block(decode_uri(uri, kind), rest)
        match block:
            case Image():
                self._whole_block("image", replace(block, opaque=signature), events, opaque=signature)
            case Audio():
                self._whole_block("audio", block, events)
            case Video():
                self._whole_block("video", block, events)
            case _:
                self._whole_block("opaque", Opaque("foreign", NAME, data, dict(part)), events)

    def _hosted(self, part: Mapping[str, Any], data: str, events: list[Event]) -> None:
        given = part[data].get("id")
        if isinstance(given, str) and given:
            call_id = given
        elif data in ("executableCode", "toolCall"):
            call_id = synthetic_id("hosted", self._answer_id or "", self._index, self._next_block)
        else:
            call_id = self._code_id or synthetic_id("hosted", self._answer_id or "", self._index, self._next_block)
        block = decode_hosted(part, data, call_id, extras(part, _PART))
        if isinstance(block, HostedCall):
            self._code_id = call_id
            self._whole_block(
                "hosted_call", block, events, call_id=call_id, name=block.name, hosted=block.kind, opaque=block.opaque
            )
        elif isinstance(block, HostedResult):
            self._whole_block("hosted_result", block, events, call_id=call_id, hosted=block.kind)

    # Calls.

    def _call(self, call: Mapping[str, Any], signature: ReasoningOpaque | None, events: list[Event]) -> None:
        name, more, pieces = call.get("name"), call.get("willContinue") is True, call.get("partialArgs")
        if self._partial is not None and (not isinstance(name, str) or not name or "args" not in call):
            self._more(call, signature, events)
            return
        self._end_partial(events)
        if not isinstance(name, str) or not name:
            return  # a call without a name cannot be made
        if more or isinstance(pieces, list):
            self._partial = _PartialCall()
            self._partial.name, self._partial.call_id = name, call.get("id")
            self._more(call, signature, events)
            return
        args = call.get("args")
        if args is not None and not isinstance(args, dict):
            raise MalformedChunkError("the arguments of a call are not an object")
        self._tell_call(name, call.get("id"), arguments_text(args), signature, events)

    def _more(self, call: Mapping[str, Any], signature: ReasoningOpaque | None, events: list[Event]) -> None:
        partial = self._partial
        assert partial is not None
        name = call.get("name")
        if isinstance(name, str) and name and name != partial.name:
            self._end_partial(events)
            self._partial = partial = _PartialCall()
            partial.name, partial.call_id = name, call.get("id")
        partial.opaque = signature or partial.opaque
        pieces = call.get("partialArgs")
        for piece in pieces if isinstance(pieces, list) else ():
            if not isinstance(piece, dict):
                raise MalformedChunkError("a partial argument is not an object")
            try:
                self.size += partial.arguments.add(piece)
            except MalformedPathError as exc:
                raise MalformedChunkError(f"the path of a partial argument leads nowhere: {exc}") from None
        args = call.get("args")
        if isinstance(args, dict):
            partial.arguments.args.update(args)
        if call.get("willContinue") is not True:
            self._end_partial(events)

    def _end_partial(self, events: list[Event]) -> None:
        partial, self._partial = self._partial, None
        if partial is not None:
            text = dumps(partial.arguments.finished()).decode()
            self._tell_call(partial.name, partial.call_id, text, partial.opaque, events)

    def _tell_call(
        self, name: str, given: object, arguments: str, signature: ReasoningOpaque | None, events: list[Event]
    ) -> None:
        if len(self._ids) > MAX_INDEX:
            raise MalformedChunkError("too many tool calls")
        if signature is not None and signature.data.startswith(ENVELOPE):
            self._enveloped("call", signature, events)
            signature = None
        self._end_run(events)
        call_id = given if isinstance(given, str) and given else None
        call_id = call_id or synthetic_id(self._answer_id or "", self._index, len(self._ids), name)
        call_id = unique_id(call_id, self._ids)
        self._ids.add(call_id)
        self.any_call = True
        self.size += len(arguments)
        number = self._new_block()
        events += (
            BlockStarted(self._index, number, "tool_call", call_id=call_id, name=name, opaque=signature),
            ArgumentsDelta(self._index, number, arguments),
            BlockEnded(self._index, number, ToolCall(call_id, name, arguments, opaque=signature)),
        )


def decode_logprobs(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Token entries as OpenAI has them."""
    chosen, top = result.get("chosenCandidates"), result.get("topCandidates")
    entries: list[Mapping[str, Any]] = []
    for place, candidate in enumerate(chosen if isinstance(chosen, list) else ()):
        entry = _entry(candidate)
        if entry is None:
            continue
        others = top[place] if isinstance(top, list) and place < len(top) else None
        known = others.get("candidates") if isinstance(others, dict) else None
        entry["top_logprobs"] = [found for other in known or () if (found := _entry(other)) is not None]
        entries.append(entry)
    return entries


def _entry(candidate: object) -> JsonObject | None:
    if not isinstance(candidate, dict) or not isinstance(candidate.get("token"), str):
        return None
    token, logprob = candidate["token"], candidate.get("logProbability")
    if type(logprob) not in (int, float):
        logprob = 0.0
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}
