"""What an answer's reasoning was, kept for clients that return nothing but texts and calls.

The last resort of `envelope`: a client that sends the parts back itself needs none of this. An answer is cut into
steps, each ending in a tool call; what the step's reasoning was is found again by the id of that call. An answer
without calls is found by its text. Everything is kept for one user alone, and comes back only to the model it is of.

Source: conversion reference on reasoning, 4.7
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from oneapi_mw.canonical.blocks import Block, Reasoning, ReasoningOpaque, Text, ToolCall
from oneapi_mw.canonical.events import BlockEnded, Ended, Event
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.canonical.response import Response
from oneapi_mw.immutable import immutable
from oneapi_mw.wire.carrier import Carrier

__all__ = ["CacheKeys", "Kept", "ReasoningCache", "Recaller"]

_UNSIGNED = "openai_chat"
"""The wire whose hosts want reasoning back as plain text."""


@immutable
class Kept:
    """The reasoning of one step of an answer."""

    wire: str
    """Wire format of the upstream that answered."""
    model: str
    """Its name there."""
    before: tuple[Reasoning, ...] = ()
    """In front of what the step says."""
    behind: tuple[Reasoning, ...] = ()
    """Between what it says and its call."""
    text: ReasoningOpaque | None = None
    """The signature of what it says."""
    call: ReasoningOpaque | None = None
    """The signature of its call."""

    def __bool__(self) -> bool:
        return bool(self.before or self.behind or self.text or self.call)

    @property
    def size(self) -> int:
        """Characters of all that is kept."""
        opaque = [self.text, self.call, *(block.opaque for block in (*self.before, *self.behind))]
        texts = (len(part.text) for block in (*self.before, *self.behind) for part in block.texts)
        return sum(texts) + sum(len(part.data) for part in opaque if part is not None)


class ReasoningCache(Protocol):
    """Where it is kept. Nothing waits: what is not at hand is not there."""

    def get(self, key: bytes) -> Kept | None: ...

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep it for a day after its last use. Two different values under one key are none."""

    def __len__(self) -> int: ...


class CacheKeys:
    """Keys of one user's entries; nobody who lacks the secret can tell or make one."""

    def __init__(self, secret: bytes, tenant: str) -> None:
        self._key = hmac.digest(secret, b"oneapi_mw reasoning cache\0" + tenant.encode(), "sha256")

    def of_call(self, call_id: str) -> bytes:
        return hmac.digest(self._key, b"call\0" + _bytes(call_id), "sha256")

    def of_text(self, text: str, wire: str) -> bytes:
        """Of all an answer said. White space does not count: clients trim, and join parts with what they like."""
        digest = hashlib.sha256(_bytes("".join(text.split()))).digest()
        return hmac.digest(self._key, b"text\0" + wire.encode() + b"\0" + digest, "sha256")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# Keeping.


@dataclass(slots=True)
class _Step:
    """What stands between two calls."""

    blocks: list[Block]
    call: ToolCall | None = None

    @property
    def texts(self) -> list[int]:
        """Places of what it says."""
        return [place for place, block in enumerate(self.blocks) if isinstance(block, Text) and block.text]

    def kept(self, wire: str, model: str) -> Kept:
        first = next(iter(self.texts), len(self.blocks))
        before = [block for block in self.blocks[:first] if isinstance(block, Reasoning)]
        behind = [block for block in self.blocks[first:] if isinstance(block, Reasoning)]
        signed = [block.opaque for block in self.blocks if isinstance(block, Text) and block.opaque is not None]
        return Kept(
            wire,
            model,
            tuple(block for block in before if _is_worth_it(block, wire)),
            tuple(block for block in behind if _is_worth_it(block, wire)),
            signed[-1] if signed else None,
            self.call.opaque if self.call is not None else None,
        )


def _is_worth_it(block: Reasoning, wire: str) -> bool:
    return block.opaque is not None or (wire == _UNSIGNED and bool(block.text))


def _steps_of(blocks: Iterable[Block]) -> list[_Step]:
    """`blocks` cut behind every call. The last step has none, and may be empty."""
    steps = [_Step([])]
    for block in blocks:
        if isinstance(block, ToolCall):
            steps[-1].call = block
            steps.append(_Step([]))
        else:
            steps[-1].blocks.append(block)
    return steps


def _said(blocks: Iterable[Block]) -> str:
    return "".join(block.text for block in blocks if isinstance(block, Text))


