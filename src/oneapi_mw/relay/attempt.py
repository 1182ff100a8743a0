"""One upstream call: what is sent, and what its failure means."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import (
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.immutable import immutable
from oneapi_mw.relay.conversion import Conversion, Recovery, outgoing_call
from oneapi_mw.relay.inlining import INLINED, Inlining
from oneapi_mw.relay.upstream import (
    BodyTooLarge,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidResponse,
    Timeouts,
    TotalTimeout,
    Upstream,
    UpstreamFault,
    UpstreamResponse,
)
from oneapi_mw.routing.channel import Channel
from oneapi_mw.routing.plan import Plan, Route
from oneapi_mw.wire.base import WireFormat
from oneapi_mw.wire.carrier import Carrier
from oneapi_mw.wire.client_fields import client_fields
from oneapi_mw.wire.recovery import recognised

log = logging.getLogger("oneapi_mw.relay")

MAX_ERROR_BYTES = 64 * 1024
SUCCESS = frozenset({200, 201})
OF_THE_REQUEST = frozenset({400, 404, 422})
"""Statuses under which a vendor says what is wrong with what he was sent."""


@immutable
class Opened:
    """An attempt whose upstream has answered with a success status."""

    attempt: Attempt
    response: UpstreamResponse
    wire: WireFormat
    """What the upstream speaks."""
    conversion: Conversion | None
    """What an answer in another format than the client's goes through."""


@immutable
class Asked:
    """A request, and what all of its attempts share."""

    call: Call
    plan: Plan
    exchange: Exchange
    include_usage: bool
    """Whether a stream is asked for usage even where the client did not ask."""
    carriers: Callable[[Route], Carrier | None] | None = None
    """How opaque reasoning parts of an upstream travel through the client; without it they do not."""
    inlining: Inlining | None = None
    """Puts data in place of URLs; without it they are sent as they are."""


async def open_attempt(
    upstream: Upstream, asked: Asked, index: int, timeouts: Timeouts, recovery: Recovery | None = None
) -> Opened:
    """Send a request to the candidate at `index` of its plan and wait for response headers. The attempt is noted in
    the exchange first.

    Args:
        recovery: what to repair before it is sent, for an upstream of that format.

    Raises: `UpstreamError` for transport faults and for any answer but 200 or 201; `InvalidRequest` for what this
    upstream cannot be asked, and as `Inlining.inlined`, before there is an attempt.
    """
    call, exchange, candidate = asked.call, asked.exchange, asked.plan.candidates[index]
    route = candidate.route(call)
    if asked.inlining is not None:
        call = await asked.inlining.inlined(call, route)
    channel, wire = candidate.channel, route.wire
    url = route.addresses[call.operation, call.stream]
    attempt = Attempt(channel.id, channel.uuid, channel.name, candidate.model, url, wire.name, candidate=index)
    attempt.goes_on = wire.name == call.format and wire.goes_on(call)
    attempt.outlives = candidate.terms.bills_after_disconnect and exchange.remainders is not None
    if recovery is None:
        exchange.attempts.append(attempt)
    outgoing, conversion = outgoing_call(
        call,
        route,
        provider=candidate.provider.spec.name,
        include_usage=asked.include_usage,
        carriers=asked.carriers,
        recovery=recovery,
    )
    if recovery is not None:  # only now: where nothing can be repaired nothing is tried
        exchange.attempts.append(attempt)
    exchange.dropped[:] = outgoing.dropped
    if call is not asked.call:
        exchange.dropped += client_fields(call, (INLINED,))
    headers = _headers(call, channel, candidate.provider.headers(channel, wire.name), outgoing.headers)

    def dispatched() -> None:
        attempt.dispatched = True

    try:
        response = await upstream.send("POST", url, headers, outgoing.body, timeouts, on_dispatch=dispatched)
    except UpstreamFault as fault:
        attempt.dispatched = fault.dispatched
        raise fault_error(fault) from fault
    except ValueError as exc:
        # the operator has to know what it is, and the client must not
        log.error("channel %s cannot be called: %s", channel.uuid, exc)
        raise UpstreamError("The channel is not set up correctly: its operator has to look at its log") from exc
    attempt.dispatched = True  # answered, hence sent: also by an upstream that never said so
    attempt.first_byte_at = time.perf_counter()
    attempt.status = response.status
    if response.status in SUCCESS:
        return Opened(attempt, response, wire, conversion)
    attempt.refused = True
    raise await _read_refusal(response, wire, attempt)


async def _read_refusal(response: UpstreamResponse, wire: WireFormat, attempt: Attempt) -> UpstreamError:
    try:
        body = await response.read(MAX_ERROR_BYTES)
    except UpstreamFault:  # the status alone says enough
        body = b""
    finally:
        await response.aclose()
    error = wire.read_error(response.status, body)
    if response.status in OF_THE_REQUEST:  # all of it: some vendors say in lists what is wrong where
        attempt.lost = recognised(wire.name, body.decode("utf-8", "replace"))
    if error is None:
        return UpstreamInvalidResponse(f"The upstream answered with status {response.status}, which is no answer")
    if error.retry_after is None:
        error.retry_after = _retry_after(response)
    return error


def _retry_after(response: UpstreamResponse) -> float | None:
    for name, value in response.headers:
        if name == b"retry-after" and value.isdigit() and len(value) < 6:
            return float(value)
    return None


def _headers(
    call: Call, channel: Channel, credentials: list[tuple[str, str]], needed: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if call.stream else "application/json"),
        *credentials,
    ]
    for name, value in needed:  # what the body needs; a list that is there already grows
        present = next((place for place, field in enumerate(headers) if field[0] == name), None)
        if present is None:
            headers.append((name, value))
        else:
            headers[present] = (name, f"{headers[present][1]},{value}" if name == "anthropic-beta" else value)
    custom = channel.config.get("custom_headers")
    if custom:
        key = str.__str__(channel.key)
        # the operator's word replaces ours: a field sent twice has no meaning
        own = {name.lower(): str(value).replace("{{key}}", key) for name, value in custom.items()}
        headers = [*(field for field in headers if field[0] not in own), *own.items()]
    return headers


def fault_error(fault: UpstreamFault) -> UpstreamError:
    """The client's view of a transport fault: never an address, a URL or the library's words."""
    match fault:
        case ConnectTimeout():
            return UpstreamTimeout("The upstream did not accept a connection in time")
        case ConnectFailed():
            return UpstreamUnreachable("The upstream cannot be reached")
        case FirstByteTimeout():
            return UpstreamTimeout("The upstream did not begin its answer in time")
        case IdleTimeout():
            return UpstreamTimeout("The upstream stopped sending in the middle of its answer")
        case TotalTimeout():
            return UpstreamTimeout("The upstream did not finish its answer in time")
        case BodyTooLarge():
            return UpstreamInvalidResponse("The upstream's answer is too large")
        case InvalidResponse():
            return UpstreamInvalidResponse("The upstream's answer is not valid HTTP")
        case _:
            return UpstreamError("The upstream closed the connection before its answer was complete")
