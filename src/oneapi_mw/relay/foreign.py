"""An app that knows nothing of us and speaks one wire format in bytes, made a source of events."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.canonical.events import Event, Failed
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame, Offer
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import GatewayError, NotFound, UpstreamError, UpstreamInvalidResponse
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.middleware.auth import CREDENTIAL_HEADERS
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.relay.conversion import Conversion
from oneapi_mw.wire.base import WireFormat
from oneapi_mw.wire.client_fields import client_fields
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.wish_applied import apply_wish

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_OF_THE_BODY = frozenset({b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"accept"})


class ForeignApp:
    """Hand requests to `app` in the format it speaks, and its answers to the convert stage outside as events.

    Requests in that very format, and everything that is no call, pass in bytes. Credentials are told as a bearer.
    """

    def __init__(self, app: ASGIApp, format: str) -> None:
        self.app = app
        self._format = format

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.find(scope)
        if call is None or Offer.find(scope) is None or call.format == self._format:
            await self.app(scope, receive, send)
            return
        wire = get_format(self._format)
        try:
            path = wire.upstream_path(call.operation, model=call.model, stream=call.stream)
        except KeyError:
            raise NotFound(f"Invalid URL (POST {call.outside.path}): the app behind it has no such path") from None
        request = apply_wish(get_format(call.format).decode_request(call), call.wish)
        target = Target(call.model, rules_of(call.model), wire.vendor)
        outgoing = wire.encode_call(request, call, target=target)
        inner = _asking(scope, path, outgoing.body)
        dropped = client_fields(call, outgoing.dropped)
        answering = _Answering(send, call, wire, Conversion(request, outgoing, None), dropped)
        await self.app(inner, _once(outgoing.body, receive), answering)


def _asking(scope: Scope, target: str, body: bytes) -> Scope:
    """`scope` of a request for `target` (below the mount, with its query) with `body`."""
    path, _, query = target.partition("?")
    whole = scope.get("root_path", "").rstrip("/") + path
    credentials = [value for name, value in scope["headers"] if name in CREDENTIAL_HEADERS]
    headers = [field for field in scope["headers"] if field[0] not in _OF_THE_BODY | CREDENTIAL_HEADERS]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if credentials:
        key = credentials[0]
        headers.append((b"authorization", key if key[:7].lower() == b"bearer " else b"Bearer " + key))
    return {**scope, "path": whole, "raw_path": whole.encode(), "query_string": query.encode(), "headers": headers}


def _once(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def receiving() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


class _Answering:
    """`send` for the foreign app: its bytes to events, or to one whole answer."""

    def __init__(
        self, send: Send, call: Call, wire: WireFormat, conversion: Conversion, dropped: Sequence[str]
    ) -> None:
        self._send = send
        self._call = call
        self._wire = wire
        self._conversion = conversion
        self._dropped = dropped
        self._status = 200
        self._is_stream = False
        self._decoder = wire.stream_decoder(full=True, model=call.model, hide_usage=False)
        self._body = bytearray()
        self._events: list[Event] = []
        self._begun = self._over = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            types = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
            self._is_stream = bool(types) and types[0].strip().lower().startswith(b"text/event-stream")
        elif kind == "http.response.body" and not self._over:
            await self._take(message.get("body", b""), ended=not message.get("more_body", False))

    async def _take(self, data: bytes, *, ended: bool) -> None:
        if self._status == 200 and self._is_stream:
            frames = self._decoder.feed(data) if data else []
            if ended:
                frames += self._decoder.close()
            events = self._conversion.feed([event for frame in frames for event in frame.events])
            if self._call.stream:
                await self._pass(events, ended=ended)
                return
            self._events += events
            if ended:
                await self._fold()
            return
        self._body += data
        if len(self._body) > MAX_ANSWER_BYTES:
            await self._refuse(UpstreamInvalidResponse("The answer is too large"))
        elif ended:
            await self._whole(bytes(self._body))

    async def _pass(self, events: Sequence[Event], *, ended: bool) -> None:
        failed = events[0] if events else None
        if isinstance(failed, Failed) and not self._begun:
            await self._refuse(failed.error)
            return
        if not events and not ended:
            return
        await self._start()
        self._over = ended or self._conversion.is_cut
        await self._send({"type": EVENTS, "frames": [Frame(events)] if events else [], "more_body": not self._over})

    async def _fold(self) -> None:
        try:
            response = fold(self._events)
        except UpstreamError as error:
            await self._refuse(error)
        else:
            await self._answer(response)

    async def _whole(self, raw: bytes) -> None:
        error = self._wire.read_error(self._status, raw)
        if error is not None:
            await self._refuse(error)
            return
        try:
            body = loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            await self._refuse(UpstreamInvalidResponse("The answer is not a JSON object"))
            return
        await self._answer(self._conversion.response(self._wire.decode_response(body)))

    async def _answer(self, response: Response) -> None:
        self._over = True
        await self._start()
        if self._call.stream:
            await self._send({"type": EVENTS, "frames": [Frame(unfold(response))], "more_body": False})
        else:
            await self._send({"type": ANSWER, "answer": Answer(self._wire.name, b"", {}, response)})

    async def _start(self) -> None:
        if self._begun:
            return
        self._begun = True
        headers = [(b"content-type", b"application/json")]
        if self._dropped:
            headers.append((b"x-oneapi-dropped", ", ".join(self._dropped)[:1000].encode("latin-1", "replace")))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _refuse(self, error: GatewayError) -> None:
        """Answer with `error` in the client's envelope: nobody outside has to know how."""
        self._over = True
        body = dumps(get_format(self._call.format).encode_error(error, request_id=""))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
