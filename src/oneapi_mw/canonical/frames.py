"""What the relay sends outward instead of bytes, to a stage that has offered to take it.

A stage that can turn canonical events into the client's bytes puts an `Offer` into
`scope["extensions"]["oneapi_mw.events"]`. An inner stage that sees it answers with the messages below
in place of `http.response.body`; `http.response.start` stays as ASGI has it. Without an offer everybody
speaks bytes.

    {"type": "oneapi_mw.events", "frames": [Frame, ...], "more_body": bool}    a stream, piece by piece
    {"type": "oneapi_mw.answer", "answer": Answer}                             a buffered answer, once
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from oneapi_mw.immutable import immutable
from oneapi_mw.scope import put_extension
from oneapi_mw.types import JsonObject

if TYPE_CHECKING:  # stages that only pass frames on need not load the whole model
    from oneapi_mw.canonical.events import Event
    from oneapi_mw.canonical.response import Response

EXTENSION = "oneapi_mw.events"
EVENTS = "oneapi_mw.events"
ANSWER = "oneapi_mw.answer"


@immutable
class Offer:
    """What the outer stage can take."""

    format: str
    """The client's wire format: original bytes of this format are passed on untouched."""
    full: bool = False
    """`True`: somebody needs every event. `False`: where the upstream speaks `format`, bytes with the
    significant events (usage, finish, failure, end) are enough, which saves decoding each chunk."""

    def put(self, scope: Scope) -> Scope:
        return put_extension(scope, EXTENSION, self)

    @staticmethod
    def find(scope: Scope) -> Offer | None:
        extensions = scope.get("extensions")
        return extensions.get(EXTENSION) if extensions else None


@dataclass(slots=True)
class Frame:
    """Whole wire events that arrived together, and what they mean.

    Not changed after it was made; not a frozen dataclass because one is made for every network read.
    """

    events: Sequence[Event]
    """All events in order; or, for an offer that is not `full`, the significant ones only."""
    raw: bytes | None = None
    """The original bytes; `None` when a stage has made or changed the events."""
    format: str = ""
    """Wire format of `raw`."""


@immutable
class Answer:
    """A whole buffered answer in the format the upstream spoke."""

    format: str
    raw: bytes
    """The upstream's bytes, with the model name as the client asked for it."""
    body: JsonObject
    response: Response | None = None
    """The answer as it is to be shown, when it went through a conversion: `raw` and `body` are then the upstream's
    own and no longer the whole truth."""
