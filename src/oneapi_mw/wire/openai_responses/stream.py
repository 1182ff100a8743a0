"""A stream's bytes to frames, reading no more of each event than somebody needs.

Between a client and an upstream that both speak this format, nearly every network read is whole events that say
nothing but text. Such a block is recognised by what it does not contain and passed on unparsed. Anything else is
taken apart event by event.

A stream that fails ends in `response.failed`, made here where the id, the last number and the finished items are
known: clients of this format read no other failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.events import Ended, Event, Failed, UsageReported
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.errors import UpstreamError
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import ToolUsage, Usage
from oneapi_mw.wire.errors import truncated
from oneapi_mw.wire.framing.sse import MAX_EVENT_BYTES, SseEvent, encode_sse, parse_event
from oneapi_mw.wire.openai_responses.content import NAME, answer_id
from oneapi_mw.wire.openai_responses.event import MalformedEventError
from oneapi_mw.wire.openai_responses.finish import encode_failure, failure
from oneapi_mw.wire.openai_responses.produced import Tally
from oneapi_mw.wire.openai_responses.reader import TERMINAL, EventReader, SignificantReader
from oneapi_mw.wire.openai_responses.snapshot import skeleton
from oneapi_mw.wire.openai_responses.tool_usage import tool_usage
from oneapi_mw.wire.openai_responses.usage import decode_usage, encode_usage, says_zero
from oneapi_mw.wire.sse_stream import SseStreamDecoder, documents, is_utf8, malformed, mended, no_answer, too_large
from oneapi_mw.wire.zero import told_nothing

_SEQUENCE = re.compile(rb'"sequence_number" ?: ?(\d{1,15})')


def says_only_content(block: bytes) -> bool:
    """Whether no event in `block` begins or ends the answer, or is an error.

    Keys are looked for with their quotes: inside a JSON string these would be escaped.
    """
    return b'"response"' not in block and b'"error"' not in block and b"[DONE]" not in block and is_utf8(block)


class ResponsesStreamDecoder(SseStreamDecoder):
    """See `StreamDecoder`. A stream is complete at `response.completed` or `response.incomplete`, and nothing else.

    Until something is said, nothing is shown: an answer that fails before may still come from another upstream.
    """

    def __init__(self, *, full: bool, model: str | None, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._reader: SignificantReader = EventReader(model) if full else SignificantReader(model)
        self._model = model
        self._tally = Tally()
        self._full = full
        self._skimming = False  # something was said, and nobody needs to know what
        self._held: list[Event] = []
        self._ahead = bytearray()
        self._shown = False
        self._snapshot: JsonObject = {}
        self._ending: Mapping[str, Any] = {}  # the response that the last event tells
        self._last = b""  # what was shown last: the last number is in it

    def text_bytes(self) -> int:
        return self._tally.text_bytes()

    def text(self) -> str:
        return self._tally.text()

    def unreported(self) -> bool:
        return False  # usage is told with the ending, and nothing comes after that

    def tools(self) -> ToolUsage:
        if self._ending.get("output"):
            return tool_usage(self._ending)
        return tool_usage({**self._ending, "output": self._tally.finished()})

    def _read(self, block: bytes, *, cut: bool = False) -> list[Frame]:
        if self._skimming and not cut and says_only_content(block):
            self._tally.keep(block)
            self._last = block
            return [Frame((), block, NAME)]
        events: list[Event] = []
        shown: list[bytes] = []
        for lines in block.split(b"\n\n"):
            event = parse_event(lines)
            if event is None or not event.data:
                # Comments keep a client waiting, but only once it was told that an answer comes.
                if (self._shown or self._reader.said) and lines.startswith(b":") and not cut:
                    shown.append(lines + b"\n\n")
                continue
            if event.data.startswith(b"[DONE]"):
                continue  # some servers say so as well; the answer tells by itself
            error, usage = self._read_event(event, lines + b"\n\n", events, shown, cut=cut)
            if error is not None:
                frames = self._show(events, b"".join(shown))
                return frames + self._fail(error, usage)
            if self._over:
                break
        return self._show(events, b"".join(shown))

    def _show(self, events: list[Event], raw: bytes) -> list[Frame]:
        """Hold what only announces an answer back until something is said."""
        if not self._shown:
            self._held += events
            self._ahead += raw
            if len(self._ahead) > self._max_event_bytes:
                return self._fail(too_large())
            if not self._reader.said:
                return []
            events, raw = self._held, bytes(self._ahead)
            self._shown = True
            self._skimming = not self._full
        if not events and not raw:
            return []
        if raw:
            self._last = raw
        return [Frame(events, raw, NAME)]

    def _read_event(
        self, event: SseEvent, raw: bytes, events: list[Event], shown: list[bytes], *, cut: bool
    ) -> tuple[UpstreamError | None, Usage | None]:
        """Adds what an event means to `events` and its bytes to `shown`; or returns the error it means, and the usage.

        An event that is not JSON is passed on: it may be news to us only.
        """
        if not raw.isascii():
            event, raw = mended(event, raw)
        try:
            found = loads(event.data)
        except ValueError:
            if not cut:
                shown.append(raw)
            return None, None
        if not isinstance(found, dict):
            shown.append(raw)
            return None, None
        if "type" not in found and event.event is not None:
            found = {**found, "type": event.event.decode(errors="replace")}
        response = found.get("response")
        self._tally.note(found)
        if _is_failure(found):
            known = self._ending = response if isinstance(response, dict) else {}
            return failure(known if "error" in known else found), decode_usage(known)
        try:
            events += self._meant(found)
        except MalformedEventError as exc:
            return malformed("event", exc), None
        if isinstance(response, dict):
            raw = self._renamed(event, found, response, raw)
        shown.append(raw)
        self._over = found.get("type") in TERMINAL
        if self._over and isinstance(response, dict):
            self._ending = response
        return None, None

    def _meant(self, event: JsonObject) -> list[Event]:
        """The events that one means which was counted. Raises `MalformedEventError`."""
        events, response = self._reader.read(event), event.get("response")
        if not (events and isinstance(events[-1], Ended) and isinstance(response, dict)):
            return events
        return told_nothing(events) if says_zero(response) and not self._tally.delivered() else events

    def _renamed(self, event: SseEvent, found: JsonObject, response: JsonObject, raw: bytes) -> bytes:
        """The bytes naming the model the client asked for; keeps what a failed response must repeat."""
        named, wanted = response.get("model"), self._model
        if wanted is None or not isinstance(named, str) or named == wanted:
            self._snapshot = response
            return raw
        renamed = {**response, "model": wanted}
        self._snapshot = renamed
        for form in (b'"model":', b'"model": '):
            spelled = form + dumps(named)
            if raw.count(spelled) == raw.count(b'"model"') == 1:
                return raw.replace(spelled, form + dumps(wanted))
        return encode_sse(dumps({**found, "response": renamed}), event.event)

    # Endings.

    def _without_terminator(self) -> list[Frame]:
        return self._fail(truncated() if self._reader.started else no_answer())

    def _fail(self, error: UpstreamError, usage: Usage | None = None) -> list[Frame]:
        """The frame that ends the stream with `error`, in this format's own words once something was shown."""
        frames = super()._fail(error)
        if not self._shown:
            return frames if usage is None else [Frame((Failed(error, usage),))]
        events: list[Event] = [Failed(error)] if usage is None else [UsageReported(usage), Failed(error)]
        return [Frame(events, self._failed(error, usage), NAME)]

    def _failed(self, error: UpstreamError, usage: Usage | None) -> bytes:
        """`response.failed`, which continues what was shown."""
        response: JsonObject = {
            **(self._snapshot or skeleton(answer_id(""), self._model or "")),
            "status": "failed",
            "error": encode_failure(error, request_id=""),
            "output": self._tally.finished(),
            "usage": None if usage is None else encode_usage(usage),
        }
        numbers = _SEQUENCE.findall(self._last)
        event = {
            "type": "response.failed",
            "response": response,
            "sequence_number": int(numbers[-1]) + 1 if numbers else 0,
        }
        return encode_sse(dumps(event), b"response.failed")

    def _read_json(self, body: bytes) -> list[Frame]:
        reader = self._reader = EventReader(self._model)
        events: list[Event] = []
        for document in documents(body):
            if document.get("object") == "response":
                document = {"type": _terminal(document), "response": document}
            response = document.get("response")
            if isinstance(response, dict):
                self._ending = response
            if _is_failure(document):
                known = response if isinstance(response, dict) else {}
                error = failure(known if "error" in known else document)
                return self._answered(events, error, decode_usage(known))
            self._tally.note(document)
            try:
                events += self._meant(document)
            except MalformedEventError as exc:
                return self._answered(events, malformed("event", exc))
        if events and isinstance(events[-1], Ended):
            return self._answered(events, None)
        return self._answered(events, truncated() if reader.said else no_answer())

    def _answered(self, events: list[Event], error: UpstreamError | None, usage: Usage | None = None) -> list[Frame]:
        self._over = True
        ending = [] if error is None else [Frame((Failed(error, usage),))]
        if error is not None and not self._reader.said:
            return ending
        return [Frame(events), *ending]


def _is_failure(event: Mapping[str, Any]) -> bool:
    kind = event.get("type")
    if kind in ("error", "response.failed"):
        return True
    return bool(event.get("error")) and "response" not in event and not str(kind).startswith("response.")


def _terminal(response: Mapping[str, Any]) -> str:
    status = response.get("status")
    return f"response.{status}" if status in ("failed", "incomplete", "in_progress", "queued") else "response.completed"
