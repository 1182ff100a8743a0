"""A stream's bytes to frames, reading no more of each event than somebody needs.

Between a client and an upstream that both speak this format, nearly every network read is whole events that say
nothing but content. Such a block is recognised by what it does not contain and passed on unparsed. Anything else is
taken apart event by event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.errors import UpstreamError
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.usage import ToolUsage
from oneapi_mw.wire.anthropic_messages.content import NAME
from oneapi_mw.wire.anthropic_messages.errors import error_in_event
from oneapi_mw.wire.anthropic_messages.produced import Tally
from oneapi_mw.wire.anthropic_messages.reader import MalformedEventError, MessageReader, SignificantReader
from oneapi_mw.wire.anthropic_messages.tool_usage import ToolTally
from oneapi_mw.wire.anthropic_messages.usage import says_zero
from oneapi_mw.wire.errors import truncated
from oneapi_mw.wire.framing.sse import MAX_EVENT_BYTES, EventTooLargeError, SseEvent, encode_sse, parse_event
from oneapi_mw.wire.sse_stream import SseStreamDecoder, is_utf8, malformed, mended, no_answer, too_large
from oneapi_mw.wire.tool_counts import members
from oneapi_mw.wire.zero import told_nothing

STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TELLING = (
    b'"message_start"',
    b'"message_delta"',
    b'"message_stop"',
    b'"error"',
    b'"usage"',
    b"[DONE]",
    b'"server_tool_use"',
    b'"mcp_tool_use"',
    b'_tool_result"',
)
"""What events that are more than content hold. Inside a JSON string the quotes would be escaped."""


_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta",'
"""How nearly every event of the official API begins."""
_NEXT_DELTA = b"\n\n" + _DELTA


def says_only_content(block: bytes) -> bool:
    """Whether every event in `block` is named and none begins, ends or fails the answer or reports usage."""
    events = block.count(b"\n\n")
    if block.startswith(_DELTA) and block.count(b"\n") == 3 * events and block.count(_NEXT_DELTA) == events - 1:
        return is_utf8(block)
    if any(word in block for word in _TELLING):
        return False
    if not block.startswith(b"event: ") or block.count(b"\n\nevent: ") != events - 1:
        return False
    if block.count(b"\ndata: {") != events or block.count(b"\n") != 3 * events:
        return False
    return is_utf8(block)


class MessagesStreamDecoder(SseStreamDecoder):
    """See `StreamDecoder`. A stream is complete at `message_stop`, or at its end once it has said how it ended."""

    def __init__(self, *, full: bool, model: str | None, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._reader: SignificantReader = MessageReader(model) if full else SignificantReader(model)
        self._model = model
        self._tally = Tally()
        self._tools = ToolTally()
        self._full = full
        self._skimming = False  # the answer has begun, and nobody needs its content
        self._ahead = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        if not self._skimming:
            return super().feed(data)
        try:
            block = self._cutter.feed(data)
        except EventTooLargeError:
            return self._fail(too_large())
        if not block:
            return []
        if says_only_content(block):
            self._tally.keep(block)
            return [Frame((), block, NAME)]
        return self._read(block)

    def text_bytes(self) -> int:
        return self._tally.said().text_bytes

    def text(self) -> str:
        return self._tally.said().text()

    def unreported(self) -> bool:
        return not self._reader.reports_output

    def tools(self) -> ToolUsage:
        return self._tools.usage(self._reader.report, final=self._reader.finished)

    # One event at a time.

    def _read(self, block: bytes, *, cut: bool = False) -> list[Frame]:
        events: list[Event] = []
        shown: list[bytes] = []
        last: list[Frame] = []
        for lines in block.split(b"\n\n"):
            event = parse_event(lines)
            if event is None or not event.data:
                # Comments keep a client waiting, but only once it was told that an answer comes.
                if self._reader.started and lines.startswith(b":") and not cut:
                    shown.append(lines + b"\n\n")
                continue
            if event.data.startswith(b"[DONE]"):
                continue  # some proxies' habit; official clients of this wire do not know it
            last = self._read_event(event, lines + b"\n\n", events, shown, cut=cut)
            if last:
                break
        if not self._reader.started:
            return last or self._hold(b"".join(shown))
        if self._ahead:
            shown.insert(0, bytes(self._ahead))
            self._ahead.clear()
        frames = [Frame(events, b"".join(shown), NAME)] if events or shown else []
        return frames + last

    def _hold(self, ahead: bytes) -> list[Frame]:
        """Keep what comes ahead of the answer: while nothing was shown, another channel may be tried."""
        self._ahead += ahead
        return self._fail(too_large()) if len(self._ahead) > self._max_event_bytes else []

    def _read_event(
        self, event: SseEvent, raw: bytes, events: list[Event], shown: list[bytes], *, cut: bool
    ) -> list[Frame]:
        """Adds what an event means to `events` and its bytes to `shown`; returns the last frames if it is the last.

        An event that is not JSON is passed on: it may be news to us only.
        """
        if not raw.isascii():
            event, raw = mended(event, raw)
        try:
            document = loads(event.data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            if not cut:
                shown.append(raw)
            return []
        if event.event == b"error" and not document.get("error"):
            document = {"type": "error", "error": document}
        error = error_in_event(document)
        if error is not None:
            return self._fail(error)
        if "type" not in document and event.event is not None:
            document = {"type": event.event.decode("ascii", "replace"), **document}
        self._tally.note(document)
        block = document.get("content_block")
        if isinstance(block, dict):
            self._tools.note(block)
        try:
            events += self._reader.read(document)
        except MalformedEventError as exc:
            return self._fail(malformed("event", exc))
        self._skimming = self._reader.started and not self._full
        raw = self._shown(event, document, raw)
        if document.get("type") == "message_stop" and self._reader.started:
            return self._end(raw)
        shown.append(raw)
        return []

    def _shown(self, event: SseEvent, document: Mapping[str, Any], raw: bytes) -> bytes:
        """The bytes of an event: as they came, but for the model's name and a missing name of the event, without
        which official clients do not see it."""
        message = document.get("message")
        renamed = (
            self._model is not None
            and isinstance(message, dict)
            and "model" in message
            and message["model"] != self._model
        )
        if renamed:
            assert isinstance(message, dict)
            document = {**document, "message": {**message, "model": self._model}}
        kind = document.get("type")
        unnamed = event.event is None and isinstance(kind, str) and kind.isidentifier()
        if not renamed and not unnamed:
            return raw
        name = kind.encode() if unnamed and isinstance(kind, str) else event.event
        return encode_sse(dumps(document) if renamed else event.data, name)

    def _read_json(self, body: bytes) -> list[Frame]:
        reader = self._reader = MessageReader(self._model)
        try:
            document = loads(body)
        except ValueError:
            return self._fail(no_answer())
        if not isinstance(document, dict):
            return self._fail(no_answer())
        error = error_in_event(document)
        if error is not None:
            return self._fail(error)
        if not isinstance(document.get("content"), list):
            return self._fail(no_answer())
        self._tally.note(document)
        for block in members(document["content"]):
            self._tools.note(block)
        try:
            events = read_message(reader, document)
        except MalformedEventError as exc:
            return self._fail(malformed("event", exc))
        if not reader.finished:
            return [Frame(events), *self._fail(truncated())]
        self._over = True
        usage = document.get("usage")
        last = reader.end()
        if isinstance(usage, dict) and says_zero(usage) and not self._tally.delivered():
            last = told_nothing(last)
        return [Frame([*events, *last])]

    # Endings.

    def _without_terminator(self) -> list[Frame]:
        if not self._reader.started:
            return self._fail(no_answer())
        if self._reader.finished:
            return self._end(STOP)
        return self._fail(truncated())

    def _end(self, raw: bytes) -> list[Frame]:
        self._stop()
        events = self._reader.end()
        if self._reader.says_zero and not self._tally.delivered():
            events = told_nothing(events)
        return [Frame(events, raw, NAME)]

    def _fail(self, error: UpstreamError) -> list[Frame]:
        self._skimming = False
        return super()._fail(error)

    def _stop(self) -> None:
        """Whatever comes now is ignored."""
        self._over = True
        self._skimming = False


def read_message(reader: MessageReader, message: Mapping[str, Any]) -> list[Event]:
    """A whole answer as the events of a stream that brings it at once. Raises `MalformedEventError`."""
    events = reader.read({"type": "message_start", "message": message})
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    return events + reader.read({"type": "message_delta", "delta": ending, "usage": message.get("usage")})
