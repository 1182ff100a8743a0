"""One answer out of several upstream calls, which are made at once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL
from oneapi_mw.canonical.events import Ended, Event, Failed, Finished, ForeignEvent, Ping, Started, UsageReported
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame, Offer
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.exchange import EXCHANGE, Exchange
from oneapi_mw.routing.parts import Part, parts_of, plan_of_whole
from oneapi_mw.routing.plan import PLAN
from oneapi_mw.usage import Usage, total_usage
from oneapi_mw.wire.registry import get_format

AT_ONCE = 16
"""Calls of one request under way at the same time; the others wait for them."""


class FanOut:
    """Let `app`, a relay, serve each part of a request as if it were one by itself, and make one answer of theirs.

    Reads `CALL`, `PLAN`, `EXCHANGE` and the offer. Requests that one call answers pass.

    Every part has an exchange of its own, in `Exchange.parts`, and tries one channel after another as any request
    does. Answers keep the order of the parts; streams interleave. When the client leaves every part hears of it; when
    one fails the others are cancelled, and the request fails.
    """

    requires, provides = (EXCHANGE, CALL, PLAN), ()

    def __init__(self, app: ASGIApp, *, at_once: int = AT_ONCE) -> None:
        self.app = app
        self._at_once = at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.find(scope)
        if call is None or call.candidates == 1 or Offer.find(scope) is None:
            await self.app(scope, receive, send)
            return
        plan = PLAN.get(scope)
        parts = parts_of(call, plan)
        if not parts:
            await self.app(PLAN.put(scope, plan_of_whole(call, plan)), receive, send)
            return
        merged = _MergedStream(parts, send) if call.stream else _MergedAnswer(parts, send)
        await _Fan(self.app, scope, parts, merged, self._at_once).run(receive)


class _Fan:
    """One request under way.

    asyncio's task group cancels a task once. What a relay does on its way out, closing connections, may wait.
    """

    def __init__(self, app: ASGIApp, scope: Scope, parts: Sequence[Part], merged: _Merged, at_once: int) -> None:
        self._app = app
        self._scope = scope
        self._parts = parts
        self._merged = merged
        self._slots = asyncio.Semaphore(at_once)
        self._gone = asyncio.Event()
        whole = self._exchange = EXCHANGE.get(scope)
        whole.parts = [
            Exchange(
                whole.request_id,
                whole.started_at,
                whole.clock,
                response_headers=whole.response_headers,
                input_estimate=part.call.input_estimate,
                remainders=whole.remainders,
                unfinished=whole.unfinished,
            )
            for part in parts
        ]

    async def run(self, receive: Receive) -> None:
        exchange, error = self._exchange, None
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch(receive), name="oneapi_mw.disconnect")
                calls = [group.create_task(self._serve(index)) for index in range(len(self._parts))]
                await asyncio.wait(calls)
                watcher.cancel()
        except ExceptionGroup as failed:
            error = failed.exceptions[0]
        except asyncio.CancelledError:
            exchange.outcome = "cancelled"
            raise
        finally:
            self._sum_up()
        if error is not None:
            await self._fail(error)
        elif any(part.outcome != "complete" for part in exchange.parts):
            exchange.outcome = "client_gone"
        else:
            exchange.outcome = "complete"
            await self._merged.finish()

    async def _serve(self, index: int) -> None:
        async with self._slots:
            if self._gone.is_set():
                return
            scope = CALL.put(EXCHANGE.put(self._scope, self._exchange.parts[index]), self._parts[index].call)
            # Nobody takes original bytes: answers are numbered anew.
            await self._app(Offer("", full=True).put(scope), self._receive, partial(self._send, index))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def _send(self, index: int, message: Message) -> None:
        self._sum_up()
        try:
            await self._merged.take(index, message)
        except OSError:  # how ASGI has servers say that the client has left
            self._gone.set()
            raise

    def _sum_up(self) -> None:
        """What stages outside look at while the parts are under way."""
        exchange, parts = self._exchange, self._exchange.parts
        exchange.attempts[:] = [attempt for part in parts for attempt in part.attempts]
        exchange.produced.text_bytes = sum(part.produced.text_bytes for part in parts)
        exchange.dropped[:] = dict.fromkeys(name for part in parts for name in part.dropped)

    async def _fail(self, error: Exception) -> None:
        """Tell what made the request fail: in the stream, where one has begun."""
        if isinstance(error, GatewayError):
            self._exchange.outcome, self._exchange.code = "failed", error.code
            if isinstance(error, UpstreamError) and await self._merged.fail(error):
                return
        raise error


class _Merged(ABC):
    """What the parts have said."""

    def __init__(self, parts: Sequence[Part], send: Send) -> None:
        self._parts = parts
        self._send = send
        self._usages: list[Usage | None] = [None] * len(parts)

    @abstractmethod
    async def take(self, index: int, message: Message) -> None:
        """A message of the part at `index`."""

    @abstractmethod
    async def finish(self) -> None:
        """All parts have been answered."""

    async def fail(self, error: UpstreamError) -> bool:
        """Whether `error` could still be told here."""
        return False

    def _usage(self) -> Usage | None:
        """Of all parts; `None` unless every one is known, as a sum of some would be mistaken for it."""
        known = [usage for usage in self._usages if usage is not None]
        return total_usage(known) if len(known) == len(self._usages) else None


class _MergedAnswer(_Merged):
    """Buffered answers as one."""

    def __init__(self, parts: Sequence[Part], send: Send) -> None:
        super().__init__(parts, send)
        self._starts: list[Message] = [{}] * len(parts)
        self._responses = [Response()] * len(parts)

    async def take(self, index: int, message: Message) -> None:
        if message["type"] == ANSWER:
            answer: Answer = message["answer"]
            response = answer.response or get_format(answer.format).decode_response(answer.body)
            self._responses[index], self._usages[index] = response, response.usage
        else:
            self._starts[index] = message

    async def finish(self) -> None:
        candidates = [
            replace(candidate, index=part.first + candidate.index)
            for part, response in zip(self._parts, self._responses, strict=True)
            for candidate in response.candidates or (_blocked(response),)
            if candidate.index < part.call.candidates
        ]
        whole = replace(
            self._responses[0], candidates=tuple(candidates), usage=self._usage(), usage_extras={}, prompt_block=None
        )
        try:
            await self._send(self._starts[0])
            await self._send({"type": ANSWER, "answer": Answer("", b"", {}, whole)})
        except OSError:
            pass  # the client has left; what it asked for is done


def _blocked(response: Response) -> Candidate:
    """An answer to one prompt of several that was refused."""
    return Candidate(finish="content_filter", finish_detail=response.prompt_block)


class _MergedStream(_Merged):
    """Streams as one. What one part says at once leaves at once."""

    def __init__(self, parts: Sequence[Part], send: Send) -> None:
        super().__init__(parts, send)
        self._starts: list[Message] = [{}] * len(parts)
        self._sending = asyncio.Lock()
        self._begun = False
        self._told = False  # whether the answer's own name and time are
        self._finished: set[int] = set()

    async def take(self, index: int, message: Message) -> None:
        if message["type"] != EVENTS:
            self._starts[index] = message
            return
        events = [
            turned
            for frame in message["frames"]
            for event in frame.events
            if (turned := self._turned(index, event)) is not None
        ]
        async with self._sending:
            if not self._begun:
                self._begun = True
                await self._send(self._starts[index])
            if events:
                await self._send({"type": EVENTS, "frames": [Frame(events)], "more_body": True})

    def _turned(self, index: int, event: Event) -> Event | None:
        """An event of one part as one of the whole; `None` for what is told at the end, once."""
        part = self._parts[index]
        match event:
            case Started():
                told, self._told = self._told, True
                return None if told else replace(event, usage=None)
            case UsageReported(usage):
                self._usages[index] = usage
                return None
            case Ended(prompt_block=block):
                blocked = block is not None and index not in self._finished
                return Finished(part.first, "content_filter", detail=block) if blocked else None
            case Failed(error):
                raise error
            case Ping() | ForeignEvent():
                return event
            case _:
                if isinstance(event, Finished):
                    self._finished.add(index)
                if event.candidate >= part.call.candidates:
                    return None
                return replace(event, candidate=part.first + event.candidate) if part.first else event

    async def finish(self) -> None:
        usage = self._usage()
        events: list[Event] = [] if usage is None else [UsageReported(usage)]
        await self._end([*events, Ended()])

    async def fail(self, error: UpstreamError) -> bool:
        if self._begun:
            await self._end([Failed(error)])
        return self._begun

    async def _end(self, events: list[Event]) -> None:
        try:
            await self._send({"type": EVENTS, "frames": [Frame(events)], "more_body": False})
        except OSError:
            pass  # the client has left; what it asked for is done
