"""Response state over upstreams that have none: what a request continues is put into it, what is answered is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame
from oneapi_mw.canonical.phases import Ended, Started
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.exchange import EXCHANGE, Exchange
from oneapi_mw.jsontext import dumps, dumps_well_formed
from oneapi_mw.middleware.history import (
    NOTHING,
    Histories,
    History,
    StateOptions,
    apart,
    conversation_not_found,
    new_ids,
    owner_of,
    previous_not_found,
    state_errors,
    too_large,
    unknown_item,
)
from oneapi_mw.principal import PRINCIPAL, Principal
from oneapi_mw.routing.origin import ORIGIN
from oneapi_mw.store.base import Conflict, ResponseStates, StateBusy, StateFull
from oneapi_mw.store.state_records import ConversationRecord, ItemRecord, Owner, ResponseLink, ResponseRecord
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import StreamEncoder, WireFormat
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.response_state import (
    ANSWERED,
    CONVERSATION,
    ITEM,
    NAME,
    RESPONSE,
    Asked,
    Kept,
    Signature,
    asked_of,
    expanded,
    is_ours,
    is_usable,
    item_ids,
    normal,
    own_items,
    resolved,
    said,
    terminal_response,
)

if TYPE_CHECKING:
    from oneapi_mw.canonical.events import Event

log = logging.getLogger("oneapi_mw.state")

HEADER = b"x-oneapi-state"
_OPERATIONS = ("chat", "count_tokens")
CLAIM_SECONDS = 300.0
"""How long a conversation waits for a request that was lost; one that takes longer is only disturbed by others."""
STORE_SECONDS = 10.0
"""How long the end of an answer waits until it is stored."""


class NotStored(Exception):
    """An answer is not kept; the message says why."""


class StateMiddleware:
    """Put into a request what it continues, and keep its answer for those that continue it.

    Stands between convert and route: what is put in counts for the estimate, hence for routing and for the hold.
    Reads `EXCHANGE`, `PRINCIPAL` and `CALL`; provides `CALL` with the whole input, and `ORIGIN`. Requests of other
    formats pass untouched, and so do those that neither continue anything nor want to be kept. Of a request whose
    tokens are to be counted nothing is kept.

    An answer that is kept gets an id of ours. It is stored before its last message goes on; when that fails it goes
    on all the same, with `X-Oneapi-State: not_stored` where the header is still to be sent.

    Raises `InvalidRequest` and its kin for state that cannot be had, `StoreUnavailable`.
    """

    requires, provides = (EXCHANGE, PRINCIPAL, CALL), (CALL, ORIGIN)

    def __init__(
        self,
        app: ASGIApp,
        *,
        states: ResponseStates,
        options: StateOptions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self._states = states
        self._options = options or StateOptions()
        self._histories = Histories(states, self._options)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.find(scope)
        if call is None or call.format != NAME or call.operation not in _OPERATIONS:
            await self.app(scope, receive, send)
            return
        principal = PRINCIPAL.get(scope)
        asked = asked_of(call.body)
        if not self._options.admits(principal) or self._is_foreign(asked):
            await self.app(scope, receive, send)
            return
        if self._options.shadow:
            asked = Asked(keep=asked.keep)
        if call.operation != "chat":  # nothing is said
            asked = replace(asked, keep=False)
        await _Turn(self, scope, call, asked, principal).run(receive, send)

    def _is_foreign(self, asked: Asked) -> bool:
        """Whether an upstream is to know what is asked for."""
        if not self._options.passthrough:
            return False
        previous, conversation = asked.previous or RESPONSE, asked.conversation or CONVERSATION
        return not (previous.startswith(RESPONSE) and conversation.startswith(CONVERSATION))

    # What came before.

    async def load(self, owner: Owner, asked: Asked, holder: str) -> History:
        """The history of a request. With `holder` its conversation is claimed."""
        with state_errors():
            if asked.previous is not None:
                if not is_ours(asked.previous, RESPONSE):
                    raise previous_not_found(asked.previous)
                return await self._histories.chain(owner, asked.previous)
            if asked.conversation is not None:
                record = await self._conversation(owner, asked.conversation, holder)
                return await self._histories.conversation(owner, record)
        return NOTHING

    async def _conversation(self, owner: Owner, conversation_id: str, holder: str) -> ConversationRecord:
        if not is_ours(conversation_id, CONVERSATION):
            raise conversation_not_found(conversation_id)
        if holder:
            record = await self._states.claim(owner, conversation_id, holder=holder, seconds=CLAIM_SECONDS)
        else:
            record = await self._states.conversation(owner, conversation_id)
        if record is None:
            raise conversation_not_found(conversation_id)
        return record

    async def release(self, owner: Owner, conversation_id: str, holder: str) -> None:
        try:
            await self._states.release(owner, conversation_id, holder=holder)
        except StoreUnavailable as exc:
            log.warning("request_id=%s keeps its conversation for %g s more: %s", holder, CLAIM_SECONDS, exc)

    async def resolve(
        self, owner: Owner, asked: Asked, own: Sequence[JsonObject], history: History
    ) -> tuple[list[JsonObject], History]:
        """`own` with the items in place of the references to them."""
        if not asked.references:
            return list(own), history
        known = {item["id"]: item for item in history.items if isinstance(item.get("id"), str)}
        missing = [item_id for item_id in asked.references if item_id not in known and is_usable(item_id)]
        if missing:
            with state_errors():
                found, channel_id = await self._histories.referenced(owner, missing)
            known |= found
            history = replace(history, channel_id=history.channel_id or channel_id)
        items = resolved(own, known)
        for index, item in enumerate(items):
            if item.get("type") == "item_reference" and not self._options.passthrough:
                raise unknown_item(item["id"], index)
        return items, history

    async def expand(self, call: Call, history: History, own: Sequence[JsonObject]) -> Call:
        """`call` with everything it stands for in its input, checked and estimated anew."""
        options = self._options
        self._histories.check(len(history.items) + len(own), 0)
        body = expanded(call.body, history.items, own)
        wire = get_format(call.format)

        def read() -> Call:
            raw = dumps(body)
            self._histories.check(0, len(raw))
            return wire.decode_call(raw, operation=call.operation, outside=call.outside, body=body)

        # What it will be is not known; what has a history mostly is long.
        whole = await asyncio.to_thread(read)
        if whole.input_estimate > options.max_hydrated_tokens:
            raise too_large(
                f"With what it continues the request has about {whole.input_estimate} tokens: "
                f"{options.max_hydrated_tokens} may be"
            )
        return replace(call, body=whole.body, raw=whole.raw, input_estimate=whole.input_estimate)

    # What comes after.

    def may_keep(self, call: Call, own: Sequence[JsonObject]) -> bool:
        """Whether the turn can be kept, as far as that is known before the answer."""
        size = len(call.raw) if call.raw is not None else 0
        return len(own) < self._options.max_item_count and size < self._options.max_record_bytes

    def admits_answer(self, principal: Principal, exchange: Exchange) -> bool:
        attempt = exchange.attempts[-1] if exchange.attempts else None
        if attempt is None:
            return not self._options.allowed
        return self._options.admits_answer(principal, attempt.channel_id, attempt.channel_uuid)

    @property
    def shadows(self) -> bool:
        """Whether what is kept is only looked at by the operator."""
        return self._options.shadow

    def mint(self) -> str | None:
        """An id for an answer; in the shadow it keeps the one it has."""
        return None if self.shadows else new_ids(RESPONSE, 1)[0]

    async def store(
        self,
        owner: Owner,
        asked: Asked,
        own: Sequence[JsonObject],
        history: History,
        response: JsonObject,
        *,
        holder: str,
        channel_id: int | None,
        size: int,
    ) -> None:
        """`size` is that of the request. Raises `NotStored`."""
        options, now = self._options, int(self._clock() * 1000)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                kept = Kept([normal(item, id_) for item, id_ in _named(own)], response)
                content = await apart(size, kept.written)
                count = len(kept.input) + len(kept.output)
                if len(content) > options.max_record_bytes or count > options.max_item_count:
                    raise NotStored(f"it has {len(content)} bytes and {count} items")
                if not is_usable(response.get("id")):
                    raise NotStored("its upstream gave it no id")
                if asked.conversation is not None:
                    await self._append(owner, asked.conversation, kept, holder=holder, channel_id=channel_id, now=now)
                link = ResponseLink(
                    response["id"],
                    asked.previous,
                    asked.conversation,
                    history.position,
                    channel_id,
                    count,
                    len(content),
                    now,
                    options.response_expiry(now),
                )
                await self._states.add(
                    owner,
                    ResponseRecord(link, content),
                    item_ids=list(item_ids(kept.output)),
                    renew=history.chain,
                    most=options.max_responses,
                )
        except (StoreUnavailable, StateFull, StateBusy, Conflict, TimeoutError) as exc:
            raise NotStored(str(exc) or type(exc).__name__) from exc

    async def _append(
        self, owner: Owner, conversation_id: str, kept: Kept, *, holder: str, channel_id: int | None, now: int
    ) -> None:
        items = [*kept.input, *(normal(item, id_) for item, id_ in _named(said(kept.response)))]
        there = await self._states.append(
            owner,
            conversation_id,
            [ItemRecord(item["id"], dumps(item)) for item in items],
            holder=holder,
            channel_id=channel_id,
            expires_at=self._options.conversation_expiry(now),
            limits=self._options.conversation_limits,
        )
        if not there:
            raise NotStored("its conversation was deleted in the meantime")


def _named(items: Sequence[JsonObject]) -> zip[tuple[JsonObject, str]]:
    return zip(items, new_ids(ITEM, len(items)), strict=True)


class _Turn:
    """One request and its answer."""

    def __init__(self, stage: StateMiddleware, scope: Scope, call: Call, asked: Asked, principal: Principal) -> None:
        self._stage = stage
        self._scope = scope
        self._call = call
        self._asked = asked
        self._principal = principal
        self._owner = owner_of(principal)
        self._exchange = EXCHANGE.get(scope)

    async def run(self, receive: Receive, send: Send) -> None:
        stage, asked, own = self._stage, self._asked, own_items(self._call.body)
        if asked.keep and not stage.may_keep(self._call, own):
            if asked.conversation is not None:
                raise too_large("The request is too large to be kept in a conversation: send less at once")
            self._not_stored("it is too large")
            asked = replace(asked, keep=False)
        holder = self._exchange.request_id if asked.keep and asked.conversation is not None else ""
        try:
            history = await stage.load(self._owner, asked, holder)
            own, history = await stage.resolve(self._owner, asked, own, history)
            scope, whole = self._scope, self._call
            if asked.remembers:
                whole = await stage.expand(whole, history, own)
            if asked.keep and not stage.shadows:
                whole = replace(whole, kept=True)
            if whole is not self._call:
                scope = CALL.put(scope, whole)
            if history.channel_id is not None:
                scope = ORIGIN.put(scope, history.channel_id)
            if asked.keep:

                async def store(response: JsonObject) -> None:
                    await self._store(asked, own, history, response, holder)

                signature = Signature(stage.mint(), asked)
                send = _Keeper(send, self._call, self._exchange, signature, self._admitted, store)
            await stage.app(scope, receive, send)
        finally:
            if holder and asked.conversation is not None:
                await stage.release(self._owner, asked.conversation, holder)

    def _admitted(self) -> bool:
        return self._stage.admits_answer(self._principal, self._exchange)

    async def _store(
        self, asked: Asked, own: Sequence[JsonObject], history: History, response: JsonObject, holder: str
    ) -> None:
        attempts, size = self._exchange.attempts, len(self._call.raw or b"")
        channel_id = attempts[-1].channel_id if attempts else None
        try:
            await self._stage.store(
                self._owner, asked, own, history, response, holder=holder, channel_id=channel_id, size=size
            )
        except NotStored as exc:
            self._not_stored(str(exc))

    def _not_stored(self, why: str) -> None:
        log.warning("request_id=%s: the answer is not stored: %s", self._exchange.request_id, why)
        self._exchange.response_headers.append((HEADER, b"not_stored"))


class _Keeper:
    """`send` for the inner app: signs the answer with its id, and stores it when it is whole.

    Bytes of the client's format stay what they are but for the ids. Other answers are encoded here rather than by the
    stage outside, as what is stored is what the client sees.
    """

    def __init__(
        self,
        send: Send,
        call: Call,
        exchange: Exchange,
        signature: Signature,
        admitted: Callable[[], bool],
        store: Callable[[JsonObject], Awaitable[None]],
    ) -> None:
        self._send = send
        self._call = call
        self._exchange = exchange
        self._signature = signature
        self._admitted = admitted
        self._store = store
        self._wire: WireFormat = get_format(NAME)
        self._keeps: bool | None = None  # not known before the answer has begun
        self._upstream_id = ""
        self._passed: list[Frame] = []  # what goes out as original bytes, for an encoder that comes later
        self._encoder: StreamEncoder | None = None
        self._response: JsonObject | None = None

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == EVENTS:
            message = {**message, "frames": [self._frame(frame) for frame in message["frames"]]}
            if not message["more_body"] and self._response is not None:
                await self._store(self._response)
        elif kind == ANSWER:
            message = {**message, "answer": await self._answer(message["answer"])}
        await self._send(message)

    async def _answer(self, answer: Answer) -> Answer:
        response, signature = answer.response, self._signature
        original = response is None and answer.format == NAME
        if not self._admitted() or (original and answer.body.get("status") not in ANSWERED):
            return answer
        if original:
            body, upstream_id = signature.on_response(answer.body), answer.body.get("id")
            raw = signature.on_bytes(answer.raw, upstream_id) if upstream_id else dumps(body)
            answer = Answer(NAME, raw, body)
        else:
            if response is None:
                response = get_format(answer.format).decode_response(answer.body)
            body = self._wire.encode_response(
                replace(response, id=signature.id or response.id),
                self._call,
                request_id=self._exchange.request_id,
                created=int(self._exchange.started_at),
            )
            answer = Answer(NAME, dumps_well_formed(body), body)
        await self._store(body)
        return answer

    def _frame(self, frame: Frame) -> Frame:
        if self._keeps is None:
            self._begin(frame)
        if not self._keeps:
            return frame
        if frame.raw is not None and frame.format == NAME:
            return self._signed(frame, frame.raw)
        return self._encoded(frame)

    def _begin(self, frame: Frame) -> None:
        """Decide once the answer has begun; signs of life may come ahead of it."""
        started = next((event for event in frame.events if isinstance(event, Started)), None)
        if started is not None:
            original = frame.raw is not None and frame.format == NAME
            self._keeps = self._admitted() and bool(started.id or not original)  # bytes without an id take none
            self._upstream_id = started.id

    def _signed(self, frame: Frame, raw: bytes) -> Frame:
        events = frame.events
        if b'"response"' in raw:
            raw = self._signature.on_bytes(raw, self._upstream_id)
            events = self._signature.on_events(events)
            frame = Frame(events, raw, NAME)
            if _ends(events):
                response = terminal_response(raw)
                self._response = None if response is None else self._signature.on_response(response)
        if events:
            self._passed.append(frame)
        return frame

    def _encoded(self, frame: Frame) -> Frame:
        encoder = self._encoder
        if encoder is None:
            encoder = self._encoder = self._wire.stream_encoder(
                self._call, request_id=self._exchange.request_id, created=int(self._exchange.started_at)
            )
        for passed in self._passed:
            encoder.observe(passed.events)
        self._passed.clear()
        events = self._signature.on_events(frame.events)
        raw = encoder.feed(events)
        if _ends(events):
            self._response = terminal_response(raw)
        return Frame(events, raw, NAME)


def _ends(events: Sequence[Event]) -> bool:
    return bool(events) and isinstance(events[-1], Ended)
