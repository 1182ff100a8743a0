"""A stream on its way from an upstream to a client: what arrived last, and what may be charged of it so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Ended, Failed, UsageReported
from oneapi_mw.canonical.frames import Frame, Offer
from oneapi_mw.exchange import Exchange
from oneapi_mw.pricing.tools import runs_tools
from oneapi_mw.relay.attempt import Opened, fault_error
from oneapi_mw.relay.headers import forwardable_response_headers
from oneapi_mw.relay.remainder import REMAINDER_BYTES, Unhurried
from oneapi_mw.relay.untold import note_untold
from oneapi_mw.relay.upstream import BodyCut, BodyTooLarge, UpstreamFault
from oneapi_mw.wire.base import StreamDecoder
from oneapi_mw.wire.errors import truncated

DRAIN_SECONDS = 0.05
"""How long to wait for the end of a message whose stream has ended, so that its connection can be used again."""

CHECKPOINT_BYTES = 64 * 1024
"""After so much of a stream what it has produced is counted: the hold may have to grow."""

TOOLS_CHECKPOINT_BYTES = 4 * 1024
"""The same where the vendor may run tools: a search costs as much as many pages of text."""


class Streaming:
    """A stream under way: its decoder, and the frames that arrived last."""

    def __init__(self, opened: Opened, call: Call, offer: Offer, *, max_bytes: int, enforce_usage: bool) -> None:
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
            hide_usage=enforce_usage and not call.usage_wanted,
        )
        self._conversion = opened.conversion
        self._received = 0
        self._limit = max_bytes
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
                self._opened.attempt.refused, self._opened.attempt.usage = not self._broken, first.usage
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
                    exchange.usage = event.usage or exchange.usage
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
            note_untold(exchange, self._decoder)
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
