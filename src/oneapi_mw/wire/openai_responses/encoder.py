"""Canonical events to the bytes of a client's stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event, Ping
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.openai_responses.writer import ResponseWriter

KEEP_ALIVE = b": keepalive\n\n"
"""A comment: official clients fail on any event ahead of `response.created`."""


class ResponsesStreamEncoder:
    """See `StreamEncoder`. The stream's first events wait for the first thing to say."""

    def __init__(self, call: Call, *, request_id: str = "", created: int = 0) -> None:
        self._writer = ResponseWriter(call, request_id=request_id, created=created)

    def feed(self, events: Sequence[Event]) -> bytes:
        written = _bytes(self._writer.feed(events))
        if not written and not self._writer.over and any(isinstance(event, Ping) for event in events):
            return KEEP_ALIVE
        return written

    def observe(self, events: Sequence[Event]) -> None:
        self._writer.feed(events)

    def close(self) -> bytes:
        """Nothing is held back once the stream has ended; one that was abandoned gets no ending here."""
        return b""


def _bytes(events: Iterable[JsonObject]) -> bytes:
    return b"".join([encode_sse(dumps(event), event["type"].encode()) for event in events])
