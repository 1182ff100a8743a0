"""What the decoders of server-sent streams share: cutting, plain JSON in place of a stream, one ending each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from oneapi_mw.canonical.events import Failed
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.errors import UpstreamError, UpstreamInvalidResponse
from oneapi_mw.jsontext import loads
from oneapi_mw.wire.framing.sse import EventTooLargeError, SseCutter, SseEvent

IGNORED_AHEAD = b"\xef\xbb\xbf \t\r\n"
"""What may come before the first byte that says something."""


class SseStreamDecoder(ABC):
    """A `StreamDecoder` that reads block by block; a format says what a block means and when the stream was whole.

    Formats with blocks nobody needs to read override `feed` and fall back on this one.
    """

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._cutter = SseCutter(max_event_bytes=max_event_bytes)
        self._begun = False  # something other than white space came
        self._json: bytearray | None = None  # a body of plain JSON under a stream's content type
        self._over = False  # whatever comes now is ignored

    def feed(self, data: bytes) -> list[Frame]:
        if self._over:
            return []
        if not self._begun and (ahead := data.lstrip(IGNORED_AHEAD)):
            self._begun = True
            if ahead[:1] in (b"{", b"["):
                self._json = bytearray()
        if self._json is not None:
            self._json += data
            return self._fail(too_large()) if len(self._json) > self._max_event_bytes else []
        try:
            block = self._cutter.feed(data)
        except EventTooLargeError:
            return self._fail(too_large())
        return self._read(block) if block else []

    def close(self) -> list[Frame]:
        if self._over:
            return []
        if self._json is not None:
            return self._read_json(bytes(self._json.lstrip(IGNORED_AHEAD)))
        block = self._cutter.close()
        frames = self._read(block, cut=True) if block else []
        return frames if self._has_ended() else frames + self._without_terminator()

    def fail(self, error: UpstreamError) -> list[Frame]:
        return [] if self._over else self._fail(error)

    @abstractmethod
    def _read(self, block: bytes, *, cut: bool = False) -> list[Frame]:
        """Whole events. `cut`: the last may be the beginning of an event, which nobody should see unless it can be
        read."""

    @abstractmethod
    def _read_json(self, body: bytes) -> list[Frame]:
        """A body without framing: an error, a whole answer, or one event on each line. Gives events only: such bytes
        are of no use to a client that waits for a stream."""

    @abstractmethod
    def _without_terminator(self) -> list[Frame]:
        """How a stream ends whose bytes have ended and whose terminator never came."""

    def _has_ended(self) -> bool:
        return self._over

    def _fail(self, error: UpstreamError) -> list[Frame]:
        self._over = True
        return [Frame((Failed(error),))]


def is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def mended(event: SseEvent, raw: bytes) -> tuple[SseEvent, bytes]:
    """`event` and its bytes with characters that were cut apart replaced, as no client could read them."""
    if is_utf8(raw):
        return event, raw
    return SseEvent(event.event, event.data.decode(errors="replace").encode()), raw.decode(errors="replace").encode()


def documents(body: bytes) -> list[dict[str, Any]]:
    """The objects of a body without framing: one, a list of them, or one on each line."""
    try:
        whole = loads(body)
    except ValueError:
        whole = []
        for line in body.splitlines():
            try:
                whole.append(loads(line))
            except ValueError:
                continue
    found = whole if isinstance(whole, list) else [whole]
    return [document for document in found if isinstance(document, dict)]


def no_answer() -> UpstreamError:
    return UpstreamInvalidResponse("The upstream's stream holds no answer")


def too_large() -> UpstreamError:
    return UpstreamInvalidResponse("The upstream sent an event that is too large")


def malformed(what: str, why: Exception) -> UpstreamError:
    """`what`: the format's word for one event of its streams."""
    return UpstreamInvalidResponse(f"The upstream sent a malformed {what}: {why}")
