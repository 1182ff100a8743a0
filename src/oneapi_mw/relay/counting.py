"""The terminal app of token counting: how long a request would be for its model. Nobody is asked, nothing is billed."""

from __future__ import annotations

from typing import Protocol

from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.jsontext import dumps
from oneapi_mw.usage import Usage
from oneapi_mw.wire.registry import get_format


class Counter(Protocol):
    async def count_request(self, request: Request, model: str) -> int:
        """Input tokens of `request` for `model`."""


class TokenCounting:
    """Answer `CALL` with its number of input tokens, in the client's format."""

    requires, provides = (CALL,), ()

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.get(scope)
        wire = get_format(call.format)
        tokens = await self._counter.count_request(wire.decode_request(call), call.model)
        body = dumps(wire.encode_response(Response(usage=Usage(input_tokens=tokens)), call))
        exchange = EXCHANGE.find(scope)
        if exchange is not None:
            exchange.outcome = "complete"
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
