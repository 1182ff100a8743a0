"""The terminal app: sends the call upstream, tries the next channel when one fails, and is the source of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.canonical.frames import EVENTS, EXTENSION, Offer
from oneapi_mw.errors import GatewayError, NoChannelAvailable, NotFound, UpstreamError
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Attempt, Exchange
from oneapi_mw.immutable import immutable
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.relay.attempt import Asked, fault_error, open_attempt
from oneapi_mw.relay.buffered import Buffered, fold_stream, read_answer
from oneapi_mw.relay.conversion import Recovery
from oneapi_mw.relay.fetch import Fetcher
from oneapi_mw.relay.inlining import Inlining
from oneapi_mw.relay.remainder import leave, outlive
from oneapi_mw.relay.streaming import Streaming
from oneapi_mw.relay.upstream import Timeouts, Upstream, UpstreamFault
from oneapi_mw.relay.watch import ClientGone, DisconnectWatch
from oneapi_mw.routing.plan import PLAN, Candidate, Route
from oneapi_mw.routing.retry import may_retry
from oneapi_mw.scope import MissingStage, route_path
from oneapi_mw.types import RawHeaders
from oneapi_mw.usage import Produced
from oneapi_mw.wire.carrier import Carrier
from oneapi_mw.wire.recovery import Remedy, recognised

log = logging.getLogger("oneapi_mw.relay")


@immutable
class RelayLimits:
    """How patient the relay is, and how much it takes."""

    timeouts: Timeouts
    retries: int = 0
    """Further attempts on other channels after the first."""
    max_answer_bytes: int = 64 * 1024 * 1024
    """Of a buffered answer, and of a stream."""
    enforce_usage: bool = True
    """Ask every upstream stream for usage, whether or not the client did."""


class Relay:
    """Serve `CALL` from the first candidate of `PLAN` that can.

    Reads `CALL`, `PLAN`, `EXCHANGE` and the offer of a stage that takes events; writes attempts, usage and what
    was produced into the exchange.

    One attempt at a time, and none after the first byte has gone to the client. When the client leaves, the
    upstream connection is closed at once and the call returns: what was produced is in the exchange.

    A request that is refused for reasoning which its client has lost is repaired and sent to the same channel again,
    once. That is no retry: no other channel would have taken it.
    """

    requires, provides = (EXCHANGE, CALL, PLAN), ()

    def __init__(
        self,
        *,
        upstream: Upstream,
        limits: RelayLimits,
        carriers: Callable[[Scope, Route], Carrier | None] | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        """
        Args:
            carriers: how opaque reasoning parts of an upstream travel through the client of a request; without it
                they do not.
            fetcher: fetches what is named by URL for upstreams that cannot; without it they get the URLs.
        """
        self._upstream = upstream
        self._limits = limits
        self._carriers = carriers
        self._fetcher = fetcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        offer = _offer(scope)
        exchange = EXCHANGE.get(scope)
        watch = DisconnectWatch(receive)
        try:
            served = await self._first_to_serve(self._asked(scope, exchange), offer, watch)
            if isinstance(served, Buffered):
                exchange.outcome = "complete"
                await _send_answer(served, send)
            else:
                await self._send_stream(served, exchange, watch, send)
        except ClientGone:
            if exchange.outcome == "pending":
                exchange.outcome = "client_gone"
        except asyncio.CancelledError:
            if exchange.outcome == "pending":
                exchange.outcome = "cancelled"
            raise

    def _asked(self, scope: Scope, exchange: Exchange) -> Asked:
        inlining = None
        if self._fetcher is not None:
            principal = PRINCIPAL.find(scope)
            inlining = Inlining(self._fetcher, principal.user_uuid if principal is not None else "")
        return Asked(
            CALL.get(scope),
            PLAN.get(scope),
            exchange,
            include_usage=self._limits.enforce_usage,
            carriers=None if self._carriers is None else partial(self._carriers, scope),
            inlining=inlining,
        )

    async def _first_to_serve(self, asked: Asked, offer: Offer, watch: DisconnectWatch) -> Buffered | Streaming:
        """Open attempts until one has something to show. Raises the last attempt's error."""
        call, plan, exchange = asked.call, asked.plan, asked.exchange
        error: GatewayError | None = None
        recovery: Recovery | None = None
        timeouts = self._limits.timeouts
        deadline = asyncio.get_running_loop().time() + timeouts.total
        index = 0
        while index < min(len(plan.candidates), 1 + self._limits.retries):
            if error is not None:  # all attempts share one deadline, and only the last one counts
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    break
                timeouts = replace(timeouts, total=left)
                exchange.usage, exchange.produced = None, Produced()
            try:
                if plan.candidates[index].terms.bills_after_disconnect and exchange.remainders is not None:
                    begin = partial(self._attempt, asked, index, timeouts, recovery, offer)
                    return await outlive(begin, exchange, watch)
                with watch:
                    return await self._attempt(asked, index, timeouts, recovery, offer)
            except UpstreamError as failed:
                attempt = exchange.attempts[-1]
                attempt.error, attempt.usage = failed.code, exchange.usage or attempt.usage
                error = failed
                remedy = _remedy(failed, attempt)
                if remedy is not None and recovery is None and not _is_strict(call, plan.candidates[index]):
                    recovery = _recover(exchange, remedy, failed)
                elif remedy is None and may_retry(failed):
                    index += 1
                else:
                    break
        raise error or NoChannelAvailable(f"No available channels for Model {call.model}")

    async def _attempt(
        self, asked: Asked, index: int, timeouts: Timeouts, recovery: Recovery | None, offer: Offer
    ) -> Buffered | Streaming:
        call, limits = asked.call, self._limits
        opened = await open_attempt(self._upstream, asked, index, timeouts, recovery)
        is_stream = _content_type(opened.response.headers).startswith(b"text/event-stream")
        keep = False
        try:
            if is_stream and call.stream:
                keep = True  # from here on it is the stream's to close
                return await Streaming(
                    opened,
                    call,
                    offer,
                    max_bytes=limits.max_answer_bytes,
                    enforce_usage=limits.enforce_usage,
                ).begin()
            if is_stream:
                return await fold_stream(opened, call, asked.exchange, limits.max_answer_bytes)
            return await read_answer(opened, call, asked.exchange, limits.max_answer_bytes)
        except UpstreamFault as fault:
            raise fault_error(fault) from fault
        finally:
            if not keep:
                await opened.response.aclose()

    async def _send_stream(self, streaming: Streaming, exchange: Exchange, watch: DisconnectWatch, send: Send) -> None:
        """Relay a stream. Its last frames go out in one message of their own, after watching has ended: nothing
        may interrupt the settlement that happens on their way."""
        left = False
        try:
            with watch:
                await send({"type": "http.response.start", "status": 200, "headers": streaming.headers})
                while not streaming.note(exchange):
                    await send({"type": EVENTS, "frames": streaming.frames, "more_body": True})
                    await streaming.advance()
            streaming.count(exchange)
            await send({"type": EVENTS, "frames": streaming.frames, "more_body": False})
        except ClientGone:
            left = True
            raise
        except OSError as exc:  # how ASGI has servers say so that do more than stay silent
            left = True
            raise ClientGone from exc
        finally:
            if exchange.outcome == "pending":
                streaming.count(exchange)
            if not (left and exchange.outcome == "pending" and leave(streaming, exchange)):
                await streaming.aclose(drain=exchange.outcome == "complete" and not streaming.is_cut)


