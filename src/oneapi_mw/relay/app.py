"""The terminal app: sends the call upstream, tries the next channel when one fails, and is the source of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Self

from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.canonical.events import Ended, Event, Failed, UsageReported
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.frames import ANSWER, EVENTS, EXTENSION, Answer, Frame, Offer
from oneapi_mw.errors import GatewayError, NoChannelAvailable, NotFound, UpstreamError, UpstreamInvalidResponse
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Attempt, Exchange
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.pricing.tools import runs_tools
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.relay.attempt import Asked, Opened, fault_error, open_attempt
from oneapi_mw.relay.conversion import Recovery
from oneapi_mw.relay.fetch import Fetcher
from oneapi_mw.relay.headers import forwardable_response_headers
from oneapi_mw.relay.inlining import Inlining
from oneapi_mw.relay.remainder import REMAINDER_BYTES, Unhurried, leave, outlive
from oneapi_mw.relay.upstream import BodyCut, BodyTooLarge, Timeouts, Upstream, UpstreamFault
from oneapi_mw.relay.watch import ClientGone, DisconnectWatch
from oneapi_mw.routing.plan import PLAN, Candidate, Route
from oneapi_mw.routing.retry import may_retry
from oneapi_mw.scope import MissingStage, route_path
from oneapi_mw.types import JsonObject, RawHeaders
from oneapi_mw.usage import Produced
from oneapi_mw.wire.base import StreamDecoder
from oneapi_mw.wire.carrier import Carrier
from oneapi_mw.wire.errors import truncated
from oneapi_mw.wire.recovery import Remedy, recognised
from oneapi_mw.wire.registry import get_format

log = logging.getLogger("oneapi_mw.relay")

DRAIN_SECONDS = 0.05
"""How long to wait for the end of a message whose stream has ended, so that its connection can be used again."""

CHECKPOINT_BYTES = 64 * 1024
"""After so much of a stream what it has produced is counted: the hold may have to grow."""

TOOLS_CHECKPOINT_BYTES = 4 * 1024
"""The same where the vendor may run tools: a search costs as much as many pages of text."""


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
            if isinstance(served, _Buffered):
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

    async def _first_to_serve(self, asked: Asked, offer: Offer, watch: DisconnectWatch) -> _Buffered | _Streaming:
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
                attempt.error, attempt.usage = failed.code, exchange.usage
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
    ) -> _Buffered | _Streaming:
        call, limits = asked.call, self._limits
        opened = await open_attempt(self._upstream, asked, index, timeouts, recovery)
        is_stream = _content_type(opened.response.headers).startswith(b"text/event-stream")
        keep = False
        try:
            if is_stream and call.stream:
                keep = True  # from here on it is the stream's to close
                return await _Streaming(opened, call, offer, limits).begin()
            if is_stream:
                return await _fold_stream(opened, call, asked.exchange, limits.max_answer_bytes)
            return await _read_answer(opened, call, asked.exchange, limits.max_answer_bytes)
        except UpstreamFault as fault:
            raise fault_error(fault) from fault
        finally:
            if not keep:
                await opened.response.aclose()

    async def _send_stream(self, streaming: _Streaming, exchange: Exchange, watch: DisconnectWatch, send: Send) -> None:
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


async def _send_answer(served: _Buffered, send: Send) -> None:
    try:
        await send({"type": "http.response.start", "status": 200, "headers": served.headers})
        await send(served.message())
    except OSError as exc:
        raise ClientGone from exc


class _Buffered:
    """A whole answer, ready to be sent."""

    def __init__(self, answer: Answer, headers: list[tuple[bytes, bytes]]) -> None:
        self.answer = answer
        self.headers = headers

    def message(self) -> dict[str, object]:
        return {"type": ANSWER, "answer": self.answer}

    async def finish(self, exchange: Exchange) -> None:
        """See `Remainder`: it is here already."""
        exchange.attempts[-1].whole = True

    async def abandon(self) -> None:
        """See `Remainder`: nothing is open."""


class _Unfolded(_Buffered):
    """A whole answer to a client that asked for a stream."""

    def message(self) -> dict[str, object]:
        answer = self.answer
        response = answer.response or get_format(answer.format).decode_response(answer.body)
        return {"type": EVENTS, "frames": [Frame(unfold(response))], "more_body": False}


class _Streaming:
    """A stream under way: its decoder, and the frames that arrived last."""

    def __init__(self, opened: Opened, call: Call, offer: Offer, limits: RelayLimits) -> None:
        self._opened = opened
        self._response = opened.response
        self._chunks: AsyncIterator[bytes] = opened.response.chunks()
        self._unhurried: Unhurried | None = None
        if opened.attempt.outlives:
            self._chunks = self._unhurried = Unhurried(self._chunks)
        renamed = opened.attempt.model != call.model
        self._decoder: StreamDecoder = opened.wire.stream_decoder(
            full=offer.full or opened.wire.name != offer.format,
            model=call.model if renamed else None,
            hide_usage=limits.enforce_usage and not call.usage_wanted,
        )
        self._conversion = opened.conversion
        self._received = 0
        self._limit = limits.max_answer_bytes
        self._step = TOOLS_CHECKPOINT_BYTES if runs_tools(call.body) else CHECKPOINT_BYTES
        self._checkpoint = min(self._step, self._limit)
        self._broken = False  # the transport failed: what the upstream has done is not known
        self.frames: list[Frame] = []
        self.headers = forwardable_response_headers(opened.response.headers)

    @property
    def is_cut(self) -> bool:
        """Whether the answer was ended by us, with the upstream still talking."""
        return self._conversion is not None and self._conversion.is_cut

    async def begin(self) -> Self:
        """Wait for the first frames. An error that comes before any output is raised: it can still be retried."""
        try:
            await self.advance()
            first = next((event for frame in self.frames for event in frame.events), None)
            if isinstance(first, Failed):
                self._opened.attempt.refused = not self._broken
                raise first.error
        except BaseException:
            await self.abandon()
            raise
        return self

    async def advance(self) -> None:
        """Replace `frames` by the next ones that arrive."""
        try:
            async for chunk in self._chunks:
                self._received += len(chunk)
                if self._received > self._limit:
                    raise BodyTooLarge
                frames = self._converted(self._decoder.feed(chunk))
                if frames:
                    self.frames = frames
                    return
        except BodyCut:
            self._broken = True  # the decoder knows whether the answer was complete by then
        except UpstreamFault as fault:
            self._broken = True
            self.frames = self._converted(self._decoder.fail(fault_error(fault)))
            return
        self.frames = self._converted(self._decoder.close()) or [Frame((Failed(truncated()),))]

    def _converted(self, frames: list[Frame]) -> list[Frame]:
        """`frames` as the client's side may see them."""
        if self._conversion is None or not frames:
            return frames
        events = self._conversion.feed([event for frame in frames for event in frame.events])
        return [Frame(events)] if events else []

    def note(self, exchange: Exchange) -> bool:
        """Take usage and ending out of `frames`. Returns whether they are the last."""
        for frame in self.frames:
            for event in frame.events:
                if isinstance(event, UsageReported):
                    exchange.usage = event.usage
                elif isinstance(event, Ended):
                    exchange.outcome = "complete"
                    return True
                elif isinstance(event, Failed):
                    exchange.outcome = "failed"
                    exchange.code = self._opened.attempt.error = event.error.code
                    return True
        if self._received > self._checkpoint:
            self._checkpoint = self._received + self._step
            exchange.produced.text_bytes = self._decoder.text_bytes()
            self._note_tools(exchange)
        return False

    def _note_tools(self, exchange: Exchange) -> None:
        tools = self._decoder.tools()
        if tools != exchange.produced.tools:
            exchange.produced.tools = tools

    def count(self, exchange: Exchange) -> None:
        """Note what hosted tools did, and how much text was relayed, unless the upstream has told the usage of a
        complete answer."""
        self._note_tools(exchange)
        complete = exchange.outcome == "complete"
        if complete:
            _note_untold(exchange, self._decoder)
        else:
            exchange.produced.text_bytes, exchange.produced.text = self._decoder.text_bytes(), None

    async def finish(self, exchange: Exchange) -> None:
        """See `Remainder`."""
        self._limit = min(self._limit, self._received + REMAINDER_BYTES)
        outcome = exchange.outcome
        try:
            while not self.note(exchange):
                await self.advance()
            self._opened.attempt.whole = exchange.outcome == "complete"
        finally:
            self.count(exchange)
            exchange.outcome = outcome
            await self.abandon()

    async def abandon(self) -> None:
        """See `Remainder`."""
        try:
            if self._unhurried is not None:
                await self._unhurried.aclose()
        finally:
            await self._response.aclose()

    async def aclose(self, *, drain: bool) -> None:
        """Give the connection back when its message ends in a moment, else close it."""
        try:
            if drain:
                async with asyncio.timeout(DRAIN_SECONDS):
                    async for _ in self._chunks:
                        break
        except (TimeoutError, UpstreamFault):
            pass  # the answer is whole: only its connection cannot be used again
        finally:
            await self.abandon()