def _entries(blocks: Sequence[Block], keys: CacheKeys, wire: str, model: str) -> Iterator[tuple[bytes, Kept]]:
    """What to keep of an answer, and under which keys."""
    *calling, last = _steps_of(blocks)
    for step in calling:
        assert step.call is not None
        if kept := step.kept(wire, model):
            yield keys.of_call(step.call.id), kept
    if not calling and (kept := last.kept(wire, model)) and (text := _said(blocks)):
        yield keys.of_text(text, wire), kept


# Finding again.


def _request_recalled(request: Request, cache: ReasoningCache, keys: CacheKeys, *, wire: str, model: str) -> Request:
    """`request` with what is known of the reasoning that its client did not return.

    Args:
        wire: format of the upstream it goes to.
        model: its name there: what another one thought is of no use to it.
    """
    if not len(cache):
        return request
    turns = tuple(_recalled(turn, cache, keys, wire, model) for turn in request.turns)
    return replace(request, turns=turns) if turns != request.turns else request


def _recalled(turn: Turn, cache: ReasoningCache, keys: CacheKeys, wire: str, model: str) -> Turn:
    if turn.role != "assistant" or not all(_is_bare(block, wire) for block in turn.blocks):
        return turn

    def find(key: bytes) -> Kept | None:
        kept = cache.get(key)
        return kept if kept is not None and (kept.wire, kept.model) == (wire, model) else None

    *calling, last = _steps_of(turn.blocks)
    blocks: list[Block] = []
    for step in calling:
        assert step.call is not None
        blocks += _put_back(step, find(keys.of_call(step.call.id)))
    text = "" if calling else _said(turn.blocks)
    blocks += _put_back(last, find(keys.of_text(text, wire)) if text else None)
    return replace(turn, blocks=tuple(blocks)) if tuple(blocks) != turn.blocks else turn


def _is_bare(block: Block, wire: str) -> bool:
    """Whether a block says nothing of reasoning that its vendor could read."""
    if isinstance(block, Reasoning):
        return block.opaque is None and wire != _UNSIGNED
    return getattr(block, "opaque", None) is None


def _put_back(step: _Step, kept: Kept | None) -> list[Block]:
    call: list[Block] = [] if step.call is None else [step.call]
    if kept is None:
        return [*step.blocks, *call]
    said: list[Block] = [block for block in step.blocks if not isinstance(block, Reasoning)]  # it had no signature
    if kept.text is not None:
        said = _signed(said, kept.text)
    if step.call is not None and kept.call is not None:
        call = [replace(step.call, opaque=kept.call)]
    return [*kept.before, *said, *kept.behind, *call]


def _signed(said: list[Block], opaque: ReasoningOpaque) -> list[Block]:
    """The last text with its signature; an empty one where nothing was said."""
    for place in range(len(said) - 1, -1, -1):
        block = said[place]
        if isinstance(block, Text):
            return [*said[:place], replace(block, opaque=opaque), *said[place + 1 :]]
    return [*said, Text("", opaque=opaque)]


class Recaller:
    """A carrier that also remembers: what the client does not return is put back, what it is sent is kept.

    An answer is kept when it is complete, and before its end is sent: the client may go on at once.
    """

    def __init__(self, carrier: Carrier, cache: ReasoningCache, keys: CacheKeys, *, wire: str, model: str) -> None:
        self._carrier = carrier
        self._cache = cache
        self._keys = keys
        self._wire = wire
        self._model = model
        self._blocks: dict[int, list[Block]] = {}

    def hide(self) -> None:
        self._carrier.hide()

    def open_request(self, request: Request) -> Request:
        opened = self._carrier.open_request(request)
        return _request_recalled(opened, self._cache, self._keys, wire=self._wire, model=self._model)

    def seal_events(self, events: Iterable[Event]) -> Sequence[Event]:
        events = tuple(events)
        for event in events:
            if isinstance(event, BlockEnded):
                self._blocks.setdefault(event.candidate, []).append(event.content)
            elif isinstance(event, Ended):
                for blocks in self._blocks.values():
                    self._keep(blocks)
                self._blocks.clear()
        return self._carrier.seal_events(events)

    def seal_response(self, response: Response) -> Response:
        for candidate in response.candidates:
            self._keep(candidate.blocks)
        return self._carrier.seal_response(response)

    def _keep(self, blocks: Sequence[Block]) -> None:
        for key, kept in _entries(blocks, self._keys, self._wire, self._model):
            self._cache.put(key, kept)
