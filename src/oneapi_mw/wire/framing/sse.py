"""Server-sent events, on bytes.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html with two differences that real upstreams
need: an event left without its blank line at the end of the stream is delivered, and every buffer has a limit.
Lines end at LF, CR or CRLF and at nothing else: U+2028 inside JSON is text.
"""

from __future__ import annotations

from oneapi_mw.immutable import immutable

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""Images travel as base64 in one line, so this is large; it bounds what a stream without blank lines can hold."""

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """An event of more than the allowed size."""


@immutable
class SseEvent:
    event: bytes | None
    """Name from the `event:` line, if there was one."""
    data: bytes
    """The `data:` lines joined by LF."""


class SseCutter:
    """Cuts a byte stream after whole events, however the network split it.

    What comes out uses LF alone and has no byte order mark; each block is a run of whole events that ends in a
    blank line.

    Raises `EventTooLargeError` from `feed`; the cutter is of no use after that.
    """

    __slots__ = ("_at_start", "_held_cr", "_max_bytes", "_rest")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_event_bytes
        self._rest = bytearray()
        self._at_start = True
        self._held_cr = False  # a CR ended the last chunk: a LF that follows belongs to it

    @property
    def between_events(self) -> bool:
        """Whether nothing is held back: what comes next begins an event."""
        return not (self._rest or self._held_cr or self._at_start)

    def feed(self, data: bytes) -> bytes:
        """The whole events that are complete now; empty when none is."""
        if self._at_start or self._held_cr or b"\r" in data:
            data = self._normalise(data)
        rest = self._rest
        if not rest:
            if data.endswith(b"\n\n"):  # what nearly every network read looks like
                return data
            end = data.rfind(b"\n\n") + 2
            if end == 1:
                self._keep(data)
                return b""
            self._keep(data[end:])
            return data[:end]
        searched = max(0, len(rest) - 1)
        rest += data
        end = rest.rfind(b"\n\n", searched) + 2
        if end == 1:
            self._check()
            return b""
        block = bytes(rest[:end])
        del rest[:end]
        self._check()
        return block

    def close(self) -> bytes:
        """What is left, made whole by the blank line it lacks; empty when nothing is left."""
        rest = bytes(self._rest)
        self._rest.clear()
        if not rest.strip(b"\n"):
            return b""
        return rest.rstrip(b"\n") + b"\n\n"

    def _keep(self, data: bytes) -> None:
        self._rest += data
        self._check()

    def _check(self) -> None:
        if len(self._rest) > self._max_bytes:
            raise EventTooLargeError(f"an event is longer than {self._max_bytes} bytes")

    def _normalise(self, data: bytes) -> bytes:
        """Line ends to LF, and the byte order mark away."""
        if self._at_start:
            data = bytes(self._rest) + data
            self._rest.clear()
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest += data
                return b""
            self._at_start = False
            data = data.removeprefix(_BOM)
        if self._held_cr and data:
            self._held_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._held_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data


def parse_block(block: bytes) -> list[SseEvent]:
    """The events in a block of `SseCutter`. Events without data are dropped, as the standard says."""
    events = []
    for segment in block.split(b"\n\n"):
        event = parse_event(segment)
        if event is not None:
            events.append(event)
    return events


def parse_event(lines: bytes) -> SseEvent | None:
    """One event from its lines, ended by LF; `None` when it carries no data (comments, a bare name)."""
    if lines.startswith(b"data: ") and b"\n" not in lines:  # the one-line event of every JSON stream
        return SseEvent(None, lines[6:])
    name: bytes | None = None
    data: list[bytes] = []
    for line in lines.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return SseEvent(name or None, b"\n".join(data)) if data else None


class SseDecoder:
    """Bytes to events. Feed what the network brought, in order, then close once."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._cutter = SseCutter(max_event_bytes=max_event_bytes)

    def feed(self, data: bytes) -> list[SseEvent]:
        """Events that are complete now. Raises `EventTooLargeError`."""
        block = self._cutter.feed(data)
        return parse_block(block) if block else []

    def close(self) -> list[SseEvent]:
        """The event that was left without its blank line, if any."""
        block = self._cutter.close()
        return parse_block(block) if block else []


def encode_sse(data: bytes, event: bytes | None = None) -> bytes:
    """One event on the wire. `data` may have several lines, ended by LF, CR or CRLF.

    Raises: `ValueError` when the name has a line end: it would start another field.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if event is None:
        return b"data: " + data + b"\n\n"
    if b"\n" in event or b"\r" in event:
        raise ValueError("the name of an event must be one line")
    return b"event: " + event + b"\ndata: " + data + b"\n\n"