def _tells_usage(exchange: Exchange) -> bool:
    """Whether the upstream has reported what it read and what it generated. A zero is not believed unseen."""
    usage = exchange.usage
    return usage is not None and usage.output_tokens > 0 and usage.input_tokens > 0


def _note_untold(exchange: Exchange, decoder: StreamDecoder) -> None:
    """Keep the text of a complete stream whose upstream has not told the usage of all of it."""
    unreported = decoder.unreported()
    if unreported or not _tells_usage(exchange):
        produced = exchange.produced
        produced.text_bytes, produced.text, produced.unreported = decoder.text_bytes(), decoder.text(), unreported


async def _read_answer(opened: Opened, call: Call, exchange: Exchange, limit: int) -> _Buffered:
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
    if not _tells_usage(exchange):
        said = wire.answer_said(body)
        exchange.produced.text_bytes, exchange.produced.text = said.text_bytes, said.text()
    return (_Unfolded if call.stream else _Buffered)(answer, _json_headers(opened))


async def _fold_stream(opened: Opened, call: Call, exchange: Exchange, limit: int) -> _Buffered:
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
            raise event.error
        if isinstance(event, UsageReported):
            exchange.usage = event.usage
    _note_untold(exchange, decoder)
    if opened.conversion is not None:
        response = fold(opened.conversion.feed(events))
        return _Buffered(Answer(opened.wire.name, b"", {}, response), _json_headers(opened))
    body = opened.wire.encode_response(
        fold(events), call, request_id=exchange.request_id, created=int(exchange.started_at)
    )
    return _Buffered(Answer(opened.wire.name, dumps(body), body), _json_headers(opened))


def _json_headers(opened: Opened) -> list[tuple[bytes, bytes]]:
    """What crosses of the upstream's header fields; the body is JSON, whatever they call it."""
    headers = forwardable_response_headers(opened.response.headers)
    return [*(field for field in headers if field[0] != b"content-type"), (b"content-type", b"application/json")]


def _parse(raw: bytes) -> JsonObject:
    try:
        body = loads(raw)
    except ValueError:
        raise UpstreamInvalidResponse("The upstream's answer is not JSON") from None
    if not isinstance(body, dict):
        raise UpstreamInvalidResponse("The upstream's answer is not a JSON object")
    return body


def _content_type(headers: RawHeaders) -> bytes:
    for name, value in headers:
        if name == b"content-type":
            return value.strip().lower()
    return b""
