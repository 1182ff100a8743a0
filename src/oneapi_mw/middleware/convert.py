"""Between the client's wire format and the stages inside: body to `Call`, events to the client's bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call, Outside
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame, Offer
from oneapi_mw.canonical.phases import Failed
from oneapi_mw.errors import GatewayError, InvalidRequest, MethodNotAllowed
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Endpoint, Exchange
from oneapi_mw.jsontext import dumps_well_formed
from oneapi_mw.middleware.body import BodyLimits, ClientDisconnected, Replay, as_replayed, check_json_type, read_body
from oneapi_mw.scope import route_path
from oneapi_mw.wire.base import StreamEncoder, WireFormat
from oneapi_mw.wire.body import parse_object
from oneapi_mw.wire.detect import covered_format, detect, redirect_path
from oneapi_mw.wire.registry import endpoint_for, get_format
from oneapi_mw.wire.wish import FieldName, read_wish

_STREAM_HEADERS = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""Nobody on the way may hold back events to send them on together."""


Misrouted: TypeAlias = Literal["serve", "redirect", "ignore"]
"""What becomes of a body that belongs to another format's path."""


class ConvertMiddleware:
    """Decode the request once, and encode what comes back in the format the client speaks.

    Provides `CALL`. Reads `ENDPOINT` when an exchange stage is outside; alone it recognises the paths itself.
    Offers `oneapi_mw.events` to inner stages; bytes from an app that does not know the offer pass unchanged.
    Requests to other paths and other methods than POST pass through untouched when this stage stands alone.

    Raises `InvalidRequest` and its kin before the inner app has been called.
    """

    requires, provides = (ENDPOINT,), (CALL,)

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: BodyLimits | None = None,
        resolve: Callable[[str], Endpoint | None] = endpoint_for,
        misrouted: Misrouted = "serve",
        reasoning_field: FieldName | None = None,
        speaks: str | None = None,
    ) -> None:
        """
        Args:
            misrouted: serve such a body in its own format, send it to its own path with 307, or take it for what
                the path says.
            reasoning_field: name of the field that shows reasoning in chat answers to requests that name none; by
                default what the upstream called it.
            speaks: the wire format of an `app` that knows nothing of us, such as `openai_chat`: it then gets and
                gives nothing else, whatever its clients speak.
        """
        if speaks is not None:
            from oneapi_mw.relay.foreign import ForeignApp  # most of it is the canonical model

            app = ForeignApp(app, speaks)
        self.app = app
        self._reasoning_field = reasoning_field
        self._misrouted: Misrouted = misrouted
        self._limits = limits or BodyLimits()
        self._resolve = resolve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint(scope)
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        exchange = EXCHANGE.find(scope)
        if scope["method"] != "POST":
            if exchange is not None:
                exchange.response_headers.append((b"allow", b"POST"))
            raise MethodNotAllowed(f"{scope['method']} is not supported here: use POST")
        check_json_type(scope)
        wire = get_format(endpoint.format)
        try:
            raw = await read_body(scope, receive, self._limits)
        except ClientDisconnected:
            if exchange is not None:
                exchange.outcome = "client_gone"
            return
        outside = Outside(route_path(scope), scope.get("query_string", b""), scope["headers"])
        body = None
        if self._misrouted != "ignore" and covered_format(outside.path) is not None:
            body = parse_object(raw)
            name = detect(endpoint.format, body, outside.headers)
            if name != endpoint.format:
                if self._misrouted == "redirect":
                    await _redirect(scope, send, redirect_path(name, body, _with_query(outside)))
                    return
                wire, scope = get_format(name), ENDPOINT.put(scope, Endpoint(endpoint.operation, name))
                if exchange is not None:
                    exchange.format = name
        call = wire.decode_call(raw, operation=endpoint.operation, outside=outside, body=body)
        wish = read_wish(outside, call.body, fallback=self._reasoning_field)
        if wish is not None:
            call = replace(call, wish=wish)
        if b"strict=" in outside.query and _wants_strict(outside.query):
            call = replace(call, strict=True)
        out = _Output(send, wire, call, exchange)
        inner = Offer(wire.name if wire.passes_frames(call) else "").put(CALL.put(as_replayed(scope, raw), call))
        await self.app(inner, Replay(raw, receive), out)

    def _endpoint(self, scope: Scope) -> Endpoint | None:
        if scope["type"] != "http":
            return None
        endpoint = ENDPOINT.find(scope)
        if endpoint is None:
            endpoint = self._resolve(route_path(scope))
            return endpoint if scope["method"] == "POST" else None
        return None if endpoint.operation == "unknown" else endpoint


