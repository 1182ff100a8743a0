"""Answers that are read to their end before the client sees any of them."""

from __future__ import annotations

from dataclasses import replace

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event, Failed, UsageReported
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame
from oneapi_mw.errors import UpstreamInvalidResponse
from oneapi_mw.exchange import Exchange
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.relay.attempt import Opened
from oneapi_mw.relay.headers import forwardable_response_headers
from oneapi_mw.relay.untold import note_untold, tells_usage
from oneapi_mw.relay.upstream import BodyCut, BodyTooLarge
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.registry import get_format


class Buffered:
    """A whole answer, ready to be sent."""

    def __init__(self, answer: Answer, headers: list[tuple[bytes, bytes]]) -> None:
        self.answer = answer
        self.headers = headers

    def message(self) -> dict[str, object]:
        """What is sent of it after its head."""
        return {"type": ANSWER, "answer": self.answer}

    async def finish(self, exchange: Exchange) -> None:
        """See `Remainder`: it is here already."""
        exchange.attempts[-1].whole = True

    async def abandon(self) -> None:
        """See `Remainder`: nothing is open."""


class Unfolded(Buffered):
    """A whole answer to a client that asked for a stream."""

    def message(self) -> dict[str, object]:
        answer = self.answer
        response = answer.response or get_format(answer.format).decode_response(answer.body)
        return {"type": EVENTS, "frames": [Frame(unfold(response))], "more_body": False}


async def read_answer(opened: Opened, call: Call, exchange: Exchange, limit: int) -> Buffered:
    """A buffered answer. Raises `UpstreamError` when it is an error or not JSON: then nothing was generated."""
    wire = opened.wire
    raw = await opened.response.read(limit)
    opened.attempt.refused = True
    body = _parse(raw)
    exchange.usage = wire.read_usage(body)  # first: what comes of the answer may be an error
    error = wire.read_error(opened.response.status, raw)
    if error is not None:
        raise error
    opened.attempt.refused = False
    exchange.produced.tools = wire.read_tools(body)
    answer = Answer(wire.name, raw, body)
    if opened.conversion is not None:
        answer = replace(answer, response=opened.conversion.response(wire.decode_response(body)))
    elif opened.attempt.model != call.model:
        answer = wire.restore_model(answer, call.model)
    if not tells_usage(exchange):
        said = wire.answer_said(body)
        exchange.produced.text_bytes, exchange.produced.text = said.text_bytes, said.text()
    return (Unfolded if call.stream else Buffered)(answer, _json_headers(opened))


async def fold_stream(opened: Opened, call: Call, exchange: Exchange, limit: int) -> Buffered:
    """The buffered answer in a stream that nobody asked for."""
    decoder = opened.wire.stream_decoder(full=True, model=call.model, hide_usage=False)
    events: list[Event] = []
    size = 0
    broken = False
    try:
        async for chunk in opened.response.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge
            events += (event for frame in decoder.feed(chunk) for event in frame.events)
    except BodyCut:
        broken = True
    events += (event for frame in decoder.close() for event in frame.events)
    exchange.produced.tools = decoder.tools()
    for event in events:
        if isinstance(event, Failed):
            opened.attempt.refused = event is events[0] and not broken
            exchange.usage = event.usage or exchange.usage
            raise event.error
        if isinstance(event, UsageReported):
            exchange.usage = event.usage
    note_untold(exchange, decoder)
    if opened.conversion is not None:
        response = fold(opened.conversion.feed(events))
        return Buffered(Answer(opened.wire.name, b"", {}, response), _json_headers(opened))
    body = opened.wire.encode_response(
        fold(events), call, request_id=exchange.request_id, created=int(exchange.started_at)
    )
    return Buffered(Answer(opened.wire.name, dumps(body), body), _json_headers(opened))


def _json_headers(opened: Opened) -> list[tuple[bytes, bytes]]:
    """What crosses of the upstream's header fields; the body is JSON, whatever they call it."""
    headers = forwardable_response_headers(opened.response.headers)
    headers = [field for field in headers if field[0] != b"content-type"]
    headers.append((b"content-type", b"application/json"))
    return headers


def _parse(raw: bytes) -> JsonObject:
    try:
        body = loads(raw)
    except ValueError:
        raise UpstreamInvalidResponse("The upstream's answer is not JSON") from None
    if not isinstance(body, dict):
        raise UpstreamInvalidResponse("The upstream's answer is not a JSON object")
    return body