def _remedy(failed: UpstreamError, attempt: Attempt) -> Remedy | None:
    """What helps a request that was refused for reasoning its client has lost; `None` for any other failure."""
    if attempt.lost is None:  # said where a stream would begin, or under the status of something else
        attempt.lost = recognised(attempt.wire, failed.message)
    return attempt.lost


def _is_strict(call: Call, candidate: Candidate) -> bool:
    """Whether nothing may be left out of what goes to `candidate`."""
    route = candidate.route(call)
    options = route.target.options
    return call.strict or options.strict or (options.strict_passthrough and route.wire.name == call.format)


def _recover(exchange: Exchange, remedy: Remedy, refusal: UpstreamError) -> Recovery:
    attempt = exchange.attempts[-1]
    log.info(
        "request_id=%s channel=%s asked again because its client has lost reasoning: remedy=%s",
        exchange.request_id,
        attempt.channel_id,
        remedy,
    )
    return Recovery(attempt.wire, remedy, refusal)


def _offer(scope: Scope) -> Offer:
    """Whom to serve. Raises `NotFound` for a path that asks for nothing, `MissingStage` without a stage to talk to."""
    offer = Offer.find(scope)
    if offer is not None:
        return offer
    endpoint = ENDPOINT.find(scope)
    if endpoint is not None and endpoint.operation == "unknown":
        raise NotFound(f"Invalid URL ({scope['method']} {route_path(scope)})")
    raise MissingStage(EXTENSION)


async def _send_answer(served: Buffered, send: Send) -> None:
    try:
        await send({"type": "http.response.start", "status": 200, "headers": served.headers})
        await send(served.message())
    except OSError as exc:
        raise ClientGone from exc


def _content_type(headers: RawHeaders) -> bytes:
    for name, value in headers:
        if name == b"content-type":
            return value.strip().lower()
    return b""