def _with_query(outside: Outside) -> str:
    query = outside.query.decode("latin-1")
    return f"{outside.path}?{query}" if query else outside.path


async def _redirect(scope: Scope, send: Send, path: str) -> None:
    """307: method and body stay what they are."""
    location = scope.get("root_path", "").rstrip("/") + path
    headers = [(b"location", location.encode("latin-1", "replace")), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _wants_strict(query: bytes) -> bool:
    """Raises `InvalidRequest` for a value that says neither yes nor no."""
    value = dict(parse_qsl(query.decode("latin-1"))).get("strict", "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise InvalidRequest("strict must be true or false", param="strict", code="invalid_query_parameter")


class _Output:
    """`send` for the inner app. The start message waits until the first body tells its length."""

    __slots__ = (
        "_call",
        "_created",
        "_encoder",
        "_exchange",
        "_format",
        "_passed",
        "_request_id",
        "_send",
        "_start",
        "_wire",
    )

    def __init__(self, send: Send, wire: WireFormat, call: Call, exchange: Exchange | None) -> None:
        self._send = send
        self._wire = wire
        self._format = wire.name if wire.passes_frames(call) else ""  # of bytes that pass as they are
        self._call = call
        self._exchange = exchange
        self._request_id = exchange.request_id if exchange is not None else ""
        self._created = int(exchange.started_at if exchange is not None else time.time())
        self._passed: list[Frame] = []  # what went out as original bytes, for an encoder that comes later
        self._start: Message | None = None
        self._encoder: StreamEncoder | None = None

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == EVENTS:
            more = message["more_body"]
            body = self._encode(message["frames"])
            if not more and self._encoder is not None:
                body += self._encoder.close()
            if self._start is not None:
                if self._exchange is not None and more:
                    self._exchange.end_stream = self._fail
                await self._begin([(b"content-type", self._wire.stream_type(self._call).encode()), *_STREAM_HEADERS])
            if body or not more:
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        elif kind == ANSWER:
            body = self._encode_answer(message["answer"])
            await self._begin([(b"content-length", b"%d" % len(body))])
            await self._send({"type": "http.response.body", "body": body})
        elif kind == "http.response.start":
            self._start = message
        else:
            if self._start is not None:
                start, self._start = self._start, None
                await self._send(start)
            await self._send(message)

    async def _begin(self, ours: list[tuple[bytes, bytes]]) -> None:
        """Send the start with `ours` in place of fields of the same names."""
        start, self._start = self._start, None
        assert start is not None, "an inner stage sent a body before http.response.start"
        names = {name for name, _ in ours}
        headers = [field for field in start.get("headers", ()) if field[0] not in names]
        await self._send({**start, "headers": [*headers, *ours]})

    def _encode(self, frames: list[Frame]) -> bytes:
        name = self._format
        parts = []
        for frame in frames:
            if frame.raw is not None and frame.format == name:
                parts.append(frame.raw)
                if frame.events:
                    self._passed.append(frame)
            else:
                parts.append(self._encoded(frame))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _encoded(self, frame: Frame) -> bytes:
        encoder = self._encoder
        if encoder is None:
            encoder = self._wire.stream_encoder(self._call, request_id=self._request_id, created=self._created)
            self._encoder = encoder
        for passed in self._passed:
            encoder.observe(passed.events)
        self._passed.clear()
        return encoder.feed(frame.events)

    def _fail(self, error: GatewayError) -> bytes:
        """The bytes that end the stream with what a stage inside raised."""
        return self._encoded(Frame((Failed(error),)))

    def _encode_answer(self, answer: Answer) -> bytes:
        response = answer.response
        if response is None:
            if answer.format == self._wire.name:
                return answer.raw
            response = get_format(answer.format).decode_response(answer.body)
        return dumps_well_formed(
            self._wire.encode_response(response, self._call, request_id=self._request_id, created=self._created)
        )
