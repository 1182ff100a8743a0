"""Requests that are answered once, however often they are repeated with the same `Idempotency-Key`.

    (new) --claim--> running --answered in one piece--> answered    the same bytes again
                        |------streamed, or too large--> ended       refused, with what it cost
                        |------cut off, may be owed----> ended
                        '------nothing is owed---------> (forgotten)

A request that was lost with its worker leaves a running key behind. Its hold tells what became of it: as long as that
is open the request may still run, and whether it was charged is seen when it has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Protocol

import anyio
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.errors import InvalidRequest, StoreUnavailable
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Exchange
from oneapi_mw.middleware.body import BodyLimits, ClientDisconnected, Replay, as_replayed, read_body
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.scope import header, route_path
from oneapi_mw.store.base import IdempotencyKeys
from oneapi_mw.store.key_records import KeyClaim, KeyRecord, KeyState
from oneapi_mw.store.records import CostRecord
from oneapi_mw.store.state_records import Owner

log = logging.getLogger("oneapi_mw.idempotency")

HEADER = b"idempotency-key"
MAX_KEY_LENGTH = 255
MAX_ANSWER_BYTES = 256 * 1024
"""A larger answer is not kept."""
BUSY_SECONDS = 120.0
"""How long a request may take to get its hold before it is taken for lost."""
STORE_SECONDS = 10.0
"""How long the end of an answer waits until it is stored."""
INLINE_BYTES = 1024 * 1024
"""A body above this is hashed in a thread."""


class CostLookup(Protocol):
    async def get(self, request_id: str) -> CostRecord | None:
        """What a request has cost, or holds; `None` when it has no hold."""


class IdempotencyConflict(InvalidRequest):
    """The key has been used. The code tells how."""

    status, code = 409, "idempotency_key_reused"


class IdempotencyMiddleware:
    """Give a request with an `Idempotency-Key` that was answered before the same answer, and charge it once.

    Reads `EXCHANGE`, `ENDPOINT` and `PRINCIPAL`; stands outside the stage that encodes answers, as the bytes of the
    client are kept. A repeated answer has `Idempotent-Replayed: true` and the id of the request that was charged.
    Requests without the header pass untouched, and so do those to other paths.

    The key is that of the token. It is claimed before the inner app is called and forgotten when nothing is owed, so a
    request that was refused may be repeated. Streams and large answers are not kept, but not repeated either.

    Raises `IdempotencyConflict`, `InvalidRequest` for a key that cannot be used, `StoreUnavailable`.
    """

    requires, provides = (EXCHANGE, ENDPOINT, PRINCIPAL), ()

    def __init__(
        self, app: ASGIApp, *, keys: IdempotencyKeys, costs: CostLookup, limits: BodyLimits | None = None
    ) -> None:
        self.app = app
        self._keys = keys
        self._costs = costs
        self._limits = limits or BodyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or header(scope, HEADER) is None:
            await self.app(scope, receive, send)
            return
        if scope["method"] != "POST" or ENDPOINT.get(scope).operation == "unknown":
            await self.app(scope, receive, send)
            return
        key = presented_idempotency_key(scope)
        assert key is not None, "the header is there"
        exchange, principal = EXCHANGE.get(scope), PRINCIPAL.get(scope)
        try:
            body = await read_body(scope, receive, self._limits)
        except ClientDisconnected:
            exchange.outcome = "client_gone"
            return
        owner = Owner(principal.user_id, principal.token_id)
        claim = KeyClaim(await _fingerprint(scope, body), exchange.request_id, BUSY_SECONDS)
        found = await self._keys.claim(owner, key, claim)
        if found is not None and not await self._take_over(owner, key, claim, found):
            await _replay(found, exchange, send)
            return
        keeper = _Keeper(send, self._keys, owner, key, exchange)
        try:
            await self.app(as_replayed(scope, body), Replay(body, receive), keeper)
        finally:
            await keeper.close()

    async def _take_over(self, owner: Owner, key: str, claim: KeyClaim, found: KeyRecord) -> bool:
        """Whether the key is ours now; else `found` has an answer. Raises `IdempotencyConflict` when it has not."""
        if found.fingerprint != claim.fingerprint:
            raise IdempotencyConflict(
                f"This Idempotency-Key belongs to request {found.request_id}, which asked for something else: use "
                "another key"
            )
        if found.state is KeyState.ANSWERED:
            return False
        cost = await self._costs.get(found.request_id) if found.state is KeyState.ENDED or not found.busy else None
        if found.state is KeyState.RUNNING:
            if found.busy or (cost is not None and cost.state == "pending"):
                raise _in_progress()
            if cost is None or cost.state == "void":
                if await self._keys.take_over(owner, key, claim, lost=found.request_id):
                    return True
                raise _in_progress()
            await self._keys.finish(owner, key, request_id=found.request_id, content=None)
        quota = f" and cost {cost.quota} quota units" if cost is not None else ""
        raise IdempotencyConflict(
            f"The request with this Idempotency-Key, {found.request_id}, has ended{quota}; its answer was not kept, "
            "as those of streams are not: use another key to ask again",
            code="conflict",
        )


def presented_idempotency_key(scope: Scope) -> str | None:
    """The key of the request in `scope`, if it has one.

    Raises: `InvalidRequest` for a key that is sent twice, too long, or not visible ASCII.
    """
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == HEADER:
            if found is not None:
                raise InvalidRequest("Header Idempotency-Key is sent twice: send it once", code="duplicate_header")
            found = value
    if found is None:
        return None
    if not 0 < len(found) <= MAX_KEY_LENGTH or not all(0x21 <= byte <= 0x7E for byte in found):
        raise InvalidRequest(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} visible ASCII characters without spaces: "
            "a random UUID will do"
        )
    return found.decode()


async def _fingerprint(scope: Scope, body: bytes) -> str:
    """Of everything that was asked."""
    where = b"\0".join((scope["method"].encode(), route_path(scope).encode(), scope.get("query_string", b""), b""))

    def digest() -> str:
        return hashlib.sha256(where + body).hexdigest()

    return await asyncio.to_thread(digest) if len(body) > INLINE_BYTES else digest()


def _in_progress() -> IdempotencyConflict:
    return IdempotencyConflict(
        "A request with this Idempotency-Key is still running: ask again in a moment",
        code="idempotency_in_progress",
        retry_after=1,
    )


async def _replay(found: KeyRecord, exchange: Exchange, send: Send) -> None:
    assert found.content is not None, "a key that was answered has an answer"
    head, _, body = found.content.partition(b"\n")
    kept = orjson.loads(head)
    exchange.dropped.extend(kept["dropped"])
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
    headers += [(b"idempotent-replayed", b"true"), (b"x-oneapi-original-request-id", found.request_id.encode())]
    await send({"type": "http.response.start", "status": kept["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Keeper:
    """`send` for the inner app: keeps an answer that comes whole, before its last message goes on."""

    def __init__(self, send: Send, keys: IdempotencyKeys, owner: Owner, key: str, exchange: Exchange) -> None:
        self._send = send
        self._keys = keys
        self._owner = owner
        self._key = key
        self._exchange = exchange
        self._start: Message | None = None
        self._parts: list[bytes] | None = []  # `None` for an answer that is not kept
        self._size = 0
        self._closed = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
            if not 200 <= message["status"] < 300 or _is_stream(message):
                self._parts = None
        elif kind == "http.response.body" and not self._closed:
            self._add(message.get("body", b""))
            if not message.get("more_body", False):
                await self.close(whole=True)
        await self._send(message)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_ANSWER_BYTES:
            self._parts = None
        elif self._parts is not None:
            self._parts.append(part)

    async def close(self, *, whole: bool = False) -> None:
        """Note how the request has ended. What cannot be noted leaves a key whose hold tells."""
        if self._closed:
            return
        self._closed = True
        owner, key, request_id = self._owner, self._key, self._exchange.request_id
        content = self._content() if whole else None
        try:
            with anyio.fail_after(STORE_SECONDS, shield=True):
                if content is not None or may_be_owed(self._exchange):
                    await self._keys.finish(owner, key, request_id=request_id, content=content)
                else:
                    await self._keys.release(owner, key, request_id=request_id)
        except (StoreUnavailable, TimeoutError) as exc:
            log.warning("request_id=%s: how it ended is not noted under its Idempotency-Key: %s", request_id, exc)

    def _content(self) -> bytes | None:
        if self._parts is None or self._start is None:
            return None
        head = {
            "status": self._start["status"],
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start["headers"]],
            "dropped": self._exchange.dropped,
        }
        return orjson.dumps(head) + b"\n" + b"".join(self._parts)


def may_be_owed(exchange: Exchange) -> bool:
    """Whether something was or will be charged: the ledger was asked to, or will be when an answer has been read whose
    client has left."""
    return exchange.owed is not None or bool(exchange.unfinished)


def _is_stream(start: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start.get("headers", ())
    )
