"""Chunks of a stream to canonical events. A whole answer is one chunk.

Each chunk is an answer with new parts only; usage is cumulative. What candidates say is read in `candidate`; the
last finish of each counts, as old models put one on every chunk, and is told when the body ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.events import (
    Ended,
    Event,
    Finished,
    Started,
    UsageReported,
)
from oneapi_mw.errors import UpstreamError, UpstreamInvalidResponse
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import NO_TOOLS, ToolUsage, Usage
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.gemini.candidate import MAX_INDEX, Candidate, MalformedChunkError
from oneapi_mw.wire.gemini.content import (
    NAME,
    camelised,
    extras,
)
from oneapi_mw.wire.gemini.finish import FAILED, decode_finish, with_calls
from oneapi_mw.wire.gemini.tool_usage import tool_usage
from oneapi_mw.wire.gemini.usage import (
    decode_tier,
    decode_usage,
    merge_usage,
    says_zero,
    unmapped_usage,
)

MAX_ACCUMULATED_CHARS = 32 * 1024 * 1024

_ENVELOPE = mapped(
    "candidates", "usageMetadata", "modelVersion", "responseId", "createTime", promptFeedback=mapped("blockReason")
)


def in_camel_case(chunk: JsonObject) -> JsonObject:
    """`chunk` as it should be: some proxies write its names with underscores."""
    if _is_snake(chunk):
        return _respelled(chunk)
    candidates = chunk.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        if isinstance(candidate, dict) and (_is_snake(candidate) or _snake_parts(candidate)):
            return _respelled(chunk)
    return chunk


def _respelled(chunk: JsonObject) -> JsonObject:
    spelled: JsonObject = camelised(chunk)
    return spelled


def _snake_parts(candidate: Mapping[str, Any]) -> bool:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list):
        return False
    return _is_snake([name for part in parts if isinstance(part, dict) for name in part])


def _is_snake(members: Iterable[str]) -> bool:
    """Whether one of the names has an underscore. Every chunk comes by here, several times."""
    return "_" in "".join(members)


def _speaks(candidate: Mapping[str, Any]) -> bool:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return isinstance(parts, list) and any(isinstance(part, dict) and part.get("text", "?") for part in parts)


class SignificantReader:
    """Beginning, usage and ending of a stream; its content is not looked at.

    Args:
        model: name to report in place of the upstream's.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self._version = ""
        self._report: JsonObject = {}
        self._told: object = None
        self._grounding: dict[int, Any] = {}
        self._contexts: dict[int, Any] = {}
        self._finishes: dict[int, Finished] = {}
        self._candidates: set[int] = set()
        self._block: str | None = None
        self._block_message: str | None = None
        self.spoken = False
        """Some part said something."""
        self.started = False
        self.code_runs = 0
        """Code that ran, as whoever has the chunks counts it."""

    def read(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Events of one parsed chunk, in order. Raises `MalformedChunkError`."""
        events: list[Event] = []
        candidates, feedback = chunk.get("candidates"), chunk.get("promptFeedback")
        if candidates is not None and not isinstance(candidates, list):
            raise MalformedChunkError("candidates is not a list")
        if not self._version and isinstance(chunk.get("modelVersion"), str):
            self._version = chunk["modelVersion"]
        report = chunk.get("usageMetadata")
        if isinstance(report, dict):
            self._report = merge_usage(self._report, report)
        if not self.started and (candidates or feedback or isinstance(report, dict)):
            self.started = True
            events.append(self._start(chunk))
        if isinstance(feedback, dict) and isinstance(feedback.get("blockReason"), str):
            self._block = feedback["blockReason"]
            message = feedback.get("blockReasonMessage")
            self._block_message = message if isinstance(message, str) else None
        for place, candidate in enumerate(candidates or ()):
            if not isinstance(candidate, dict):
                raise MalformedChunkError("a candidate is not an object")
            index = candidate.get("index", place)
            index = place if index is None else index
            if type(index) is not int or not 0 <= index <= MAX_INDEX:
                raise MalformedChunkError("the index of a candidate is out of range")
            self._candidates.add(index)
            self._candidate(index, candidate, events)
        if isinstance(report, dict) and self._reports_now():
            self._tell_usage(events)
        return events

    def _start(self, chunk: Mapping[str, Any]) -> Started:
        answer_id, version = chunk.get("responseId"), chunk.get("modelVersion")
        report = chunk.get("usageMetadata")
        return Started(
            id=answer_id if isinstance(answer_id, str) else "",
            model=self._model if self._model is not None else (version if isinstance(version, str) else ""),
            tier=decode_tier(report) if isinstance(report, dict) else None,
        )

    def _candidate(self, index: int, candidate: Mapping[str, Any], events: list[Event]) -> None:
        self.spoken = self.spoken or _speaks(candidate)
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict) and grounding:
            self._grounding[index] = grounding
        context = candidate.get("urlContextMetadata")
        if isinstance(context, dict):
            self._contexts[index] = context
        found = decode_finish(candidate.get("finishReason"))
        if found is None:
            return
        reason, detail = found
        message = candidate.get("finishMessage")
        self._finishes[index] = Finished(
            index,
            reason,
            detail=detail,
            explanation=message if isinstance(message, str) else None,
            safety=candidate.get("safetyRatings"),
            grounding=self._grounding.get(index),
        )

    def _reports_now(self) -> bool:
        """Usage comes with every chunk: told at the beginning, for streams that break off, and at endings."""
        return self._told is None or bool(self._finishes)

    @property
    def usage(self) -> Usage | None:
        """As reported so far."""
        return decode_usage(self._report, self.tools.hosted)

    @property
    def tools(self) -> ToolUsage:
        """What hosted tools did so far."""
        if not (self._grounding or self._contexts or self.code_runs):
            return NO_TOOLS
        grounding, contexts = self._grounding.values(), self._contexts.values()
        return tool_usage(self._version, grounding, contexts, code=self.code_runs)

    @property
    def says_zero(self) -> bool:
        """Whether what was reported is that nothing was consumed."""
        return says_zero(self._report)

    def _tell_usage(self, events: list[Event]) -> None:
        usage = self.usage
        if usage is None or usage == self._told:
            return
        self._told = usage
        rest = unmapped_usage(self._report)
        events.append(UsageReported(usage, {NAME: rest} if rest else {}))

    @property
    def complete(self) -> bool:
        """Whether the stream may end now: every candidate that began has said how it ended, or none may begin."""
        if self._block is not None and not self._candidates:
            return True
        return bool(self._finishes) and self._candidates <= self._finishes.keys()

    def failure(self) -> UpstreamError | None:
        """Why the ending is no answer: our history was wrong, or nothing came but an excuse."""
        for finished in self._finishes.values():
            if finished.detail == FAILED:
                return UpstreamError(
                    "The model refused the history: a thought signature is missing. Send earlier function calls "
                    "with their signatures",
                    status=400,
                    code="missing_thought_signature",
                    upstream_status=400,
                )
            if finished.reason == "malformed_call" and not self.spoken:
                word = finished.detail or "MALFORMED_FUNCTION_CALL"
                return UpstreamInvalidResponse(f"The model's answer was malformed ({word}): try again")
        return None

    def end(self) -> list[Event]:
        """The stream is complete: what was kept until now, and `Ended`."""
        events: list[Event] = []
        self._tell_usage(events)
        return [*events, *(self._finishes[index] for index in sorted(self._finishes)), *self._blocked(), self._ended()]

    def _blocked(self) -> list[Event]:
        if self._block is None or self._candidates:
            return []
        return [Finished(0, "content_filter", detail=self._block, explanation=self._block_message)]

    def _ended(self) -> Ended:
        return Ended(tier=decode_tier(self._report), prompt_block=self._block)


class ChunkReader(SignificantReader):
    """Every event of a stream.

    Args:
        whole: the one chunk is a whole answer, whose parts are not cut.
    """

    def __init__(self, model: str | None = None, *, whole: bool = False) -> None:
        super().__init__(model)
        self._whole = whole
        self._machines: dict[int, Candidate] = {}
        self._size = 0
        self._answer_id: object = None

    def _start(self, chunk: Mapping[str, Any]) -> Started:
        self._answer_id = chunk.get("responseId")
        return replace(super()._start(chunk), extras=extras(chunk, _ENVELOPE))

    def _candidate(self, index: int, candidate: Mapping[str, Any], events: list[Event]) -> None:
        machine = self._machines.get(index)
        if machine is None:
            machine = self._machines[index] = Candidate(index, self._answer_id, whole=self._whole)
        super()._candidate(index, candidate, events)
        machine.grounding = self._grounding.get(index)
        before = machine.size
        machine.read(candidate, events)
        self._size += machine.size - before
        if self._size > MAX_ACCUMULATED_CHARS:
            raise MalformedChunkError("the answer is too large to convert")

    def end(self) -> list[Event]:
        events: list[Event] = []
        for index in sorted(self._machines):
            self._machines[index].finish(events)
        self._tell_usage(events)
        for index in sorted(self._machines):
            machine = self._machines[index]
            finished = self._finishes.get(index) or Finished(index, "unknown")
            finished = with_calls(finished, any_call=machine.any_call)
            changes: dict[str, Any] = {"grounding": machine.grounding}
            if machine.extras:
                changes["extras"] = machine.extras
            events.append(replace(finished, **changes))
        return [*events, *self._blocked(), self._ended()]
